"""Which images show nearly the same as others of the table, and which rows to test on as rows to learn from."""

from __future__ import annotations

import numpy as np

from autotl.budget import Clock
from autotl.data.near_images import THUMBNAIL, near_images, repeated, thumbnails_of
from autotl.features.rows import EncodedRows
from autotl.search.line import Message

#: Images that are compared with each other: the product of all pairs then takes two seconds on two cores.
MOST_COMPARED = 20_000


def copies(rows: EncodedRows, tested: EncodedRows, classes: np.ndarray | None, *, seed: int, clock: Clock) -> Message:
    """``groups``, the first row of each row's copies, itself where it has none; or where these are nearly all of a
    class, of which there are ``filling``. ``tested`` of the rows to test on show what others of these do.

    classes ``[rows] int64``, where a row has one. Looks at images in random order until the clock ends, at `tested`
    in what is left.
    """
    found, small = _thumbnails(rows, seed, clock)
    groups, filling = near_images(small, None if classes is None else classes[found])
    firsts, numbers = np.unique(groups, return_index=True)[1], np.arange(rows.count)
    numbers[found] = found[firsts][np.unique(groups, return_inverse=True)[1]]
    flattered = repeated(_thumbnails(tested, seed, clock)[1], small)
    return {
        "groups": numbers.tolist(),
        "compared": len(found),
        "filling": int(filling.sum()),
        "tested": int(flattered.sum()),
    }


def _thumbnails(rows: EncodedRows, seed: int, clock: Clock) -> tuple[np.ndarray, np.ndarray]:
    """The readable rows that were looked at, and theirs: ``[looked] int64``, ``[looked, images * 256] float32``."""
    looked, small = [np.empty(0, np.int64)], [np.empty((0, THUMBNAIL), np.float32)]
    for chunk in rows.stream(np.random.default_rng(seed).permutation(rows.count), ahead=False):
        if clock.remaining <= 0 or sum(map(len, looked)) >= MOST_COMPARED:
            break
        if len(chunk):
            looked.append(chunk)
            small.append(np.stack([thumbnails_of(images) for images in rows.gather(chunk)]))
    return np.concatenate(looked), np.concatenate(small if len(small) == 1 else small[1:])
