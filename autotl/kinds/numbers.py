"""Quantities: one number or several for each row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from autotl.data.cells import (
    are_numbers,
    has_decimal_comma,
    have_decimal_commas,
    have_grouped_thousands,
    is_missing,
    is_singular,
    may_be_thousands,
    may_have_pointed_thousands,
    ungrouped,
    with_point,
    without_unit,
)
from autotl.data.labels import look_like_quantities, without_missing_words
from autotl.data.wording import counted, listed, option, shortened
from autotl.errors import DataError, TaskError
from autotl.kinds.conformal import half_widths
from autotl.kinds.kind import BINS, Breakdown, Calibration, Kind, Reading, Scale, Scorer, in_halves, mean_ranks
from autotl.kinds.missing import missing_notes

if TYPE_CHECKING:
    import torch

    from autotl.data.tables import Table
    from autotl.data.task import Task

#: Different numbers below which there is nothing to fit.
_FEWEST_VALUES = 2

#: Skewness from which on logarithms are tried: an exponential distribution has 2, a normal one on 100 rows up to 0.5.
_SKEWED = 1.5

#: Times the breadth of the middle half: of an exponential law one value of 10^10 is so far off its median, of Student's
#: t with 3 degrees of freedom one of 13,000. More than one row in a hundred is no slip.
_FAR_BEYOND, _RARE = 20.0, 0.01

#: Stands for 0 where logarithms are learned: nothing to add in units, and its logarithm is one that float32 holds.
_ALMOST_ZERO = float(np.finfo(np.float32).tiny)

#: Metrics that the mean of what may be is best for; of the others that is the median, which is what a logarithm's
#: answer is.
_OF_MEANS = ("r2", "neg_rmse", "neg_mean_squared_error", "neg_root_mean_squared_error")

#: Rows from which on the variance of errors is known well enough, to a third. From 100, R² of new rows was 0.003 more
#: where logarithms were off by 0.3, 0.026 by 0.6 and 0.068 by 1 (simulated, 200 times), and 0.003 to 0.006 more where
#: they were off by Student's law with 4 degrees of freedom. What else makes means of medians, the mean of exponentiated
#: errors (Duan 1983) and least squares in units, was no better on normal errors and ruinous on the others.
_FEWEST_ERRORS = 20

#: Errors count as no further off than so many deviations, as the middle half of a normal law's shows them: of these the
#: variance is that to a hundredth.
_REACH, _TO_DEVIATION = 3.0, 1.4826

#: What rounding leaves of the squares of numbers that are all one, at most.
_ROUNDING = 1e-24

#: Shares of new rows that intervals are kept for.
COVERAGES = (0.5, 0.8, 0.9, 0.95)

#: The one that tables of predictions show.
USUAL_COVERAGE = 0.9


def _r2(truth: np.ndarray, answers: np.ndarray) -> float:
    """The mean over targets of the share of variance that is explained; 0, or 1 for no error, where there is none.

    So do scikit-learn's, and rows drawn from a handful are all one at times: the mean of 0.1 three times is not 0.1.
    """
    left = ((truth - answers) ** 2).sum(0)
    spread = ((truth - truth.mean(0, dtype=np.float64)) ** 2).sum(0)
    spread = np.where(spread > _ROUNDING * (truth.astype(np.float64) ** 2).sum(0), spread, 0.0)
    explained = 1 - left / np.where(spread > 0, spread, 1.0)
    return float(np.where(spread > 0, explained, left == 0).mean())


def _neg_mae(truth: np.ndarray, answers: np.ndarray) -> float:
    return -float(np.abs(truth - answers).mean())


def _neg_rmse(truth: np.ndarray, answers: np.ndarray) -> float:
    return -float(np.sqrt(((truth - answers) ** 2).mean(0)).mean())


def _spearman(truth: np.ndarray, answers: np.ndarray) -> float:
    """The mean over targets of the correlation of ranks; 0 where either side is constant."""
    found = []
    for true, said in zip(truth.T, answers.T, strict=True):
        one, other = mean_ranks(true), mean_ranks(said)
        one, other = one - one.mean(), other - other.mean()
        spread = float(np.sqrt((one @ one) * (other @ other)))
        found.append(float(one @ other) / spread if spread else 0.0)
    return float(np.mean(found))


class Numbers(Kind):
    """Squared error of standardized numbers, or of their logarithms where these are less skewed; R² by default.

    R² means the same in every unit: 0 is what the mean gets, 1 is right. What an answer decides is a number on the same
    scale, above an answer by logarithm where the metric asks for means.
    """

    names = ("regression",)
    activation = "identity"
    dtype = np.float32
    exclusive = False
    squared = True
    ranks_by = "r2"
    module = "numbers"
    metrics: ClassVar[Mapping[str, Scorer]] = {
        "r2": Scorer(_r2, of_decisions=True),
        "neg_mae": Scorer(_neg_mae),
        "neg_rmse": Scorer(_neg_rmse, of_decisions=True),
        "spearman": Scorer(_spearman),
    }

    def recognises(self, table: Table, columns: Sequence[str]) -> bool:
        if len(columns) == 1:
            return look_like_quantities(_plain(table.column(columns[0]))[0])
        each = (_plain(table.column(column))[0] for column in columns)
        return all(are_numbers([cell for cell in cells if not is_missing(cell)]) for cells in each)

    def read_targets(self, table: Table, columns: Sequence[str], metric: str | None) -> Reading:
        table, units, grouped = _in_plain_numbers(table, columns)
        for column, unit in zip(columns, units, strict=True):
            if unit and may_have_pointed_thousands(table.column(column), unit=unit):
                _refuse_thousands(table, column, table.column(column), mark=".")
        values = _values(table, columns)
        known = ~np.isnan(values).any(1)
        notes = missing_notes(table, columns, (~known).tolist())
        values = values[known]
        scales = []
        for column, numbers, unit, thousands in zip(columns, values.T, units, grouped, strict=True):
            if len(set(numbers.tolist())) < _FEWEST_VALUES:
                raise TaskError(
                    f"{table.name}: every row has the value {numbers[0]:g} in column {column!r}. Add rows with other "
                    "values, or choose another column with --target"
                )
            cells = table.column(column)
            scale = _scale(numbers, comma=have_decimal_commas(cells), unit=unit, thousands=thousands)
            notes += _reading_notes(column, cells, numbers, scale, alone=len(columns) == 1)
            learned = np.log(numbers) if scale.log else numbers
            if (far := _far_beyond(learned)).any():
                row = int(np.flatnonzero(known)[far.argmax()])
                low, high = np.quantile(numbers, [0.25, 0.75])
                notes.append(
                    f"{table.describe_row(row)}: {column!r} is {numbers[far.argmax()]:g}, and half of all lie between "
                    f"{low:g} and {high:g}: {counted(int(far.sum()), 'value')} so far off would decide what is "
                    "learned, and how well. Mend them, or leave their rows out"
                )
            scales.append(scale)
        return Reading("regression", "r2", scales=tuple(scales), notes=tuple(notes))

    def encode(self, table: Table, task: Task) -> tuple[np.ndarray, np.ndarray]:
        table, units, _ = _in_plain_numbers(table, task.targets, task.scales)
        for scale, unit, name in zip(task.scales, units, task.targets, strict=True):
            if unit and unit != scale.unit and not is_singular(unit, scale.unit):
                learned = f"in {scale.unit!r}" if scale.unit else "without a unit"
                raise DataError(
                    f"{table.name}: {name!r} has numbers in {unit!r}, and the model learned them {learned}. "
                    "Write them so"
                )
        values = _values(table, task.targets, task.scales)
        for scale, column, name in zip(task.scales, values.T, task.targets, strict=True):
            if scale.log and (column < 0).any():
                row = int(np.flatnonzero(column < 0)[0])
                raise DataError(
                    f"{table.describe_row(row)}: {name!r} is {column[row]:g}, and the model has learned it by its "
                    "logarithm, as all that it saw was above 0. Remove the row"
                )
        known = ~np.isnan(values).any(1)
        encoded = np.zeros(values.shape, np.float32)
        encoded[known] = _standardized(task.scales, values[known])
        return encoded, known

    def strata(self, targets: np.ndarray) -> np.ndarray:
        """Bins of the first number, as many rows in each as can be; four or more, so that a quarter can validate."""
        bins = max(min(BINS, len(targets) // 4), 1)
        numbers = targets[:, 0]
        below = numbers[numbers < numbers.max()]  # where most rows have the largest number, it is a bin by itself
        edges = np.minimum(np.quantile(numbers, np.arange(1, bins) / bins), below.max(initial=-np.inf))
        strata: np.ndarray = np.searchsorted(np.unique(edges), numbers, side="left")
        return strata.astype(np.int64)

    def counts(self, task: Task, targets: np.ndarray) -> dict[str, int]:
        return {}

    def said(self, task: Task, target: Any) -> str:
        numbers = in_units(task.scales, np.asarray(target, np.float64)[None])[0]
        return ", ".join(f"{number:g}" for number in numbers)

    def conflicts(self, targets: np.ndarray) -> None:
        return None

    def dense(self, targets: torch.Tensor, outputs: int) -> torch.Tensor:
        return targets

    def row_losses(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Half the squared error, the mean over targets: its gradient is the error."""
        return 0.5 * (outputs - targets).square().mean(1)

    def ranking(self, targets: np.ndarray, outputs: np.ndarray, balance: float = 0.0) -> float:
        return _r2(targets, outputs)

    def guess(self, targets: np.ndarray, balance: float = 0.0) -> float:
        return 0.0

    def constant(self, targets: np.ndarray, outputs: int) -> np.ndarray:
        mean: np.ndarray = targets.mean(0)
        return mean.astype(np.float32)

    def stakes(self, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        off: np.ndarray = answers.astype(np.float64) - targets
        return off

    def losses_of(self, stakes: np.ndarray) -> np.ndarray:
        losses: np.ndarray = (stakes**2).mean(-1)
        return losses

    def decide(self, task: Task, targets: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """By errors on the other half of the rows."""
        decided = answers.astype(np.float64)
        for rows, others in in_halves(len(targets)):
            decided[rows] += _above_medians(task, targets[others], answers[others], fewest=_FEWEST_ERRORS)
        return decided

    def score(self, task: Task, targets: np.ndarray, answers: np.ndarray, *, metric: str) -> float:
        """In the units of the table."""
        truth, answers = (in_units(task.scales, values) for values in (targets, answers))
        return self.known_metric(metric).score(truth, answers)

    def calibrate(
        self, task: Task, targets: np.ndarray, answers: np.ndarray, groups: np.ndarray | None = None
    ) -> Calibration:
        """Half the width of intervals that hold a share of new rows.

        On the scale of learning, so that an interval of a number with a logarithm has a ratio on either side.
        """
        widths = half_widths(np.abs(answers - targets), COVERAGES, groups)
        # where the halves of `decide` added nothing, and the score is of that, nothing is added
        shifts = _above_medians(task, targets, answers, fewest=2 * _FEWEST_ERRORS).round(6).tolist()
        return {"coverages": [list(COVERAGES)], "widths": widths.round(6).tolist(), "shifts": [shifts]}

    def decisions(self, task: Task, answers: np.ndarray, calibration: Calibration) -> np.ndarray:
        decided: np.ndarray = answers + np.array(_shifts(task, calibration))
        return decided

    def told(self, task: Task, answers: np.ndarray, calibration: Calibration) -> np.ndarray:
        numbers = in_units(task.scales, self.decisions(task, answers, calibration))
        return numbers[:, 0] if len(task.targets) == 1 else numbers

    def intervals(self, task: Task, answers: np.ndarray, calibration: Calibration, coverage: float) -> np.ndarray:
        """``[rows, targets, 2] float64``: between which the share `coverage` of new rows should lie.

        Raises `TaskError` for a share that no width was kept for.
        """
        kept = list(calibration["coverages"][0])
        if coverage not in kept:
            raise TaskError(f"coverage {coverage:g}: intervals are kept for {', '.join(f'{c:g}' for c in kept)}")
        width = np.array(calibration["widths"][kept.index(coverage)])
        return np.stack([in_units(task.scales, answers - width), in_units(task.scales, answers + width)], -1)

    def written(self, task: Task, answers: np.ndarray, calibration: Calibration) -> list[dict[str, Any]]:
        numbers = in_units(task.scales, self.decisions(task, answers, calibration))
        around = self.intervals(task, answers, calibration, USUAL_COVERAGE)
        each = np.concatenate([numbers[..., None], around], -1)
        cells = np.stack([scale.rounded(each[:, place]) for place, scale in enumerate(task.scales)], 1)
        return [dict(zip(self.columns(task), row, strict=True)) for row in cells.reshape(len(cells), -1).tolist()]

    def columns(self, task: Task) -> list[str]:
        percent = f"{100 * USUAL_COVERAGE:.0f}"
        names = [""] if len(task.targets) == 1 else [f"_{name}" for name in task.targets]
        return [f"{what}{name}" for name in names for what in ("prediction", f"low_{percent}", f"high_{percent}")]

    def answered(self, task: Task, answers: np.ndarray, calibration: Calibration) -> list[dict[str, Any]]:
        around = self.intervals(task, answers, calibration, USUAL_COVERAGE)
        found, each = [], in_units(task.scales, self.decisions(task, answers, calibration))
        for numbers, intervals in zip(each.tolist(), around.tolist(), strict=True):
            said = dict(zip(task.targets, numbers, strict=True))
            found.append(
                {
                    "prediction": said if len(said) > 1 else numbers[0],
                    "intervals": dict(zip(task.targets, intervals, strict=True)),
                }
            )
        return found

    def portable(self, task: Task, calibration: Calibration) -> dict[str, Any]:
        widths = calibration["widths"][list(calibration["coverages"][0]).index(USUAL_COVERAGE)]
        scales = [scale.model_dump() for scale in task.scales]
        return {"scales": scales, "widths": list(widths), "shifts": list(_shifts(task, calibration))}

    def in_torch(self, task: Task, outputs: str, calibration: Calibration) -> str:
        """As `decisions` and `in_units` do."""
        deviations, shifts = [scale.deviation for scale in task.scales], _shifts(task, calibration)
        means = [scale.mean + scale.deviation * shift for scale, shift in zip(task.scales, shifts, strict=True)]
        numbers = f"{outputs} * torch.tensor({deviations}) + torch.tensor({means})"
        logs = [scale.log for scale in task.scales]
        if not any(logs):
            return numbers
        return f"({numbers}).exp()" if all(logs) else f"torch.where(torch.tensor({logs}), ({numbers}).exp(), {numbers})"

    def breakdown(self, task: Task, targets: np.ndarray, decided: np.ndarray) -> Breakdown:
        truth, answers = (in_units(task.scales, values) for values in (targets, decided))
        off = answers - truth
        values = np.stack(
            [
                [_r2(truth[:, [i]], answers[:, [i]]) for i in range(truth.shape[1])],
                [_spearman(truth[:, [i]], answers[:, [i]]) for i in range(truth.shape[1])],
                np.abs(off).mean(0),
                np.sqrt((off**2).mean(0)),
                np.median(np.abs(off), 0),
            ],
            1,
        )
        columns = ("r2", "spearman", "mean |error|", "root mean square", "median |error|")
        return Breakdown("errors", "target", task.targets, columns, values)

    def describe(self, task: Task) -> str:
        return "a number" if len(task.targets) == 1 else f"{len(task.targets)} numbers"


def in_units(scales: Sequence[Scale], values: np.ndarray) -> np.ndarray:
    """``[rows, targets] float64`` as the table has them, of standardized ones."""
    means, deviations = (np.array([getattr(scale, name) for scale in scales]) for name in ("mean", "deviation"))
    numbers: np.ndarray = values.astype(np.float64) * deviations + means
    logs = np.array([scale.log for scale in scales])
    return np.where(logs, np.exp(np.where(logs, numbers, 0.0)), numbers)


def _above_medians(task: Task, targets: np.ndarray, answers: np.ndarray, *, fewest: int) -> np.ndarray:
    """``[targets] float64``: how far means lie above what is answered, on the scale of learning; 0 of fewer rows.

    A logarithm's answer is the median in units. Where errors are normal, the mean is the exponential of half their
    variance above it; elsewhere, and for metrics of medians, there is nothing to add.
    """
    if task.metric not in _OF_MEANS or len(targets) < fewest:
        return np.zeros(len(task.scales))
    deviations = np.array([scale.deviation if scale.log else 0.0 for scale in task.scales])
    off = answers.astype(np.float64) - targets
    # one slip of a decimal point among 125 prices would raise all answers by three quarters
    middle = np.median(off, 0)
    reach = _REACH * _TO_DEVIATION * np.median(np.abs(off - middle), 0)
    shifts: np.ndarray = 0.5 * deviations * np.clip(off, middle - reach, middle + reach).var(0)
    return shifts


def _shifts(task: Task, calibration: Calibration) -> Sequence[float]:
    """What was kept of `_above_medians`; bundles from before kept nothing."""
    return calibration["shifts"][0] if "shifts" in calibration else [0.0] * len(task.scales)


def _standardized(scales: Sequence[Scale], values: np.ndarray) -> np.ndarray:
    columns = [
        ((np.log(np.maximum(column, _ALMOST_ZERO)) if scale.log else column) - scale.mean) / scale.deviation
        for scale, column in zip(scales, values.T, strict=True)
    ]
    return np.stack(columns, 1).astype(np.float32)


def _scale(numbers: np.ndarray, *, comma: bool, unit: str, thousands: bool) -> Scale:
    """Logarithms where all numbers are above 0 and skewed, and their logarithms less than half as much."""
    log = bool(numbers.min() > 0 and _skew(numbers) > _SKEWED and abs(_skew(np.log(numbers))) < _skew(numbers) / 2)
    learned = np.log(numbers) if log else numbers
    mean, deviation = float(learned.mean()), float(learned.std()) or 1.0
    return Scale(mean=mean, deviation=deviation, log=log, comma=comma, unit=unit, thousands=thousands)


def _skew(numbers: np.ndarray) -> float:
    off = numbers - numbers.mean()
    return float((off**3).mean() / max(float((off**2).mean()) ** 1.5, np.finfo(np.float64).tiny))


def _far_beyond(learned: np.ndarray) -> np.ndarray:
    """``[rows] bool``: what lies so far from the middle half that no law with a mean has it, where it is rare."""
    low, middle, high = np.quantile(learned, [0.25, 0.5, 0.75])
    far: np.ndarray = (np.abs(learned - middle) > _FAR_BEYOND * (high - low)) & (high > low)
    return far if far.mean() <= _RARE else np.zeros_like(far)


def _reading_notes(column: str, cells: Sequence[Any], numbers: np.ndarray, scale: Scale, *, alone: bool) -> list[str]:
    """What a person should know of how a column was read, and how to have it read otherwise."""
    notes, different = [], len(np.unique(numbers))
    classes_too = alone and 2 * different <= len(numbers) and bool((numbers % 1 == 0).all())
    if classes_too and look_like_quantities(cells):
        notes.append(
            f"{column!r} has {different} different whole numbers, which are learned as quantities; where they name "
            f"classes, say {option('--task', 'multiclass')}"
        )
    if scale.unit:
        notes.append(
            f"{column!r} has numbers with the unit {scale.unit!r} at them, and they are learned without it; where "
            f"the cells are classes, say {option('--task', 'multiclass')}"
        )
    if scale.thousands:
        notes.append(
            f"{column!r} has commas between thousands, and is read without them; where they stand between labels, say "
            f"{option('--task', 'multilabel')}"
        )
    if scale.comma:
        example = next(cell for cell in cells if has_decimal_comma(cell)).strip()
        notes.append(
            f"{column!r} has decimal commas: {example} is read as {with_point(example)}; where commas stand between "
            f"labels, say {option('--task', 'multilabel')}"
        )
    if scale.log:
        notes.append(
            f"{column!r} is learned by its logarithm, as it runs from {numbers.min():g} to {numbers.max():g} "
            f"with a median of {np.median(numbers):g}"
        )
    return notes


def _in_plain_numbers(
    table: Table, columns: Sequence[str], scales: Sequence[Scale] = ()
) -> tuple[Table, list[str], list[bool]]:
    """The table with plain numbers in the columns, each column's unit, "" without one, and whether it had thousands.

    scales: of the training table, where they are known; they tell commas between thousands from decimal ones.
    """
    units, grouped = [], []
    for place, column in enumerate(columns):
        cells, unit, thousands = _plain(table.column(column), scales[place] if scales else None)
        table = table.labelled([column], cells)
        units.append(unit)
        grouped.append(thousands)
    return table, units, grouped


def _plain(cells: Sequence[Any], scale: Scale | None = None) -> tuple[Sequence[Any], str, bool]:
    """The cells without unit and thousands' commas, nothing where a word says that a number is missing; and both.

    scale: of the training table, where it is known.
    """
    cells, unit = without_unit(without_missing_words(cells))
    known = scale is not None and (scale.thousands or scale.comma)
    grouped = scale.thousands if scale is not None and known else have_grouped_thousands(cells, unit=unit)
    return list(map(ungrouped, cells)) if grouped else cells, unit, grouped


def _values(table: Table, columns: Sequence[str], scales: Sequence[Scale] = ()) -> np.ndarray:
    """``[rows, columns] float64``, NaN where a cell is empty. Raises `DataError` naming a row that holds no number.

    scales: of the training table, where they are known; they tell a decimal comma from one between thousands.
    """
    values = np.full((table.rows, len(columns)), np.nan)
    for place, column in enumerate(columns):
        cells = table.column(column)
        commas = have_decimal_commas(cells)
        if commas and may_be_thousands(cells) and not (scales and scales[place].comma):
            _refuse_thousands(table, column, cells)
        for row, cell in enumerate(cells):
            if is_missing(cell):
                continue
            try:
                value = float(with_point(cell) if commas else cell)
            except (TypeError, ValueError, OverflowError):
                value = math.inf
            if math.isinf(value):
                way_out = "Empty the cell or remove the row"
                if isinstance(cell, str) and "," in cell:
                    way_out = "Write numbers with a point before the fraction and nothing between thousands"
                raise DataError(
                    f"{table.describe_row(row)}: {column!r} is {shortened(str(cell))}, which is no number to predict. "
                    f"{way_out}; or where {listed([column])} names classes, say {option('--task', 'multiclass')}"
                )
            values[row, place] = value
    return values


def _refuse_thousands(table: Table, column: str, cells: Sequence[Any], *, mark: str = ",") -> NoReturn:
    """Raises `DataError` for commas, or points of prices, that may stand before a fraction or between thousands."""
    row, cell = next((row, cell.strip()) for row, cell in enumerate(cells) if isinstance(cell, str) and mark in cell)
    called = "comma" if mark == "," else "point"
    raise DataError(
        f"{table.describe_row(row)}: {column!r} is {cell!r}, which may be {with_point(cell)} or "
        f"{cell.replace(mark, '')}: three digits follow every {called} of the column. Write {column!r} without "
        f"{called}s; or where they stand between labels, say {option('--task', 'multilabel')}"
    )
