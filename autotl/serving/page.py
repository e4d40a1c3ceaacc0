"""The page at ``/``: what the service is and how it is asked, on nothing but HTML."""

from __future__ import annotations

import json
import shlex
from html import escape

from autotl.data.task import Task
from autotl.plugins.contracts import TEXTUAL
from autotl.predictor.bundle import BundleCard
from autotl.predictor.display import described_score
from autotl.serving.limits import Limits

_TEXTS = "curl -H 'Content-Type: application/json' -d"
_IMAGES = """echo '{{"images": [{}]}}' |
  curl -H 'Content-Type: application/json' -d @- {}"""

#: Classes that are named.
_NAMED = 50


def _example(task: Task, address: str) -> str:
    where = shlex.quote(f"{address.rstrip('/')}/predict")
    if task.modality == "image":
        return _IMAGES.format(_sent("photo.jpg"), where)
    if task.modality == "images":
        return _IMAGES.format(f"[{', '.join(_sent(f'{name}.jpg') for name in task.columns)}]", where)
    texts = ["a text", "another"] if len(task.inputs) == 1 else [[f"a {name}" for name in task.columns]]
    return f"{_TEXTS} {shlex.quote(json.dumps({'texts': texts}, ensure_ascii=False))} {where}"


def _sent(file: str) -> str:
    """A file as base64, in the middle of JSON that a shell quotes."""
    return "\"'$(base64 < " + shlex.quote(file) + " | tr -d '\\n')'\""


def page(card: BundleCard, limits: Limits, address: str) -> str:
    """The whole page. address: at which it was asked for."""
    task = card.task
    more = f" and {len(task.outputs) - _NAMED} more" if len(task.outputs) > _NAMED else ""
    outputs = ", ".join(task.outputs[:_NAMED]) + more
    size = (
        f"{limits.characters} characters an input"
        if task.modality in TEXTUAL
        else f"{limits.pixels / 1e6:.0f} megapixels an image, {limits.pixels_in_all / 1e6:.0f} a request"
    )
    title = escape(f"{task.target} from {task.input_name}")
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui; max-width: 45rem; margin: 2rem auto; padding: 0 1rem }}
pre {{ overflow: auto }}
</style>
<h1>{title}</h1>
<p>{escape(card.describe())}: {escape(described_score(card))}.</p>
<p>Answers with {escape(task.rules.describe(task))}: {escape(outputs)}.</p>
<h2>Ask</h2>
<pre>{escape(_example(task, address))}</pre>
<p>The answer has a row an input, in order: what the model says of it, and how sure it is.
At most {limits.rows} rows and {limits.bytes / 2**20:.0f} MiB a request, and {size}.</p>
<p><a href="openapi.json">openapi.json</a> describes the service to programs; <a href="health">health</a> says
whether it answers.</p>
</html>
"""
