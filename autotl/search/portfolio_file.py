"""A portfolio on disk: configurations that did well in past runs, in the order in which to try them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autotl.errors import RunError
from autotl.files import write_durably
from autotl.plugins.contracts import Value
from autotl.runs.folder import PORTFOLIO_FILE
from autotl.untrusted import parse_json, read_text

if TYPE_CHECKING:
    from autotl.search.space import Space, TrialConfig


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Sources(_Part):
    """What a portfolio was made from."""

    runs: int
    tasks: int
    trials: int
    skipped: int = 0  #: lines of another format


class Entry(_Part):
    """One configuration, whatever the backbone."""

    strategy: str = Field(min_length=1)
    settings: dict[str, Value]
    mean_regret: float  #: over the tasks, of the best of this entry and those before it; 0 is best, 1 worst


class Portfolio(_Part):
    """Configurations in the order in which to try them."""

    format: Literal[1] = 1
    sources: Sources
    entries: tuple[Entry, ...] = Field(min_length=1)

    def save(self, path: str | Path) -> None:
        """Raises `RunError` when the file exists or cannot be written."""
        if Path(path).exists():
            raise RunError(f"{path} exists already; name another file")
        try:
            write_durably(Path(path), self.model_dump_json(indent=1) + "\n")
        except OSError as error:
            raise RunError(f"{path} cannot be written ({error.strerror}); name another file") from error

    def adapted_to(self, space: Space) -> tuple[list[TrialConfig], Counter[str]]:
        """What it says to try first, for the best backbone; and how many entries cannot be tried here, by strategy."""
        best, *_ = space.candidates
        fitting, foreign = [], Counter[str]()
        for entry in self.entries:
            if config := space.adapted(best, entry.strategy, entry.settings):
                fitting.append(config)
            else:
                foreign[entry.strategy] += 1
        return fitting, foreign

    @classmethod
    def load(cls, path: str | Path) -> Portfolio:
        """Raises `RunError` when the file cannot be read or is no portfolio of this format."""
        way_out = "write one with 'autotl portfolio RUNS --out FILE'"
        try:
            data = parse_json(read_text(Path(path)))
        except OSError as error:
            raise RunError(f"{path}: the portfolio cannot be read ({error.strerror}); {way_out}") from error
        except ValueError as error:  # not UTF-8, not JSON, or too large
            raise RunError(f"{path} is no portfolio: it is not JSON ({error}); {way_out}") from error
        if not isinstance(data, dict) or data.get("format") != 1:
            raise RunError(f'{path} is no portfolio of this version of AutoTL ("format" is not 1); {way_out}')
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise RunError(f"{path} is no portfolio: {where}: {first['msg']}; {way_out}") from error


def kept_portfolio(asked: str | None, folder: Path, *, resumed: bool) -> Portfolio | None:
    """What past runs say to try first; a copy stays in the run's folder, so that a resumed search needs nothing else.

    asked: the path in the request. Raises `RunError` for one that cannot be read.
    """
    if asked is None:
        return None
    copy = folder / PORTFOLIO_FILE
    if resumed:
        return Portfolio.load(copy)
    portfolio = Portfolio.load(asked)
    portfolio.save(copy)
    return portfolio
