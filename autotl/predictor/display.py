"""What a predictor looks like in a notebook."""

from __future__ import annotations

from html import escape

from autotl.predictor.bundle import BundleCard


def described_score(card: BundleCard) -> str:
    """The score that new rows should show, with its interval."""
    low, high = card.interval
    return f"{card.task.metric} {card.score:.4f} (95 %: {low:.4f} to {high:.4f}) expected on new rows"


def as_html(card: BundleCard) -> str:
    """The answer, its score, and how it is used; in the colours and the type of the page that it stands in."""
    task = card.task
    inputs = "a text" if task.modality == "text" else "image.jpg"
    usage = f"""model.predict(["{inputs}"])         # or a file, a folder, a DataFrame with {task.input.name!r}
model.predict_proba("new.csv")    # a column a class: model.classes_
model.evaluate("labelled.csv")    # with the column {task.target!r}"""
    return (
        f"<div><p><strong>{escape(task.target)}</strong> from {escape(task.modality)} {escape(task.input.name)}, "
        f"{escape(task.rules.describe(task))}: {escape(card.describe())}</p>"
        f"<p>{escape(described_score(card))}; trained on {card.training_rows} rows</p>"
        f"<pre>{escape(usage)}</pre></div>"
    )
