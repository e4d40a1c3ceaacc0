"""Makes this example's tables from the Python that runs it: docstring sentences, and where in the library they stand.

``python make_table.py`` writes train.csv and test.csv beside itself. Other versions of Python give other rows.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import re
import sysconfig
from pathlib import Path

#: Chapters of the library reference, and modules and packages of each that are written in Python.
CHAPTERS = {
    "text and formats": (
        "string textwrap difflib csv configparser json html xml plistlib tomllib email mimetypes base64 quopri "
        "codecs encodings gettext locale tokenize shlex pprint reprlib"
    ),
    "files and compression": (
        "pathlib shutil tempfile glob fnmatch fileinput filecmp zipfile tarfile gzip bz2 lzma shelve dbm zipimport "
        "posixpath ntpath genericpath os zipapp stat linecache"
    ),
    "network": (
        "socket ssl http urllib ftplib poplib imaplib smtplib socketserver xmlrpc ipaddress wsgiref nntplib telnetlib "
        "cgi selectors asyncore asynchat webbrowser"
    ),
    "concurrency": "threading multiprocessing concurrent subprocess queue asyncio sched contextvars _threading_local",
    "numbers and dates": (
        "statistics random fractions _pydecimal numbers datetime calendar zoneinfo colorsys heapq bisect _strptime"
    ),
    "testing and debugging": (
        "unittest doctest pdb bdb traceback trace timeit cProfile profile pstats tracemalloc faulthandler "
        "inspect dis warnings"
    ),
}

#: Rows a chapter at most, so that none drowns the others.
MOST = 260


def sentences(path: Path) -> set[str]:
    """The first sentence of every docstring in a file, when it has at least four words."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8", errors="replace"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            paragraph = (ast.get_docstring(node) or "").split("\n\n")[0]
            sentence = re.split(r"(?<=[.!?])\s", " ".join(paragraph.split()))[0]
            if len(sentence.split()) >= 4 and len(sentence) <= 300:
                found.add(sentence)
    return found


def place(sentence: str, purpose: str = "") -> str:
    """A stable random number, another for each purpose: the same sentence goes to the same side in every version."""
    return hashlib.sha256(f"{purpose}{sentence}".encode()).hexdigest()


def main() -> None:
    library = Path(sysconfig.get_paths()["stdlib"])
    rows: dict[str, set[str]] = {}
    for chapter, modules in CHAPTERS.items():
        for module in modules.split():
            single = library / f"{module}.py"
            for file in [single] if single.exists() else sorted((library / module).rglob("*.py")):
                if "test" not in file.relative_to(library).parts[1:-1]:
                    for sentence in sentences(file):
                        rows.setdefault(sentence, set()).add(chapter)
    chosen: list[tuple[str, str]] = []
    for chapter in CHAPTERS:
        own = sorted((s for s, chapters in rows.items() if chapters == {chapter}), key=place)
        chosen += [(sentence, chapter) for sentence in own[:MOST]]
    chosen.sort(key=lambda row: place(row[0], "side"))  # the lowest by the other number are what was chosen
    cut = len(chosen) * 3 // 4
    for name, part in (("train.csv", chosen[:cut]), ("test.csv", chosen[cut:])):
        with (Path(__file__).parent / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["sentence", "chapter"])
            writer.writerows(part)


if __name__ == "__main__":
    main()
