"""LoRA and (IA)^3: little is trained, the rest stays, and what comes out is a plain network."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from autotl_peft.layers import adapt, linear_layers, merge
from safetensors.torch import load_file

from autotl.errors import TrialError
from autotl.plugins.contracts import Choice
from autotl.plugins.manager import plugins
from autotl.search.fitting import fit
from autotl.testing import check_plugin, check_strategy
from autotl.training.model import Classifier, save_model
from autotl.training.rungs import RUNGS
from autotl.training.settings import Settings

STRATEGIES = ["lora", "ia3"]

#: What another process does with saved models, which is told that there is no peft.
PREDICT = """
import json
import sys
sys.modules["peft"] = None
import numpy as np
from pathlib import Path
from autotl.features.rows import EncodedRows
from autotl.features.precision import Precision
from autotl.features.store import FeatureStore
from autotl.plugins.manager import plugins
from autotl.training.model import load_model
import torch
torch.set_num_threads(1)
for name, folder, cells, out in json.loads(sys.argv[1]):
    family = plugins().family(name)
    model, encoder = load_model(family, Path(folder))
    rows = EncodedRows(encoder, cells, modality=family.modality, store=FeatureStore(None))
    np.save(out, model.logits(rows, rows.readable(np.arange(len(cells))), Precision(), torch.device("cpu")))
"""


def finished(bench, strategy, **how):
    trial = bench.trial(strategy, **how)
    rungs = [progress.permille for progress in fit(trial, strategy)]
    trial.settings.check_all_read()
    assert rungs[-1] == 1000
    return trial


def weights(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def logits(bench, model):
    return model.logits(bench.frozen.rows, bench.train, bench.frozen.precision, torch.device("cpu"))


def linear_weights(backbone):
    """Names in the state of whatever adapters may change."""
    found = {name for name, module in backbone.named_modules() if isinstance(module, torch.nn.Linear)}
    return {f"{name}.{part}" for name in found for part in ("weight", "bias")}


def test_plugin_brings_both_and_imports_neither_torch_nor_peft():
    code = (
        "import sys, autotl_peft; from autotl.plugins.hookspecs import PluginContext; "
        "print([s.name for s in autotl_peft.autotl_strategies(PluginContext('0'))], "
        "{'torch', 'peft', 'transformers'} & set(sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "['lora', 'ia3'] set()"
    assert [record.state for record in plugins().records if record.name == "peft"] == ["on"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_less_than_three_percent_of_the_parameters_are_trained(bench, strategy, tmp_path):
    """A checkpoint holds what is trained; these networks have no batch statistics that would be in it too."""
    file = tmp_path / "state.safetensors"
    trial = bench.trial(strategy, checkpoint=file)
    next(fit(trial, strategy))
    trained = sum(tensor.numel() for name, tensor in load_file(file).items() if name.startswith("weights"))
    assert 0 < trained < 0.03 * sum(parameter.numel() for parameter in trial.model.parameters())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_merged_network_answers_as_the_adapted_one(bench, strategy):
    trial = bench.trial(strategy)
    backbone, (_, head) = trial.load_backbone(), trial.probes.penalty_and_head(bench.frozen)
    layers = linear_layers(backbone, trial, 0)
    adapters = adapt(backbone, plugins().strategy(strategy).config(layers, trial.settings), seed=0)
    adapted, plain = Classifier(backbone, head), Classifier(trial.load_backbone(), head)
    before = logits(bench, plain)
    np.testing.assert_allclose(logits(bench, adapted), before, atol=1e-5)  # they begin at nothing
    with torch.no_grad():
        for parameter in backbone.parameters():
            if id(parameter) in adapters:
                parameter += 0.1 * torch.randn_like(parameter)
    merge(adapted, plain)
    np.testing.assert_allclose(logits(bench, plain), logits(bench, adapted), rtol=1e-5, atol=1e-5)
    assert np.abs(logits(bench, plain) - before).max() > 1e-2
    assert type(plain.backbone) is type(bench.frozen.backbone)
    assert list(plain.state_dict()) == list(Classifier(bench.frozen.backbone, head).state_dict())


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("frozen_fraction", [0.0, 0.5])
def test_only_linear_layers_of_trained_stages_change(bench, strategy, frozen_fraction):
    trial = finished(bench, strategy, frozen_fraction=frozen_fraction)
    published, tuned = weights(bench.frozen.backbone), weights(trial.model.backbone)
    changed = {name for name in published if not torch.equal(published[name], tuned[name])}
    may = {
        name
        for name in linear_weights(bench.frozen.backbone)
        if int(name.split(".")[1]) >= frozen_fraction * len(bench.frozen.backbone.stages)
    }
    assert changed
    assert changed <= may
    assert any(name.startswith(f"stages.{len(bench.frozen.backbone.stages) - 1}.") for name in changed)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_training_learns_what_the_table_teaches(make_bench, strategy):
    bench = make_bench("bert")
    trial = bench.trial(strategy, epochs_multiplier=0.3)
    losses = [progress.details["loss"] for progress in fit(trial, strategy)]
    assert losses[-1] < losses[0]
    assert (logits(bench, trial.model).argmax(1) == bench.targets).mean() > 0.9


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_training_that_was_put_down_ends_as_if_it_had_not_been(bench, strategy, tmp_path):
    whole = finished(bench, strategy, drop=0.2).model
    file = tmp_path / "state.safetensors"
    begun = bench.trial(strategy, checkpoint=file, drop=0.2)
    for progress in fit(begun, strategy):
        if progress.permille == 333:
            break
    resumed = bench.trial(strategy, checkpoint=file, drop=0.2)
    assert [progress.permille for progress in fit(resumed, strategy)] == [r for r in RUNGS if r > 333]
    ended = weights(resumed.model)
    assert all(torch.equal(tensor, ended[name]) for name, tensor in weights(whole).items())
    assert any(not torch.equal(tensor, ended[name]) for name, tensor in weights(begun.model).items())


def test_saved_models_predict_where_peft_cannot_be_imported(make_bench, tmp_path):
    asked, expected = [], []
    for kind in ("bert", "vit"):
        bench = make_bench(kind)
        trial = finished(bench, "lora")
        save_model(trial.model, bench.family, bench.frozen.rows.encoder, tmp_path / kind)
        cells, out = [bench.frozen.rows._cells[row] for row in range(4)], tmp_path / f"{kind}.npy"
        asked.append((bench.family.name, str(tmp_path / kind), cells, str(out)))
        expected.append(logits(bench, trial.model)[:4])
    subprocess.run([sys.executable, "-c", PREDICT, json.dumps(asked)], check=True)
    for (*_, out), ours in zip(asked, expected, strict=True):
        np.testing.assert_allclose(np.load(out), ours, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_training_in_bf16_gives_a_plain_network_in_fp32(make_bench, strategy):
    bench = make_bench("bert", bf16=True)
    model = finished(bench, strategy).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert np.isfinite(logits(bench, model)).all()


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_regularizers_work_on_adapters(make_bench, strategy):
    bench = make_bench("bert")
    plain = weights(finished(bench, strategy).model)
    for regularizer in ("l2_sp", "r_drop", "drop"):
        strength = 0.2 if regularizer == "drop" else 1.0
        other = weights(finished(bench, strategy, **{regularizer: strength}).model)
        assert any(not torch.equal(plain[name], other[name]) for name in plain), regularizer


def test_layers_that_the_network_multiplies_by_itself_are_left_out(make_bench):
    bench = make_bench("vit")
    trial = bench.trial("lora")
    layers = linear_layers(trial.load_backbone(), trial, 0)
    last = len(bench.frozen.backbone.stages) - 1
    joint = sorted(name for name in layers if name.endswith("qkv"))
    assert joint
    assert not any(name.startswith(f"{last}.") for name in joint)
    assert any(name.startswith(f"{last}.") and name.endswith("fc2") for name in layers)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_convolutional_networks_are_not_for_adapters(make_bench, strategy):
    bench = make_bench("resnet")
    assert plugins().strategy(strategy).parameters(bench.context) == []
    trial = bench.trial(strategy)
    with pytest.raises(TrialError, match=r"timm/resnet has no linear layers above stage 0"):
        next(fit(trial, strategy))


@pytest.mark.parametrize(
    ("width", "ranks"),
    [(64, (4.0,)), (192, (4.0,)), (384, (4.0, 8.0)), (768, (4.0, 8.0, 16.0))],
)
def test_ranks_go_with_the_width(make_bench, width, ranks):
    context = make_bench("bert").context
    context = replace(context, candidate=replace(context.candidate, width=width))
    (rank,) = (one for one in plugins().strategy("lora").parameters(context) if one.name == "rank")
    assert isinstance(rank, Choice)
    assert rank.options == ranks
    assert plugins().strategy("lora").portfolio(context)[0]["rank"] == min(ranks[-1], 8.0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_forecasts_know_its_steps_by_its_name(make_bench, strategy):
    context = make_bench("bert").context
    known = plugins().strategy(strategy)
    work = known.work(context, known.portfolio(context)[0])
    assert work.method == strategy
    short = known.portfolio(replace(context, passes=1.0))[0]
    assert known.work(context, short).frozen_fraction == 0.5


def test_plugin_and_strategies_keep_their_contracts():
    check_plugin("peft")
    for strategy in STRATEGIES:
        check_strategy(plugins().strategy(strategy))


@pytest.mark.parametrize(("asked", "rank"), [(4.0, 4), (8.0, 8), (16.0, 8)])
def test_the_scale_is_one_for_all_ranks_and_no_rank_is_too_large_for_its_layers(asked, rank):
    """Two towers say that they are four times as wide as their layers."""
    config = plugins().strategy("lora").config({"layer": torch.nn.Linear(384, 1536)}, Settings({"rank": asked}))
    assert (config.r, config.lora_alpha) == (rank, 16)
