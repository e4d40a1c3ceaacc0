"""Plugins hear the events of a run, each on a thread of its own: one that is slow or fails costs the search a note."""

from __future__ import annotations

import copy
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from autotl.events import Event
from autotl.plugins.hookspecs import EventContext

#: Seconds that a plugin may take over one event. The first one costs most: MLflow is imported in 0.7 s of an idle core
#: and makes its database in 1.1 s more, and beside a search it has a part of a core.
PATIENCE = 30.0

#: Seconds that the end of a run waits for plugins at least, however late it is: half of what a worker may be late.
LAST_CALL = 0.5


class Listening:
    """Hands every event to the plugins that hear events, as a listener of the log, and never waits for them."""

    def __init__(
        self,
        listeners: Mapping[str, Callable[..., Any]],
        context: EventContext,
        note: Callable[[str], None],
    ) -> None:
        """listeners: `plugins().listeners`. note: tells people of a plugin that hears no more; may call this again."""
        self._ears = [_Ear(name, hook, context) for name, hook in listeners.items()]
        self._note = note

    def __call__(self, event: Event) -> None:
        for ear in self._ears:
            ear.tell(event)
        self._switch_off()

    def close(self, seconds: float) -> None:
        """Gives the plugins `seconds` in all to hear the rest; `LAST_CALL` at least, `PATIENCE` at most."""
        until = time.monotonic() + min(max(seconds, LAST_CALL), PATIENCE)
        for ear in self._ears:
            ear.close()
        with suppress(KeyboardInterrupt):  # whoever does not want to wait has a finished search all the same
            for ear in self._ears:
                ear.wait(until - time.monotonic())
        self._switch_off(late=True)

    def _switch_off(self, *, late: bool = False) -> None:
        complaints = {ear: complaint for ear in self._ears if (complaint := ear.complaint(late=late))}
        self._ears = [ear for ear in self._ears if ear not in complaints]
        for complaint in complaints.values():
            self._note(complaint)


class _Ear:
    """One plugin, and what it has not heard yet."""

    def __init__(self, name: str, hook: Callable[..., Any], context: EventContext) -> None:
        self._name, self._hook, self._context = name, hook, context
        self._inbox: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._began: float | None = None  #: of the event that it hears now
        self._error: BaseException | None = None
        self._ended = threading.Event()  # Ctrl-C while a thread is joined makes Python 3.11 take it for one that ended
        threading.Thread(target=self._hear, name=f"{name}.autotl_event", daemon=True).start()

    def _hear(self) -> None:
        try:
            while (event := self._inbox.get()) is not None:
                self._began = time.monotonic()
                self._hook(context=self._context, event=event)
                self._began = None
        except BaseException as error:  # a foreign plugin may fail in any way, and must cost itself only
            self._error = error
        finally:
            self._ended.set()

    def tell(self, event: Event) -> None:
        self._inbox.put(copy.deepcopy(event))  # whatever a plugin does to it, the others hear it as it was

    def close(self) -> None:
        self._inbox.put(None)

    def wait(self, seconds: float) -> None:
        """Until it has heard all, or hears no more."""
        self._ended.wait(max(seconds, 0.0))

    def complaint(self, *, late: bool) -> str:
        """Why it hears no more, or nothing. late: whether the run is over, and all should have been heard."""
        if self._error is not None:
            return self._told(f"{type(self._error).__name__}: {self._error}")
        began = self._began
        if began is not None and (seconds := time.monotonic() - began) > PATIENCE:
            return self._told(f"it took more than {seconds:.0f} s over one event")
        if late and not self._ended.is_set():
            return self._told(f"the run ended before it had heard all ({self._inbox.qsize()} events were left)")
        return ""

    def _told(self, reason: str) -> str:
        return f"plugin {self._name} hears no more of this run: {reason}"
