"""The space: complete configurations, published recipes first, and strategies held to their own parameters."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotl.errors import PluginError
from autotl.plugins.contracts import Candidate, Choice, Real, Recipe, Strategy, StrategyContext, Work
from autotl.plugins.manager import plugins
from autotl.search.space import Space, TrialConfig
from autotl.search.vetting import vetted
from autotl.strategies.finetune import Finetune
from autotl.strategies.gradual import Gradual
from autotl.strategies.probe import Probe
from autotl.strategies.scratch import Scratch
from autotl.strategies.surgical import Surgical

optuna.logging.set_verbosity(optuna.logging.WARNING)


def candidate(name, **recipe):
    return Candidate(
        name=name,
        family="family",
        modality="image",
        source="folder",
        location=name,
        parameters=1000,
        width=32,
        input_size=64,
        licence="none",
        prior=0.5,
        recipe=Recipe(1e-3, **recipe),
    )


BEST, SECOND, THIRD = candidate("best", layer_decay=0.75), candidate("second"), candidate("third", weight_decay=0.05)


def space(
    candidates=(BEST, SECOND, THIRD),
    strategies=(),
    regularizers=(),
    *,
    classes=3,
    passes=math.inf,
    augments=True,
    rows=1000,
    doubtful=False,
):
    each = rows // classes
    contexts = {
        one.key: StrategyContext(
            candidate=one,
            rows=rows,
            class_rows=(rows - each * (classes - 1), *(each,) * (classes - 1)),
            metric="accuracy",
            augments=augments,
            passes=passes,
            doubtful=doubtful,
        )
        for one in candidates
    }
    return Space(candidates, [*(strategies or (Finetune(), Probe(), Scratch()))], regularizers, contexts)


def study(seed=0):
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))


def test_what_falls_to_a_strategy_that_was_left_out_goes_to_the_likeliest():
    made = space((BEST,), (Finetune(), Probe(), Gradual(), Surgical()))
    assert made.leave_out(strategy="probe", backbone=BEST.key)
    tried = study()
    found = [made.suggest(tried.ask()).strategy for _ in range(200)]
    assert found.count("finetune") > 150
    assert "probe" not in found
    assert {"gradual", "surgical"} <= set(found)


def test_a_backbone_that_is_stronger_by_its_prior_comes_second():
    strong = dataclasses.replace(SECOND, prior=0.6)
    made = space((BEST, strong, THIRD), (Finetune(), Probe()))
    order = [(config.backbone, config.strategy) for config in made.portfolio()]
    assert order[:4] == [
        (BEST.key, "finetune"), (strong.key, "finetune"), (BEST.key, "probe"), (THIRD.key, "finetune")
    ]  # fmt: skip


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("passes", [0.5, 30.0, math.inf])
@pytest.mark.parametrize("augments", [True, False])
def test_portfolio_lies_in_the_space(classes, passes, augments):
    """What is enqueued comes back unchanged from the space, and Optuna has nothing to warn of."""
    tried = space(classes=classes, passes=passes, augments=augments)
    for config in tried.portfolio():
        trials = study()
        trials.enqueue_trial(tried.units(config))
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            assert tried.suggest(trials.ask()) == config


@pytest.mark.parametrize(
    ("had", "same"),
    [
        ({"learning_rate_multiplier": 2.0, "epochs_multiplier": 1.0}, True),
        ({"learning_rate_multiplier": 2.0}, True),  # before the other one was a parameter
        ({"learning_rate_multiplier": 2.1, "epochs_multiplier": 1.0}, False),
    ],
)
def test_a_finished_trial_is_known_again_by_what_it_had(had, same):
    config = TrialConfig(BEST.key, "finetune", {"learning_rate_multiplier": 2.0, "epochs_multiplier": 1.0})
    known = {"backbone": BEST.key, "strategy": "finetune", "settings": had}
    finished = optuna.trial.create_trial(value=0.5, user_attrs=known)
    assert config.was_that_of(finished) == same
    assert not dataclasses.replace(config, strategy="probe").was_that_of(finished)
    assert not dataclasses.replace(config, backbone=SECOND.key).was_that_of(finished)


def test_backbones_that_are_behind_by_prior_too_wait_for_the_best_ones_portfolio():
    rival, behind = dataclasses.replace(SECOND, prior=0.6), dataclasses.replace(THIRD, prior=0.4)
    order = [config.backbone for config in space([BEST, behind, rival]).portfolio()]
    own = order.count(BEST.key)
    first_rival, last_own = order.index(rival.key), len(order) - 1 - order[::-1].index(BEST.key)
    assert own > 2
    assert first_rival < last_own < order.index(behind.key)
    assert order.count(behind.key) == 1 < order.count(rival.key)


def test_first_is_the_published_recipe_of_the_best_backbone():
    first = next(space().portfolio())
    assert (first.backbone, first.strategy) == (BEST.key, "finetune")
    published = {"learning_rate_multiplier": 1.0, "epochs_multiplier": 2.0, "frozen_fraction": 0.5}
    assert first.settings.items() >= published.items()  # an image's, half frozen, which takes as long as its whole one
    assert abs(first.settings["layer_decay"] - BEST.recipe.layer_decay) <= 0.05 + 1e-9


def test_every_backbone_and_strategy_gets_its_turn_once_each():
    configs = list(space().portfolio())
    assert {(config.backbone, config.strategy) for config in configs} == {
        (one.key, strategy) for one in (BEST, SECOND, THIRD) for strategy in ("finetune", "probe")
    }
    assert len({tuple(sorted(config.flat.items())) for config in configs}) == len(configs)
    first = [config.backbone for config in configs[:4]]
    assert first == [BEST.key, BEST.key, SECOND.key, THIRD.key]


def test_sampled_configurations_are_complete_and_flat_ones_lead_back():
    tried, trials = space(), study()
    strategies = {"finetune": Finetune(), "probe": Probe()}
    seen = set()
    for _ in range(40):
        config = tried.suggest(trials.ask())
        context = tried.context(config.backbone)
        wanted = {parameter.name for parameter in strategies[config.strategy].parameters(context)}
        assert set(config.settings) == wanted
        assert config.flat == {"backbone": config.backbone, "strategy": config.strategy, **config.settings}
        assert tried.work(config).passes >= 0
        seen.add((config.backbone, config.strategy))
    assert len(seen) == 6


def within(parameter, value):
    return value in parameter.options if isinstance(parameter, Choice) else parameter.low <= value <= parameter.high


@settings(deadline=None)
@given(
    data=st.data(),
    classes=st.integers(2, 40),
    rows=st.integers(80, 10**6),
    passes=st.floats(0.1, 1000.0),
    augments=st.booleans(),
    doubtful=st.booleans(),
)
def test_any_numbers_from_0_to_1_are_settings_in_their_declared_ranges(data, classes, rows, passes, augments, doubtful):
    strategies, regularizers = plugins().strategies, plugins().regularizers
    tried = space(
        (BEST, SECOND), strategies, regularizers,
        classes=classes, rows=rows, passes=passes, augments=augments, doubtful=doubtful,
    )  # fmt: skip

    class Drawn(optuna.trial.FixedTrial):
        """Whatever it is asked for, it says a number that nobody has thought of."""

        def suggest_float(self, name, low, high, **_):
            return data.draw(st.floats(low, high), label=name)

        def suggest_categorical(self, name, choices):
            return data.draw(st.sampled_from(choices), label=name)

    config = tried.suggest(Drawn({}))
    context = tried.context(config.backbone)
    declared = {parameter.name: parameter for one in strategies for parameter in one.parameters(context)
                if one.name == config.strategy}  # fmt: skip
    declared |= {one.name: one.strengths(context) for one in regularizers if one.name not in declared}
    assert all(within(declared[name], value) for name, value in config.settings.items())
    assert tried.work(config).passes >= 0
    units = tried.units(config)
    assert all(0 <= unit <= 1 for unit in units.values() if not isinstance(unit, str))


@pytest.mark.parametrize("augments", [True, False])
def test_no_more_than_eight_dimensions_are_chosen_at_once_and_few_regularizers_changed(augments):
    """Beside backbone and strategy, regularizers left out; of these a trial has two that are not as usual."""
    known = plugins().regularizers
    tried, trials = space(augments=augments, regularizers=known, rows=4000), study()
    changed = []
    for _ in range(60):
        config = tried.suggest(trials.ask())
        context = tried.context(config.backbone)
        usual = {one.name: one.usual(context) for one in known if one.name in config.settings}
        assert len(config.settings) - len(usual) <= 6
        if usual:
            changed.append(sum(config.settings[name] != value for name, value in usual.items()))
    assert 0.5 < np.mean(changed) <= 2.0


def test_what_a_trial_will_compute_follows_from_its_settings():
    tried = space()
    first = next(tried.portfolio())
    frozen = dataclasses.replace(first, settings={**first.settings, "frozen_fraction": 0.75})
    short = dataclasses.replace(first, settings={**first.settings, "epochs_multiplier": 0.5})
    assert tried.work(frozen).frozen_fraction == 0.75
    assert tried.work(short).passes == pytest.approx(tried.work(first).passes / 4)
    assert tried.work(first).augment == first.settings["augment"]


PUBLISHED = next(space().portfolio()).settings


def test_what_past_runs_say_comes_after_the_published_recipe_and_before_other_backbones():
    tried = space()
    own = list(tried.portfolio())
    fast = tried.adapted(BEST.key, "finetune", {**PUBLISHED, "learning_rate_multiplier": 3.0})
    probe = tried.adapted(BEST.key, "probe", {"penalty_multiplier": 3.0})
    learned = [fast, own[0], probe, fast]
    configs = list(tried.portfolio(learned))
    assert configs[:3] == [own[0], fast, probe]
    assert configs[3:] == [config for config in own if config.backbone != BEST.key]
    assert list(tried.portfolio([])) == own


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({}, {}),
        ({"epochs_multiplier": 1.5, "zeal": 3.0}, {"epochs_multiplier": 1.5}),
        ({"layer_decay": 0.7, "learning_rate_multiplier": 99.0}, {}),
        ({"schedule": "cosine", "frozen_fraction": "half"}, {"schedule": "cosine"}),
    ],
)
def test_settings_from_elsewhere_are_made_to_fit_by_the_published_recipe(settings, changed):
    assert space().adapted(BEST.key, "finetune", settings).settings == {**PUBLISHED, **changed}


def test_strategy_that_is_not_here_or_does_not_apply_fits_nothing():
    tried = space([BEST], [Nowhere({}), Probe()])
    assert tried.adapted(BEST.key, "elsewhere", {"rate": 0.5}) is None
    assert tried.adapted(BEST.key, "nowhere", {"rate": 0.5, "kind": "a"}) is None


@pytest.mark.parametrize(
    ("modality", "passes", "depths"),
    [("image", 1.0, [0.5, 0.0]), ("image", 1000.0, [0.5, 0.0]), ("text", 1.0, [0.0, 0.5])],
)
def test_both_freeze_depths_go_first_and_take_equally_long(modality, passes, depths):
    """Before images, the lower half is frozen first, whatever the budget."""
    one = dataclasses.replace(BEST, modality=modality)
    tried = space([one], passes=passes)
    configs = [config for config in tried.portfolio() if config.strategy == "finetune"][:2]
    assert [config.settings["frozen_fraction"] for config in configs] == depths
    lengths = {config.settings["frozen_fraction"]: tried.work(config).passes for config in configs}
    assert lengths[0.5] == pytest.approx(2 * lengths[0.0])
    assert [tried.units(config) for config in configs]  # both lie within the space


class Odd(Strategy):
    """A strategy whose portfolio is `settings`."""

    name = "odd"

    def __init__(self, settings):
        self.settings = settings

    def parameters(self, context):
        return [Real("rate", 0.1, 1.0), Choice("kind", ("a", "b"))]

    def portfolio(self, context):
        return [self.settings]

    def work(self, context, settings):
        return Work(1.0)

    def fit(self, trial):
        yield from ()


def test_strategy_of_somebody_else_takes_part():
    configs = list(space([BEST], [Odd({"rate": 0.5, "kind": "a"})]).portfolio())
    assert [config.flat for config in configs] == [{"backbone": BEST.key, "strategy": "odd", "rate": 0.5, "kind": "a"}]


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"rate": 0.5}, "kind"),
        ({"rate": 0.5, "kind": "a", "speed": 1.0}, "speed"),
        ({"rate": 5.0, "kind": "a"}, "rate"),
        ({"rate": "fast", "kind": "a"}, "rate"),
        ({"rate": float("nan"), "kind": "a"}, "rate"),
        ({"rate": 0.5, "kind": "c"}, "kind"),
    ],
)
def test_portfolio_that_does_not_fit_its_parameters_names_strategy_and_parameter(settings, wrong):
    with pytest.raises(PluginError, match=rf"strategy 'odd'.*\({wrong}\)"):
        list(space([BEST], [Odd(settings)]).portfolio())


def test_a_trial_that_is_taken_up_again_keeps_its_settings_whatever_its_strategy_says_by_now():
    class Moody(Odd):
        """Has another parameter, and none of those before, where transfer is in doubt."""

        name = "moody"

        def parameters(self, context):
            return [Real("zeal", 0.1, 1.0)] if context.doubtful else super().parameters(context)

    trials, strategies = study(), [Moody({"rate": 0.5, "kind": "a"})]
    trial = trials.ask()
    config = space([BEST], strategies).suggest(trial)
    again = optuna.Trial(trials, trial._trial_id)
    assert set(config.settings) == {"rate", "kind"}
    assert space([BEST, SECOND], strategies, doubtful=True).suggest(again) == config


class Nowhere(Odd):
    name = "nowhere"

    def parameters(self, context):
        return []


def test_strategy_that_does_not_apply_is_left_out():
    tried, trials = space([BEST], [Nowhere({}), Probe()]), study()
    assert {config.strategy for config in tried.portfolio()} == {"probe"}
    assert {tried.suggest(trials.ask()).strategy for _ in range(10)} == {"probe"}


class OnlyBest(Odd):
    """Applies to one backbone alone."""

    name = "only-best"

    def parameters(self, context):
        return super().parameters(context) if context.candidate == BEST else []


@pytest.mark.parametrize("order", [(BEST, SECOND), (SECOND, BEST)])
def test_strategy_that_applies_to_some_backbones_is_tried_with_those_alone(order):
    tried, trials = space(order, [Probe(), OnlyBest({"rate": 0.5, "kind": "a"})]), study()
    for config in tried.portfolio():
        trials.enqueue_trial(tried.units(config))
    configs = [tried.suggest(trials.ask()) for _ in range(40)]
    of = {config.backbone for config in configs if config.strategy == "only-best"}
    assert of == {BEST.key}
    assert all(config.settings for config in configs)


def test_new_weights_are_tried_only_where_transfer_is_in_doubt_and_then_early():
    assert "scratch" not in {config.strategy for config in space().portfolio()}
    assert [config.strategy for config in space(doubtful=True).portfolio()][:3] == ["finetune", "probe", "scratch"]
    tried = space(doubtful=True)
    for config in tried.portfolio():
        assert tried.begins_pretrained(config) == (config.strategy != "scratch")
        assert config.strategy != "scratch" or not {"l2_sp", "reinit_top"} & config.settings.keys()


def test_past_runs_do_not_take_the_place_of_what_learns_from_a_teacher():
    class Pupil(Finetune):
        name = "pupil"
        weight = 3.0

        def parameters(self, context):
            return super().parameters(context) if context.teacher else []

    strong = dataclasses.replace(SECOND, prior=0.6)
    contexts = {
        one.key: dataclasses.replace(space((BEST, strong)).context(one.key), teacher=True) for one in (BEST, strong)
    }
    taught = Space([BEST, strong], [Finetune(), Probe(), Pupil()], [], contexts)
    learned = taught.adapted(BEST.key, "probe", {"penalty_multiplier": 3.0})
    order = list(taught.portfolio([learned]))
    assert [config.strategy for config in order[:2]] == ["finetune", "pupil"]
    ours = [config.backbone == BEST.key for config in order]
    assert order.index(learned) < ours.index(False) == sum(ours)
    order = [(config.backbone, config.strategy) for config in taught.portfolio()]
    assert order[:3] == [(BEST.key, "finetune"), (BEST.key, "pupil"), (strong.key, "finetune")]


def test_a_regularizer_that_would_be_taken_for_something_else_is_left_out():
    class Odd:
        step_cost = 1.0

        def __init__(self, name, called=None):
            self.name, self.called = name, called or name

        def strengths(self, context):
            return Choice(self.called, (0.0, 0.1))

        def usual(self, context):
            return 0.0

    odd = [Odd("augment"), Odd("score"), Odd("calm", "other"), Odd("fine")]
    contexts = {BEST.key: dataclasses.replace(space().context(BEST.key))}
    augmenting = {key: dataclasses.replace(context, augments=True) for key, context in contexts.items()}
    found = vetted([Finetune(), Probe()], odd, [BEST], augmenting)
    assert [regularizer.name for regularizer in found.regularizers] == ["fine"]
    assert [strategy.name for strategy in found.strategies] == ["finetune", "probe"]
    assert len(found.complaints) == 3


def test_a_strategy_whose_parameter_became_another_kind_is_left_out():
    class Changed(Probe):
        name = "changed"

        def parameters(self, context):
            return [Choice("penalty", ("weak", "strong"))]

        def portfolio(self, context):
            return [{"penalty": "weak"}]

    contexts = {BEST.key: space().context(BEST.key)}
    both = Space([BEST], [Finetune(), Changed()], [], contexts)
    assert both.leave_out_changed({"penalty": True, "schedule": True}) == []
    assert both.leave_out_changed({"penalty": False}) == ["changed"]
    assert {config.strategy for config in both.portfolio()} == {"finetune"}


def test_a_teacher_from_whom_nobody_learns_is_told():
    class Pupil(Probe):
        name = "pupil"

        def parameters(self, context):
            return super().parameters(context) if context.teacher else []

    for strategies, told in (((Finetune(), Probe()), 1), ((Finetune(), Pupil()), 0)):
        for teacher in (False, True):
            contexts = {BEST.key: dataclasses.replace(space().context(BEST.key), teacher=teacher)}
            complaints = vetted(strategies, [], [BEST], contexts).complaints
            assert sum("learns from a teacher" in text for text in complaints) == told * teacher


def test_strategies_of_less_weight_wait_and_are_drawn_less_often():
    class Rare(Probe):
        name, weight = "rare", 0.25

    tried, trials = space(candidates=[BEST], strategies=[Finetune(), Rare()]), study()
    order = [config.strategy for config in tried.portfolio()]
    assert order == ["finetune", "finetune", "finetune", "finetune", "rare"]
    drawn = [tried.suggest(trials.ask()).strategy for _ in range(200)]
    assert 20 < drawn.count("rare") < 65
    # the part of one that applies nowhere is nobody's
    tried, trials = space(candidates=[BEST], strategies=[Finetune(), Nowhere({}), Scratch(), Rare()]), study()
    drawn = [tried.suggest(trials.ask()).strategy for _ in range(200)]
    assert 20 < drawn.count("rare") < 65


def test_trial_that_is_taken_up_again_keeps_its_strategy_though_plugins_changed():
    class Newcomer(Probe):
        name = "newcomer"

    trials = study()
    trial = trials.ask()
    before = space(candidates=[BEST]).suggest(trial)
    again = optuna.Trial(trials, trial._trial_id)
    after = space(candidates=[BEST], strategies=[Newcomer(), Finetune(), Probe()]).suggest(again)
    assert after == before


def test_a_backbone_that_has_no_turn_now_is_not_suggested_and_has_one_again():
    known = space()
    assert known.do_without([BEST.key, THIRD.key])
    assert {known.suggest(study(seed).ask()).backbone for seed in range(20)} == {SECOND.key}
    assert not known.offers(TrialConfig(BEST.key, "finetune", {}))
    assert not known.do_without([BEST.key, SECOND.key, THIRD.key])
    assert known.do_without(())
    assert {known.suggest(study(seed).ask()).backbone for seed in range(40)} == {BEST.key, SECOND.key, THIRD.key}


def test_networks_of_one_stage_begin_with_the_published_recipe_and_freeze_nothing():
    known = Finetune()
    context = StrategyContext(BEST, 1000, (500, 500), "accuracy", True, 2.0)
    first, *_ = known.portfolio(context)
    assert (first["frozen_fraction"], first["epochs_multiplier"]) == (0.5, 2.0)
    whole = dataclasses.replace(context, stages=1)
    first, *others = known.portfolio(whole)
    assert (first["frozen_fraction"], first["epochs_multiplier"], first["layer_decay"]) == (0.0, 1.0, 1.0)
    assert all(recipe["frozen_fraction"] == 0.0 and recipe != first for recipe in others)
    assert not Gradual().parameters(whole)
    assert not Surgical().parameters(whole)
