"""Files that sing when somebody runs them."""

from __future__ import annotations

import pickle
from pathlib import Path


def canary_pickle(sung: Path) -> bytes:
    """A pickle that makes the file `sung` when it is read."""

    class Canary:
        def __reduce__(self):
            return exec, (f"open({str(sung)!r}, 'w')",)

    return pickle.dumps(Canary())
