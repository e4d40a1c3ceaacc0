"""Images that show nearly the same: copies that were scaled, compressed again or slightly recoloured.

Thumbnails without their mean and contrast are compared by correlation, each with every other: that is one product of
matrices, and twenty thousand images take some seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autotl.data.groups import Components

if TYPE_CHECKING:
    import numpy.typing as npt

#: Pixels of a thumbnail's side.
_SIDE = 16

#: Length of a thumbnail.
THUMBNAIL = _SIDE * _SIDE

#: Correlation from which two thumbnails are the same picture. Of 2400 photographs of flowers, four pairs are above it,
#: each from one series; a photograph and itself at 64 pixels and JPEG quality 30 have 0.97 at least and 0.998 mostly.
SIMILARITY = 0.97

#: Contrast, in grey levels, below which a thumbnail is blank, and says nothing.
_BLANK = 2.0

#: More of a table that is alike is a kind of picture (X-rays of one organ), not a copy: kept together it could not be
#: validated on. Among such, a copy is only what is as like as a picture is to itself, compressed again, and at most so
#: many are: a camera that does not move makes thousands.
_MOST_ALIKE, _ALWAYS_ALIKE = 0.1, 10
_THE_SAME, _MOST_COPIES = 0.995, 50

#: The same of a class: views of one object, a degree apart. As one group it could only train, or only validate, and so
#: could what is typical of a class where a chain of it has more than half. Four rows may be copies, or ten of a half.
_TOO_MUCH_OF_A_CLASS = ((0.9, 4), (0.5, 10))

_AT_A_TIME = 1024


def thumbnail(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """``[256] float32`` of unit length from ``[height, width, 3]``, of 16 pixels or more; zeros for a blank image."""
    height, width = image.shape[0] // _SIDE, image.shape[1] // _SIDE
    rows = image[: height * _SIDE, : width * _SIDE].reshape(_SIDE, height, -1).sum(1, dtype=np.uint32)
    grey = rows.reshape(_SIDE, _SIDE, -1).sum(2) / (3.0 * height * width)
    grey = grey.reshape(-1) - grey.mean()
    if grey.std() < _BLANK:
        return np.zeros(THUMBNAIL, np.float32)
    unit: npt.NDArray[np.float32] = (grey / np.linalg.norm(grey)).astype(np.float32)
    return unit


def thumbnails_of(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """``[images * 256] float32`` from ``[images, height, width, 3]``: of each, in their order; or of one image."""
    return np.concatenate([thumbnail(image) for image in images.reshape(-1, *images.shape[-3:])])


def near_images(
    thumbnails: npt.NDArray[np.float32], classes: npt.NDArray[np.int64] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Groups ``[rows] int64``, equal for those that a chain of similar pairs connects, and ``[rows] bool``, which are
    left apart as they are most of a class.

    thumbnails ``[rows, images * 256]``; rows of several images are similar where all of these are, each to that in its
    place. classes ``[rows] int64``, None where a row has no one class.
    """
    most_alike = max(_MOST_ALIKE * len(thumbnails), _ALWAYS_ALIKE)
    groups, crowded = _joined(thumbnails, SIMILARITY, most_alike)
    filling = np.zeros(len(groups), bool) if classes is None else _fill_a_class(groups, classes, np.bincount(classes))
    rows = np.flatnonzero(crowded | filling)
    within, still = _joined(thumbnails[rows], _THE_SAME, min(most_alike, _MOST_COPIES))
    if classes is not None:
        still |= _fill_a_class(within, classes[rows], np.bincount(classes))
    groups[rows] = np.where(still, 2 * len(groups) + np.arange(len(rows)), len(groups) + within)
    return groups, filling & ~_shared(groups)


def repeated(thumbnails: npt.NDArray[np.float32], known: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """``[rows] bool``: which show nearly the same as one of those that are known; both as `near_images` takes them."""
    most_alike, found = max(_MOST_ALIKE * len(known), _ALWAYS_ALIKE), [np.zeros(0, bool)]
    for start in range(0, len(thumbnails), _AT_A_TIME):
        places = zip(*(_places(some) for some in (thumbnails[start : start + _AT_A_TIME], known)), strict=True)
        least = np.minimum.reduce([place @ other.T for place, other in places])
        similar, same = (least >= SIMILARITY).sum(1), (least >= _THE_SAME).sum(1)
        found.append(np.where(similar > most_alike, (same > 0) & (same <= _MOST_COPIES), similar > 0))
    return np.concatenate(found)


def _places(thumbnails: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
    """Those of each image of a row."""
    return np.split(thumbnails, range(THUMBNAIL, thumbnails.shape[1], THUMBNAIL), axis=1)


def _joined(
    thumbnails: npt.NDArray[np.float32], similarity: float, most_alike: float
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Groups ``[rows] int64``, numbered below the number of rows, and which rows have more like them than that."""
    components = Components(len(thumbnails))
    places = _places(thumbnails)
    crowded = np.zeros(len(thumbnails), bool)
    for start in range(0, len(thumbnails), _AT_A_TIME):
        alike = [place[start : start + _AT_A_TIME] @ place.T >= similarity for place in places]
        similar = np.logical_and.reduce(alike)
        # pictures of a camera that does not move are all like each other: joining them takes minutes, for nothing
        crowd = similar.sum(1) > most_alike
        similar[crowd] = False
        crowded[start : start + _AT_A_TIME] = crowd
        for one, other in np.argwhere(similar).tolist():
            components.join(start + one, other)
    groups = components.groups()
    size = np.bincount(groups)[groups] if len(groups) else groups
    return groups, crowded | (size > most_alike)


def _shared(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which rows are not alone in theirs."""
    _, places, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return counts[places] > 1


def _fill_a_class(
    groups: npt.NDArray[np.int64], classes: npt.NDArray[np.int64], of_class: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which rows are of a group that has too much of a class; both ``[rows] int64``. of_class: all rows, by class."""
    pairs, counts = np.unique(np.stack([groups, classes]), axis=1, return_counts=True)
    filling = np.zeros(len(counts), bool)
    for share, always in _TOO_MUCH_OF_A_CLASS:
        filling |= (counts > always) & (counts >= share * of_class[pairs[1]])
    return np.isin(groups, pairs[0][filling])
