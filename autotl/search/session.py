"""What the rooms of a search share: whom they ask, who judges, and how long there is."""

from __future__ import annotations

from dataclasses import dataclass

from autotl.events import EventLog
from autotl.search.costs import Costs
from autotl.search.dialogue import Dialogue
from autotl.search.judging import Judge
from autotl.search.pace import Pace


@dataclass(frozen=True)
class Session:
    """Made once a process, when the table is known."""

    dialogue: Dialogue
    judge: Judge
    pace: Pace
    events: EventLog
    costs: Costs
