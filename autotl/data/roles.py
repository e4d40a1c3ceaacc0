"""Which column is the target and which is the input; refuses where two answers are plausible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from autotl.data.cells import are_few, distinct, is_missing, is_whole
from autotl.data.columns import ColumnRole, judge_column, judge_images, looks_like_images
from autotl.data.labels import look_like_quantities
from autotl.data.tables import Table
from autotl.data.wording import listed, option, shortened
from autotl.errors import DataError, TaskError

#: Columns that a message speaks of one by one.
_NAMED = 8

TARGET_NAMES = ("label", "labels", "target", "class", "category", "y", "sentiment")


@dataclass(frozen=True)
class Overrides:
    """What the person said about the columns; None is to be inferred."""

    target: tuple[str, ...] = ()  #: several are labels or numbers of one row
    image: str | None = None
    text: str | None = None
    group: str | None = None  #: rows with equal values in this column stay on one side of a split

    def in_table(self, table: Table) -> Overrides:
        """With names as the table has them. Raises `DataError` for a column that does not exist."""
        single = {name: getattr(self, name) for name in ("image", "text", "group")}
        return replace(
            self,
            target=tuple(table.name_of(name) for name in self.target),
            **{name: table.name_of(value) for name, value in single.items() if value is not None},
        )


def infer_roles(table: Table, overrides: Overrides, *, need_target: bool = True) -> list[ColumnRole]:
    """The role of every column, in the order of the table: one input, one target or more, the rest ignored.

    Without `need_target` (a table to predict) a target is recognised by its name only and may be absent.
    Raises `DataError` for a column that does not exist, image paths that lead nowhere or a group that is the target
    or the input, and `TaskError` where the target or the input is missing or could be several.
    """
    overrides = overrides.in_table(table)
    _check(table, overrides)
    targets = {role.name: role for role in _find_targets(table, overrides, need_target=need_target)}
    chosen = overrides.image or overrides.text
    roles = []
    for name in table.columns:
        if name in targets:
            roles.append(targets[name])
        elif name == overrides.group:
            roles.append(ColumnRole(name, "ignore", 1.0, "rows with equal values stay together (--group)"))
        elif chosen is None:
            roles.append(judge_column(table, name))
        elif name == chosen:
            roles.append(_chosen_input(table, overrides))
        else:
            roles.append(ColumnRole(name, "ignore", 1.0, f"{chosen!r} was chosen as the input"))
    if overrides.group is not None and not _input_roles(roles) and _input_roles([judge_column(table, overrides.group)]):
        raise _group_is(table, overrides.group, "input")
    _require_one_input(table, roles)
    return roles


def _input_roles(roles: Sequence[ColumnRole]) -> list[ColumnRole]:
    """Those of columns that hold images or texts."""
    return [role for role in roles if role.role in ("image", "text")]


def _check(table: Table, overrides: Overrides) -> None:
    given = [name for name in (*overrides.target, overrides.image, overrides.text) if name is not None]
    if overrides.image is not None and overrides.text is not None:
        raise TaskError(
            f"{table.name}: --image {overrides.image} and --text {overrides.text} are two inputs. "
            "Name one; joining several comes in a later version."
        )
    if len(given) > len(set(given)):
        (twice, _), *_ = Counter(given).most_common(1)
        if overrides.target.count(twice) > 1:
            raise TaskError(f"{table.name}: column {twice!r} is named twice with --target.")
        raise TaskError(f"{table.name}: column {twice!r} cannot be both the target and the input.")
    if overrides.group is not None and overrides.group in given:
        raise _group_is(table, overrides.group, "target" if overrides.group in overrides.target else "input")


def _group_is(table: Table, group: str, role: str) -> DataError:
    return DataError(
        f"{table.name}: column {group!r} cannot be both the {role} and the group. Name with --group a column that says "
        "which rows belong together, such as the patient or the author"
    )


def _chosen_input(table: Table, overrides: Overrides) -> ColumnRole:
    if overrides.image is not None:
        found = judge_images(table, overrides.image)
        return ColumnRole(found.name, "image", 1.0, f"chosen with --image; {found.evidence}")
    assert overrides.text is not None
    return ColumnRole(overrides.text, "text", 1.0, "chosen with --text")


def _find_targets(table: Table, overrides: Overrides, *, need_target: bool) -> list[ColumnRole]:
    if overrides.target:
        return [ColumnRole(name, "target", 1.0, "chosen with --target") for name in overrides.target]
    free = [name for name in table.columns if name not in (overrides.image, overrides.text, overrides.group)]
    named = [name for name in free if name.strip().casefold() in TARGET_NAMES]
    if len(named) == 1:
        return [ColumnRole(named[0], "target", 0.95, f"its name; {_values(table, named[0])}")]
    if not need_target:
        return []
    if named:
        raise TaskError(
            f"{table.name}: {len(named)} columns could be the target: {listed(named)}. "
            f"Say which: {' or '.join(option('--target', name) for name in named)}"
        )
    if overrides.group is not None and overrides.group.strip().casefold() in TARGET_NAMES:
        raise _group_is(table, overrides.group, "target")
    last = ([name for name in table.columns if name != overrides.group] or list(table.columns))[-1]
    if last in free and (_could_be_classes(table, last) or _could_be_quantities(table, last)):
        return [ColumnRole(last, "target", 0.7, f"the last column; {_values(table, last)}")]
    if len(table.columns) == 1:
        raise TaskError(
            f"{table.name}: there is only one column, {shortened(last)}, and a table needs an input and a target. In "
            "text files a comma, a semicolon, a tab (in .tsv always) or a bar stands between columns"
        )
    raise TaskError(
        f"{table.name}: no column is named like a target ({', '.join(TARGET_NAMES)}) and the last one, {last!r}, does "
        f"not look like classes or quantities ({_values(table, last)}). Name one of {listed(table.columns)} with "
        "--target NAME"
    )


def _could_be_classes(table: Table, name: str) -> bool:
    cells = [cell for cell in table.column(name) if not is_missing(cell)]
    return bool(cells) and not looks_like_images(cells) and are_few(distinct(cells), len(cells))


def _could_be_quantities(table: Table, name: str) -> bool:
    """Numbers with a fraction, or whole ones that come again: each another whole number is an id."""
    cells = [cell for cell in table.column(name) if not is_missing(cell)]
    return look_like_quantities(cells) and (distinct(cells) < len(cells) or not all(map(is_whole, cells)))


def _values(table: Table, name: str) -> str:
    cells = [cell for cell in table.column(name) if not is_missing(cell)]
    return f"{distinct(cells)} different values in {len(cells)} rows"


def _require_one_input(table: Table, roles: list[ColumnRole]) -> None:
    inputs = _input_roles(roles)
    if len(inputs) == 1:
        return
    if inputs:
        found = ", ".join(f"{role.name!r} ({role.role})" for role in inputs[:_NAMED])
        found += f" and {len(inputs) - _NAMED} more" if len(inputs) > _NAMED else ""
        raise TaskError(
            f"{table.name}: {len(inputs)} columns could be the input: {found}. Choose one with "
            f"{' or '.join(option(f'--{role.role}', role.name) for role in inputs[:_NAMED])}; "
            "joining several comes in a later version."
        )
    rest = [role for role in roles if role.role == "ignore"]
    seen = "; ".join(f"{role.name!r}: {role.evidence}" for role in rest[:_NAMED]) or "there is only the target"
    seen += f"; and {len(rest) - _NAMED} more" if len(rest) > _NAMED else ""
    raise TaskError(f"{table.name}: no column looks like images or text ({seen}). Name it with --image or --text.")
