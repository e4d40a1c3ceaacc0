"""What a model may cost, as people write it, and as a search keeps it."""

from __future__ import annotations

import pytest

from autotl.config import Limits, parse_count, parse_latency, parse_limits
from autotl.plugins.contracts import Candidate, Recipe
from autotl.search.costs import Costs


@pytest.mark.parametrize(("text", "count"), [("5M", 5_000_000), ("300k", 300_000), ("1.5M", 1_500_000), ("1200", 1200)])
def test_counts_mean_what_they_say(text, count):
    assert parse_count(text) == count


@pytest.mark.parametrize(("text", "seconds"), [("5ms", 0.005), ("0.2s", 0.2), (" 12.5 ms ", 0.0125)])
def test_latencies_mean_what_they_say(text, seconds):
    assert parse_latency(text) == pytest.approx(seconds)


def test_no_limit_forbids_nothing():
    limits = parse_limits(latency=None, parameters=None, size=None)
    assert limits == Limits()
    assert not limits.too_large(10**12)
    assert not limits.too_slow(1e9)


def test_each_limit_names_its_option():
    limits = parse_limits(latency="5ms", parameters="1M", size="2MB")
    assert "--max-params" in limits.too_large(2_000_000)
    assert "--max-size" in limits.too_large(600_000)
    assert not limits.too_large(400_000)
    assert "--max-latency" in limits.too_slow(0.006)
    assert not limits.too_slow(0.004)


def test_an_answer_of_one_pass_is_no_mixture():
    one = Candidate(
        name="one", family="tiny", modality="text", source="folder", location="", parameters=10, width=4, input_size=8,
        licence="none", prior=0.5, recipe=Recipe(1e-3),
    )  # fmt: skip
    assert Costs(Limits(passes=1), [one]).allow([one.key])
    assert not Costs(Limits(passes=1), [one]).allow([one.key, one.key])
    assert Costs(Limits(), [one]).allow([one.key, one.key])


def test_backbones_that_are_too_slow_leave_one_message(command_line, table, zoo, tmp_path):
    options = ["--data", table, "--models", zoo, "--trials", 1, "--max-latency", "0.001ms", "--out", "run"]
    answer = command_line("search", *options, cwd=tmp_path)
    assert answer.returncode == 2
    assert "more than --max-latency allows" in answer.stderr
    assert "Traceback" not in answer.stderr
    assert not (tmp_path / "run").exists()
