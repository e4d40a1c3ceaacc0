"""The table of kinds: a row for each.

Nobody asks its name; others ask whether a row of a task has one class (`exclusive`), the loss is squared, or there are
classes at all.
"""

from __future__ import annotations

from collections.abc import Mapping

from autotl.kinds.classes import Classes
from autotl.kinds.kind import Kind
from autotl.kinds.labels import Labels
from autotl.kinds.numbers import Numbers

#: In the order in which they are recognised: any column of few different values could be classes.
TABLE: tuple[Kind, ...] = (Labels(), Numbers(), Classes())

#: By the name in `Task.kind`.
KINDS: Mapping[str, Kind] = {name: row for row in TABLE for name in row.names}

#: Every metric that has a name here.
METRICS: tuple[str, ...] = tuple(dict.fromkeys(name for row in reversed(TABLE) for name in row.metrics))
