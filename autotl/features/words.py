"""A bag of words: what can be had of texts without any network, and so the floor that one has to beat.

Tf-idf of words and pairs of words, and a head by the same loss as on features. Scripts that write no spaces are
taken character by character.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch

from autotl.data.cells import words_of
from autotl.data.task import Task
from autotl.kinds.mixing import activated

#: The most frequent words and pairs that are kept: beyond some ten thousand, accuracy on short texts stays.
VOCABULARY = 20_000

#: Words of a text that are read; more would only make a floor slow.
_WORDS = 512

#: Penalties that are tried, on inputs of unit length; with a fifth of the rows to choose by.
_PENALTIES = (1e-2, 1e-3, 1e-4)


def bag_of_words(
    task: Task, train: Sequence[str], targets: np.ndarray, others: Sequence[str], *, seed: int
) -> np.ndarray:
    """``[others, outputs] float32`` answers to other texts; targets ``[train, …]`` are those of `train`."""
    # each term once a text, in the order of the text: that of a set changes from one process to the next
    counts = Counter(term for text in train for term in dict.fromkeys(_terms(text)))
    kept = [(term, count) for term, count in counts.most_common(VOCABULARY) if count > 1]
    columns = {term: column for column, (term, _) in enumerate(kept)}
    rarity = np.log((1 + len(train)) / (1 + np.array([count for _, count in kept], np.float64))) + 1
    inputs, unseen = _matrix(train, columns, rarity), _matrix(others, columns, rarity)
    order = np.random.default_rng(seed).permutation(len(train))
    outer, inner = order[: max(len(order) // 5, 1)], order[max(len(order) // 5, 1) :]
    wanted = torch.from_numpy(targets)

    def loss(penalty: float) -> float:
        part = _fit(task, _rows(inputs, inner), wanted[inner], penalty)
        return float(task.rules.loss(_logits(_rows(inputs, outer), part), wanted[outer]))

    best = min(_PENALTIES, key=loss)
    return activated(_logits(unseen, _fit(task, inputs, wanted, best)).numpy(), task.rules.activation)


def _terms(text: str) -> Iterator[str]:
    found = words_of(text.casefold())[:_WORDS]
    yield from found
    yield from (f"{first} {second}" for first, second in pairwise(found))


def _matrix(texts: Sequence[str], columns: dict[str, int], rarity: np.ndarray) -> torch.Tensor:
    """``[texts, terms] float32``, sparse, each row of unit length; counts are damped by the logarithm."""
    rows, places, values = [], [], []
    for row, text in enumerate(texts):
        counts = Counter(columns[term] for term in _terms(text) if term in columns)
        weights = np.array([(1 + np.log(count)) * rarity[column] for column, count in counts.items()])
        rows += [row] * len(counts)
        places += list(counts)
        values += (weights / max(float(np.linalg.norm(weights)), 1e-12)).tolist()
    indices, size = torch.tensor([rows, places], dtype=torch.int64), (len(texts), max(len(columns), 1))
    return torch.sparse_coo_tensor(indices, values, size, dtype=torch.float32, check_invariants=True)


def _rows(matrix: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    return matrix.index_select(0, torch.from_numpy(rows))


def _logits(inputs: torch.Tensor, fitted: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    weight, bias = fitted
    logits: torch.Tensor = torch.sparse.mm(inputs, weight) + bias
    return logits


def _fit(task: Task, inputs: torch.Tensor, targets: torch.Tensor, penalty: float) -> tuple[torch.Tensor, torch.Tensor]:
    weight = torch.zeros(inputs.shape[1], len(task.outputs), requires_grad=True)
    bias = torch.zeros(len(task.outputs), requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=40, line_search_fn="strong_wolfe", tolerance_change=1e-6)

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = task.rules.loss(_logits(inputs, (weight, bias)), targets)
        value = value + penalty * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[arg-type,no-untyped-call]
    return weight.detach(), bias.detach()
