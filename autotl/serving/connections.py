"""Connections that wait for a request no longer than it may take to come, nor for a header without an end.

uvicorn closes what is idle after an answer, and waits without end for the rest of a header, and for the first one; of
its two parsers httptools takes a header of any length.
"""

from __future__ import annotations

import asyncio
from typing import Any

#: Bytes of a header, address and all: what h11 takes, and eight times what web servers do.
LARGEST_HEADER = 64 * 2**10


def impatient(protocol: type[Any], seconds: float) -> type[asyncio.Protocol]:
    """uvicorn's HTTP protocol, either of its two, that closes a connection where a header takes too long to come.

    seconds: from the connection, or from the first byte behind an answer, to the end of the header.
    """

    class Impatient(protocol):  # type: ignore[misc]
        _closing: asyncio.TimerHandle | None = None
        _came = 0  #: bytes in the last piece
        _header: int | None = None  #: bytes of one that has not come to its end, without the piece that it began in

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self._closing = self.loop.call_later(seconds, self.shutdown)  # which lets an answer on its way go out

        def data_received(self, data: bytes) -> None:
            self._came = len(data)
            super().data_received(data)
            if self._header is not None:
                self._header += len(data)
                if self._header > LARGEST_HEADER:
                    self.transport.close()
            if self.cycle is not None and not self.cycle.response_complete:
                self._wait_on()
            elif self._closing is None:
                self._closing = self.loop.call_later(seconds, self.shutdown)

        def on_message_begin(self) -> None:  # httptools asks for these
            super().on_message_begin()
            self._header = -self._came

        def on_headers_complete(self) -> None:
            self._header = None
            super().on_headers_complete()

        def on_chunk_header(self) -> None:  # behind the last one there may be headers again
            self._header = -self._came

        def on_body(self, body: bytes) -> None:
            self._header = None
            super().on_body(body)

        def on_message_complete(self) -> None:
            self._header = None
            super().on_message_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._wait_on()
            super().connection_lost(exc)

        def _wait_on(self) -> None:
            if self._closing is not None:
                self._closing.cancel()
                self._closing = None

    return Impatient
