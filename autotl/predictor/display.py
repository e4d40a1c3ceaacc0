"""What a predictor looks like in a notebook."""

from __future__ import annotations

from html import escape

from autotl.data.task import Task
from autotl.data.wording import kind_of_input, listed
from autotl.predictor.bundle import BundleCard


def described_score(card: BundleCard) -> str:
    """The score that new rows should show, with its interval."""
    low, high = card.interval
    return f"{card.task.metric} {card.score:.4f} (95 %: {low:.4f} to {high:.4f}) expected on new rows"


def example(task: Task) -> str:
    """An input of the task, as Python writes it."""
    if task.modality == "image":
        return '"image.jpg"'
    if task.modality == "images":
        return repr(tuple(f"{name}.jpg" for name in task.columns))
    return '"a text"' if len(task.inputs) == 1 else repr(tuple(f"a {name}" for name in task.columns))


def as_html(card: BundleCard) -> str:
    """The answer, its score, and how it is used; in the colours and the type of the page that it stands in."""
    task = card.task
    more = """model.predict_interval("new.csv") # between which nine of ten new rows lie"""
    if task.classes:
        more = """model.predict_proba("new.csv")    # a column a class: model.classes_"""
    usage = f"""model.predict([{example(task)}])         # or a file, a folder, a DataFrame with {listed(task.columns)}
{more}
model.evaluate("labelled.csv")    # with the column {task.target!r}"""
    what = f"{kind_of_input(task.modality)} {escape(task.input_name)}"
    return (
        f"<div><p><strong>{escape(task.target)}</strong> from {what}, "
        f"{escape(task.rules.describe(task))}: {escape(card.describe())}</p>"
        f"<p>{escape(described_score(card))}; trained on {card.training_rows} rows</p>"
        f"<pre>{escape(usage)}</pre></div>"
    )
