"""``autotl distill``: a finished run in, one smaller and faster model out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from autotl.escaping import for_terminal

if TYPE_CHECKING:
    from autotl.config import SearchRequest
    from autotl.predictor.bundle import BundleCard


class DistillCommand:
    """A search on the data of a run, with the same seed and that run as the teacher.

    Its first trial is the published recipe without the teacher, its second the same with it. The answer is a single
    model, whichever does best on the validation rows, distilled or not; the last screen says which.
    """

    name = "distill"
    help = "make one small, fast model that learns from what a finished run answers"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        from autotl.cli.options import add_limits, add_models, add_output

        parser.add_argument("folder", metavar="RUN", help="the teacher: a run's folder, such as runs/flowers")
        add_limits(parser)
        parser.add_argument(
            "--target-latency",
            dest="max_latency",
            default=argparse.SUPPRESS,
            metavar="TIME",
            help="another name for --max-latency",
        )
        parser.add_argument("--student", metavar="NAME", help="this backbone and no other, as 'autotl models' names it")
        parser.add_argument("--budget", metavar="TIME", help="30s, 5m, 2h, 1d: when the command ends (default: 5m)")
        parser.add_argument("--trials", type=int, metavar="N", help="end after N trials; without --budget, repeatable")
        parser.add_argument("--out", metavar="FOLDER", help="the new run's folder (default: RUN-distilled)")
        add_models(parser)
        add_output(parser)

    def run(self, options: argparse.Namespace) -> int:
        """Raises `RunError` where there is no run, or one whose data is gone, and what a search raises.

        `TaskError` where the run learned labels or numbers, of which nothing is learned from a teacher.
        """
        from autotl.budget import Clock
        from autotl.cli.screen import show_outcome, watched
        from autotl.cli.started import PROCESS_START
        from autotl.errors import TaskError
        from autotl.events import read_events
        from autotl.predictor.bundle import find_bundle, read_card
        from autotl.runs.folder import EVENTS_FILE
        from autotl.search.engine import Search

        teacher = Path(options.folder).expanduser().resolve()
        request = _request(teacher, options)
        card = read_card(find_bundle(teacher))
        if not card.task.rules.exclusive:
            raise TaskError(f"{teacher}: it answers with {card.task.kind}, and only classes can be distilled")
        out = Path(options.out).expanduser() if options.out else teacher.with_name(f"{teacher.name}-distilled")
        clock = Clock(request.budget_seconds or float("inf"), start=PROCESS_START)
        outcome = watched(
            lambda view: Search(request, out, listeners=[view], start=PROCESS_START).run(), options, clock
        )
        code = show_outcome(outcome, options)
        if not (options.quiet or options.json):
            events = read_events(outcome.folder / EVENTS_FILE)
            taught = any(event.kind == "compared" and event.data["strategy"] == self.name for event in events)
            told = beside_the_teacher(card, read_card(find_bundle(outcome.folder)), compared=taught)
            print(f"\n{for_terminal(told)}")
        return code


def _request(teacher: Path, options: argparse.Namespace) -> SearchRequest:
    """What the teacher's run asked for, with what is asked for now in its place."""
    from autotl.budget import parse_budget
    from autotl.config import DEFAULT_BUDGET, parse_licences, parse_limits, parse_trials
    from autotl.errors import RunError
    from autotl.runs.run_file import read_run_file

    known = read_run_file(teacher).request
    if known.frame:
        raise RunError(
            f"{teacher}: its {known.frame} was a DataFrame, which is gone; save it as a file and search that"
        )
    budget = options.budget or (None if options.trials else DEFAULT_BUDGET)
    limits = parse_limits(latency=options.max_latency, parameters=options.max_params, size=options.max_size)
    models = tuple(str(Path(folder).expanduser().resolve()) for folder in options.models)
    return known.model_copy(
        update={
            "teacher": str(teacher),
            "limits": limits.model_copy(update={"passes": 1}),  # one model, or there would be a mean of students
            "backbones": (options.student,) if options.student else (),
            "models": models or known.models,
            "offline": options.offline or known.offline,
            "licences": parse_licences(options.licenses) or known.licences,
            "budget_seconds": None if budget is None else parse_budget(budget),
            "trials": parse_trials(options.trials),
            "portfolio": None,  # it would stand in the place of the recipes that learn from the teacher
        }
    )


def beside_the_teacher(teacher: BundleCard, student: BundleCard, *, compared: bool) -> str:
    """Whether the student learned from its teacher, and what became of score and speed.

    compared: whether one that learned from it came to an end beside one that did not.
    """
    (only,) = student.members
    learned = "did better without the teacher" if compared else "had no training with the teacher that came to its end"
    if only.strategy == DistillCommand.name:
        learned = "learned from the teacher"
    told = f"{only.backbone} {learned}: {student.task.metric} {student.score:.4f}, the teacher {teacher.score:.4f}"
    if teacher.latency and student.latency:
        ours, theirs = 1000 * student.latency, 1000 * teacher.latency
        told += f"; {ours:.3g} ms a row in place of {theirs:.3g} ms, {theirs / ours:.1f} times as fast"
    return told
