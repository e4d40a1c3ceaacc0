"""``autotl serve``: a run's best model as an HTTP service."""

from __future__ import annotations

import argparse
import os
import sys

HELP = "serve a run's best model over HTTP"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="RUN", help="a run's folder, or a bundle")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="to listen on (default: 127.0.0.1, this machine alone; 0.0.0.0 is everywhere, without any password)",
    )
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="0 for a free one (default: 8000)")


def run(options: argparse.Namespace) -> int:
    from autotl.cli.screen import ending_gently
    from autotl.errors import PluginError
    from autotl.escaping import for_terminal
    from autotl.usage import spin_variables

    os.environ.update(spin_variables())  # what speaks HTTP works beside the model; torch reads this when it is loaded
    import torch

    from autotl.predictor.predictor import Predictor

    try:
        from autotl.serving.server import serve
    except ModuleNotFoundError as error:
        raise PluginError(f"{error.name} is needed to serve: pip install 'autotl[serve]'") from error

    def announce(address: str) -> None:
        print(for_terminal(f"serving {predictor.card.describe()}"), file=sys.stderr)
        print(f"{address} explains how it is asked; Ctrl-C ends", file=sys.stderr, flush=True)

    # OpenMP has a team for each thread that it has worked for, and once there are two, none waits a moment for the next
    # piece of work: where this thread had one too, 100 photographs took the model's 0.39 s in place of 0.30
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    predictor = Predictor(options.folder)
    torch.set_num_threads(threads)
    with ending_gently():
        try:
            serve(predictor, options.host, options.port, announce)
        except KeyboardInterrupt:  # as it is meant to end
            print("autotl: ended", file=sys.stderr)
    return 0
