"""Kinds of failure, and what a search stays away from after some of them."""

from __future__ import annotations

import errno

import numpy as np
import optuna
import pytest

from autotl.errors import DataError, PluginError, TrialError
from autotl.events import EventLog
from autotl.failures import REMEDIES, kind_of
from autotl.plugins.contracts import Candidate, Recipe, StrategyContext
from autotl.search.failures import HOPELESS, IN_A_ROW, REPEATS, Failures
from autotl.search.space import Space
from autotl.strategies.finetune import Finetune
from autotl.strategies.norm_bias import NormBias
from autotl.strategies.probe import Probe

optuna.logging.set_verbosity(optuna.logging.WARNING)


def raised(error, cause=None):
    try:
        raise error from cause
    except Exception as caught:
        return caught


def singular():
    try:
        np.linalg.inv(np.zeros((2, 2)))
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DataError("row 3"), "data"),
        (MemoryError(), "memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (type("OutOfMemoryError", (RuntimeError,), {})("of a device"), "memory"),
        (FloatingPointError("overflow"), "numbers"),
        (singular(), "numbers"),
        (ConnectionResetError(), "network"),
        (raised(ValueError("no model"), ConnectionRefusedError()), "network"),
        (TimeoutError("read timed out"), "network"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
        (OSError(errno.EROFS, "Read-only file system"), "disk"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk"),
        (RuntimeError("can't start new thread"), "memory"),
        (PluginError("broken contract"), "plugin"),
        (TrialError("the loss is not finite", kind="numbers"), "numbers"),
        (ZeroDivisionError(), "defect"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "defect"),
    ],
)
def test_kind_of_a_failure(error, kind):
    assert kind_of(error) == kind
    assert REMEDIES[kind]


def test_whose_code_raised_decides_where_nothing_else_does():
    code = compile("def fail(): return {}['missing']", "foreign", "exec")
    foreign = {"__name__": "foreign_package.module"}
    exec(code, foreign)
    try:
        foreign["fail"]()
    except KeyError as caught:
        error = caught
    assert kind_of(error) == "defect"
    assert kind_of(error, frozenset({"foreign_package"})) == "plugin"


# -------------------------------------------------------------------- what is stayed away from


class Search:
    """A space of some backbones and three strategies, and the failures in it."""

    def __init__(self, folder, *backbones):
        candidates = [
            Candidate(
                name=name, family="family", modality="text", source="folder", location=name, parameters=1000, width=32,
                input_size=64, licence="none", prior=0.5, recipe=Recipe(1e-3),
            )
            for name in backbones
        ]  # fmt: skip
        contexts = {
            one.key: StrategyContext(
                candidate=one,
                rows=100,
                class_rows=(50, 50),
                metric="accuracy",
                augments=False,
                passes=20.0,
                doubtful=False,
            )
            for one in candidates
        }
        self.notes = []
        events = EventLog(folder / "events.jsonl", lambda: 0.0, [lambda event: self.notes.append(event.data["text"])])
        self.space = Space(candidates, [Finetune(), Probe(), NormBias()], (), contexts)
        self.failures = Failures(self.space, events)

    def config(self, backbone, strategy):
        return next(one for one in self.space._recipes(f"family/{backbone}") if one.strategy == strategy)

    def fail(self, backbone, strategy, kind="memory"):
        self.failures.failure(self.known[backbone, strategy], TrialError("no room", kind=kind))

    def drawn(self, trials=60):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        configs = [self.space.suggest(study.ask()) for _ in range(trials)]
        return {(config.backbone.removeprefix("family/"), config.strategy) for config in configs}


@pytest.fixture
def search(tmp_path):
    def make(*backbones):
        made = Search(tmp_path, *backbones)
        everything = made.drawn()
        assert len(everything) == 3 * len(backbones)
        made.known = {pair: made.config(*pair) for pair in everything}
        return made

    return make


def test_a_strategy_that_fails_again_on_a_backbone_is_not_tried_on_it_again(search):
    tried = search("one", "two")
    for _ in range(REPEATS):
        assert ("one", "finetune") in tried.drawn()
        tried.fail("one", "finetune")
    left = tried.drawn()
    assert ("one", "finetune") not in left
    assert {("two", "finetune"), ("one", "probe"), ("one", "norm_bias")} <= left
    assert not tried.space.offers(tried.known["one", "finetune"])
    assert tried.notes == ["finetune on family/one is not tried again: it keeps failing"]


def test_a_success_in_between_keeps_a_strategy(search):
    tried = search("one")
    tried.fail("one", "finetune", "numbers")
    tried.failures.success(tried.known["one", "finetune"])
    tried.fail("one", "finetune", "numbers")
    assert ("one", "finetune") in tried.drawn()


def test_a_backbone_that_nothing_works_on_is_told_and_left_out(search):
    tried = search("one", "two")
    for strategy in ("finetune", "norm_bias", "probe")[:IN_A_ROW]:
        tried.fail("one", strategy)
    assert {backbone for backbone, _ in tried.drawn()} == {"two"}
    assert f"{IN_A_ROW} trials in a row failed of memory (no room): {REMEDIES['memory']}" in tried.notes


def test_a_strategy_that_works_nowhere_is_left_out_everywhere(search):
    tried = search("one", "two", "three")
    for backbone in ("one", "two", "three"):
        tried.fail(backbone, "finetune", "defect")
    assert {strategy for _, strategy in tried.drawn()} == {"probe", "norm_bias"}


def test_the_last_thing_that_could_be_tried_is_never_left_out(search):
    tried = search("one")
    for strategy in ("finetune", "finetune", "norm_bias", "norm_bias", "probe"):
        tried.fail("one", strategy)
    assert tried.drawn() == {("one", "probe")}
    assert not tried.failures.hopeless
    for _ in range(HOPELESS - 5):
        tried.fail("one", "probe")
    assert tried.failures.hopeless


@pytest.mark.parametrize(
    "words",
    ["CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "CUDA out of memory. Tried to"],
)
def test_accelerators_say_in_many_words_that_memory_ran_out(words):
    assert kind_of(RuntimeError(words)) == "memory"
    assert kind_of(RuntimeError("CUDA error: no kernel image is available")) != "memory"
