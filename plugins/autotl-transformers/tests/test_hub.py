"""A hub that hangs, answers a few bytes a second, or cuts off half way: searches end in time, and say why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

import autotl

BUDGET = 12

#: In which a hub fails.
WAYS = ("hangs", "is slow", "cuts off")

#: What a hub has of a model, all of it larger than what comes of it.
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


class Hub(ThreadingHTTPServer):
    """Speaks as the hub does, and then fails in one way."""

    daemon_threads = True

    def __init__(self, way):
        super().__init__(("127.0.0.1", 0), Answer)
        self.way, self.over, self.asked = way, Event(), []


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        name, hub = self.path.rpartition("/")[2], self.server
        hub.asked.append(self.path)
        if hub.way == "hangs":
            hub.over.wait()
            return
        there = "/resolve/" in self.path and name in FILES
        self.send_response(200 if there else 404)
        headers = {"ETag": f'"{name}"', "X-Repo-Commit": "0" * 40} if there else {"X-Error-Code": "EntryNotFound"}
        for header, value in (headers | {"Content-Length": "50000000" if there else "0"}).items():
            self.send_header(header, value)
        self.end_headers()
        if not there or self.command == "HEAD":
            return
        try:
            self.wfile.write(b"{" * 1000)
            while hub.way == "is slow" and not hub.over.wait(0.2):
                self.wfile.write(b"{")
        except OSError:  # nobody waits any more
            pass
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def hub(way):
    server = Hub(way)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        server.server_close()


@dataclass(frozen=True)
class Searched:
    """What came of a search that asked a hub."""

    folder: Path
    done: subprocess.CompletedProcess[str]
    seconds: float
    asked: list[str]  #: of the hub


def search(way, folder, wait):
    """Begins after `wait` seconds."""
    films = [
        f"{number} it was {'good' if number % 3 else 'bad'},{'yes' if number % 3 else 'no'}" for number in range(90)
    ]
    (folder / "films.csv").write_text("\n".join(["text,label", *films]))
    command = [sys.executable, "-m", "autotl.cli.main", "search", "--data", "films.csv", "--budget", f"{BUDGET}s"]
    with hub(way) as server:
        environment = {k: v for k, v in os.environ.items() if k not in {"HF_HUB_OFFLINE", "AUTOTL_ZOO"}} | {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}", "HF_HOME": str(folder / "hub"),
            "HF_HUB_CACHE": str(folder / "hub-cache"), "AUTOTL_CACHE": str(folder / "cache"), "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        time.sleep(wait)
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--out", "run"], cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=60
        )
        return Searched(folder, done, time.monotonic() - began, server.asked)


@pytest.fixture(scope="module")
def searches(tmp_path_factory):
    """By the way in which the hub fails. They mostly wait for it, so each begins as soon as another has been loaded."""
    folders = [tmp_path_factory.mktemp("search") for _ in WAYS]
    with ThreadPoolExecutor(len(WAYS)) as pool:
        found = pool.map(search, WAYS, folders, [2.5 * number for number in range(len(WAYS))])
        return dict(zip(WAYS, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_search_ends_in_time_and_without_a_network(searches, way):
    searched = searches[way]
    done, folder = searched.done, searched.folder
    assert done.returncode == 0, done.stderr
    assert searched.seconds < BUDGET + 3
    assert any("/resolve/" in path for path in searched.asked) or way == "hangs"
    assert "no pretrained model came to an answer" in " ".join(done.stdout.split())
    why = "cannot be used: transformers/" if way == "cuts off" else "had not come to an answer when the time was up"
    assert why in done.stderr
    assert autotl.load(folder / "run").score(folder / "films.csv") > 0.9
    assert json.loads((folder / "run" / "run.json").read_text())["state"] == "finished"
