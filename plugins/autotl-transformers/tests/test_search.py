"""A search over texts is the same search the second time, and so is a training with several threads."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from short_trainings import train_briefly

import autotl
from autotl.plugins.manager import plugins
from autotl.testing.bench import Bench


def some_texts() -> list[str]:
    """Twelve words and one of two that say the class, in turns."""
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(["film", "plot", "music", "the", "was"], 12)) for _ in range(60)]
    return [f"{'good' if n % 2 else 'bad'} {text}" for n, text in enumerate(texts)]


@pytest.mark.slow
def test_a_second_search_gives_the_same_predictions_bit_for_bit(zoo, tmp_path, monkeypatch):
    """Of the network: whoever names a backbone wants no bag of words, which would be the answer here."""
    train_briefly(monkeypatch, tmp_path / "site")
    shutil.copytree(zoo / "bert", tmp_path / "zoo" / "bert")
    rows = [{"text": text, "label": str(n % 2)} for n, text in enumerate(some_texts())]
    table = tmp_path / "table.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    answers = []
    for name in ("first", "second"):
        monkeypatch.setenv("AUTOTL_CACHE", str(tmp_path / f"cache-{name}"))
        options = {"models": tmp_path / "zoo", "backbones": "bert", "trials": 1, "out": tmp_path / name}
        found = autotl.fit(table, quiet=True, **options)
        answers.append(found.predict_proba(table).tobytes())
    assert answers[0] == answers[1]


@pytest.mark.slow
def test_two_threads_train_the_same_weights_bit_for_bit_again(family, local):
    """They add up in another order than one."""
    bench, strategy = Bench(family, local["bert"], some_texts(), [0, 1] * 30), plugins().strategy("finetune")
    (recipe, *_) = strategy.portfolio(bench.context)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (2, 2, 1):
            torch.set_num_threads(threads)
            trial = bench.trial({**recipe, "epochs_multiplier": 0.2})
            for _ in strategy.fit(trial):
                pass
            found.append(torch.cat([weight.detach().flatten() for weight in trial.model.parameters()]))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2]), "what two threads do is not seen here"
