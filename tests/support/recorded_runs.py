"""A run that a plugin records: a search of two trials and its resumption for a third, where it is installed."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

from short_trainings import write_site

THIRD_PARTY = Path(__file__).parents[1] / "thirdparty"

#: Class, and words of the cells, that stand nowhere but in the data.
SECRETS = ("zibeline", "quokkabird", "axolotlfish")


def record_run(site: Path, place: Path, **variables: str) -> Path:
    """The folder of the run in `place`. site: where the plugin is installed. variables: of the environment."""
    place.mkdir()
    chance, (one, *words) = random.Random(0), SECRETS
    with (place / "table.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for row in range(120):
            text = [f"word{chance.randrange(60)}" for _ in range(8)]
            text[chance.randrange(8)] = words[row % 2]
            writer.writerow([" ".join(text), one if row % 2 else "other"])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOTL_", "HF_", "MLFLOW_"))}
    given = kept.get("PYTHONPATH")  # where the packages are not installed
    sites = (write_site(place / "brief"), THIRD_PARTY / "tiny", site)
    path = os.pathsep.join(map(str, (*sites, *([given] if given else []))))
    environment = kept | {"PYTHONPATH": path, "AUTOTL_CACHE": str(place / "cache"), "OMP_WAIT_POLICY": "passive"}
    model = THIRD_PARTY / "zoo" / "one"
    for command in (
        ["search", "--data", "table.csv", "--models", model, "--offline", "--trials", "2", "--out", "run", "--json"],
        ["resume", "run", "--trials", "+1", "--json"],
    ):
        answer = subprocess.run(
            [sys.executable, "-m", "autotl.cli.main", *map(str, command)],
            cwd=place,
            env=environment | variables,
            capture_output=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        assert answer.returncode == 0, answer.stderr
        assert answer.stderr == ""  # a library's chatter would be in the midst of the screen
        assert all("kind" in json.loads(line) for line in answer.stdout.splitlines())
    return place / "run"


def files_with_secrets(folder: Path) -> list[str]:
    """Files below a folder that hold any of `SECRETS`."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path.name for path in found if any(secret.encode() in path.read_bytes() for secret in SECRETS)]
