"""Makes this example's tables from the Python that runs it: two or three sentences of docstrings, and their modules.

``python make_table.py`` writes train.csv and test.csv into the folder ``topics``. Other versions of Python give other
rows.
"""

from __future__ import annotations

import ast
import csv
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MODULES = tuple(
    (  # noqa: SIM905  a list of twenty short words reads better without quotes
        "argparse ast asyncio calendar configparser csv datetime decimal difflib email http json logging mailbox "
        "multiprocessing pathlib statistics tarfile unittest zipfile"
    ).split()
)

#: Sentences of a module at most, so that none drowns the others.
MOST = 150


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


def rows(known: dict[str, list[str]], random: np.random.Generator) -> Iterator[tuple[str, list[str]]]:
    """Each sentence once, in a row with up to two others of other modules."""
    pool = [(sentence, module) for module, said in known.items() for sentence in said]
    waiting = [pool[place] for place in random.permutation(len(pool))]
    while waiting:
        chosen: dict[str, str] = {}
        wanted = int(random.integers(1, 4))
        for sentence, module in waiting:
            if module not in chosen and len(chosen) < wanted:
                chosen[module] = sentence
        waiting = [(sentence, module) for sentence, module in waiting if chosen.get(module) != sentence]
        yield " ".join(chosen.values()), list(chosen)


def main() -> None:
    random, folder = np.random.default_rng(0), Path("topics")
    folder.mkdir(exist_ok=True)
    sides: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for module in MODULES:
        said = random.permutation(sentences(module)).tolist()[:MOST]
        cut = 3 * len(said) // 4
        sides["train"][module], sides["test"][module] = said[:cut], said[cut:]
    for name, known in sides.items():
        with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["text", "modules"])
            for text, modules in rows(known, random):
                writer.writerow([text, "|".join(modules)])


if __name__ == "__main__":
    main()
