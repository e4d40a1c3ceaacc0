"""What stands before the service: it lets in no more than there is room for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from autotl.serving.limits import Limits

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LATER = {"Retry-After": "1"}


@dataclass
class _Body:
    """What one request sends."""

    source: Receive
    end: float  #: of the time to send it in, on the event loop's clock
    bytes: int = 0  #: so far
    whole: bool = False

    async def receive(self) -> Message:
        """The next message. Raises the answer to a body that takes too long to come."""
        try:
            async with asyncio.timeout_at(None if self.whole else self.end):
                message = await self.source()
        except TimeoutError:
            raise HTTPException(408, "the request took too long to come") from None
        self.whole = self.whole or not message.get("more_body", False)
        return message

    async def drain(self) -> None:
        """Reads the rest and keeps nothing of it: a client that is cut off while it sends hears no answer."""
        while not self.whole:
            await self.receive()


class Gate:
    """An ASGI middleware that counts requests and bytes, and gives each body a time to be sent in.

    ``/health`` is always answered.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits
        self._requests = self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/health":
            await self._app(scope, receive, send)
            return
        if self._requests >= self._limits.requests:
            busy = JSONResponse({"detail": "too many requests at once: try again in a moment"}, 503, _LATER)
            await busy(scope, receive, send)
            return
        body = _Body(receive, asyncio.get_running_loop().time() + self._limits.seconds)
        self._requests += 1
        try:
            await self._app(scope, lambda: self._receive(body), send)
        finally:
            self._requests -= 1
            self._bytes -= body.bytes

    async def _receive(self, body: _Body) -> Message:
        """The next piece of a body. Raises the answer to one that is too much."""
        message = await body.receive()
        size = len(message.get("body", b""))
        body.bytes += size
        self._bytes += size
        if body.bytes > self._limits.bytes:
            await body.drain()
            raise HTTPException(413, f"the request has more than {self._limits.bytes} bytes")
        if self._bytes > self._limits.bytes_in_hand:
            await body.drain()
            raise HTTPException(503, "too much is being sent at once: try again in a moment", _LATER)
        return message
