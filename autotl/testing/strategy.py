"""Whether a strategy keeps its contract: what it lets the search choose, and how it fits."""

from __future__ import annotations

import dataclasses
import math
import re
import tempfile
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from autotl.errors import TrialError
from autotl.features.frozen import weights_digest
from autotl.plugins.contracts import (
    RESERVED_NAMES,
    Choice,
    Parameter,
    Progress,
    Real,
    Strategy,
    StrategyContext,
    Value,
    Work,
)
from autotl.plugins.manager import plugins
from autotl.testing.bench import Bench, image_bench, number_bench, one_thread, text_bench
from autotl.testing.contexts import contexts, described
from autotl.testing.promises import expect, expect_no_error
from autotl.training.model import Classifier, load_model, save_model

#: Of a trial whose settings would take for ever, and how long after them it must have come to an end: a machine that is
#: busy with other tests may be slow for a while.
SECONDS, GRACE = 0.5, 4.0

#: Passes that nobody waits for.
_FOR_EVER = 1e6

#: Between logits that are to be alike, relative to the largest.
TOLERANCE = 1e-4


def check_strategy(strategy: Strategy, bench: Bench | None = None) -> None:
    """A strategy keeps its contract, in what it says and in trials on `bench`; by default on the kit's benches.

    These are one of texts and one of images with classes, and where it says that it applies one trial on numbers.

    Some ten seconds. Raises `BrokenPromise`.
    """
    check_choices(strategy)
    thing = f"strategy {strategy.name!r}"
    tried = 0
    with one_thread():
        for one in [text_bench(), image_bench()] if bench is None else [bench]:
            context = _applying(strategy, one)
            if context is not None:
                _check_trials(thing, strategy, one, context)
                tried += 1
        if bench is None and (context := _applying(strategy, numbers := number_bench())):
            _fitted(f"{thing} on numbers", strategy, numbers, strategy.portfolio(context)[0])
    promise = "applies on a bench of the kit, or on one that is given (with a teacher, if it needs one)"
    expect(tried > 0, thing, promise, "no parameters on any")


def _applying(strategy: Strategy, bench: Bench) -> StrategyContext | None:
    """The context of a bench in which the strategy applies."""
    usual = bench.context
    possible = [usual, dataclasses.replace(usual, doubtful=True)]
    possible += [dataclasses.replace(usual, teacher=True)] if bench.teacher else []
    return next((context for context in possible if strategy.parameters(context)), None)


# -------------------------------------------------------------------- what it says


def check_choices(strategy: Strategy) -> None:
    """Parameters, portfolio and work agree with each other wherever a strategy may be asked. Raises `BrokenPromise`."""
    thing = f"strategy {getattr(strategy, 'name', type(strategy).__name__)!r}"
    members = ("name", "regularized", "weight", "pretrained", "parameters", "portfolio", "work", "fit")
    missing = [name for name in members if not hasattr(strategy, name)]
    expect(not missing, thing, "has all members of Strategy", f"no {', '.join(missing)}")
    expect(re.fullmatch(r"\w+", strategy.name) is not None, thing, "its name is a word", repr(strategy.name))
    expect(isinstance(strategy.regularized, bool), thing, "regularized is a bool", repr(strategy.regularized))
    expect(strategy.weight > 0, thing, "its weight is above 0", strategy.weight)
    applies = 0
    for context in contexts():
        where = f" ({described(context)})"
        with expect_no_error(thing, f"parameters() may be asked anywhere{where}"):
            parameters = list(strategy.parameters(context))
            again = list(strategy.parameters(context))
        expect(parameters == again, thing, f"parameters() says the same again{where}", again)
        for parameter in parameters:
            check_parameter(thing, parameter)
        names = [parameter.name for parameter in parameters]
        expect(len(names) == len(set(names)), thing, f"each parameter is there once{where}", names)
        if parameters:
            applies += 1
            _check_portfolio(thing, strategy, context, {parameter.name: parameter for parameter in parameters})
    expect(applies > 0, thing, "has parameters somewhere, as one without any does not apply", "none anywhere")


def check_parameter(thing: str, parameter: Parameter) -> None:
    """What the search may choose can be chosen. Raises `BrokenPromise`."""
    named = parameter.name not in RESERVED_NAMES
    expect(named, thing, "a parameter has a name that the log of a run has for nothing else", parameter.name)
    if isinstance(parameter, Real):
        low, high, usual = parameter.low, parameter.high, parameter.usual
        kept = -math.inf < low < high < math.inf and (low > 0 or not parameter.log)
        kept = kept and (usual is None or low <= usual <= high)
        expect(kept, thing, "a Real goes from a low to a high number, its usual value between them", parameter)
        return
    expect(isinstance(parameter, Choice), thing, "a parameter is a Real or a Choice", parameter)
    options, words = parameter.options, [isinstance(option, str) for option in parameter.options]
    expect(len(set(options)) == len(options) > 0, thing, "a Choice has options, each of them once", parameter)
    expect(all(words) or not any(words), thing, "options are all words or all numbers", parameter)
    if any(words):
        expect(not parameter.weights, thing, "words have no weights", parameter)
    else:
        expect(list(options) == sorted(options), thing, "numbers stand in ascending order", parameter)
        weights = parameter.weights
        kept = not weights or (len(weights) == len(options) and all(weight > 0 for weight in weights))
        expect(kept, thing, "each option has a weight above 0, or none has one", parameter)


def _check_portfolio(
    thing: str, strategy: Strategy, context: StrategyContext, parameters: Mapping[str, Parameter]
) -> None:
    """Every entry is complete and could be proposed, and its work can be forecast."""
    where = f" ({described(context)})"
    strengths = {known.name: known.strengths(context) for known in plugins().regularizers if strategy.regularized}
    possible = {name: choice for name, choice in strengths.items() if choice} | dict(parameters)
    with expect_no_error(thing, f"portfolio() knows settings wherever there are parameters{where}"):
        portfolio = list(strategy.portfolio(context))
    expect(bool(portfolio), thing, f"the portfolio has the published recipe at least{where}", portfolio)
    for settings in portfolio:
        missing, foreign = sorted(parameters.keys() - settings.keys()), sorted(settings.keys() - possible.keys())
        expect(not missing, thing, f"an entry of the portfolio has every parameter{where}", f"none for {missing}")
        expect(not foreign, thing, f"an entry of the portfolio has no other names{where}", foreign)
        wrong = {name: value for name, value in settings.items() if not possible[name].holds(value)}
        expect(not wrong, thing, f"settings of the portfolio lie inside the parameters{where}", wrong)
        with expect_no_error(thing, f"work() says what settings take{where}"):
            work = strategy.work(context, settings)
        expect(isinstance(work, Work), thing, f"work() returns a Work{where}", work)
        kept = 0 <= work.passes < math.inf and 0 <= work.frozen_fraction <= 1 and work.augment >= 0
        expect(kept, thing, f"work is a finite number of passes, a fraction frozen from 0 to 1{where}", work)
        kept = context.augments or not work.augment
        expect(kept, thing, f"nothing is augmented by a family that does not augment{where}", work)


# -------------------------------------------------------------------- how it fits


def _check_trials(thing: str, strategy: Strategy, bench: Bench, context: StrategyContext) -> None:
    """Its first settings, twice; then the ends of every range, with too little time."""
    thing = f"{thing} on {bench.frozen.candidate.key}"
    parameters = strategy.parameters(context)
    first = {parameter.name: strategy.portfolio(context)[0][parameter.name] for parameter in parameters}
    frozen = bench.frozen.backbone
    before = weights_digest(frozen)
    once = _fitted(thing, strategy, bench, first, noise=1)
    again = _fitted(thing, strategy, bench, first, noise=2)
    assert once is not None
    assert again is not None
    expect(np.array_equal(once, again), thing, "a seed gives the same model whatever else is drawn", "two models")
    _check_going_on(thing, strategy, bench, first, once)
    long = bench.prolonged(_FOR_EVER)
    for settings in _ends(parameters):
        _fitted(thing, strategy, long, settings, seconds=SECONDS)
    expect(weights_digest(frozen) == before, thing, "leaves trial.frozen.backbone as it is", "other weights in it")


def _check_going_on(
    thing: str, strategy: Strategy, bench: Bench, settings: Mapping[str, Value], once: np.ndarray
) -> None:
    """A trial that is put down where it is first judged goes on from its checkpoint, if it wrote one.

    once: logits of the model of one that was not.
    """
    with tempfile.TemporaryDirectory() as name:
        checkpoint = Path(name) / "checkpoint.safetensors"
        fitting = strategy.fit(bench.trial(settings, checkpoint=checkpoint))
        next(iter(fitting))
        if isinstance(fitting, Generator):
            fitting.close()
        if checkpoint.exists():
            continued = _fitted(thing, strategy, bench, settings, checkpoint=checkpoint)
            assert continued is not None
            _expect_alike(thing, "goes on from its checkpoint as if it had never been put down", continued, once)


def _expect_alike(what: str, promise: str, logits: np.ndarray, known: np.ndarray) -> None:
    difference = float(np.abs(logits - known).max()) / max(float(np.abs(known).max()), 1e-6)
    expect(difference <= TOLERANCE, what, promise, f"{difference:.2g} beside it")


def _ends(parameters: Sequence[Parameter]) -> Iterator[dict[str, Value]]:
    """All parameters at the beginning of their ranges, then all at the end."""
    for end in (0, -1):
        yield {p.name: p.options[end] if isinstance(p, Choice) else (p.low, p.high)[end] for p in parameters}


def _fitted(
    thing: str,
    strategy: Strategy,
    bench: Bench,
    settings: Mapping[str, Value],
    *,
    noise: int = 0,
    seconds: float | None = None,
    checkpoint: Path | None = None,
) -> np.ndarray | None:
    """The logits ``[rows, outputs] float32`` of the model that a trial makes; None for one that says it cannot go on.

    noise: what torch's and numpy's global generators begin with, on which nothing may depend.
    """
    what = f"{thing} with {dict(settings)}"
    trial = bench.trial(settings, seconds=seconds, checkpoint=checkpoint)
    torch.manual_seed(noise)
    np.random.seed(noise)
    began, permille, logits = time.monotonic(), 0, np.empty((0, 0))
    try:
        with expect_no_error(what, "fit() raises nothing but TrialError"):
            for progress in strategy.fit(trial):
                _check_progress(what, progress, permille)
                permille = progress.permille
                model = trial.model
                assert isinstance(model, Classifier) or model is None
                expect(model is not None, what, "sets trial.model before it first yields", model)
                assert model is not None
                trial.settings.check_all_read()
                logits = model.logits(bench.frozen.rows, bench.train, bench.frozen.precision, trial.device)
    except TrialError as error:
        expect(seconds is not None, what, "a trial of the portfolio comes to an end", f"TrialError: {error}")
        return None
    took = time.monotonic() - began
    if seconds is not None:
        kept = took < seconds + GRACE
        expect(kept, what, f"ends when its clock does, after {seconds:g} s", f"it took {took:.1f} s")
    expect(permille == 1000, what, "the last it yields is 1000 permille", permille or "nothing")
    shape = (len(bench.train), len(bench.task.outputs))
    expect(logits.shape == shape, what, f"its model answers with [rows, outputs] = {list(shape)}", list(logits.shape))
    finite = bool(np.isfinite(logits).all())  # at the end of a range of rates it may not be
    expect(finite or seconds is not None, what, "its model answers with finite numbers", logits)
    if trial.model is not None and finite:
        _check_saving(what, bench, trial.model, logits)
    return logits


def _check_progress(what: str, progress: Progress, before: int) -> None:
    expect(isinstance(progress, Progress), what, "fit() yields Progress", progress)
    kept = isinstance(progress.permille, int) and before < progress.permille <= 1000
    expect(kept, what, "permille rises, to 1000 at the end", f"{progress.permille} after {before}")


def _check_saving(what: str, bench: Bench, model: Classifier, logits: np.ndarray) -> None:
    """The family can save the model that a trial made, whatever was done to its backbone."""
    with tempfile.TemporaryDirectory() as name, expect_no_error(what, "the family saves and restores its model"):
        save_model(model, bench.family, bench.frozen.rows.encoder, Path(name) / "model")
        loaded, _ = load_model(bench.family, Path(name) / "model")
        answer = loaded.logits(bench.frozen.rows, bench.train, bench.frozen.precision, torch.device("cpu"))
    _expect_alike(what, "its model is the same when it was saved", answer, logits)
