"""A hub that hangs, answers a few bytes a second, or cuts off half way: searches end in time, and say why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest

import autotl

BUDGET = 12

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


@pytest.fixture(params=["hangs", "is slow", "cuts off"])
def hub(request):
    server = Hub(request.param)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_a_search_ends_in_time_and_without_a_network(hub, tmp_path):
    films = [
        f"{number} it was {'good' if number % 3 else 'bad'},{'yes' if number % 3 else 'no'}" for number in range(90)
    ]
    (tmp_path / "films.csv").write_text("\n".join(["text,label", *films]))
    environment = {k: v for k, v in os.environ.items() if k not in {"HF_HUB_OFFLINE", "AUTOTL_ZOO"}} | {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(tmp_path / "hub"),
        "AUTOTL_CACHE": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    command = [sys.executable, "-m", "autotl.cli.main", "search", "--data", "films.csv", "--budget", f"{BUDGET}s"]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--out", "run"], cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < BUDGET + 3
    assert any("/resolve/" in path for path in hub.asked) or hub.way == "hangs"
    assert "no pretrained model came to an answer" in " ".join(done.stdout.split())
    why = "cannot be used: transformers/" if hub.way == "cuts off" else "had not come to an answer when the time was up"
    assert why in done.stderr
    assert autotl.load(tmp_path / "run").score(tmp_path / "films.csv") > 0.9
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "finished"
