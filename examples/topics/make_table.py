"""Makes this example's tables from the Python that runs it: two or three sentences of docstrings, and their modules.

``python make_table.py`` writes train.csv and test.csv into the folder ``topics``. Other versions of Python give other
rows.
"""

from __future__ import annotations

import ast
import csv
import re
import sysconfig
from pathlib import Path

import numpy as np

MODULES = tuple(
    (  # noqa: SIM905  a list of twenty short words reads better without quotes
        "argparse ast asyncio calendar configparser csv datetime decimal difflib email http json logging mailbox "
        "multiprocessing pathlib statistics tarfile unittest zipfile"
    ).split()
)

#: Rows to learn from and to test on.
TRAIN, TEST = 1500, 500


def sentences(module: str) -> list[str]:
    """The first sentence of every docstring of a module or package, when it has at least four words; each once."""
    library, found = Path(sysconfig.get_paths()["stdlib"]), dict[str, None]()
    single = library / ("_pydecimal.py" if module == "decimal" else f"{module}.py")
    for file in [single] if single.exists() else sorted((library / module).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8", errors="replace"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                paragraph = (ast.get_docstring(node) or "").split("\n\n")[0]
                sentence = re.split(r"(?<=[.!?])\s", " ".join(paragraph.split()))[0]
                if len(sentence.split()) >= 4 and len(sentence) <= 200:
                    found[sentence] = None
    return list(found)


def main() -> None:
    random, folder = np.random.default_rng(0), Path("topics")
    folder.mkdir(exist_ok=True)
    known = {module: random.permutation(sentences(module)).tolist() for module in MODULES}
    sides: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for module, rows in known.items():  # no sentence is on both sides
        cut = 3 * len(rows) // 4
        sides["train"][module], sides["test"][module] = rows[:cut], rows[cut:]
    for name, count in (("train", TRAIN), ("test", TEST)):
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["text", "modules"])
            for _ in range(count):
                chosen = random.choice(MODULES, random.integers(1, 4), replace=False).tolist()
                said = [str(random.choice(sides[name][module])) for module in chosen]
                writer.writerow([" ".join(said), "|".join(chosen)])


if __name__ == "__main__":
    main()
