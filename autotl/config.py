"""What a person asks of a search, and where things live on this machine."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from autotl.data.cells import in_whole_characters
from autotl.data.inspection import SKIP_LIMIT
from autotl.data.paths import absolute, is_address
from autotl.data.roles import Overrides
from autotl.data.wording import a_kind_of, shortened
from autotl.errors import BudgetError, DataError, ZooError

#: Five minutes on two cores buy one good fine-tuning of a small backbone on some thousand rows.
DEFAULT_BUDGET = "5m"

#: Weights are kept in fp32.
BYTES_A_PARAMETER = 4

#: What Python with torch takes before it has done anything.
LEAST_MEMORY = 200 * 10**6

#: What a run of the smallest networks takes, of some million parameters: a head, a trial and a checkpoint.
LEAST_DISK = 50 * 10**6

#: What people write for a number that is not negative.
_NUMBER = r"\d+(?:\.\d+)?"

#: Stands in a request for a table that was given as a frame.
FRAME = "DataFrame"


class Limits(BaseModel):
    """What a model may cost; None: whatever it likes."""

    model_config = ConfigDict(frozen=True)

    latency: float | None = None  #: seconds from one cell to its answer, on this machine
    parameters: int | None = None
    size: int | None = None  #: bytes of weights in the bundle
    passes: int | None = None  #: of the row through a network, so many models make an answer at most

    @property
    def given(self) -> bool:
        return any(limit is not None for limit in (self.latency, self.parameters, self.size, self.passes))

    def too_large(self, parameters: int) -> str:
        """What is wrong with so many parameters, or nothing."""
        if self.parameters is not None and parameters > self.parameters:
            return f"{parameters / 1e6:.3g} M parameters, more than --max-params allows"
        if self.size is not None and BYTES_A_PARAMETER * parameters > self.size:
            return f"{BYTES_A_PARAMETER * parameters / 1e6:.3g} MB of weights, more than --max-size allows"
        return ""

    def too_slow(self, seconds: float) -> str:
        """What is wrong with so long a time for a row, or nothing."""
        if self.latency is not None and seconds > self.latency:
            return f"{1000 * seconds:.3g} ms a row, more than --max-latency allows"
        return ""


def _several(names: Any) -> tuple[str, ...]:
    """Names of columns, from one, from several, or from none; a frame may have other names than texts."""
    if names is None:
        return ()
    several = isinstance(names, Iterable) and not isinstance(names, str)
    return tuple(map(str, names)) if several else (str(names),)


class SearchRequest(BaseModel):
    """Everything that decides a search, as it stands in ``run.json``."""

    model_config = ConfigDict(frozen=True)

    data: str  #: path of the table, or `FRAME`
    test: str | None = None  #: likewise, of the one to test on
    target: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()  #: columns; none: found
    image: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()  #: several are one input, ordered
    text: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()  #: several are joined into one
    pair: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()  #: two, ordered
    group: str | None = None
    weight_column: str | None = None
    task: str | None = None  #: its kind, as in `Task.kind`; None: found
    metric: str | None = None
    costs: str | None = None  #: path of what wrong classes cost
    set_aside: str | None = None  #: path of the list of rows to leave out, in place of the audit's own
    models: tuple[str, ...] = ()
    budget_seconds: float | None = None  #: None: as many trials as asked for, however long
    trials: int | None = None
    offline: bool = False
    licences: tuple[str, ...] = ()  #: that weights may have, as `zoo.licences` reads them; none: any
    skip_limit: float = SKIP_LIMIT
    max_memory: int | None = None  #: bytes that training may take; None: a share of what is free
    max_disk: int | None = None  #: bytes that the run and what the cache keeps for it may take; None: likewise
    limits: Limits = Limits()
    portfolio: str | None = None  #: path of what past runs say to try first; the run's folder keeps a copy
    teacher: str | None = None  #: path of a run or bundle that strategies may learn from
    backbones: tuple[str, ...] = ()  #: by name or key, to search among no others; none: all that can be used
    seed: int = 0

    @property
    def frame(self) -> str:
        """Which of its tables was given as a frame, and is gone with the process; empty where none was."""
        return "table" if self.data == FRAME else "table to test on" if self.test == FRAME else ""

    @property
    def overrides(self) -> Overrides:
        return Overrides(
            target=self.target,
            image=self.image,
            text=self.text,
            pair=self.pair,
            group=self.group,
            weight=self.weight_column,
        )


def make_request(
    data: str,
    *,
    test: str | Path | None = None,
    target: str | Sequence[str] | None = None,
    image: str | Sequence[str] | None = None,
    text: str | Sequence[str] | None = None,
    pair: Sequence[str] | None = None,
    group: str | None = None,
    weight_column: str | None = None,
    task: str | None = None,
    metric: str | None = None,
    costs: str | Path | None = None,
    set_aside: str | Path | None = None,
    models: Sequence[str | Path] = (),
    backbones: Sequence[str] = (),
    budget_seconds: float | None = None,
    trials: int | None = None,
    offline: bool = False,
    licenses: str | Sequence[str] | None = None,
    skip_unreadable: str | float | None = None,
    max_memory: str | None = None,
    max_disk: str | None = None,
    max_latency: str | None = None,
    max_params: str | None = None,
    max_size: str | None = None,
    portfolio: str | Path | None = None,
    teacher: str | Path | None = None,
    seed: int = 0,
) -> SearchRequest:
    """From what people write; paths become whole, names of columns text.

    Raises `BudgetError`, `ZooError`, and `DataError` for what should be a path, a text or a number and is none.
    """
    try:
        return SearchRequest(
            data=data if data == FRAME else _whole(data),
            test=test if test is None or test == FRAME else _whole(test),
            target=_several(target),
            image=_several(image),
            text=_several(text),
            pair=_several(pair),
            group=None if group is None else str(group),
            weight_column=None if weight_column is None else str(weight_column),
            task=task,
            metric=metric,
            costs=_path("costs", costs),
            set_aside=_path("set_aside", set_aside),
            models=tuple(dict.fromkeys(_whole(folder) for folder in (*models, *zoos_of_environment()))),
            backbones=tuple(backbones),
            budget_seconds=budget_seconds,
            trials=parse_trials(trials),
            offline=offline,
            licences=parse_licences(licenses),
            skip_limit=parse_share(skip_unreadable),
            max_memory=None if max_memory is None else parse_memory(max_memory),
            max_disk=None if max_disk is None else parse_disk(max_disk),
            limits=parse_limits(latency=max_latency, parameters=max_params, size=max_size),
            portfolio=_path("portfolio", portfolio),
            teacher=_path("teacher", teacher),
            seed=parse_seed(seed),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"{first['loc'][0]}: {first['msg'][:1].lower()}{first['msg'][1:]}, not {a_kind_of(first['input'])}"
        ) from error


def moved(
    *,
    data: str | None,
    test: str | None,
    costs: str | None,
    set_aside: str | None,
    teacher: str | None,
    models: Sequence[str] | None,
) -> dict[str, str | tuple[str, ...]]:
    """Fields of a `SearchRequest` that other places stand in; None leaves what it was."""
    places = {"data": data, "test": test, "costs": costs, "set_aside": set_aside, "teacher": teacher}
    found: dict[str, str | tuple[str, ...]] = {name: _whole(path) for name, path in places.items() if path is not None}
    return found | ({"models": tuple(_whole(folder) for folder in models)} if models else {})


def _path(name: str, path: str | Path | None) -> str | None:
    """The whole path of an option. Raises `DataError` for what is none, such as a frame."""
    if path is None or isinstance(path, str | os.PathLike):
        return None if path is None else _whole(path)
    way_out = "Give that of a file or a folder"
    if hasattr(path, "to_csv"):
        way_out = f'Write it to a file: {name}.to_csv("{name}.csv")'
    raise DataError(f"{name} is a path, not {a_kind_of(path)}. {way_out}")


def _whole(path: str | os.PathLike[str]) -> str:
    """From the root; an empty name and an address stay as they are, and are refused by whoever reads them.

    Raises `DataError` for a name that is no text, and so could not be kept in ``run.json``.
    """
    if not isinstance(path, str | os.PathLike):
        raise DataError(f"{path!r} is no path. Give that of a file or a folder")
    path = os.fspath(path)
    whole = path if not path or is_address(path) else str(absolute(path))
    if whole != in_whole_characters(whole):
        raise DataError(f"{path}: its name is not UTF-8. Rename it, or the folder that it is in")
    return whole


def parse_trials(trials: int | None) -> int | None:
    """Raises `BudgetError` for a number of trials that makes no search."""
    if trials is not None and not (isinstance(trials, Integral) and 1 <= trials <= 100_000):
        raise BudgetError(f"{trials!r} trials: give a whole number from 1 to 100000")
    return None if trials is None else int(trials)


def parse_share(share: str | float | None) -> float:
    """From ``5%`` or ``0.05``, 0 to 1; the usual one for None. Raises `BudgetError` for what is no share."""
    value = SKIP_LIMIT if share is None else share
    if isinstance(value, str):
        match = re.fullmatch(rf"\s*({_NUMBER})\s*(%?)\s*", value)
        value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= value <= 1:
        raise BudgetError(f"--skip-unreadable {share!r} is no share of the rows: write 5% or 0.05")
    return value


def parse_seed(seed: int) -> int:
    """Raises `BudgetError` for a seed that not every generator takes."""
    if not isinstance(seed, Integral) or not 0 <= seed < 2**31:
        raise BudgetError(f"seed {seed!r}: give a whole number from 0 to {2**31 - 1}")
    return int(seed)


def parse_memory(text: str) -> int:
    """Bytes as `parse_size` has them. Raises `BudgetError` for what nothing could be trained in, too."""
    return _at_least(LEAST_MEMORY, text, "memory")


def parse_disk(text: str) -> int:
    """Bytes as `parse_size` has them. Raises `BudgetError` for what no run could be kept in, too."""
    return _at_least(LEAST_DISK, text, "disk")


def _at_least(least: int, text: str, what: str) -> int:
    size = parse_size(text)
    if size < least:
        raise BudgetError(f"{text!r} is too little {what} to work with: at least {least / 1e6:.0f}MB")
    return size


def parse_size(text: str) -> int:
    """Bytes from ``6GB``, ``512MB`` or ``1.5GiB``, one at least. Raises `BudgetError` for anything else."""
    text = str(text)  # from Python it may be a number
    match = re.fullmatch(rf"\s*({_NUMBER})\s*([KMGT])(i?)B?\s*", text, re.IGNORECASE)
    size = float(match[1]) * (1024 if match[3] else 1000) ** (1 + "KMGT".index(match[2].upper())) if match else 0.0
    if not 1 <= size < math.inf:
        raise BudgetError(f"{shortened(text)} is no size: write 6GB, 512MB or 1.5GiB")
    return int(size)


def parse_count(text: str | int) -> int:
    """A number from ``5M``, ``300k`` or ``1200000``, one at least. Raises `BudgetError` for anything else."""
    text = str(text)
    match = re.fullmatch(rf"\s*({_NUMBER})\s*([kMG]?)\s*", text)
    count = float(match[1]) * {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}[match[2]] if match else 0.0
    if not 1 <= count < math.inf:
        raise BudgetError(f"{shortened(text)} is no number of parameters: write 5M, 300k or 1200000")
    return int(count)


def parse_latency(text: str) -> float:
    """Seconds from ``5ms`` or ``0.2s``. Raises `BudgetError` for anything else."""
    text = str(text)
    match = re.fullmatch(rf"\s*({_NUMBER})\s*(ms|s)\s*", text)
    seconds = float(match[1]) * {"ms": 1e-3, "s": 1.0}[match[2]] if match else 0.0
    if not 0 < seconds < math.inf:
        raise BudgetError(f"{shortened(text)} is no time for a row: write 5ms or 0.2s")
    return seconds


def parse_limits(*, latency: str | None, parameters: str | None, size: str | None) -> Limits:
    """From what people write; None where there is no limit. Raises `BudgetError`."""
    return Limits(
        latency=None if latency is None else parse_latency(latency),
        parameters=None if parameters is None else parse_count(parameters),
        size=None if size is None else parse_size(size),
    )


def parse_licences(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """From ``permissive``, ``mit,apache-2.0`` or a list of such; none where there is nothing to keep to.

    Raises `ZooError` for a list without a name.
    """
    if text is None:
        return ()
    names = text.split(",") if isinstance(text, str) else text
    licences = tuple(dict.fromkeys(name.strip().lower() for name in names if name.strip()))
    if not licences:
        raise ZooError(f"{text!r} names no licence: write permissive, or names such as mit,apache-2.0")
    return licences


def zoos_of_environment() -> list[str]:
    """The folders of ``AUTOTL_ZOO``. A request has them too: who resumes a run need not have set it."""
    return [part for part in os.environ.get("AUTOTL_ZOO", "").split(os.pathsep) if part]


def cache_folder() -> Path:
    """Where AutoTL keeps what later runs can use: ``AUTOTL_CACHE``, or the system's cache folder."""
    if given := os.environ.get("AUTOTL_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "autotl"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "autotl"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autotl"
