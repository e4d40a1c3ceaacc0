"""AutoTL: a table of images or texts in, the best fine-tuned model that your time can buy out.

Names are imported when they are first used, so that ``import autotl`` costs milliseconds.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())  # what is logged goes where the program says

if TYPE_CHECKING:
    from autotl.api import Run, export, fit, load
    from autotl.errors import AutoTLError
    from autotl.plugins.hookspecs import hookimpl
    from autotl.predictor.predictor import Predictor

_HOMES = {
    "export": "autotl.api",
    "fit": "autotl.api",
    "load": "autotl.api",
    "Run": "autotl.api",
    "Predictor": "autotl.predictor.predictor",
    "AutoTLError": "autotl.errors",
    "hookimpl": "autotl.plugins.hookspecs",
}

__all__ = ["AutoTLError", "Predictor", "Run", "__version__", "export", "fit", "hookimpl", "load"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'autotl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
