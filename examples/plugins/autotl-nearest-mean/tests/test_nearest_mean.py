from autotl_nearest_mean.strategy import NearestMean

from autotl.testing import check_plugin, check_strategy


def test_the_plugin_keeps_its_contracts():
    check_plugin("nearest_mean")


def test_the_strategy_keeps_its_contract():
    check_strategy(NearestMean())
