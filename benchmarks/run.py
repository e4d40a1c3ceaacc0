"""All benchmarks: ``python3 tasks.py benchmarks``. Prints tables of ratios and writes them as JSON."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from contest import Result, machine
from feature_passes import image_pass, text_pass
from forecasts import ROWS, forecast_errors
from material import HERE, image_table, text_candidate, text_table
from training_steps import BATCH, STEPS, beside_trainer, frozen_steps, step_benches
from warm_start import second_search

from autotl.usage import keep_freed_memory

PARTS = ("images", "texts", "steps", "trainer", "second", "forecasts")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, help="folder with data/ and zoo/; without it made-up images are used")
    parser.add_argument("--only", nargs="*", choices=PARTS, default=PARTS, help="parts to run (default: all)")
    parser.add_argument("--out", type=Path, default=HERE / "results.json", help="where to write the figures")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    keep_freed_memory()  # as AutoTL's processes do; all contenders gain by it here
    figures: dict[str, Any] = {"machine": machine(), "results": [], "forecasts": []}
    print("  ".join(f"{name} {value}" for name, value in figures["machine"].items()), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for outcome in _run(options.only, options.shared, Path(folder)):
            if isinstance(outcome, Result):
                _print(outcome)
                ratios = {key: round(outcome.ratio(key), 3) for key in outcome.seconds}
                figures["results"].append({**asdict(outcome), "ratios": ratios})
            else:
                figures["forecasts"].append(outcome)
                _print_errors(outcome["table"], [outcome])
            options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if len(figures["forecasts"]) > 1:
        _print_errors("all", figures["forecasts"])
    print(f"\nwritten to {options.out}")


def _run(parts: list[str], shared: Path | None, folder: Path) -> Iterator[Result | dict[str, Any]]:
    encoder = Path(text_candidate().location)
    if "images" in parts:
        table = image_table(shared, folder, rows=384)
        for architecture in ("mobilenetv2_035", "mobilenetv2_100"):
            yield image_pass(shared, table, architecture, f"{architecture}.keras_in1k", folder)
    texts = [text_table(shared, name) for name in (("trec6", "sst2") if shared else ("",))]
    if "texts" in parts:
        for texts_table in texts:
            yield text_pass(texts_table.first(2000))
    if "steps" in parts:
        images = image_table(shared, folder, rows=STEPS * BATCH)
        for name, bench in step_benches(shared, images, texts[0], folder):
            yield frozen_steps(bench, name)
    if "trainer" in parts:
        yield from beside_trainer(texts[0].first(1280))
    if "second" in parts:
        yield from second_search(texts[0], encoder)
        if shared:
            yield from second_search(image_table(shared, folder, rows=1), shared / "zoo")
    if "forecasts" in parts:
        yield forecast_errors(texts[0], encoder, trials=15)
        if shared:
            yield forecast_errors(image_table(shared, folder, rows=ROWS), shared / "zoo", trials=15)


def _print_errors(name: str, outcomes: Sequence[dict[str, Any]]) -> None:
    errors = [error for outcome in outcomes for error in outcome["errors"]]
    to_their_end = sum(outcome["to their end"] for outcome in outcomes)
    words = f"median error {statistics.median(errors):.1%}, at most {max(errors):.1%}"
    print(f"\nforecasts, {name}: {words}, over {len(errors)} trials, {to_their_end} to their end", flush=True)


def _print(result: Result) -> None:
    print(f"\n{result.name}  ({result.note})")
    for contender, seconds in result.seconds.items():
        print(f"  {contender:24s} {result.rows / seconds:10.1f} rows/s   {result.ratio(contender):6.2f} x", flush=True)


if __name__ == "__main__":
    main()
