from autotl_series.family import SeriesFamily

from autotl.testing import check_family, check_plugin


def test_the_plugin_and_its_family_keep_their_contracts():
    check_plugin("series")
    texts = ["0 1 0 1 0 1", "3 1 4 1 5 9 2 6 5", "-1.5 2e-3 7", "1 2 3 4 5"]
    check_family(SeriesFamily(), *SeriesFamily().candidates(None), texts)
