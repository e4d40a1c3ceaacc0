"""What is frozen is computed once, and nothing else changes by it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from autotl.errors import DivergedError
from autotl.features import frozen as frozen_module
from autotl.features.boundary import SAMPLE, VIEWS, Boundary, stage_at
from autotl.features.frozen import FrozenBackbone
from autotl.features.layers import Layered
from autotl.features.precision import Precision
from autotl.features.rows import EncodedRows
from autotl.features.speed import SettledSpeeds, SpeedBook
from autotl.features.states import pack, unpack
from autotl.features.store import FeatureStore, stored_collections
from autotl.plugins.contracts import ZooContext
from autotl.testing import check_stored_states

CPU = torch.device("cpu")


@pytest.fixture
def candidate(tiny, zoo):
    return tiny.candidates(ZooContext((zoo,)))[0]


@pytest.fixture
def look(tiny, candidate, frame, tmp_path):
    """The tiny backbone before the table, with a new store in the same folder each time."""

    def frozen(texts=None, *, store=None, speeds=None, made_by="", found_by=""):
        store = store or FeatureStore(tmp_path)
        texts = frame["text"].tolist() if texts is None else texts
        rows = EncodedRows(tiny.encoder(candidate, []), texts, modality="text", store=store)
        return FrozenBackbone(
            candidate, tiny, rows, device=CPU, speeds=speeds or SpeedBook(tmp_path), store=store, made_by=made_by,
            found_by=found_by,
        )  # fmt: skip

    return frozen


@pytest.mark.parametrize("stages", [1, 2, 7])
def test_something_is_trained_unless_all_is_to_be_frozen(stages):
    backbone = torch.nn.Module()
    backbone.stages = torch.nn.ModuleList(torch.nn.Identity() for _ in range(stages))
    assert [stage_at(fraction, backbone) for fraction in (0.0, 1.0)] == [0, stages]
    assert all(stage_at(fraction, backbone) < stages for fraction in (0.25, 0.5, 0.75, 0.99))


def passes(frozen, monkeypatch):
    """Counts the rows that pass through the network from now on."""
    counted = []
    forward = frozen.backbone.forward

    def watched(state, start=0, stop=None):
        if start == 0:
            counted.append(len(state["x"]))
        return forward(state, start, stop)

    monkeypatch.setattr(frozen.backbone, "forward", watched)
    return counted


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_training_from_the_store_equals_training_through_the_frozen_stages(tiny, candidate, frame, stages):
    check_stored_states(tiny, candidate, frame["text"].tolist()[:40], stages=stages)


def test_second_search_computes_nothing_again(look, monkeypatch):
    first = look()
    seen = first.see(np.arange(60))
    expected = first.features(seen)
    first.store.flush()
    second = look()
    counted = passes(second, monkeypatch)
    np.testing.assert_array_equal(second.features(second.see(np.arange(60))), expected)
    assert not counted


def test_what_rows_take_in_earnest_corrects_the_race_in_fp32_too(look):
    """One batch of long and short texts is padded; a pass in order of length is not."""
    frozen = look()
    key = frozen.speed_key("forward")
    options = [Precision(), Precision("bf16")]
    frozen.speeds.race(key, options, lambda option: 60.0 if option.exact else 30.0, rows=10)
    frozen.calibrate(frozen.rows.readable(np.arange(12)))
    assert (frozen.seconds_a_row, frozen.exact_seconds_a_row) == (3.0, 6.0)
    frozen.see(np.arange(60))
    assert 0.0 < frozen.seconds_a_row < 1.0
    assert frozen.exact_seconds_a_row == pytest.approx(2 * frozen.seconds_a_row)


@pytest.mark.parametrize("anyhow", [False, True], ids=["beyond 16 bits", "beyond 32 bits"])
def test_rows_that_16_bits_do_not_hold_pass_again_in_32(look, monkeypatch, anyhow):
    frozen, pool = look(), Layered.pool

    def overflowing(self, state):
        pooled = pool(self, state)
        if anyhow or torch.is_autocast_enabled("cpu"):
            pooled[-1] = torch.inf
        return pooled

    expected = frozen.layers(frozen.rows.readable(np.arange(12)))
    again = look(store=FeatureStore(None))
    again.precision = Precision("bf16")
    monkeypatch.setattr(Layered, "pool", overflowing)
    rows = again.rows.readable(np.arange(12))
    if anyhow:
        with pytest.raises(DivergedError, match="1 rows among 12 are not finite"):
            again.layers(rows)
    else:
        np.testing.assert_allclose(again.layers(rows), expected, atol=0.05)


def test_a_changed_row_computes_that_row_only(look, frame, monkeypatch):
    first = look()
    first.see(np.arange(60))
    first.store.flush()
    texts = frame["text"].tolist()
    texts[17] = "something else entirely"
    second = look(texts)
    counted = passes(second, monkeypatch)
    second.see(np.arange(60))
    assert counted == [1]


def test_other_weights_compute_anew(tiny, zoo, look, monkeypatch):
    first = look()
    first.see(np.arange(20))
    first.store.flush()
    changed = look()
    with torch.no_grad():
        changed.backbone.stages[1].up.weight[0, 0] += 1e-3
    counted = passes(changed, monkeypatch)
    changed.see(np.arange(20))
    assert sum(counted) == 20


def test_layers_are_what_the_network_pools_at_each_boundary(look):
    frozen = look(speeds=SettledSpeeds(CPU))  # a race that bf16 wins would round what is compared
    frozen.calibrate(frozen.rows.readable(np.arange(12)))
    seen = frozen.see(np.arange(12))
    state = frozen.rows.encoder.batch(frozen.rows.gather(seen))
    expected = []
    for boundary in range(1, 4):
        with torch.no_grad():
            expected.append(frozen.backbone.pool(frozen.backbone(state, 0, boundary)).numpy())
    np.testing.assert_allclose(frozen.layers(seen), np.concatenate(expected, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(frozen.features(seen), expected[-1], rtol=1e-4, atol=1e-5)


def test_passes_through_the_views_in_turn_compute_each_once(look, monkeypatch):
    frozen = look()
    train = frozen.see(np.arange(32))
    boundary = Boundary(frozen, 2, train, augment=0.5, passes=50.0)
    assert boundary.kept
    assert boundary.rows_below(train, 50.0) == VIEWS * len(train)
    counted = passes(frozen, monkeypatch)
    for number in range(2 * VIEWS):
        for start in (0, 16):
            boundary.batch(train[start : start + 16], number, torch.Generator())
    assert sum(counted) == VIEWS * len(train)
    assert boundary.rows_below(train, 50.0) == 0
    assert Boundary(frozen, 2, train, augment=0.5, passes=12.0).rows_below(train, 12.0) == 0  # has fewer of the same


def test_stored_batches_do_not_depend_on_the_company(look):
    frozen = look()
    train = frozen.see(np.arange(32))
    boundary = Boundary(frozen, 1, train, augment=0.0, passes=10.0)
    together = boundary.batch(train, 0, torch.Generator())
    for start in (0, 8, 16):
        part = boundary.batch(train[start : start + 4], 1, torch.Generator())
        longest = part["x"].shape[1]
        torch.testing.assert_close(part["x"], together["x"][start : start + 4, :longest])
        torch.testing.assert_close(part["mask"], together["mask"][start : start + 4, :longest])


def test_without_room_the_frozen_stages_run_every_time(look, tmp_path, monkeypatch):
    frozen = look(store=FeatureStore(tmp_path / "small", limit=1000))
    train = frozen.see(np.arange(32))
    boundary = Boundary(frozen, 2, train, augment=0.0, passes=10.0)
    assert not boundary.kept
    assert boundary.rows_below(train, 10.0) == 320
    counted = passes(frozen, monkeypatch)
    for number in range(3):
        boundary.batch(train, number, torch.Generator())
    assert counted == [32, 32, 32]


def test_few_passes_are_not_worth_keeping_every_view_for(look):
    frozen = look()
    train = frozen.see(np.arange(32))
    assert not Boundary(frozen, 2, train, augment=0.5, passes=2.0).kept
    few = Boundary(frozen, 2, train, augment=0.5, passes=12.0)
    assert few.rows_below(train, 12.0) == 4 * len(train)


def test_the_cache_can_tell_what_it_keeps(look, tmp_path):
    frozen = look()
    train = frozen.see(np.arange(32))
    Boundary(frozen, 2, train, augment=0.0, passes=10.0).batch(train, 0, torch.Generator())
    frozen.store.flush()
    kinds = {kept.about["kind"]: kept for kept in stored_collections(tmp_path)}
    assert set(kinds) == {"inputs", "features", "states"}
    assert kinds["states"].about["boundary"] == 2
    assert kinds["states"].rows == 32


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_come_back_as_they_were(dtype, channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    maps = torch.randn(5, 6, 4, 3).to(dtype).contiguous(memory_format=layout)
    back = unpack(pack({"x": maps}, exact=True, channels_last=channels_last), channels_last=channels_last)["x"]
    assert back.is_contiguous(memory_format=layout)
    torch.testing.assert_close(back, maps, rtol=0, atol=0)


@pytest.mark.parametrize("channels_last", [False, True])
def test_half_precision_is_used_where_it_fits_only(channels_last):
    usual, large = torch.randn(2, 4, 3, 3), torch.full((2, 4, 3, 3), 1e6)
    one_small = usual * torch.tensor([1.0, 1.0, 1e-7, 1.0]).view(1, 4, 1, 1)
    dtypes = {}
    for name, maps in {"usual": usual, "large": large, "one small": one_small}.items():
        rows = pack({"x": maps}, exact=False, channels_last=channels_last)
        dtypes[name] = rows[0]["x"].dtype
        back = unpack(rows, channels_last=channels_last)["x"]
        largest = maps.abs().amax((0, 2, 3), keepdim=True)
        assert ((back - maps).abs() <= largest * 2**-9).all(), name
    assert dtypes == {"usual": np.float16, "large": np.float32, "one small": np.float32}
    assert pack({"x": usual}, exact=True, channels_last=channels_last)[0]["x"].dtype == np.float32
    both = [row for maps in (usual, large) for row in pack({"x": maps}, exact=False, channels_last=False)]
    torch.testing.assert_close(unpack(both, channels_last=False)["x"], torch.cat([usual, large]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scale", [1e6, 1e-6])
def test_states_and_features_of_any_magnitude_come_back_from_the_store(look, monkeypatch, scale):
    """Behind a pass in bf16, which states are kept in 16 bits for where these hold them."""

    def scaled():
        frozen = look()
        frozen.precision = Precision("bf16")
        with torch.no_grad():
            frozen.backbone.stages[0].table.weight.mul_(scale)
        return frozen

    def all_states(frozen):
        rows = frozen.rows.readable(np.arange(60))
        boundary = Boundary(frozen, 1, rows, augment=0.0, passes=9.0)
        states = torch.cat([boundary.batch(rows[at : at + 1], 0, torch.Generator())["x"][0] for at in range(60)])
        return rows, states, frozen.features(rows)

    first = scaled()
    rows, states, features = all_states(first)
    through = torch.cat([first.prefix(first.rows.encoder.batch(first.rows.gather([row])), 1)["x"][0] for row in rows])
    largest = through.abs().amax(0)
    assert scale / 10 < largest.max() < 10 * scale
    assert ((states - through).abs() <= largest * 2**-9).all()
    first.store.flush()
    again = scaled()
    computed = passes(again, monkeypatch)
    _, found, known = all_states(again)
    assert torch.equal(found, states)
    np.testing.assert_array_equal(known, features)
    assert sum(computed) == SAMPLE


def test_padding_is_not_kept_and_comes_back_as_zeros():
    x, mask = torch.randn(3, 5, 2), torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0]]).bool()
    rows = pack({"x": x, "mask": mask}, exact=True, channels_last=False)
    assert [row["x"].shape for row in rows] == [(2, 2), (4, 2), (1, 2)]
    back = unpack(rows, channels_last=False)
    torch.testing.assert_close(back["mask"], mask[:, :4])
    torch.testing.assert_close(back["x"], (x * mask.unsqueeze(-1))[:, :4])


def test_pooled_features_as_wide_as_a_text_is_long_keep_all_their_width():
    x, mask = torch.randn(2, 5), torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]]).bool()
    assert [row["x"].shape for row in pack({"x": x, "mask": mask}, exact=True, channels_last=False)] == [(5,), (5,)]


def test_precision_decides_what_a_stored_state_becomes():
    state = {"x": torch.randn(2, 3).bfloat16()}
    assert Precision("fp32").place(state, CPU)["x"].dtype == torch.float32
    assert Precision("bf16").place(state, CPU)["x"].dtype == torch.bfloat16


def test_states_that_are_stored_need_no_room_again(look, monkeypatch):
    frozen, rows = look(), np.arange(40)
    frozen.see(np.arange(80))
    first = Boundary(frozen, 1, rows, augment=0.0, passes=5.0)
    assert first.kept
    for start in range(0, 40, 8):
        first.batch(rows[start : start + 8], 0, torch.Generator())
    frozen.store.flush()
    monkeypatch.setattr(FeatureStore, "room", lambda store: first.size)
    assert Boundary(frozen, 1, rows, augment=0.0, passes=5.0).kept
    assert not Boundary(frozen, 1, np.arange(40, 80), augment=0.0, passes=5.0).kept


@pytest.mark.parametrize(("seconds", "rows"), [(0.0, frozen_module.FEWEST_RACED), (1e6, 30)])
def test_a_race_passes_as_many_rows_as_it_has_time_for(look, monkeypatch, seconds, rows):
    raced, race = [], SpeedBook.race

    def watched(self, *given, rows):
        raced.append(rows)
        return race(self, *given, rows=rows)

    monkeypatch.setattr(frozen_module, "RACE_SECONDS", seconds)
    monkeypatch.setattr(SpeedBook, "race", watched)
    frozen = look()
    frozen.calibrate(frozen.rows.readable(np.arange(30)))
    assert raced == [rows]


def test_what_another_maker_computed_is_not_found(look, monkeypatch):
    first = look(made_by="tiny 1, torch 2.9")
    first.see(np.arange(20))
    first.store.flush()
    for maker, computed in (("tiny 1, torch 2.9", 0), ("tiny 1, torch 2.10", 20)):
        other = look(made_by=maker)
        counted = passes(other, monkeypatch)
        other.see(np.arange(20))
        assert sum(counted) == computed


def test_a_search_to_be_repeated_keeps_states_whatever_is_free_or_there(look, monkeypatch):
    rows, few = np.arange(40), {"augment": 0.5, "passes": 1.0}
    for found_by in ("", "a run"):
        frozen = look(found_by=found_by)
        frozen.see(rows)
        monkeypatch.setattr("autotl.features.boundary.free_memory", lambda: 10**12)
        whole = Boundary(frozen, 1, rows, augment=0.5, passes=6.0)
        assert whole.kept
        for number in range(2):
            whole.batch(rows, number, torch.Generator())
        assert Boundary(frozen, 1, rows, **few).kept == (not found_by)  # as an earlier training left them
        monkeypatch.setattr("autotl.features.boundary.free_memory", lambda: 0)
        assert Boundary(frozen, 1, rows, augment=0.5, passes=6.0).kept == bool(found_by)
