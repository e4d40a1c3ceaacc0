"""The HTTP service: it says what the predictor says, and nothing that is sent to it takes it down."""

from __future__ import annotations

import asyncio
import base64
import functools
import io
import json
import re
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import numpy as np
import pytest
import uvicorn
from PIL import Image
from pydantic import ValidationError
from starlette.testclient import TestClient
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

import autotl
from autotl.cli.main import main
from autotl.plugins.contracts import ZooContext
from autotl.serving.app import make_app
from autotl.serving.batching import Batcher
from autotl.serving.connections import impatient
from autotl.serving.gate import Gate
from autotl.serving.intake import ImageIntake, Refused
from autotl.serving.limits import Limits
from autotl.serving.schema import Images, RowsOfImages, RowsOfTexts, Texts
from autotl.testing import make_bundle


@pytest.fixture
def bundle(here, tiny, zoo, tmp_path):
    candidates, texts = tiny.candidates(ZooContext((zoo,)))[:1], ["a cat", "an oak", "of slate"]
    return make_bundle(tiny, candidates, texts, tmp_path / "run", classes=("a", "b", "c")).folder


@pytest.fixture
def predictor(bundle):
    return autotl.load(bundle)


@pytest.fixture
def client(predictor):
    with TestClient(make_app(predictor, Limits(bytes=10_000, rows=4, characters=100))) as client:
        yield client


# -------------------------------------------------------------------- what it answers


def test_answers_are_the_predictors(client, predictor):
    texts = ["a cat on a horse", "oak and fern", "slate"]
    answer = client.post("/predict", json={"texts": texts})
    assert answer.status_code == 200
    rows = answer.json()["predictions"]
    expected = predictor.answers(texts)
    assert [row["prediction"] for row in rows] == predictor.told(expected).tolist()
    assert [list(row["probabilities"]) for row in rows] == [["a", "b", "c"]] * 3
    served = [list(row["probabilities"].values()) for row in rows]
    np.testing.assert_allclose(served, expected.answers, atol=1e-5)


def test_it_says_what_it_is(client):
    assert client.get("/health").json() == {
        "status": "ok",
        "model": "none of tiny/one, trial 0",
        "outputs": ["a", "b", "c"],
    }
    page = client.get("/").text
    assert "none of tiny/one" in page
    assert not re.findall(r"(?:src|href)=.https?:", page)
    assert " http://testserver/predict</pre>" in page
    assert " http://elsewhere:8123/predict</pre>" in client.get("http://elsewhere:8123/").text
    described = client.get("/openapi.json").json()
    assert set(described["paths"]) == {"/predict", "/health"}
    assert described["components"]["schemas"]["Texts"]["required"] == ["texts"]
    links = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(described)))
    assert links == set(described["components"]["schemas"]) == {"Texts", "Answer", "Row", "Problem", "Health"}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"nonsense", 400, "not JSON"),
        (b"[" * 5000, 400, ""),
        (b'{"texts": ["\xff"]}', 400, ""),
        (b"", 400, "not JSON"),
        (b"[1]", 422, "body"),
        (b"{}", 422, "texts: Field required"),
        (b'{"texts": []}', 422, "texts"),
        (b'{"texts": "one"}', 422, "texts"),
        (b'{"texts": ["a", 7]}', 422, "texts.1"),
        (b'{"texts": ["a"], "more": 1}', 422, "more"),
        (json.dumps({"texts": ["a"]} | dict.fromkeys(map(str, range(500)), 0)).encode(), 422, "unknown fields, 500 of"),
        (b'{"images": ["/etc/passwd"]}', 422, "texts"),
        (b'{"texts": ["a", " "]}', 422, "text 1 is empty"),
        (json.dumps({"texts": ["a" * 101]}).encode(), 422, "text 0 has 101 characters, and 100 are allowed"),
        (b'{"texts": ["a", "b", "c", "d", "e"]}', 413, "5 rows, and 4 are allowed"),
        (b" " * 10_001, 413, "more than 10000 bytes"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(client, body, status, says):
    answer = client.post("/predict", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    (detail,) = answer.json().values()
    assert says in detail
    assert "\n" not in detail
    assert "Traceback" not in detail
    assert client.post("/predict", json={"texts": ["a"]}).status_code == 200


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_what_any_page_could_have_a_browser_send_is_refused(client, kind):
    body, headers = b'{"texts": ["a cat"]}', {"Content-Type": kind} if kind else {}
    answer = client.post("/predict", content=body, headers=headers)
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["detail"]
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/predict", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("sent", [Texts, RowsOfTexts, Images, RowsOfImages])
@pytest.mark.parametrize("rows", [[{}] * 100_000, [[{}] * 100_000]], ids=["rows", "cells"])
def test_of_many_bad_elements_one_is_told(sent, rows):
    name = sent.model_fields["inputs"].alias
    with pytest.raises(ValidationError) as refusal:
        sent.model_validate({name: rows})
    assert refusal.value.error_count() == 1


def test_what_is_not_there_is_not_found(client):
    assert client.get("/../../etc/passwd").status_code == 404
    assert client.get("/predict").status_code == 405


# -------------------------------------------------------------------- the gate


async def _through(gate, messages, path="/predict"):
    """The status that a request gets whose body comes in these messages, None standing for silence."""
    statuses, waiting = [], list(messages)

    async def receive():
        if (message := waiting.pop(0)) is None:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": message, "more_body": bool(waiting)}

    async def send(message):
        statuses.append(message.get("status"))

    scope = {
        "type": "http", "path": path, "method": "POST", "headers": [(b"content-type", b"application/json")],
        "query_string": b"", "root_path": "", "http_version": "1.1", "scheme": "http", "server": ("it", 80),
    }  # fmt: skip
    await gate(scope, receive, send)
    return statuses[0]


def test_request_that_does_not_end_is_given_up(predictor):
    gate = Gate(make_app(predictor), Limits(seconds=0.05))
    assert asyncio.run(_through(gate, [b"{", None])) == 408


@pytest.mark.parametrize("limits", [Limits(requests=1, seconds=0.3), Limits(bytes_in_hand=5, seconds=0.3)])
def test_more_than_there_is_room_for_is_told_to_come_again(predictor, limits):
    gate = Gate(make_app(predictor), limits)

    async def two():
        first = asyncio.create_task(_through(gate, [b"1234", None]))
        await asyncio.sleep(0.05)
        return await _through(gate, [b"1234"]), await _through(gate, [b""], "/health"), await first

    second, healthy, first = asyncio.run(two())
    assert second == 503
    assert healthy == 405  # it is answered, if only that this is no way to ask
    assert first == 408


# -------------------------------------------------------------------- connections


async def _answered(protocol, pieces, *, seconds=0.2):
    """What comes back before a connection is closed on which these pieces are sent, each after an answer."""

    async def app(scope, receive, send):
        await asyncio.sleep(0.4)  # an answer may take longer than a request
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    loop, config = asyncio.get_running_loop(), uvicorn.Config(app, http=impatient(protocol, seconds), log_config=None)
    config.load()
    make = functools.partial(config.http_protocol_class, config=config, server_state=ServerState(), app_state={})
    async with asyncio.timeout(5), await loop.create_server(make, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        answers = 0
        for piece in pieces:
            writer.write(piece)
            if piece == GET:
                await reader.readuntil(b"\r\n\r\nok")
                answers += 1
        try:
            rest = await reader.read()
        except ConnectionError:  # closed before all was read
            rest = b""
        writer.close()
    return answers, rest


GET = b"GET / HTTP/1.1\r\nHost: it\r\n\r\n"


@pytest.mark.parametrize("protocol", [H11Protocol, HttpToolsProtocol])
@pytest.mark.parametrize("pieces", [[], [b"GET / HT"], [GET, b"GET"], [GET, GET, b"GET / HTTP/1.1\r\nHost: it\r\n"]])
def test_connection_that_waits_for_a_header_is_closed(protocol, pieces):
    assert asyncio.run(_answered(protocol, pieces)) == (pieces.count(GET), b"")


def test_header_without_an_end_closes_the_connection():
    chunked = b"POST / HTTP/1.1\r\nHost: it\r\nTransfer-Encoding: chunked\r\n\r\n0\r\na: "
    for endless in (b"GET / HTTP/1.1\r\na: ", b"GET /", chunked):
        assert asyncio.run(_answered(HttpToolsProtocol, [GET, endless + b"a" * 2**20], seconds=60.0)) == (1, b"")


def test_header_as_browsers_send_it_is_answered_however_many_come_at_once():
    usual = GET[:-2] + b"cookie: " + b"a" * 30_000 + b"\r\n\r\n"
    last = usual[:-2] + b"Connection: close\r\n\r\n"
    (answered, rest) = asyncio.run(_answered(HttpToolsProtocol, [usual * 4 + last], seconds=60.0))
    assert (answered, rest.count(b"\r\n\r\nok")) == (0, 5)


# -------------------------------------------------------------------- images


def _image(side):
    """A picture of one colour, as it is sent."""
    Image.new("1", (side, side)).save(file := io.BytesIO(), "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_images_of_a_request_are_limited_together(tmp_path):
    intake = ImageIntake(Limits(pixels=100 * 100, pixels_in_all=3 * 100 * 100), tmp_path)
    with intake.cells([_image(100)] * 3) as paths:
        assert len(paths) == 3
    with pytest.raises(Refused, match="image 3 the request has 40000 pixels, and 30000 are allowed"):
        intake.cells([_image(100)] * 4).__enter__()
    with pytest.raises(Refused, match="image 0 has 10201 pixels"):
        intake.cells([_image(101)]).__enter__()
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------- batches


class Model:
    """Says how long each input is, and remembers its batches; fails on "bad"."""

    def __init__(self):
        self.batches, self.began, self.may_go = [], threading.Event(), threading.Event()

    def __call__(self, cells):
        self.began.set()
        self.may_go.wait(5)
        self.batches.append(list(cells))
        if "bad" in cells:
            raise RuntimeError("this one")
        return [len(cell) for cell in cells]


async def _asked(batcher, *questions):
    """Each question on its way to the batcher, in order."""
    asking = [asyncio.ensure_future(batcher.predict(cells)) for cells in questions]
    await asyncio.sleep(0)
    return asking


async def _begun(model):
    assert await asyncio.to_thread(model.began.wait, 5)


def in_a_loop(test):
    """A test that is a coroutine."""

    @functools.wraps(test)
    def run(*args, **kwargs):
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 20))

    return run


@in_a_loop
async def test_what_comes_while_the_model_works_is_one_batch():
    batcher = Batcher(model := Model(), most_rows=4)
    (first,) = await _asked(batcher, ["a"])
    await _begun(model)
    later = await _asked(batcher, ["bb", ""], ["ccc"], ["dddd", "eeeee"], ["f"])
    (given_up,) = await _asked(batcher, ["g"])
    given_up.cancel()
    model.may_go.set()
    await batcher.close()
    assert first.result() == [1]
    assert [answers.result() for answers in later] == [[2, 0], [3], [4, 5], [1]]
    assert model.batches == [["a"], ["bb", "", "ccc"], ["dddd", "eeeee", "f"]]


@in_a_loop
async def test_nobody_works_for_a_client_that_is_gone(predictor, monkeypatch):
    """Of three requests, the second hangs up while the model works for the first."""
    batches, may_go = [], threading.Event()
    answers = predictor.answers

    def slowly(cells):
        batches.append(list(cells))
        may_go.wait(10)
        return answers(cells)

    monkeypatch.setattr(predictor, "answers", slowly)
    app, gone, sent = make_app(predictor), asyncio.Event(), []
    scope = {"type": "http", "path": "/predict", "method": "POST", "headers": [(b"content-type", b"application/json")]}

    async def ask(text, leaves):
        body = [{"type": "http.request", "body": json.dumps({"texts": [text]}).encode()}]

        async def receive():
            if body:
                return body.pop()
            await leaves.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append((text, message["type"]))

        await app(scope, receive, send)

    async with app.router.lifespan_context(app):
        asked = [asyncio.create_task(ask("first", asyncio.Event()))]
        while not batches:
            await asyncio.sleep(0.01)
        asked += [asyncio.create_task(ask("gone", gone)), asyncio.create_task(ask("third", asyncio.Event()))]
        await asyncio.sleep(0.05)
        gone.set()
        await asked[1]
        may_go.set()
        await asyncio.gather(*asked)
    assert batches == [["first"], ["third"]]
    assert {text for text, _ in sent} == {"first", "third"}


@in_a_loop
async def test_those_who_were_answered_are_waited_for():
    batcher = Batcher(model := Model(), patience=1e9, quiet=5.0)
    (one,) = await _asked(batcher, ["a"])
    await _begun(model)
    (other,) = await _asked(batcher, ["b"])
    model.may_go.set()
    for again in ("c", "d"):
        await one
        await asyncio.sleep(0.1)
        (one,) = await _asked(batcher, [again])
        await other
        (other,) = await _asked(batcher, [again.upper()])
    await batcher.close()
    assert model.batches == [["a"], ["b", "c"], ["C", "d"], ["D"]]


@pytest.mark.parametrize("waiting", [{"patience": 1e9, "quiet": 0.05}, {"patience": 0.1, "quiet": 1e9}])
@in_a_loop
async def test_nobody_is_waited_for_for_long(waiting):
    batcher = Batcher(model := Model(), **waiting)
    model.may_go.set()
    await asyncio.gather(*await _asked(batcher, ["a"], ["bb"], ["ccc"]))
    assert await batcher.predict(["alone"]) == [5]
    await batcher.close()


@in_a_loop
async def test_nobody_is_waited_for_where_a_batch_is_full():
    batcher = Batcher(model := Model(), patience=1e9, quiet=1e9, most_rows=2)
    model.may_go.set()
    await asyncio.gather(*await _asked(batcher, ["a"], ["b"], ["c"]))
    assert await batcher.predict(["one", "two"]) == [3, 3]
    await batcher.close()


@in_a_loop
async def test_one_that_fails_costs_no_other(caplog):
    batcher = Batcher(model := Model())
    (first,) = await _asked(batcher, ["first"])
    await _begun(model)
    answers = await _asked(batcher, ["good"], ["bad"], ["fine"])
    model.may_go.set()
    await batcher.close()
    assert first.result() == [5]
    assert answers[0].result() == [4]
    assert isinstance(answers[1].exception(), RuntimeError)
    assert answers[2].result() == [4]
    assert "a prediction failed" in caplog.text


# -------------------------------------------------------------------- the command


@pytest.mark.slow
def test_200_clients_at_once_and_then_the_end(bundle, started, predictor, tmp_path):
    process = started("serve", bundle, "--port", 0, cwd=tmp_path)
    port = int(next(re.search(r":(\d+) ", line)[1] for line in process.stderr if line.startswith("http")))

    def ask(number):
        body = b"bad" if number % 4 == 0 else json.dumps({"texts": [f"a cat and {number} dogs"]}).encode()
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
        return answer.status, told

    with ThreadPoolExecutor(200) as clients:
        answers = list(clients.map(ask, range(400)))
    assert [status for status, _ in answers] == [400, 200, 200, 200] * 100
    expected = predictor.told(predictor.answers([f"a cat and {number} dogs" for number in range(400)]))
    served = [told["predictions"][0]["prediction"] for status, told in answers if status == 200]
    assert served == [label for number, label in enumerate(expected) if number % 4]
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_client_that_hangs_up_while_it_sends_is_no_error(bundle, started, tmp_path):
    process = started("serve", bundle, "--port", 0, cwd=tmp_path)
    port = int(next(re.search(r":(\d+) ", line)[1] for line in process.stderr if line.startswith("http")))
    head = b"POST /predict HTTP/1.1\r\nHost: it\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(head + b'{"texts": [')
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/predict", b'{"texts": ["a cat"]}', {"Content-Type": "application/json"})
    assert connection.getresponse().status == 200
    connection.close()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Exception" not in errors


def test_address_that_is_empty_is_not_taken_for_all_of_the_machines(bundle, capsys):
    assert main(["serve", str(bundle), "--host", "", "--port", "0"]) == 2
    assert capsys.readouterr().err.startswith("autotl: --host is empty")


def test_address_that_is_taken_is_told(bundle, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", str(bundle), "--port", str(taken.getsockname()[1])]) == 2
    assert "--port" in capsys.readouterr().err
    assert main(["serve", str(bundle), "--port", "99999"]) == 2


def test_without_the_extra_it_says_how_to_get_it(bundle, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "autotl.serving.server", raising=False)
    assert main(["serve", str(bundle)]) == 2
    assert "pip install 'autotl[serve]'" in capsys.readouterr().err
