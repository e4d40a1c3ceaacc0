"""``autotl doctor``: what this machine can do, in the words that a question to the developers needs."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from autotl.cli.options import new_file, writing
from autotl.escaping import as_json, for_terminal

if TYPE_CHECKING:
    import torch

HELP = "check this machine: devices, precision that pays, hub, caches, disk"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON on standard output")
    parser.add_argument(
        "--bundle", metavar="RUN", help="pack what the developers need to know of a run, without its data"
    )
    parser.add_argument("--out", metavar="FILE", help="the file to pack it in, new (default: problem-RUN.zip)")


def run(options: argparse.Namespace) -> int:
    from pathlib import Path

    from autotl.errors import AutoTLError

    if options.out and not options.bundle:
        raise AutoTLError("--out is for what --bundle packs: autotl doctor --bundle RUN --out FILE")
    facts = examine()
    if options.bundle:
        from autotl.report.problem import pack_problem

        run = Path(options.bundle)
        out = new_file(options.out or f"problem-{run.resolve().name}.zip")
        with writing(out):
            names = pack_problem(run, facts, out)
        if options.json:
            print(as_json({"file": str(out), "holds": list(names)}))
        else:
            print(f"{out}: {', '.join(names)}. Look at them; then they can be sent to the developers")
        return 0
    if options.json:
        print(as_json(facts))
        return 0
    width = max(map(len, facts))
    for name, fact in facts.items():
        print(for_terminal(f"{name:>{width}}  {fact}"))
    return 0


def examine() -> dict[str, str]:
    """Facts about this machine, by what they are of. The home folder is called ``~`` in them."""
    import shutil
    from pathlib import Path

    import torch

    from autotl.config import cache_folder
    from autotl.features.device import best_device
    from autotl.plugins.manager import plugins
    from autotl.runs.run_file import versions
    from autotl.usage import cores, folder_bytes
    from autotl.zoo import hub

    cache = cache_folder()
    present = next(folder for folder in (cache, *cache.parents) if folder.exists())
    used = folder_bytes(cache)
    device = best_device()
    cuda = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    cuda += ["which cannot be used: see above"] * (bool(cuda) and device.type == "cpu")
    off = [f"{record.package}: {record.reason}" for record in plugins().records if record.state == "off"]
    return {
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "devices": ", ".join(cuda) or f"no GPU; {cores()} processor cores",
        "precision": _precision(device),
        "hub": "reachable" if hub.reachable() else "not reachable: give --models, or use what is cached here",
        "families": ", ".join(f"{family.name} ({family.modality})" for family in plugins().families)
        or "none: pip install 'autotl[all]'",
        "plugins off": "; ".join(off) or "none",
        "cache": f"{str(cache).replace(str(Path.home()), '~')} ({used / 1e6:.1f} MB)",
        "disk": f"{shutil.disk_usage(present).free / 1e9:.1f} GB free at the cache, "
        f"{shutil.disk_usage(Path.cwd()).free / 1e9:.1f} GB here",
    }


def _precision(device: torch.device) -> str:
    """What formats of 16 bits are worth here."""
    from autotl.features.precision import half_format
    from autotl.features.speed import measure_matrix_product

    half = half_format(device)
    if half is None:
        return "fp32: torch has no kernels of 16 bits for this processor"
    ratio = measure_matrix_product(device, half)
    worth = "it pays for most networks; each is measured" if ratio > 1.2 else "fp32 is the better choice"
    return f"{half} multiplies matrices at {ratio:.1f} times the speed of fp32: {worth}"
