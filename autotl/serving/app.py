"""The HTTP service of one model: ``POST /predict``, ``GET /health``, ``GET /openapi.json``, and a page for people."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse

import autotl
from autotl.data.cells import as_text
from autotl.predictor.predictor import Predictor
from autotl.serving.batching import Batcher
from autotl.serving.gate import Gate
from autotl.serving.intake import Intake, Refused, intake_for
from autotl.serving.limits import Limits
from autotl.serving.page import page
from autotl.serving.schema import PROBLEMS, Answer, Health, Images, RowsOfImages, RowsOfTexts, Texts


def make_app(predictor: Predictor, limits: Limits | None = None) -> FastAPI:
    """The service of a predictor, which nobody else uses meanwhile."""
    limits, card = limits or Limits(), predictor.card
    service = _Service(predictor, limits)
    app = FastAPI(
        title=f"{card.task.target} from {card.task.input_name}",
        description=f"{card.describe()}: {card.task.metric} {card.score:.4f} expected on new rows",
        version=autotl.__version__,
        docs_url=None,  # FastAPI's own pages load their scripts from elsewhere
        redoc_url=None,
        lifespan=service.lifespan,
    )
    app.add_middleware(Gate, limits=limits)
    app.add_exception_handler(RequestValidationError, _explain)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def explain(request: Request) -> str:
        return page(card, limits, str(request.base_url))

    @app.get("/health")
    async def health() -> Health:
        """That the service answers, and which model."""
        return Health(status="ok", model=card.describe(), outputs=list(card.task.outputs))

    if card.task.modality == "image":

        @app.post("/predict", response_model=Answer, responses=PROBLEMS)
        async def predict_images(sent: Images) -> JSONResponse:
            """What the model says of each image, and how sure it is."""
            return await service.predict(sent.images)

    elif card.task.modality == "images":

        @app.post("/predict", response_model=Answer, responses=PROBLEMS)
        async def predict_rows_of_images(sent: RowsOfImages) -> JSONResponse:
            """What the model says of the images of each input together, and how sure it is."""
            return await service.predict(sent.images)

    elif len(card.task.inputs) == 1:

        @app.post("/predict", response_model=Answer, responses=PROBLEMS)
        async def predict_texts(sent: Texts) -> JSONResponse:
            """What the model says of each text, and how sure it is."""
            return await service.predict(sent.texts)

    else:

        @app.post("/predict", response_model=Answer, responses=PROBLEMS)
        async def predict_rows(sent: RowsOfTexts) -> JSONResponse:
            """What the model says of the texts of each input together, and how sure it is."""
            return await service.predict(sent.texts)

    return app


class _Service:
    """Between the routes and the model."""

    _intake: Intake
    _batcher: Batcher

    def __init__(self, predictor: Predictor, limits: Limits) -> None:
        self._predictor, self._limits = predictor, limits

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """What lives as long as the service: the model's thread, and the folder that images lie in."""
        with tempfile.TemporaryDirectory(prefix="autotl-serve-") as folder:
            self._intake = intake_for(self._predictor.task, self._limits, Path(folder))
            self._batcher = Batcher(self._predictor.answers)
            yield
            await asyncio.to_thread(self._batcher.close)

    async def predict(self, sent: Sequence[Any]) -> JSONResponse:
        """The answer to one request. Raises what HTTP has for one that cannot be answered."""
        if len(sent) > self._limits.rows:
            raise HTTPException(413, f"the request has {len(sent)} rows, and {self._limits.rows} are allowed")
        try:
            with self._intake.cells(sent) as cells:
                predictions = await asyncio.wrap_future(self._batcher.submit(cells))
        except Refused as error:
            raise HTTPException(422, str(error)) from None
        except Exception:  # the batcher has told the log
            raise HTTPException(500, "the model failed on these inputs") from None
        for row, reason in sorted(predictions.unreadable.items()):
            raise HTTPException(422, f"row {row}: {self._without_paths(reason, cells[row])}")
        task, card = self._predictor.task, self._predictor.card
        return JSONResponse({"predictions": task.rules.answered(task, predictions.answers, card.calibration)})

    def _without_paths(self, reason: str, cell: Any) -> str:
        """Where it lay is nobody's business."""
        task = self._predictor.task
        if task.modality != "images":
            return _renamed(reason, as_text(cell), "the input")
        for column, path in reversed([*zip(task.columns, cell, strict=True)]):  # some begin like earlier ones
            reason = _renamed(reason, path, repr(column))
        return reason


def _renamed(reason: str, path: str, name: str) -> str:
    return reason.replace(repr(path), name).replace(path, name)


async def _explain(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, in one sentence in place of FastAPI's list."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return JSONResponse({"detail": "the request is not JSON"}, 400)
    where = ".".join(str(part) for part in first["loc"])
    way_out = "send JSON (Content-Type: application/json) as /openapi.json has it"
    return JSONResponse({"detail": f"{where}: {first['msg']}; {way_out}"}, 422)
