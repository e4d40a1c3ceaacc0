"""Which column is the target and which are the input; refuses where two answers are plausible."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from autotl.data.cells import are_few, distinct, is_date, is_missing, is_whole, spread
from autotl.data.columns import ColumnRole, holds_words, judge_column, judge_images, looks_like_images
from autotl.data.folders import SPLIT_NAMES
from autotl.data.pairs import pair_among
from autotl.data.tables import Table
from autotl.data.wording import listed, option, shortened
from autotl.errors import DataError, TaskError
from autotl.kinds import TABLE
from autotl.plugins.contracts import PICTORIAL, Modality

#: Columns that a message speaks of one by one.
_NAMED = 8

#: Columns so called, or of nothing but the names of parts, say where a row belongs and not what it is.
_NAMES_OF_SPLITS = {"fold", "is_test", "is_train", "partition", "set", "split", "subset", "usage"}

#: Cells that say whether a column holds days.
_LOOKED_AT = 50

#: How a column says yes and no.
_FLAGS = ({"0", "1"}, {"-1", "1"}, {"false", "true"}, {"no", "yes"})

#: How sure it is that a column is the target for being the last, or for the end of its name.
LAST, ENDING = 0.7, 0.8

TARGET_NAMES = ("label", "labels", "target", "class", "category", "y", "sentiment")

#: Of these, what may be said of all rows of a table, such as its category, and then is not asked.
_SHARED_NAMES = ("class", "category")

#: How columns of times are called; by themselves, seconds since 1970 are numbers like others.
_TIMES = re.compile(r"time|date|stamp|created|epoch", re.IGNORECASE)

#: Seconds, and milliseconds, since 1970 that are a day of these decades.
_SECONDS, _MILLISECONDS = (1e8, 2.5e9), (1e11, 2.5e12)


@dataclass(frozen=True)
class Overrides:
    """What the person said about the columns; None is to be inferred."""

    target: tuple[str, ...] = ()  #: several are labels or numbers of one row
    image: str | tuple[str, ...] | None = None  #: several are one input, in this order
    text: str | tuple[str, ...] | None = None  #: several are joined into one, in this order
    weight: str | None = None  #: what a row counts in training
    group: str | None = None  #: rows with equal values in this column stay on one side of a split
    pair: tuple[str, ...] | None = None  #: two columns of texts, ordered

    @property
    def inputs(self) -> dict[Modality, tuple[str, ...]]:
        """The columns that were named as the input, by what they were said to be."""
        image, text = ((names,) if isinstance(names, str) else names for names in (self.image, self.text))
        several_images = image is not None and len(image) > 1
        given: dict[Modality, tuple[str, ...] | None] = {
            "images" if several_images else "image": image, "text": text, "text_pair": self.pair
        }  # fmt: skip
        return {role: names for role, names in given.items() if names}

    def in_table(self, table: Table) -> Overrides:
        """With names as the table has them. Raises `DataError` for a column that does not exist."""
        given: dict[str, Any] = {name: value for name, value in vars(self).items() if value is not None}
        for name, value in given.items():
            given[name] = table.name_of(value) if isinstance(value, str) else tuple(map(table.name_of, value))
        return replace(self, **given)


#: The option that says what a column of the input is.
_OPTIONS: dict[Modality, str] = {"image": "--image", "images": "--image", "text": "--text", "text_pair": "--pair"}


def infer_roles(table: Table, overrides: Overrides) -> list[ColumnRole]:
    """The role of every column, in the order of the table: one input, one target or more, the rest ignored.

    An input has several columns where two texts are by their names a pair, and where a person says so; several images
    are never guessed.
    Raises `DataError` for a column that does not exist, image paths that lead nowhere or a group that is the target
    or the input, and `TaskError` where the target or the input is missing or could be several.
    """
    overrides = overrides.in_table(table)
    _check(table, overrides)
    targets = {role.name: role for role in _find_targets(table, overrides)}
    chosen = {role.name: role for role in _chosen_inputs(table, overrides)}
    roles = []
    for name in table.columns:
        if name in targets:
            roles.append(targets[name])
        elif name == overrides.weight:
            roles.append(ColumnRole(name, "ignore", 1.0, "what a row counts in training (--weight-column)"))
        elif name == overrides.group:
            roles.append(ColumnRole(name, "ignore", 1.0, "rows with equal values stay together (--group)"))
        elif not chosen:
            roles.append(judge_column(table, name))
        elif name in chosen:
            roles.append(chosen[name])
        else:
            was = "were chosen as the input" if len(chosen) > 1 else "was chosen as the input"
            roles.append(ColumnRole(name, "ignore", 1.0, f"{listed(chosen)} {was}"))
    if overrides.group is not None and not _input_roles(roles) and _input_roles([judge_column(table, overrides.group)]):
        raise _group_is(table, overrides.group, "input")
    if chosen:
        return roles
    roles = _with_pair(table, roles, group=overrides.group)
    _require_one_input(table, roles)
    return roles


def _input_roles(roles: Sequence[ColumnRole]) -> list[ColumnRole]:
    """Those of columns that hold images or texts."""
    return [role for role in roles if role.role in _OPTIONS]


def _check(table: Table, overrides: Overrides) -> None:
    inputs = overrides.inputs
    if len(inputs) > 1:
        asked = " and ".join(option(_OPTIONS[role], *names) for role, names in inputs.items())
        raise TaskError(f"{table.name}: {asked} are {len(inputs)} inputs. Name one: texts beside images are not read.")
    names = [name for several in inputs.values() for name in several]
    if "text_pair" in inputs and len(names) != 2:
        raise TaskError(f"{table.name}: --pair takes two columns of texts, and {listed(names)} are {len(names)}.")
    if both := next((name for name in overrides.target if name in names), None):
        raise TaskError(f"{table.name}: column {both!r} cannot be both the target and the input.")
    for what, given in (("input", names), ("target", overrides.target)):
        if repeated := next((name for name in given if given.count(name) > 1), None):
            raise TaskError(f"{table.name}: column {repeated!r} is named twice as the {what}.")
    if overrides.weight is not None and overrides.weight in (*names, *overrides.target):
        what = "target" if overrides.weight in overrides.target else "input"
        raise DataError(f"{table.name}: column {overrides.weight!r} cannot be both the {what} and the weight of a row.")
    if overrides.group is not None and overrides.group in (*names, *overrides.target):
        raise _group_is(table, overrides.group, "target" if overrides.group in overrides.target else "input")


def _group_is(table: Table, group: str, role: str) -> DataError:
    return DataError(
        f"{table.name}: column {group!r} cannot be both the {role} and the group. Name with --group a column that says "
        "which rows belong together, such as the patient or the author"
    )


def _chosen_inputs(table: Table, overrides: Overrides) -> list[ColumnRole]:
    return [
        ColumnRole(name, role, 1.0, _why(table, role, names, place), place)
        for role, names in overrides.inputs.items()
        for place, name in enumerate(names)
    ]


def _why(table: Table, role: Modality, names: Sequence[str], place: int) -> str:
    """How a column came to be chosen. Raises `DataError` where it was for images, and holds none."""
    if role == "text_pair":
        return f"chosen with --pair, as the {('first', 'second')[place]} text"
    if role in PICTORIAL:
        which = f", as image {place + 1} of {len(names)}" if len(names) > 1 else ""
        return f"chosen with --image{which}; {judge_images(table, names[place]).evidence}"
    joined = f"; {len(names)} columns are joined into one text" if len(names) > 1 else ""
    return f"chosen with --text{joined}"


def _with_pair(table: Table, roles: list[ColumnRole], *, group: str | None) -> list[ColumnRole]:
    """The same, with the input as a pair where by their names two columns are one, and no other could be the input.

    Half of a pair may look like a category or like names: queries are short, and come with many passages each.
    """
    inputs = _input_roles(roles)
    texts = [role.name for role in inputs if role.role == "text"]
    if len(texts) < len(inputs) or not 1 <= len(texts) <= 2:
        return roles
    if len(texts) == 1:
        ignored = [role.name for role in roles if role.role == "ignore" and role.name != group]
        halves = [name for name in ignored if pair_among([*texts, name]) and holds_words(table, name)]
        texts += halves if len(halves) == 1 else []
    pair = pair_among(texts)
    if pair is None:
        return roles
    found = []
    for role in roles:
        if role.name in pair:
            place = pair.index(role.name)
            why = f"its name and that of {pair[1 - place]!r} are those of a pair; {role.evidence}"
            role = ColumnRole(role.name, "text_pair", min(role.confidence, 0.9), why, place)
        found.append(role)
    return found


def _find_targets(table: Table, overrides: Overrides) -> list[ColumnRole]:
    if overrides.target:
        return [ColumnRole(name, "target", 1.0, "chosen with --target") for name in overrides.target]
    taken = {name for names in overrides.inputs.values() for name in names} | {overrides.group, overrides.weight}
    free = [name for name in table.columns if name not in taken]
    named = [name for name in free if name.strip().casefold() in TARGET_NAMES]
    if [name.strip().casefold() for name in named] in ([], ["target"]):  # which may be what a stance is about
        named += [name for name in free if name.strip().casefold() == "stance"]
    of_all = {name for name in named if name.strip().casefold() in _SHARED_NAMES and not _varies(table, name)}
    rest = [name for name in free if name not in of_all]
    if of_all and any(_varies(table, name) and _could_be_target(table, name) for name in rest):
        named, free = [name for name in named if name not in of_all], rest
    else:
        of_all = set()
    if len(named) == 1:
        return [ColumnRole(named[0], "target", 0.95, f"its name; {_values(table, named[0])}")]
    if named:
        raise TaskError(
            f"{table.name}: {len(named)} columns could be the target: {listed(named)}. "
            f"Say which: {' or '.join(option('--target', name) for name in named)}"
        )
    if overrides.group is not None and overrides.group.strip().casefold() in TARGET_NAMES:
        raise _group_is(table, overrides.group, "target")
    ending = [name for name in free if _ends_like_a_target(name) and _varies(table, name)]
    if len(ending) == 1 and _could_be_target(table, ending[0]):
        return [ColumnRole(ending[0], "target", ENDING, f"the end of its name; {_values(table, ending[0])}")]
    free = [name for name in free if not _names_parts(table, name)]
    asked = [name for name in table.columns if name not in (overrides.group, overrides.weight, *of_all)]
    last = ([name for name in asked if not _names_parts(table, name)] or asked or list(table.columns))[-1]
    flags = [name for name in free if _is_flag(table, name)]
    if last in flags and len(flags) > 2:
        raise TaskError(
            f"{table.name}: {len(flags)} columns hold yes and no, and none is named like a target: {listed(flags)}. "
            f"Say which is asked, such as {option('--target', last)}, or several: {option('--target', *flags[-2:])}"
        )
    if last in free and _could_be_target(table, last):
        return [ColumnRole(last, "target", LAST, f"the last column; {_values(table, last)}")]
    others = [name for name in free if name != last and _varies(table, name) and _could_be_target(table, name)]
    if len(others) == 1 and (last not in free or _holds_different_images(table, last)):
        why = f"the only column beside the input {last!r} that could be it; {_values(table, others[0])}"
        return [ColumnRole(others[0], "target", 0.6, why)]
    if len(table.columns) == 1:
        raise TaskError(
            f"{table.name}: there is only one column, {shortened(last)}, and a table needs an input and a target. In "
            "text files a comma, a semicolon, a tab (in .tsv always) or a bar stands between columns"
        )
    raise TaskError(
        f"{table.name}: no column is named like a target ({', '.join(TARGET_NAMES)}) and the last one, {last!r}, does "
        f"not look like classes, labels or numbers ({_values(table, last)}). Name one of {listed(table.columns)} with "
        "--target NAME"
    )


def _names_parts(table: Table, name: str) -> bool:
    """Whether a column says which part of the table a row belongs to, by its name or by its values."""
    return name.strip().casefold() in _NAMES_OF_SPLITS or bool(_only(table, name, SPLIT_NAMES))


def rows_of_other_parts(table: Table, name: str) -> int:
    """How many rows a column of names of parts puts elsewhere than into training; 0 where it has no other words."""
    if len(_only(table, name, SPLIT_NAMES)) < 2:
        return 0
    words = (str(cell).strip().casefold() for cell in table.column(name) if not is_missing(cell))
    return sum(not word.startswith("train") for word in words)


def _is_flag(table: Table, name: str) -> bool:
    return _only(table, name, set[str]().union(*_FLAGS)) in _FLAGS


def _only(table: Table, name: str, words: Set[str]) -> set[str]:
    """The words that a column holds; none where it holds anything else, which long texts say at once."""
    found: set[str] = set()
    for cell in table.column(name):
        if not is_missing(cell):
            word = str(cell).strip().casefold().removesuffix(".0")
            if word not in words:
                return set()
            found.add(word)
    return found


def _ends_like_a_target(name: str) -> bool:
    """Whether the last of several words of a column's name is that of a target, as in ``airline_sentiment``."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)
    return len(words) > 1 and len(words[-1]) > 1 and words[-1].casefold() in TARGET_NAMES


def other_targets(table: Table, roles: Sequence[ColumnRole]) -> list[str]:
    """Columns that could be the target as well as the one that is it; none where that was named, or has such a name."""
    (target, *more) = (role for role in roles if role.role == "target")
    if more or target.confidence not in (LAST, ENDING):
        return []
    ignored = [role.name for role in roles if role.role == "ignore" and role.name != target.name]
    return [name for name in ignored if _varies(table, name) and _could_be_classes(table, name)]


def _could_be_target(table: Table, name: str) -> bool:
    return not _is_time(table, name) and (_could_be_classes(table, name) or _is_plain(table, name))


def _varies(table: Table, name: str) -> bool:
    return distinct([cell for cell in table.column(name) if not is_missing(cell)]) > 1


def _holds_different_images(table: Table, name: str) -> bool:
    """Whether it can only be the input: few images, each in many rows, may say what a row is."""
    cells = [cell for cell in table.column(name) if not is_missing(cell)]
    return bool(cells) and looks_like_images(cells) and not are_few(distinct(cells), len(cells))


def _could_be_classes(table: Table, name: str) -> bool:
    cells = [cell for cell in table.column(name) if not is_missing(cell)]
    if not cells or looks_like_images(cells) or _is_time(table, name):
        return False
    return are_few(distinct(cells), len(cells))


def _is_time(table: Table, name: str) -> bool:
    """Whether a column says when: days, or seconds since 1970 under such a name."""
    cells = [cell for cell in table.column(name) if not is_missing(cell)]
    if not cells or looks_like_images(cells):
        return False
    if all(map(_is_day, spread(cells, _LOOKED_AT))):
        return True
    if not _TIMES.search(name) or not all(map(is_whole, cells)):
        return False
    return any(all(low < float(cell) < high for cell in cells) for low, high in (_SECONDS, _MILLISECONDS))


def _is_day(cell: Any) -> bool:
    return is_date(cell) if isinstance(cell, str) else isinstance(cell, date)


def _is_plain(table: Table, name: str) -> bool:
    """Whether the cells say what is asked: labels, or numbers. Each another whole number is an id."""
    cells = [cell for cell in table.column(name) if not is_missing(cell)]
    if distinct(cells) == len(cells) and all(map(is_whole, cells)):
        return False
    return any(rules.recognises(table, [name]) for rules in TABLE if not rules.exclusive)


def _values(table: Table, name: str) -> str:
    cells = [cell for cell in table.column(name) if not is_missing(cell)]
    return f"{distinct(cells)} different values in {len(cells)} rows"


def _require_one_input(table: Table, roles: list[ColumnRole]) -> None:
    inputs = _input_roles(roles)
    if len(inputs) == 1 or any(role.role == "text_pair" for role in inputs):
        return
    if inputs:
        found = ", ".join(f"{role.name!r} ({role.role})" for role in inputs[:_NAMED])
        found += f" and {len(inputs) - _NAMED} more" if len(inputs) > _NAMED else ""
        raise TaskError(
            f"{table.name}: {len(inputs)} columns could be the input: {found}. Choose one with "
            f"{' or '.join(option(f'--{role.role}', role.name) for role in inputs[:_NAMED])}"
            f"{_together(inputs)}."
        )
    rest = [role for role in roles if role.role == "ignore"]
    seen = "; ".join(f"{role.name!r}: {role.evidence}" for role in rest[:_NAMED]) or "there is only the target"
    seen += f"; and {len(rest) - _NAMED} more" if len(rest) > _NAMED else ""
    raise TaskError(f"{table.name}: no column looks like images or text ({seen}). Name it with --image or --text.")


def _together(inputs: Sequence[ColumnRole]) -> str:
    """What else a person could mean by several columns of texts, or of images; empty where there are none."""
    texts, images = ([found.name for found in inputs if found.role == role] for role in ("text", "image"))
    meant = ""
    if len(texts) > 1:
        pair = pair_among(texts) or texts[:2]
        meant += (
            f", join them into one text with {option('--text', *texts[:_NAMED])}, or compare two with "
            f"{option('--pair', *pair)}"
        )
    if len(images) > 1:
        meant += f", or take the images of a row together with {option('--image', *images[:_NAMED])}"
    return meant
