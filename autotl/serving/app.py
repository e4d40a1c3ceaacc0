"""The HTTP service of one model: ``POST /predict``, ``GET /health``, ``GET /openapi.json``, and a page for people."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from autotl.data.cells import as_text
from autotl.plugins.contracts import Unreadable
from autotl.predictor.predictor import Predictor
from autotl.serving.batching import Answer, Batcher
from autotl.serving.description import described
from autotl.serving.gate import Gate
from autotl.serving.intake import Intake, NoRoom, Refused, intake_for
from autotl.serving.limits import Limits
from autotl.serving.page import page
from autotl.serving.schema import Health, sent_to

logger = logging.getLogger(__name__)

#: Errors in one request that are put into words: of millions that takes gigabytes, to tell one.
MOST_ERRORS = 100

#: Bytes from which inputs are looked at beside the loop that serves all others: of a picture that is nothing but empty
#: chunks it would be kept for seconds. Of a photograph of 3 KB the way to a thread takes as long as the look.
LARGE_BODY = 2**18

#: Where Linux keeps files in memory.
MEMORY = "/dev/shm"


def make_app(predictor: Predictor, limits: Limits | None = None) -> Starlette:
    """The service of a predictor, which nobody else uses meanwhile.

    On Starlette itself: with FastAPI a request for one text took 0.29 ms of a core besides the model, and takes 0.20.
    """
    limits = limits or Limits()
    service = _Service(predictor, limits)
    return Starlette(
        routes=[
            Route("/predict", service, methods=["POST"]),
            Route("/health", service.health),
            Route("/openapi.json", service.describe),
            Route("/", service.explain),
        ],
        middleware=[Middleware(Gate, limits=limits)],
        exception_handlers={HTTPException: _told},
        lifespan=service.lifespan,
    )


class _Service:
    """Between the routes and the model."""

    _intake: Intake
    _batcher: Batcher[dict[str, Any] | Unreadable]

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self._predictor, self._limits = predictor, limits
        self._sent = sent_to(predictor.task)

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """What lives as long as the service: the model's thread, and the folder that images lie in."""
        with tempfile.TemporaryDirectory(prefix="autotl-serve-", dir=_in_memory(self._limits.bytes_in_hand)) as folder:
            self._intake = intake_for(self._predictor.task, self._limits, Path(folder))
            self._batcher = Batcher(self._rows)
            yield
            await self._batcher.close()

    async def explain(self, request: Request) -> Response:
        return HTMLResponse(page(self._predictor.card, self._limits, str(request.base_url)))

    async def describe(self, request: Request) -> Response:
        return JSONResponse(described(self._predictor.card, self._sent))

    async def health(self, request: Request) -> Response:
        card = self._predictor.card
        told = Health(status="ok", model=card.describe(), outputs=list(card.task.outputs))
        return JSONResponse(told.model_dump())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request to predict. Raises what HTTP has for one that cannot be answered.

        An ASGI application by itself: Starlette's request and response took 25 of 185 µs that a photograph took here.
        """
        body = await _body(receive)
        if body is None:
            return
        sent = self._checked(scope, body)
        if len(sent) > self._limits.rows:
            raise HTTPException(413, f"the request has {len(sent)} rows, and {self._limits.rows} are allowed")
        try:
            with ExitStack() as stack:
                taken = self._intake.cells(sent)
                if len(body) > LARGE_BODY:
                    cells = await asyncio.to_thread(stack.enter_context, taken)
                else:
                    cells = stack.enter_context(taken)
                rows = await _unless_gone(receive, self._batcher.predict(cells))
        except Refused as error:
            raise HTTPException(422, str(error)) from None
        except NoRoom as error:
            logger.error("no image can be taken: %s", error)
            raise HTTPException(503, "the service has no room for images now; try again later") from None
        except Exception:  # the batcher has told the log
            raise HTTPException(500, "the model failed on these inputs") from None
        if rows is None:
            return
        for number, row in enumerate(rows):
            if isinstance(row, Unreadable):
                raise HTTPException(422, f"row {number}: {self._without_paths(row.reason, cells[number])}")
        answer = to_json({"predictions": rows})
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _rows(self, cells: Sequence[Any]) -> list[dict[str, Any] | Unreadable]:
        """What is said of each input. For all of a batch at once, since numpy takes its time over one row as well."""
        predictions, task = self._predictor.answers(cells), self._predictor.task
        readable = [row for row in range(len(cells)) if row not in predictions.unreadable]
        told = iter(task.rules.answered(task, predictions.answers[readable], self._predictor.card.calibration))
        reasons = (predictions.unreadable.get(row) for row in range(len(cells)))
        return [next(told) if reason is None else Unreadable(reason) for reason in reasons]

    def _checked(self, scope: Scope, body: bytes) -> Sequence[Any]:
        """The inputs that a request sends. JSON must be called so: browsers post anything else from any page."""
        way_out = "send JSON (Content-Type: application/json) as /openapi.json has it"
        kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise HTTPException(415, f"the request is {kind or 'of no type'}; {way_out}")
        try:
            return self._sent.model_validate_json(body).inputs
        except ValidationError as refusal:
            if refusal.error_count() > MOST_ERRORS:  # of lists the first bad element is one, so these are names
                raise HTTPException(422, f"body: unknown fields, {refusal.error_count()} of them; {way_out}") from None
            first = refusal.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise HTTPException(400, "the request is not JSON")
        where = ".".join(map(str, first["loc"])) or "body"
        raise HTTPException(422, f"{where}: {first['msg']}; {way_out}")

    def _without_paths(self, reason: str, cell: Any) -> str:
        """Where it lay is nobody's business."""
        task = self._predictor.task
        if task.modality != "images":
            return _renamed(reason, as_text(cell), "the input")
        for column, path in reversed([*zip(task.columns, cell, strict=True)]):  # some begin like earlier ones
            reason = _renamed(reason, path, repr(column))
        return reason


async def _body(receive: Receive) -> bytes | None:
    """What a request sends, whole; None where the client is gone before."""
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _unless_gone(receive: Receive, answer: asyncio.Future[Sequence[Answer]]) -> Sequence[Answer] | None:
    """The answer; None where the client is gone before, as who has waited long enough is: then nobody works for it."""
    leaving = asyncio.ensure_future(receive())  # after the body the only message is that
    leaving.add_done_callback(lambda done: (done.cancelled() or done.exception(), answer.cancel()))
    try:
        return await answer
    except asyncio.CancelledError:
        if leaving.done():
            return None
        raise
    finally:
        leaving.cancel()


def _in_memory(room: int) -> str | None:
    """A folder in memory that has so many bytes left, on Linux; None where there is none, and the disk has to do.

    A photograph of 3 KB took 260 µs to be written and removed in a container's ``/tmp``, and 25 µs here.
    """
    try:
        free = shutil.disk_usage(MEMORY).free
    except OSError:
        return None
    return MEMORY if free >= room and os.access(MEMORY, os.W_OK) else None


def _renamed(reason: str, path: str, name: str) -> str:
    return reason.replace(repr(path), name).replace(path, name)


async def _told(request: Request, error: Exception) -> Response:
    """Why there is no answer, in one sentence of JSON."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)
