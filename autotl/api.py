"""Fit a table, get a model: the same as the command line, from Python."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotl.budget import Clock, parse_budget
from autotl.config import DEFAULT_BUDGET, FRAME, make_request
from autotl.data.inspection import SKIP_LIMIT
from autotl.data.paths import expanded
from autotl.errors import BundleError, ExportError
from autotl.events import read_events
from autotl.plugins.manager import plugins
from autotl.predictor.bundle import BUNDLE_FOLDER, find_bundle, read_card
from autotl.predictor.predictor import Predictor
from autotl.runs.folder import EVENTS_FILE, run_folder

if TYPE_CHECKING:
    import pandas as pd

    from autotl.exporters.checking import Comparison


class Run(Predictor):
    """A finished search: its best model, and how it got there.

    The model is loaded when it is first used, which raises as `Predictor` does and takes some seconds, outside the
    search's budget: 1.5 on two idle cores, 4 on two busy ones, most of it torch.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Raises `BundleError` when the folder holds no run with a model."""
        self._find(folder)
        self.run_folder = self.folder.parent if self.folder.name == BUNDLE_FOLDER else self.folder

    def __fspath__(self) -> str:
        return str(self.run_folder)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """What it was made with, by the name of the constructor."""
        return {"folder": self.bundle}

    @property
    def test(self) -> dict[str, Any] | None:
        """What the rows of ``fit(test=…)`` said: metric, score, interval (95 %), rows, unlearned and learned ones.

        None where there were none, or no time was left to score them.
        """
        from autotl.report.leaderboard import last_test

        return last_test(read_events(self.run_folder / EVENTS_FILE))

    def leaderboard(self) -> pd.DataFrame:
        """One row a model, best first: trial, share of the answer, score, what it is, seconds, and its settings."""
        import pandas as pd

        from autotl.report.leaderboard import leaderboard

        rows = leaderboard(read_events(self.run_folder / EVENTS_FILE))
        fixed = ("name", "best", "share", "score", "backbone", "strategy", "state", "seconds")
        records = [{**{name: getattr(row, name) for name in fixed}, **row.settings} for row in rows]
        return pd.DataFrame.from_records(records).rename(columns={"name": "trial"})


def fit(
    data: str | Path | pd.DataFrame,
    *,
    target: str | Sequence[str] | None = None,
    image: str | Sequence[str] | None = None,
    text: str | Sequence[str] | None = None,
    pair: Sequence[str] | None = None,
    group: str | None = None,
    weight_column: str | None = None,
    task: str | None = None,
    test: str | Path | pd.DataFrame | None = None,
    metric: str | None = None,
    costs: str | Path | None = None,
    set_aside: str | Path | None = None,
    models: str | Path | Sequence[str | Path] = (),
    backbones: str | Sequence[str] = (),
    budget: str | float | None = None,
    trials: int | None = None,
    out: str | Path | None = None,
    offline: bool = False,
    licenses: str | Sequence[str] | None = None,
    skip_unreadable: str | float = SKIP_LIMIT,
    max_memory: str | None = None,
    max_disk: str | None = None,
    max_latency: str | None = None,
    max_params: str | None = None,
    max_size: str | None = None,
    portfolio: str | Path | None = None,
    teacher: str | Path | None = None,
    seed: int = 0,
    quiet: bool = False,
) -> Run:
    """Searches for the best fine-tuned model of a table, and returns it; it is loaded when it is first used.

    data: CSV, TSV, Parquet, JSON Lines, a folder of class folders, or a DataFrame. test: a table to score the answer on
    once, at the end, in any of these forms. A run of DataFrames cannot be resumed. budget: such as ``"5m"``, or
    seconds; the default is five minutes unless `trials` is given. trials: how many at most, in a budget or without.
    models: folders of pretrained backbones.
    backbones: names of those to choose from, and of nothing else; by default all that can be used, and a bag of words.
    image: a column of paths, or several whose images are one input, in their order, such as front and side.
    text: a column, or several that are joined into one text, each behind its name. pair: two columns of texts, in their
    order, such as premise and hypothesis; columns named like that are found.
    target: the column to predict, or several: labels of 0 and 1, or numbers. task: ``"multiclass"``,
    ``"multilabel"`` or ``"regression"``, where the table does not say it. group: a column; rows with equal values there
    stay on one side of the split. weight_column: what a row counts in training. costs: a table of what
    it costs to take a row of each class for each other; answers are those that cost least in expectation then.
    set_aside: a list of rows to leave out, such as an edited ``set_aside.csv`` of an earlier run, in place of those
    that AutoTL would.
    out: the run's folder, ``runs/NAME`` by default. skip_unreadable: share of the rows that may be unreadable.
    max_memory: that training may take, such as ``"6GB"``; by default 80 % of what is free. max_disk: that the run's
    folder and what the cache keeps for it may take, by default half of what is free. max_latency: of the model, such as
    ``"5ms"`` a row on this machine. max_params: of the model, such as ``"5M"``. max_size: of the model, such as
    ``"20MB"``. portfolio: a file of what past runs say to try first (`autotl.portfolio`). teacher: a run or bundle for
    the same classes, which strategies may learn from. offline: opens no connection. licenses: that the weights of
    backbones may have, such as ``"permissive"`` or ``["mit", "apache-2.0"]``. metric: by which models are chosen, by
    default the one that fits the task. seed: of everything that is drawn. quiet: shows nothing.

    Raises `AutoTLError` (`DataError`, `TaskError`, `ZooError`, …) for input that cannot be used.
    """
    began = time.monotonic()
    from autotl.report.live import QuietView, View, view_for_people
    from autotl.search.engine import Search

    frame, test_frame = (None if isinstance(table, str | Path) else table for table in (data, test))
    name = str(data) if frame is None else FRAME
    seconds = parse_budget(str(budget)) if budget is not None else None
    if seconds is None and trials is None:
        seconds = parse_budget(DEFAULT_BUDGET)
    request = make_request(
        name,
        test=test if test_frame is None else FRAME,
        target=target,
        image=image,
        text=text,
        pair=pair,
        group=group,
        weight_column=weight_column,
        task=task,
        metric=metric,
        costs=costs,
        set_aside=set_aside,
        models=(models,) if isinstance(models, str | Path) else () if models is None else models,
        backbones=(backbones,) if isinstance(backbones, str) else () if backbones is None else backbones,
        budget_seconds=seconds,
        trials=trials,
        offline=offline,
        licenses=licenses,
        skip_unreadable=skip_unreadable,
        max_memory=max_memory,
        max_disk=max_disk,
        max_latency=max_latency,
        max_params=max_params,
        max_size=max_size,
        portfolio=portfolio,
        teacher=teacher,
        seed=seed,
    )
    clock = Clock(seconds or float("inf"), start=began)
    view: View = QuietView() if quiet else view_for_people(clock)
    folder = run_folder(name, out)
    with view:
        Search(request, folder, listeners=[view], start=began, frame=frame, test_frame=test_frame).run()
    return Run(folder)


def load(folder: str | os.PathLike[str]) -> Predictor:
    """The model of a run folder, a bundle or a `Run`. Raises `BundleError` when there is none."""
    return Predictor(folder)


def export(
    run: str | os.PathLike[str], *, to: str, out: str | Path, data: str | Path | pd.DataFrame | None = None
) -> Comparison:
    """Writes the model of a run folder, a bundle or a `Run` into a new folder, for programs without AutoTL.

    to: the form, such as ``"torch"``; ``autotl plugins`` lists exporters. What was written is loaded again and compared
    with the bundle on up to 200 rows of `data`, with labels or without; by default of the run's own table.

    Raises `ExportError` where `out` exists, the form cannot hold the model or does not answer as the bundle does, and
    where there are no rows to compare; `PluginError` for a form that nobody brings.
    """
    from autotl.data.tables import read_table
    from autotl.exporters import exporting

    exporter = plugins().exporter(to)
    table = read_table(_own_table(expanded(run))) if data is None else read_table(data, labelled=False)
    while True:
        model = Predictor(run, device="cpu")  # as exports run; an accelerator rounds in its own way
        try:
            return exporting.export(model, exporter, table, expanded(out))
        except BundleError:
            if read_card(model.folder).weights == model.card.weights:
                raise  # else a search has found a better answer meanwhile, whose files took the place of these


def _own_table(run: Path) -> str:
    """The table of a run folder. Raises `ExportError` where it is not there."""
    from autotl.runs.folder import RUN_FILE
    from autotl.runs.run_file import read_run_file

    way_out = "give rows like those that it answers, with --data"
    if not (run / RUN_FILE).is_file():
        find_bundle(run)
        raise ExportError(f"{run}: an export is checked on rows, and a bundle by itself has none; {way_out}")
    data = read_run_file(run).request.data
    if not Path(data).exists():
        raise ExportError(f"{run}: an export is checked on rows, and its table {data} is not there; {way_out}")
    return data
