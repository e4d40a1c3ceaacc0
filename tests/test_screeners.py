"""Second opinions on frozen features: what the core's screeners say, and that a stranger's is heard."""

from __future__ import annotations

import json

import numpy as np
import pytest

from autotl.plugins.manager import plugins
from autotl.screeners import Evidence, Neighbours


def clusters(noise: float, *, rows: int = 300, width: int = 40, classes: int = 4, seed: int = 0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, rows)
    centres = generator.standard_normal((classes, width))
    features = centres[labels] + noise * generator.standard_normal((rows, width))
    return features.astype(np.float32), labels


def brute_force_evidence(features, labels):
    """The largest log evidence a row over a fine grid of both precisions, from the Gaussian itself."""
    inputs = (features - features.mean(0)) / features.std(0)
    rows = len(labels)
    centred = np.linalg.qr(np.column_stack([np.ones(rows), np.eye(rows)[:, 1:]]))[0][:, 1:]  # all but the constant
    inputs = centred.T @ inputs
    values, vectors = np.linalg.eigh((inputs @ inputs.T).astype(np.float64))
    means = []
    for label in np.unique(labels):
        projected = (vectors.T @ centred.T @ (labels == label)) ** 2
        grid = [
            -0.5 * ((projected / variance).sum() + np.log(variance).sum())
            for weights in np.exp(np.linspace(-3, 8, 120))
            for variance in [np.maximum(values, 0) / weights + np.exp(-noise) for noise in np.linspace(-3, 5, 120)]
        ]
        means.append(max(grid) / (rows - 1) - 0.5 * np.log(2 * np.pi))
    return np.mean(means)


@pytest.mark.parametrize("width", [7, 90])
def test_evidence_is_that_of_the_best_precisions(width):
    features, labels = clusters(2.0, rows=60, width=width, classes=2)
    assert Evidence().score(features, labels, 2) == pytest.approx(brute_force_evidence(features, labels), abs=5e-3)


@pytest.mark.parametrize("screener", [Neighbours(), Evidence()], ids=lambda screener: screener.name)
def test_clearer_features_score_higher(screener):
    scores = [screener.score(*clusters(noise), 4) for noise in (0.5, 2.0, 4.0, 16.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > scores[-1]


@pytest.mark.parametrize("screener", [Neighbours(), Evidence()], ids=lambda screener: screener.name)
def test_scale_of_the_features_does_not_matter(screener):
    features, labels = clusters(2.0)
    assert screener.score(1000 * features + 5, labels, 4) == pytest.approx(
        screener.score(features, labels, 4), abs=1e-3
    )


def test_neighbours_find_what_a_plane_cannot_and_no_row_votes_for_itself():
    generator = np.random.default_rng(0)
    angles = generator.uniform(0, 2 * np.pi, 400)
    features = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    labels = (np.floor(angles / (np.pi / 4)) % 2).astype(np.int64)  # eight sectors, in turns
    assert Neighbours().score(features, labels, 2) > 0.9
    noise = generator.standard_normal((400, 20)).astype(np.float32)
    assert Neighbours().score(noise, labels, 2) < 0.65


def test_core_brings_its_screeners_by_the_hook():
    assert {"neighbours", "evidence"} <= {screener.name for screener in plugins().screeners}


LOUD = """
import autotl

class Loud:
    name = "loud"
    def score(self, features, labels, classes):
        return float(features.shape[1])

class Broken:
    name = "broken"
    def score(self, features, labels, classes):
        raise RuntimeError("no opinion")

@autotl.hookimpl
def autotl_screeners(context):
    return [Loud(), Broken()]
"""


@pytest.mark.slow
def test_screeners_are_asked_where_more_backbones_are_there_than_can_go_on(command_line, distribution, table, tmp_path):
    zoo = tmp_path / "zoo"
    for seed in range(5):
        (zoo / f"net{seed}").mkdir(parents=True)
        (zoo / f"net{seed}" / "tiny.json").write_text(json.dumps({"seed": seed}))
    options = ["--data", table, "--models", zoo, "--trials", 1, "--json", "--out", "run"]
    answer = command_line("search", *options, cwd=tmp_path, also=[distribution("loud", LOUD)])
    assert answer.returncode == 0, answer.stderr
    events = [json.loads(line) for line in answer.stdout.splitlines()]
    screened = [event for event in events if event["kind"] == "screened"]
    assert len(screened) == 5
    for event in screened:
        assert event["opinions"]["loud"] == 32.0
        assert "broken" not in event["opinions"]
    survivors = json.loads((tmp_path / "run" / "run.json").read_text())["survivors"]
    assert 3 <= len(survivors) <= 4
    assert max(screened, key=lambda event: event["score"])["backbone"] in survivors
    assert "no opinion" in (tmp_path / "run" / "worker.log").read_text()
