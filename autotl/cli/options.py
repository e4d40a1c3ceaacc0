"""Options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotl.errors import RunError

if TYPE_CHECKING:
    from autotl.data.inspection import Inspection


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        required=True,
        metavar="PATH",
        help="CSV, TSV, Parquet or JSON Lines file, or a folder of class folders; image paths are relative to it",
    )


def add_roles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target",
        nargs="+",
        metavar="COLUMN",
        help="what to predict (default: found by name, or the last); several are labels of 0 and 1, or numbers",
    )
    parser.add_argument("--task", metavar="KIND", help="multiclass, multilabel or regression (default: found)")
    parser.add_argument(
        "--image",
        nargs="+",
        metavar="COLUMN",
        help="the column of image paths (default: found); the images of several are one input, in this order",
    )
    parser.add_argument(
        "--text", nargs="+", metavar="COLUMN", help="the column of texts (default: found); several are joined into one"
    )
    parser.add_argument(
        "--pair", nargs=2, metavar="COLUMN", help="two columns of texts to compare, in this order (default: by name)"
    )
    parser.add_argument("--group", metavar="COLUMN", help="rows with equal values there stay on one side of the split")
    parser.add_argument(
        "--weight-column", metavar="COLUMN", help="what a row counts in training; scores count all alike"
    )
    parser.add_argument(
        "--metric",
        metavar="NAME",
        help="of classes accuracy (default; balanced_accuracy where one class dominates, costs with --costs), "
        "macro_f1, neg_log_loss, or roc_auc for two; "
        "of labels mean_average_precision (default), neg_log_loss, macro_f1, micro_f1, exact_match; "
        "of numbers r2 (default), spearman, neg_mae, neg_rmse; or one of a plugin or of scikit-learn",
    )
    parser.add_argument(
        "--costs",
        metavar="FILE",
        help="what wrong classes cost: the first column has the class of a row, each other the cost of taking it for "
        "the class in the header",
    )
    parser.add_argument(
        "--skip-unreadable",
        metavar="SHARE",
        default=None,
        help="how many rows may be empty or unreadable before the table is refused (default: 5%%)",
    )


def inspected(options: argparse.Namespace) -> Inspection:
    """The table that is named, read as the options of `add_roles` say. Raises as `inspect_table` does."""
    from autotl.config import parse_share
    from autotl.data.inspection import inspect_table
    from autotl.data.roles import Overrides

    columns = Overrides(
        target=tuple(options.target or ()),
        image=tuple(options.image or ()),
        text=tuple(options.text or ()),
        group=options.group,
        weight=options.weight_column,
        pair=tuple(options.pair or ()),
    )
    return inspect_table(
        options.data,
        columns,
        metric=options.metric,
        kind=options.task,
        costs=options.costs,
        skip_limit=parse_share(options.skip_unreadable),
    )


def add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--models",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a pretrained model's folder, or a folder of them (timm or Hugging Face layout); may be repeated. "
        "Only these are searched then. AUTOTL_ZOO does the same",
    )
    parser.add_argument("--offline", action="store_true", help="open no connection: search what is on this machine")
    parser.add_argument(
        "--licenses",
        metavar="NAMES",
        help="that weights may have: permissive, or names with commas between, such as mit,apache-2.0 (default: any)",
    )


def add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-latency", metavar="TIME", help="from one row to its answer on this machine, such as 5ms")
    parser.add_argument("--max-params", metavar="COUNT", help="of the model, such as 5M")
    parser.add_argument("--max-size", metavar="SIZE", help="of the model's weights on disk, such as 20MB")


def add_search(parser: argparse.ArgumentParser) -> None:
    """All that says what to search, and among what; `asked` reads it."""
    add_data(parser)
    add_roles(parser)
    parser.add_argument("--test", metavar="PATH", help="a labelled table, used once at the end for an honest score")
    parser.add_argument(
        "--set-aside",
        metavar="FILE",
        help="leave out the rows listed there, as in set_aside.csv of a run, and no others",
    )
    add_models(parser)
    parser.add_argument(
        "--backbones",
        action="append",
        default=[],
        metavar="NAME",
        help="one to choose from, as 'autotl models' lists them; may be repeated. "
        "Others, and a bag of words, are left out",
    )
    parser.add_argument(
        "--max-memory",
        metavar="SIZE",
        help="that training may take, such as 6GB (default: 80%% of what is free); Linux only",
    )
    parser.add_argument(
        "--max-disk",
        metavar="SIZE",
        help="that the run and its cache may take, such as 2GB (default: half of the free)",
    )
    add_limits(parser)
    parser.add_argument(
        "--teacher", metavar="RUN", help="a run or bundle for the same classes, which strategies may learn from"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of splits, trials and training (default: 0)")


def asked(options: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_search`, as `config.make_request` takes them."""
    names = (
        "data", "test", "target", "image", "text", "pair", "group", "weight_column", "task", "metric", "costs",
        "skip_unreadable", "set_aside", "models", "backbones", "offline", "licenses", "max_memory", "max_disk",
        "max_latency", "max_params", "max_size", "teacher", "seed",
    )  # fmt: skip
    return {name: getattr(options, name) for name in names}


def add_output(parser: argparse.ArgumentParser) -> None:
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="for machines: JSON on standard output")
    shown.add_argument("--quiet", action="store_true", help="only errors")


def new_file(path: str) -> Path:
    """The file that ``--out`` names, which is not there yet. Raises `RunError` where it is, or its folder is not."""
    out = Path(path).expanduser()
    if out.exists():
        raise RunError(f"{out} exists already; name another file with --out")
    if not out.parent.is_dir():
        raise RunError(f"{out.parent}: no such folder; make it, or name another file with --out")
    return out


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Raises `RunError` for a file that cannot be written; what else fails meanwhile names itself."""
    try:
        yield
    except BrokenPipeError:  # standard output's
        raise
    except OSError as error:
        if error.filename is not None and out.name not in Path(error.filename).name:  # or its temporary name
            raise
        raise RunError(f"{out} cannot be written ({error.strerror})") from error
