"""The zoo: why a backbone can be used or not, one short look for the hub, and weights measured without loading."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from autotl.config import Limits, make_request, zoos_of_environment
from autotl.errors import ZooError
from autotl.plugins.contracts import Candidate, Recipe, ZooContext
from autotl.untrusted import read_header
from autotl.zoo import hub
from autotl.zoo.inventory import inventory, largest_download, usable_candidates, zoo_folders
from autotl.zoo.local import cached_snapshots, model_folders


class Shelf:
    """A family with one model from each source, and one too large to download."""

    name, modality, augments = "shelf", "text", False

    def candidates(self, context):
        def one(name, source, prior, parameters=1000):
            return Candidate(
                name, self.name, "text", source, name, parameters, 8, 16, "none", prior, Recipe(learning_rate=1e-3)
            )

        folder = [one("given", "folder", 0.1)] if context.folders else []
        return [*folder, one("kept", "cache", 0.2), one("far", "hub", 0.3), one("huge", "hub", 0.9, 10**9)]


def judged(context):
    return {listing.candidate.name: (listing.usable, listing.reason) for listing in inventory([Shelf()], context)}


def test_what_is_larger_than_it_may_be_says_so():
    limits = Limits(parameters=10**6)
    found = {listing.candidate.name: listing for listing in inventory([Shelf()], ZooContext(hub=True), limits)}
    assert found["kept"].usable
    assert "1e+03 M parameters, more than --max-params allows" in found["huge"].reason
    with pytest.raises(ZooError, match="keeps the limits: the smallest"):
        usable_candidates("text", [Shelf()], ZooContext(hub=True), Limits(size=100))


@pytest.mark.parametrize(
    ("context", "smallest"),
    [(ZooContext(hub=True), "shelf/small"), (ZooContext(), "shelf/kept")],
    ids=["hub", "no hub"],
)
def test_the_limit_to_raise_is_that_of_a_backbone_that_could_be_had(context, smallest):
    class Sized(Shelf):
        def candidates(self, context):
            found = super().candidates(context)
            return [*found, replace(found[-2], name="small", parameters=500)]

    limit = Limits(parameters=100 if context.hub else 700)
    with pytest.raises(ZooError, match=rf"the smallest, {smallest}, has .* more than --max-params allows. Raise it"):
        usable_candidates("text", [Sized()], context, limit)


def test_where_no_limit_is_to_blame_none_is_named():
    class Far(Shelf):
        def candidates(self, context):
            return [one for one in super().candidates(context) if one.source == "hub"]

    with pytest.raises(ZooError, match=r"no text backbone found in the hub's cache .* and the hub is not reachable"):
        usable_candidates("text", [Far()], ZooContext(), Limits(parameters=10_000))
    with pytest.raises(ZooError, match="has a licence that --licenses mit allows: there are none"):
        usable_candidates("text", [Shelf()], ZooContext(), Limits(parameters=100), ["mit"])


def test_folders_given_are_searched_alone(tmp_path):
    found = judged(ZooContext((tmp_path,), hub=True))
    assert found["given"] == (True, "in a folder given")
    assert found["kept"] == found["far"] == found["huge"] == (False, "not in the folders given")


def test_without_folders_the_cache_and_then_the_hub_are_searched():
    found = judged(ZooContext(hub=True))
    assert found["kept"] == (True, "in the hub's cache on this machine")
    assert found["far"] == (True, "from the hub")
    assert not found["huge"][0]
    assert "too large" in found["huge"][1]


def test_without_the_hub_what_is_not_here_says_why():
    found = judged(ZooContext())
    assert found["kept"][0]
    assert found["far"] == found["huge"] == (False, "the hub is not reachable and it is not cached here")


def test_longer_budgets_download_larger_models_and_who_names_one_waits_for_it():
    def downloaded(budget):
        found = usable_candidates("text", [Shelf()], ZooContext(hub=True), download=largest_download(budget))
        return "huge" in {candidate.name for candidate in found}

    assert [downloaded(budget) for budget in (300.0, 7200.0, 8000.0, None)] == [False, False, True, True]


def test_usable_ones_come_first_and_then_the_strongest():
    listed = inventory([Shelf()], ZooContext(hub=True))
    assert [listing.candidate.name for listing in listed] == ["far", "kept", "huge"]


def test_nothing_usable_is_refused_with_the_way_out(tmp_path, zoo, tiny):
    with pytest.raises(ZooError, match=r"no plugin here brings image backbones.*autotl\[vision\]"):
        usable_candidates("image", [], ZooContext())
    with pytest.raises(ZooError, match=r"no text backbone found in .*--models FOLDER"):
        usable_candidates("text", [tiny], ZooContext((tmp_path,)))
    with pytest.raises(ZooError, match=r"the hub's cache on this machine and the hub is not reachable"):
        usable_candidates("text", [tiny], ZooContext())
    assert [one.key for one in usable_candidates("text", [tiny], ZooContext((zoo,)))] == ["tiny/one", "tiny/two"]


def test_folders_come_from_the_option_and_then_the_environment(tmp_path, monkeypatch):
    for name in "abc":
        (tmp_path / name).mkdir()
    monkeypatch.setenv("AUTOTL_ZOO", os.pathsep.join([str(tmp_path / "b"), str(tmp_path / "c"), ""]))
    request = make_request("table.csv", models=[tmp_path / "a"])  # what a run keeps has them all
    monkeypatch.setenv("AUTOTL_ZOO", str(tmp_path / "gone"))  # for another project, when the run is resumed
    assert [folder.name for folder in zoo_folders(request.models)] == ["a", "b", "c"]
    with pytest.raises(ZooError, match=r"gone: no such folder of models.*AUTOTL_ZOO"):
        zoo_folders(zoos_of_environment())


def test_given_folder_is_a_model_or_a_folder_of_them(tmp_path):
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    (tmp_path / "readme.txt").touch()
    assert [folder.name for folder in model_folders([tmp_path])] == ["a", "b"]
    assert list(model_folders([tmp_path / "b"])) == [tmp_path / "b"]


def test_cached_snapshot_is_the_one_that_main_points_to(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--google--electra-small"
    for revision in ("old", "new"):
        (repository / "snapshots" / revision).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("old\n")
    (tmp_path / "models--broken").mkdir()
    assert list(cached_snapshots()) == [("google/electra-small", repository / "snapshots" / "old")]


@pytest.fixture
def no_proxy(monkeypatch):
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "HF_ENDPOINT",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def listening():
    """A port of this machine that opens connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing():
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def silent():
    """A port whose queue is full, so that connecting to it neither succeeds nor fails."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()[1]
        for one in waiting:
            one.close()


def test_hub_that_answers_is_reachable(no_proxy, listening, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening}")
    assert hub.reachable()


def test_hub_is_reachable_where_one_of_its_addresses_answers(no_proxy, listening, silent, monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)) for port in (silent, listening)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *asked: found)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    assert hub.reachable()


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_hub_whose_name_cannot_be_looked_up_is_not_reachable(no_proxy, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"https://{'a' * 70}.example")
    assert not hub.reachable()


def test_hub_that_refuses_is_not_reachable_at_once(no_proxy, refusing, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{refusing}")
    began = time.monotonic()
    assert not hub.reachable()
    assert time.monotonic() - began < 1.0


def test_hub_that_is_silent_is_given_up_after_two_seconds(no_proxy, silent, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent}")
    began = time.monotonic()
    assert not hub.reachable()
    assert 1.5 < time.monotonic() - began < 2.6


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("word", ["1", "true", "Yes", "ON"])
def test_offline_variables_of_the_hub_are_respected(no_proxy, listening, monkeypatch, name, word):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening}")
    monkeypatch.setenv(name, word)
    assert not hub.reachable()


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxy_is_asked_in_place_of_the_hub(no_proxy, listening, refusing, monkeypatch, scheme):
    """Proxies are often written without their scheme, and every client accepts that."""
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{refusing}")
    monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{listening}")
    assert hub.reachable()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert not hub.reachable()


@pytest.mark.parametrize("address", ["http://127.0.0.1:nine", "http://", "nonsense", "http://[::1", ""])
def test_nonsense_in_the_endpoint_is_no_hub_and_no_crash(no_proxy, monkeypatch, address):
    crashes = []
    monkeypatch.setattr(threading, "excepthook", crashes.append)
    monkeypatch.setenv("HF_ENDPOINT", address)
    assert not hub.reachable(0.5)
    assert not crashes


def test_parameters_are_counted_without_integers(tmp_path):
    tensors = {"a": np.zeros((3, 5), np.float32), "b": np.zeros(7, np.float16), "ids": np.arange(9)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert read_header(tmp_path / "model.safetensors").parameters == 22


def test_torn_file_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": np.zeros((30, 5), np.float32)}, path)
    whole = path.read_bytes()
    for length in (0, 3, 8, 20, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"."):
            read_header(path)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 10**30), st.floats(), st.sampled_from(["F32", "4", ""])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.one_of(st.just("F32"), JSON),
        "shape": st.one_of(st.just([1]), JSON),
        "data_offsets": st.one_of(st.just([0, 4]), st.tuples(JSON, JSON), JSON),
    }
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(header=st.one_of(JSON, st.dictionaries(st.sampled_from(["t", "u", "__metadata__"]), ENTRY, max_size=2)))
def test_hostile_header_is_counted_or_refused(tmp_path, header):
    content = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(content).to_bytes(8, "little") + content + b"\0\0\0\0")
    with contextlib.suppress(ValueError):
        assert read_header(path).parameters >= 0


@pytest.mark.parametrize(
    "content",
    [
        b"\xff" * 8 + b"{}",
        (10**9).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"\xff\xfe",
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
        (5).to_bytes(8, "little") + b'{"a":',
    ],
    ids=["endless", "longer than the file", "no text", "nested", "torn"],
)
def test_hostile_bytes_are_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        read_header(path)


def test_what_no_family_takes_is_named_with_its_kind(tmp_path):
    (tmp_path / "dino").mkdir()
    (tmp_path / "dino" / "config.json").write_text('{"model_type": "dinov2"}')

    class Nothing(Shelf):
        def candidates(self, context):
            return []

    with pytest.raises(ZooError, match=r"no family for it takes dino \(dinov2\)\. .*laid out as a local-dir of timm"):
        usable_candidates("image", [Nothing()], ZooContext((tmp_path,)))


def test_what_was_fetched_as_a_pickle_is_not_asked_to_be_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--huge" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "pytorch_model.bin").write_bytes(b"")
    assert "pytorch_model.bin is a pickle, which is never read" in judged(ZooContext(hub=True))["huge"][1]
