"""Connections that wait for a request no longer than it may take to come.

uvicorn closes what is idle after an answer, and waits without end for the rest of a header, and for the first one.
"""

from __future__ import annotations

import asyncio
from typing import Any


def impatient(protocol: type[Any], seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol, either of its two, that closes a connection where a header takes too long to come.

    seconds: from the connection, or from the first byte behind an answer, to the end of the header.
    """

    class Impatient(protocol):  # type: ignore[misc]
        _closing: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._closing = self.loop.call_later(seconds, self.shutdown)  # which lets an answer on its way go out

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._wait_on()
            elif self._closing is None:
                self._closing = self.loop.call_later(seconds, self.shutdown)

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait_on()
            super().connection_lost(exc)

        def _wait_on(self) -> None:
            if self._closing is not None:
                self._closing.cancel()
                self._closing = None

    return Impatient
