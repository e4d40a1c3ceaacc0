"""The HTTP service beside in-process prediction: ``python3 tasks.py serving [--shared FOLDER]``.

A short search makes a model of texts and, where `--shared` has pictures, one of images. The same rows are then
predicted in this process and asked of ``autotl serve`` over loopback by many clients at once, in turns. One request in
ten is bad.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from contest import apart, machine
from material import HERE, Table, image_table, text_candidate, text_table

import autotl
from autotl.usage import keep_freed_memory

#: The goal: what HTTP leaves of the rows a second.
GOAL = 0.8

#: One request in so many is bad.
BAD = 10

_BAD_BODIES = (b"no JSON", b'{"wrong": []}', b'{"texts": [""], "images": ["?"]}', b'{"texts": "one"}')


@dataclass(frozen=True)
class Round:
    """Many clients asked for all rows."""

    rows_a_second: float
    p50: float  #: seconds from a good request to its answer
    p95: float
    failed: int  #: good requests that were not answered
    unrefused: int  #: bad requests that were not refused with 4xx


def make_run(table: Table, models: Path, budget: str, folder: Path) -> Path:
    """A run on a table's own file."""
    run = folder / f"run-{table.name}"
    command = [sys.executable, "-m", "autotl.cli.main", "search", "--data", table.path, "--models", models]
    command += ["--budget", budget, "--out", run, "--quiet"]
    subprocess.run([*map(str, command)], env=apart(folder / "cache"), check=True)
    return run


@contextmanager
def served(run: Path) -> Iterator[str]:
    """The address of the service of a run."""
    command = [sys.executable, "-m", "autotl.cli.main", "serve", str(run), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8")
    assert process.stderr is not None
    try:
        yield next(line for line in process.stderr if line.startswith("http")).split()[0]
    finally:
        process.terminate()
        process.communicate()


def requests(table: Table, rows: int) -> list[bytes]:
    """All cells of a table, `rows` a request, as the bodies of requests."""
    field, sent = "texts", table.cells
    if table.modality == "image":
        field, sent = "images", [base64.b64encode(Path(cell).read_bytes()).decode() for cell in table.cells]
    return [json.dumps({field: sent[start : start + rows]}).encode() for start in range(0, len(sent), rows)]


async def ask(bodies: Sequence[bytes], address: str, clients: int) -> tuple[list[float], int, int]:
    """Seconds of the good requests; how many of them failed, and how many bad ones were not refused."""
    host, port = urlsplit(address).hostname, urlsplit(address).port
    waiting, numbers = iter(bodies), itertools.count()
    seconds: list[float] = []
    failed = unrefused = 0

    async def client() -> None:
        nonlocal failed, unrefused
        reader, writer = await asyncio.open_connection(host, port)
        for body in waiting:
            if (number := next(numbers)) % BAD == 0:
                status = await _post(reader, writer, _BAD_BODIES[number // BAD % len(_BAD_BODIES)])
                unrefused += not 400 <= status < 500
            began = time.perf_counter()
            status = await _post(reader, writer, body)
            seconds.append(time.perf_counter() - began)
            failed += status != 200
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds, failed, unrefused


async def _post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> int:
    """The status of the answer, which is read whole. Plain sockets: clients and service share the cores here."""
    head = f"POST /predict HTTP/1.1\r\nHost: it\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    writer.write(f"{head}\r\n\r\n".encode() + body)
    await writer.drain()
    answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    await reader.readexactly(int(answer.partition("content-length:")[2].split()[0]))
    return int(answer.split()[1])


def over_http(bodies: Sequence[bytes], rows: int, address: str, clients: int) -> Round:
    began = time.perf_counter()
    seconds, failed, unrefused = asyncio.run(ask(bodies, address, clients))
    taken = time.perf_counter() - began
    cuts = statistics.quantiles(seconds, n=20)
    return Round(rows / taken, cuts[9], cuts[18], failed, unrefused)


def measure(table: Table, run: Path, options: argparse.Namespace) -> dict[str, Any]:
    """In-process prediction and the service in turns, after a round to warm up."""
    predictor = autotl.load(run)
    alone, found = list[float](), dict[int, list[Round]]()
    with served(run) as address:
        for number in range(options.rounds + 1):
            began = time.perf_counter()
            predictor.answers(table.cells)
            speed = len(table.cells) / (time.perf_counter() - began)
            rounds = {
                size: over_http(requests(table, size), len(table.cells), address, options.clients)
                for size in options.rows_a_request
            }
            if number:
                alone.append(speed)
                for size, one in rounds.items():
                    found.setdefault(size, []).append(one)
    speed = statistics.median(alone)
    print(f"\n{table.name}: {len(table.cells)} rows, {speed:.0f} a second in this process")
    print(f"over HTTP, {options.clients} clients:", flush=True)
    for size, several in found.items():
        ratio = statistics.median(one.rows_a_second for one in several) / speed
        p50, p95 = (1000 * statistics.median(getattr(one, name) for one in several) for name in ("p50", "p95"))
        failed, unrefused = (sum(getattr(one, name) for one in several) for name in ("failed", "unrefused"))
        print(
            f"  {size:2d} rows a request: {ratio:.2f} x{'' if ratio >= GOAL else ' (short)'}, "
            f"p50 {p50:.0f} ms, p95 {p95:.0f} ms; {failed} good ones failed, {unrefused} bad ones were not refused",
            flush=True,
        )
    rounds = {size: [asdict(one) for one in several] for size, several in found.items()}
    return {"table": table.name, "rows_a_second": alone, "rows_a_request": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, help="folder with data/ and zoo/; without it there are texts only")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--rows-a-request", nargs="*", type=int, default=[1, 16])
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", default="30s", help="of the searches that make the models (default: 30s)")
    parser.add_argument("--out", type=Path, default=HERE / "serving.json", help="where to write the figures")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    keep_freed_memory()  # as the service does
    with tempfile.TemporaryDirectory() as folder:
        found = [(text_table(None, ""), Path(text_candidate().location))]
        if options.shared:
            found.append((image_table(options.shared, Path(folder), rows=options.rows), options.shared / "zoo"))
        figures = [
            measure(table.first(options.rows), make_run(table, models, options.budget, Path(folder)), options)
            for table, models in found
        ]
    told = {"machine": machine(), "clients": options.clients, "figures": figures}
    options.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
