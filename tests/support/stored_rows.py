"""Rows that tell which they are, for a feature store, and a process that writes them until it is killed."""

from __future__ import annotations

import numpy as np

from autotl.features.store import FeatureStore


def digest(number):
    return int(number).to_bytes(32, "little")


def row(number, size=64):
    """An array that tells which row it belongs to."""
    return {"x": np.random.default_rng(number).integers(0, 255, size, dtype=np.uint8)}


def fill(store, numbers, *, size=64, **about):
    collection = store.collection(**(about or {"kind": "numbers"}))
    collection.add([digest(number) for number in numbers], [row(number, size) for number in numbers])
    collection.flush()
    return collection


def write_on(begun, cache, start):
    """For ever. begun: the end of a pipe that hears of it before the first row."""
    store = FeatureStore(cache)
    begun.send("on")
    while True:
        fill(store, range(start, start + 40), size=20_000)
        start += 40
