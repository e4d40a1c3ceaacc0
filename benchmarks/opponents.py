"""What people write instead: Optuna around Hugging Face's Trainer, or around a training loop with timm.

Each in two forms: as tutorials have it, and well set (bf16, length groups, or decoded images at the size that they
have, channels last, pruning). ``python opponents.py FORM MODELS TRAIN TEST SECONDS SEED START`` prints a JSON line
whenever its best model by validation changes: the seconds since START, when the process was asked for on the monotonic
clock, and the accuracy on the test rows, whose prediction is not charged. A trial's model counts from the trial's end:
before that there is nothing to use.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from race import Race, read

#: Rows kept for validation, as `train_test_split(test_size=0.2)` does.
VALIDATION = 0.2

BATCH = 32


def texts(models: Path, train: Path, test: Path, race: Race, seed: int, *, tuned: bool) -> None:
    """Optuna around the Trainer: rate, batch size and epochs as in its documentation's example."""
    import transformers

    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(models)
    (cells, names), (test_cells, test_names) = read(train), read(test)
    classes = sorted(set(names))

    def examples(cells: list[str], names: list[str]) -> list[dict[str, Any]]:
        padding = {} if tuned else {"padding": "max_length"}
        tokens = tokenizer(cells, truncation=True, max_length=128, **padding)
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": classes.index(name)}
            for ids, mask, name in zip(tokens["input_ids"], tokens["attention_mask"], names, strict=True)
        ]

    order = np.random.default_rng(seed).permutation(len(cells))
    cut = round(VALIDATION * len(cells))
    data, test_data = examples(cells, names), examples(test_cells, test_names)
    valid, training = [data[i] for i in order[:cut]], [data[i] for i in order[cut:]]

    class Stop(transformers.TrainerCallback):  # type: ignore[misc]
        def __init__(self, trial: optuna.Trial) -> None:
            self.trial = trial

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            control.should_training_stop = race.left <= 0

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **rest: Any) -> None:
            self.trial.report(metrics["eval_accuracy"], round(state.epoch))
            if tuned and self.trial.should_prune():
                control.should_training_stop = True

    def objective(trial: optuna.Trial) -> float:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(models, num_labels=len(classes))
        extra = {"bf16": True, "train_sampling_strategy": "group_by_length"} if tuned else {}
        settings = transformers.TrainingArguments(
            output_dir=f"/tmp/trainer-{seed}", learning_rate=trial.suggest_float("rate", 1e-5, 2e-4, log=True),
            num_train_epochs=trial.suggest_int("epochs", 2, 4), per_device_train_batch_size=BATCH, seed=seed,
            per_device_eval_batch_size=64, eval_strategy="epoch", save_strategy="no", logging_strategy="no",
            report_to=[], use_cpu=not torch.cuda.is_available(), disable_tqdm=True, **extra,
        )  # fmt: skip
        trainer = transformers.Trainer(
            model=model, args=settings, train_dataset=training, eval_dataset=valid, callbacks=[Stop(trial)],
            data_collator=transformers.DataCollatorWithPadding(tokenizer),
            compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())},
        )  # fmt: skip
        trainer.train()
        score = trainer.evaluate()["eval_accuracy"]
        race.finished(score, lambda: trainer.evaluate(test_data)["eval_accuracy"])
        return float(score)

    search(objective, race, seed)


def images(models: Path, train: Path, test: Path, race: Race, seed: int, *, tuned: bool) -> None:
    """Optuna around a loop with timm: network, rate and weight decay."""
    import timm
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    networks = sorted(path.name for path in models.iterdir() if (path / "config.json").is_file())
    (cells, names), (test_cells, test_names) = read(train), read(test)
    classes = sorted(set(names))
    order = np.random.default_rng(seed).permutation(len(cells))
    cut = round(VALIDATION * len(cells))
    decoded: dict[str, Any] = {}
    device = "cuda" if torch.cuda.is_available() else "cpu"

    class Files(torch.utils.data.Dataset[Any]):
        def __init__(self, cells: list[str], names: list[str], transform: Any) -> None:
            self.cells, self.names, self.transform = cells, names, transform

        def __len__(self) -> int:
            return len(self.cells)

        def __getitem__(self, index: int) -> Any:
            cell = self.cells[index]
            image = decoded.get(cell) or Image.open(cell).convert("RGB")
            if tuned:
                decoded[cell] = image
            return self.transform(image), classes.index(self.names[index])

    def accuracy(model: Any, loader: Any) -> float:
        model.eval()
        right = 0
        with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=tuned):
            for x, y in loader:
                right += int((model(place(x)).argmax(1).cpu() == y).sum())
        return right / len(loader.dataset)

    def place(x: torch.Tensor) -> torch.Tensor:
        x = x.to(device)
        return x.to(memory_format=torch.channels_last) if tuned else x

    side = min(max(Image.open(cells[0]).size), 224) // 32 * 32 if tuned else None

    def objective(trial: optuna.Trial) -> float:
        network = trial.suggest_categorical("network", networks)
        model = timm.create_model(f"local-dir:{models / network}", pretrained=True, num_classes=len(classes))
        settings, model = resolve_data_config({}, model=model), model.to(device)
        if side:
            model, settings["input_size"] = model.to(memory_format=torch.channels_last), (3, side, side)
        augment, plain = create_transform(**settings, is_training=True), create_transform(**settings)
        workers = 0 if tuned else 2  # decoded images live in this process

        def loader(cells: list[str], names: list[str], transform: Any, **how: Any) -> Any:
            how["multiprocessing_context"] = "fork" if workers else None  # which from Python 3.14 on has to be said
            return torch.utils.data.DataLoader(Files(cells, names, transform), BATCH, num_workers=workers, **how)

        training = loader([cells[i] for i in order[cut:]], [names[i] for i in order[cut:]], augment, shuffle=True)
        valid = loader([cells[i] for i in order[:cut]], [names[i] for i in order[:cut]], plain)
        rate, decay = (
            trial.suggest_float("rate", 1e-4, 3e-3, log=True),
            trial.suggest_float("decay", 1e-4, 0.1, log=True),
        )
        optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)
        epochs = trial.suggest_int("epochs", 3, 10)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=epochs * len(training) + 1)
        score = 0.0
        for epoch in range(epochs):
            model.train()
            for x, y in training:
                with torch.autocast(device, torch.bfloat16, enabled=tuned):
                    loss = torch.nn.functional.cross_entropy(model(place(x)).float(), y.to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                if race.left <= 0:
                    break
            score = accuracy(model, valid)
            trial.report(score, epoch)
            if race.left <= 0 or (tuned and trial.should_prune()):
                break
        race.finished(score, lambda: accuracy(model, loader(test_cells, test_names, plain)))
        return score

    search(objective, race, seed)


def search(objective: Callable[[optuna.Trial], float], race: Race, seed: int) -> None:
    """Trials until the time is up."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed), pruner=optuna.pruners.MedianPruner(2, 1)
    )
    while race.left > 0:
        study.optimize(objective, n_trials=1)


def main() -> None:
    form, models, train, test, seconds, seed, start = sys.argv[1:]
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.manual_seed(int(seed))
    modality, _, set_well = form.partition("-")
    race = Race(float(seconds), float(start))
    run = {"text": texts, "image": images}[modality]
    run(Path(models), Path(train), Path(test), race, int(seed), tuned=bool(set_well))
    race.over()


if __name__ == "__main__":
    main()
