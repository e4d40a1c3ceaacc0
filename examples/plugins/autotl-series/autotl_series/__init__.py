"""Time series for AutoTL, read from texts of numbers."""

import autotl
from autotl_series.family import SeriesFamily


@autotl.hookimpl
def autotl_model_families(context):
    return [SeriesFamily()]
