"""The page at ``/``: what the service is and how it is asked, on nothing but HTML."""

from __future__ import annotations

from html import escape

from autotl.predictor.bundle import BundleCard
from autotl.predictor.display import described_score
from autotl.serving.limits import Limits

_EXAMPLES = {
    "text": """curl -H 'Content-Type: application/json' -d '{"texts": ["a text", "another"]}' HOST/predict""",
    "image": """echo '{"images": ["'$(base64 < photo.jpg | tr -d '\\n')'"]}' |
  curl -H 'Content-Type: application/json' -d @- HOST/predict""",
}

#: Classes that are named.
_NAMED = 50


def page(card: BundleCard, limits: Limits) -> str:
    """The whole page."""
    task = card.task
    more = f" and {len(task.classes) - _NAMED} more" if len(task.classes) > _NAMED else ""
    classes = ", ".join(task.classes[:_NAMED]) + more
    size = f"{limits.characters} characters" if task.modality == "text" else f"{limits.pixels / 1e6:.0f} megapixels"
    title = escape(f"{task.target} from {task.input.name}")
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
<p>Classes: {escape(classes)}.</p>
<h2>Ask</h2>
<pre>{escape(_EXAMPLES[task.modality])}</pre>
<p>The answer has a row an input, in order, with its most probable class and the probabilities of all.
At most {limits.rows} rows and {limits.bytes / 2**20:.0f} MiB a request, and {size} an input.</p>
<p><a href="openapi.json">openapi.json</a> describes the service to programs; <a href="health">health</a> says
whether it answers.</p>
</html>
"""
