"""Words to buckets without AutoTL: what `TinyEncoder.write_portable` ships."""

from __future__ import annotations

import zlib

import numpy as np

BUCKETS, LONGEST = 512, 32


def bucket(word):
    return 1 + zlib.crc32(word.lower().encode()) % (BUCKETS - 1)


class Inputs:
    def __init__(self, folder):
        pass

    def encode(self, cells):
        return [
            np.array([bucket(word) for word in cell.split()[:LONGEST]] or [1], np.int32)
            if isinstance(cell, str)
            else "no text"
            for cell in cells
        ]

    def batch(self, rows):
        tokens = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for place, row in zip(tokens, rows, strict=True):
            place[: len(row)] = row
        return {"x": tokens, "mask": (tokens > 0).astype(np.float32)}
