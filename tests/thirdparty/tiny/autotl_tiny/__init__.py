"""A family of text backbones so small that a whole search takes seconds, as somebody else would write it.

A model is a folder with ``tiny.json``: ``{"seed": 1}``, the seed of its weights.
"""

from __future__ import annotations

import autotl


@autotl.hookimpl
def autotl_model_families(context):
    from autotl_tiny.family import TinyFamily

    return [TinyFamily()]
