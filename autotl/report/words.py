"""What a run came to, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autotl.budget import describe_seconds
from autotl.config import Limits, SearchRequest
from autotl.data.wording import counted, option, rows_of_test
from autotl.escaping import SPELLING
from autotl.predictor.bundle import BundleCard
from autotl.report.leaderboard import Row, last_test
from autotl.report.live import describe, model_named, transfer_sentence, twin_sentence
from autotl.report.record import Record

#: What became of a trial, for whoever does not know the words.
STATES = {
    "complete": "ran to its end",
    "dropped": "was put down for good at a rung: others promised more",
    "paused": "was put down at a rung and not taken up again before the search ended",
    "failed": "failed",
    "cut": "was cut by the end of the time; 'autotl resume' takes it up",
    "running": "was at work when the last word of it was written",
}


#: The share of rows that no score counts from which on that is said: below it intervals hide it.
WORTH_TELLING = 0.005


def short(text: str, longest: int = 18) -> str:
    """A text of the data as a page or a figure can show it: on one line, cut, without what no font has."""
    shown = (c if c.isprintable() or c in SPELLING else " " for c in text[: 4 * longest])
    line = " ".join("".join(shown).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def state_sentence(record: Record) -> str:
    """How far the run has come; empty for one that ended by itself."""
    so_far = f"{describe_seconds(record.run.seconds)} of it are written here"
    if record.run.state == "running":
        return f"This run is at work, or was killed: {so_far}. 'autotl resume' goes on with one that was killed."
    if record.run.state == "interrupted":
        return f"This run was interrupted: {so_far}. 'autotl resume' goes on with it."
    return ""


def score_sentence(record: Record) -> str:
    """Where the score comes from."""
    card = record.card
    if card is None:
        return "There is no model yet."
    refit = ""
    if card.refit:
        refit = " Afterwards the models were refitted with these rows too; the score stays the one from before."
    chosen = ""
    if card.chosen_among > 1:
        chosen = f", less {card.optimism:.4f} for having chosen among {counted(card.chosen_among, 'model')}"
    rows, audit = counted(card.validation_rows, "validation row"), record.last("audit")
    if audit and (beside := uncounted_sentence(audit)):
        refit = f"{refit} {beside}"
    if card.folds == 1:
        return f"Estimated on {rows} that trained nothing{chosen}.{refit}"
    twins = f"each of {card.folds} parts of the table by models that were fitted to the others"
    return f"Estimated on {rows}, {twins}{chosen}.{refit}"


def uncounted_sentence(audit: Mapping[str, Any]) -> str:
    """On rows that no score counts, as they were set aside, where there are so many that it matters. audit: its event.

    New rows like them will come, and no answer to them can be right, or to most of them.
    """
    rows = sum(audit["set_aside"].get(kind, 0) for kind in ("conflict", "the only row of its class"))
    share = rows / (rows + audit["rows"])
    if share < WORTH_TELLING:
        return ""
    return (
        f"This does not count {counted(rows, 'row')} that contradict others, or are the only ones of their class: "
        f"{share:.1%} of the table, and as many new rows will hardly be answered rightly."
    )


def choice_sentence(record: Record) -> str:
    """Why the answer is what it is."""
    card, answer = record.card, record.last("answer")
    if card is None or answer is None:
        return ""
    loss = f"{abs(answer['lead']):.4f} ± {answer['error']:.4f} in loss"
    if len(card.members) > 1:
        beside = f"is no worse than the best single model beyond noise ({loss} behind, and rows are few)"
        if answer["lead"] > 0:
            beside = f"beats the best single model by {loss}"
        return (
            f"A mean of {counted(len(card.members), 'answer')} was chosen because on rows that had no part in mixing "
            f"it {beside}. It takes {1000 * card.latency:.3g} ms a row; the best model "
            f"alone is expected to reach {answer['single_score']:.4f} in {1000 * answer['single_latency']:.3g} ms."
        )
    held = [event.data for event in record.of("incumbent")]
    others = [data for data in held if data["trial"] != held[-1]["trial"]]
    what = model_named(held[-1]["trial"])
    if others:
        why = f"took the place of {model_named(others[-1]['trial'])}, {held[-1]['score']:.4f} against "
        why += f"{others[-1]['score']:.4f} on the same rows, and nothing beat it by more than noise"
    else:
        why = "was there first, and nothing beat it by more than noise"
    mixture = ""
    if answer["error"] and answer["lead"] > 0:
        mixture = f"; a mixture is ahead by {loss} on rows that had no part in mixing, but behind by the metric"
    elif answer["error"]:
        mixture = f"; no mixture was better on rows that had no part in mixing ({loss} behind)"
    return f"One model was chosen: {what} {why}{mixture}. It takes {1000 * card.latency:.3g} ms a row."


def transfer_sentences(record: Record) -> list[str]:
    """Whether transfer was worth it, or why nobody looked; and the same of what strategies add."""
    found = [_sentence(transfer_sentence(event.data)) for event in record.of("transfer")]
    proxy = max((event.data["score"] for event in record.of("screened")), default=None)
    floor = record.last("floor")
    if not found and proxy is not None:
        reason = ""
        if floor and record.run.task.metric == record.run.task.rules.ranks_by and (floor["majority"] or 0.0) < 1:
            guessing = floor["majority"] or 0.0
            won = (proxy - guessing) / (1 - guessing)
            wins = f"wins {won:.0%} of what guessing leaves open" if won > 0 else "is no better than guessing"
            reason = f": a linear head on pretrained features {wins}"
        found.append(f"No network was trained from new weights to compare with{reason}.")
    return found + [_sentence(twin_sentence(event.data)) for event in record.of("compared")]


def floor_sentence(record: Record) -> str:
    """What is to be had without any network."""
    event = next(reversed([*record.of("floor")]), None)
    if event is None:
        return ""
    doubt = record.card and doubt_sentence(record.card, event.data)
    return _sentence(describe(event)) + (f" {doubt}" if doubt else "")


def doubt_sentence(card: BundleCard, floor: dict[str, Any]) -> str:
    """That an answer is worth nothing, from a ``floor`` event; empty for one that beats guessing."""
    guessing = floor["majority"]
    return "" if guessing is None or card.score > guessing else "The answer is no better than guessing."


def test_sentence(record: Record) -> str:
    """What the test rows said; empty where there were none."""
    if (tested := last_test(record.events)) is None:
        return ""
    low, high = tested["interval"]
    rows = rows_of_test(tested, noun="test row")
    return f"On {rows}: {tested['metric']} {tested['score']:.4f} (95 %: {low:.3f} to {high:.3f})."


def settings_in_words(row: Row) -> str:
    """All settings on one line."""
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.settings.items()
    )


def again_sentence(request: SearchRequest) -> str:
    """What `command` gives, and what it does not."""
    if request.frame:
        return f"The {request.frame} was a DataFrame, given to autotl.fit with the same options."
    if request.limits.passes is not None:
        return "A plugin's command began this run, with a request that no option spells; run.json has all of it."
    if request.budget_seconds is None:
        return "The same command on the same data gives the same result, to the last bit on the same kind of processor."
    return "With a budget of time the result depends on the machine's speed; with --trials N it does not."


def command(request: SearchRequest, *, trials: int | None = None) -> str:
    """The command line that asks for the same. trials: as many, in place of what was asked for."""
    words = ["autotl search", option("--data", request.data)]
    for name in (
        "target", "image", "text", "pair", "group", "weight_column", "test", "task", "metric", "costs", "set_aside",
        "portfolio", "teacher",
    ):  # fmt: skip
        if value := getattr(request, name):
            words.append(option(f"--{name.replace('_', '-')}", *((value,) if isinstance(value, str) else value)))
    words += [option("--models", folder) for folder in request.models]
    words += [option("--backbones", name) for name in request.backbones]
    if request.skip_limit != SearchRequest.model_fields["skip_limit"].default:
        words.append(f"--skip-unreadable {_plain(request.skip_limit)}")
    words += ["--offline"] * request.offline + _limits(request.limits)
    if request.max_memory is not None:
        words.append(f"--max-memory {_plain(request.max_memory / 1e6)}MB")
    if request.max_disk is not None:
        words.append(f"--max-disk {_plain(request.max_disk / 1e6)}MB")
    if request.licences:
        words.append(option("--licenses", ",".join(request.licences)))
    if request.budget_seconds is not None and trials is None:
        words.append(f"--budget {_plain(request.budget_seconds)}s")
    if count := trials or request.trials:
        words.append(f"--trials {count}")
    return " ".join([*words, f"--seed {request.seed}"])


def _limits(limits: Limits) -> list[str]:
    latency, parameters, size = limits.latency, limits.parameters, limits.size
    return [
        *([f"--max-latency {_plain(1000 * latency)}ms"] if latency is not None else []),
        *([f"--max-params {parameters}"] if parameters is not None else []),
        *([f"--max-size {_plain(size / 1e6)}MB"] if size is not None else []),
    ]


def _plain(number: float) -> str:
    """To a millionth, and never with an exponent, which options do not know."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."
