"""Training steps: with frozen stages from the store beside full ones, and whole fine-tunings beside the Trainer."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from contest import Contender, Result, contest
from material import DEVICE, Bench, Table, image_candidate, text_candidate

from autotl.features.boundary import Boundary, stage_at
from autotl.features.device import wait_for
from autotl.features.heads import LinearHead
from autotl.features.store import FeatureStore
from autotl.training.loop import Plan, train
from autotl.training.model import Classifier
from autotl.training.optimizer import AdamW, parameter_groups
from autotl.training.step import Stepper
from autotl.training.trial import Trial

BATCH = 32

#: Steps a round: enough to see the pace, little enough for five rounds of a ViT-S.
STEPS = 2 if DEVICE.type == "cpu" else 20


def frozen_steps(bench: Bench, name: str) -> Result:
    """Half, three quarters and all but the last of the stages frozen, their output in the store."""
    frozen = bench.look(FeatureStore(bench.cache))
    trial = bench.trial(frozen)
    last = frozen.last
    depths = {
        "all trained": 0,
        "half frozen": stage_at(0.5, frozen.backbone),
        "3/4 frozen": stage_at(0.75, frozen.backbone),
        "last trained": last - 1,
    }
    contenders = {label: Contender(_steps(bench, trial, depth)) for label, depth in depths.items()}
    note = f"{last} stages, batches of {BATCH}"
    return contest(f"steps, {name}", contenders, reference="all trained", rows=STEPS * BATCH, note=note)


def _steps(bench: Bench, trial: Trial, depth: int):  # type: ignore[no-untyped-def]
    backbone = bench.family.load(bench.candidate)
    model = Classifier(backbone, _no_head(backbone.width, trial.outputs)).to(DEVICE)
    boundary = Boundary(trial.frozen, depth, trial.train, augment=0.0, passes=1000.0)
    assert boundary.kept or not depth, "the store has no room for this benchmark"
    groups = parameter_groups(model, depth, learning_rate=1e-4, layer_decay=1.0, weight_decay=0.01)
    optimizer = AdamW(groups)
    stepper = Stepper(model, trial, boundary)
    stepper.settle(optimizer, BATCH)
    generator = torch.Generator().manual_seed(0)
    order = np.random.default_rng(0).permutation(trial.train)
    for start in range(0, len(order), BATCH):  # what is below the boundary is in the store before the clock starts
        boundary.batch(order[start : start + BATCH], 0, generator)

    def run(_: object) -> None:
        for group in optimizer.param_groups:
            group["lr"] = 1e-5
        for step in range(STEPS):
            stepper.step(optimizer, order[step * BATCH : (step + 1) * BATCH], 0, generator)
        wait_for(DEVICE)

    return run


def _no_head(width: int, classes: int) -> LinearHead:
    return LinearHead.zeros(width, classes)


def step_benches(shared: Path | None, images: Table, texts: Table, folder: Path) -> list[tuple[str, Bench]]:
    """ViT-S and ResNet-50 with random weights, MobileNetV2-1.0 and MiniLM with their own."""
    few = images.first(STEPS * BATCH)
    vit = image_candidate(None, "vit_small_patch16_224", "", folder)
    resnet = image_candidate(None, "resnet50", "", folder)
    mobile = image_candidate(shared, "mobilenetv2_100", "mobilenetv2_100.keras_in1k", folder)
    return [
        ("ViT-S, 224 px", Bench(vit, few)),
        ("ResNet-50, 224 px", Bench(resnet, few, side=224)),
        ("MobileNetV2-1.0, 160 px", Bench(mobile, few, side=160)),
        ("MiniLM", Bench(text_candidate(), texts.first(STEPS * BATCH))),
    ]


def beside_trainer(table: Table, *, epochs: float = 1.0) -> list[Result]:
    """Fine-tuning all of MiniLM for the same steps: the Trainer with its defaults, and with bf16 and length groups."""
    bench = Bench(text_candidate(), table)
    frozen = bench.look(FeatureStore(bench.cache))
    trial = bench.trial(frozen)
    rows = len(trial.train)
    plan = Plan(
        epochs=epochs,
        batch_size=BATCH,
        learning_rate=5e-5,
        layer_decay=1.0,
        weight_decay=0.0,
        schedule="linear",
        frozen_stages=0,
        augment=0.0,
    )

    def ours(model: Classifier) -> None:
        for _ in train(model, trial, plan):
            pass

    def new_model() -> Classifier:
        backbone = bench.family.load(bench.candidate)
        return Classifier(backbone, _no_head(backbone.width, trial.outputs)).to(DEVICE)

    ours(new_model())  # the race of precisions is once a machine
    contenders = {
        "Trainer, defaults": Contender(lambda trainer: trainer.train(), lambda: _trainer(table, epochs, tuned=False)),
        "Trainer, bf16, groups": Contender(
            lambda trainer: trainer.train(), lambda: _trainer(table, epochs, tuned=True)
        ),
        "AutoTL": Contender(ours, new_model),
    }
    result = contest(
        f"fine-tuning, MiniLM, {table.name}", contenders, reference="Trainer, defaults", rows=round(rows * epochs),
        note=f"{round(rows * epochs / BATCH)} steps of {BATCH}",
    )  # fmt: skip
    return [result]


def _trainer(table: Table, epochs: float, *, tuned: bool):  # type: ignore[no-untyped-def]
    import transformers

    transformers.logging.set_verbosity_error()
    folder = text_candidate().location
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=int(table.labels.max()) + 1
    )
    tokens = tokenizer(table.cells, truncation=True, max_length=128)
    examples = [
        {"input_ids": ids, "attention_mask": mask, "labels": int(label)}
        for ids, mask, label in zip(tokens["input_ids"], tokens["attention_mask"], table.labels, strict=True)
    ]
    grouped = {"bf16": True, "train_sampling_strategy": "group_by_length"} if tuned else {}
    settings = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(), num_train_epochs=epochs, per_device_train_batch_size=BATCH, save_strategy="no",
        logging_strategy="no", report_to=[], use_cpu=DEVICE.type == "cpu", disable_tqdm=True, **grouped,
    )  # fmt: skip
    return transformers.Trainer(
        model=model,
        args=settings,
        train_dataset=examples,
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
    )
