"""The service described to programs, as OpenAPI 3.1 has it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

import autotl
from autotl.predictor.bundle import BundleCard
from autotl.serving.schema import PROBLEMS, Answer, Body, Health, Problem


def described(card: BundleCard, sent: type[Body]) -> dict[str, Any]:
    """The service of a model, as JSON. sent: the body of a request."""
    _, schemas = models_json_schema(
        [(sent, "validation"), (Answer, "validation"), (Health, "validation"), (Problem, "validation")],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{card.task.target} from {card.task.input_name}",
            "description": f"{card.describe()}: {card.task.metric} {card.score:.4f} expected on new rows",
            "version": autotl.__version__,
        },
        "paths": {
            "/predict": {
                "post": {
                    "operationId": "predict",
                    "summary": "What the model says of each input, and how sure it is",
                    "requestBody": {"required": True, "content": _content(sent)},
                    "responses": {"200": _response("one row an input, in order", Answer)}
                    | {str(status): _response(problem, Problem) for status, problem in PROBLEMS.items()},
                }
            },
            "/health": {
                "get": {
                    "operationId": "health",
                    "summary": "That the service answers, and which model",
                    "responses": {"200": _response("it does", Health)},
                }
            },
        },
        "components": {"schemas": schemas["$defs"]},
    }


def _response(description: str, told: type[BaseModel]) -> dict[str, Any]:
    return {"description": description, "content": _content(told)}


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
