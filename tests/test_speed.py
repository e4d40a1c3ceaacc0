"""Which precision is raced, by steps whose seconds are made up."""

from __future__ import annotations

import math

import pytest
import torch

from autotl.features.precision import Precision, in_whole_fp32, options_for
from autotl.features.speed import SettledSpeeds, SpeedBook


def winner(seconds):
    """Of fp32 and bf16, each with the fused kernel of attention and without: ``seconds[format, plain]``."""
    tried = []

    def step(option):
        if not option.plain_attention:
            x = torch.ones(1, 1, 2, 2)
            torch.nn.functional.scaled_dot_product_attention(x, x, x)
        tried.append((option.format, option.plain_attention))
        return seconds[option.format, option.plain_attention]

    speed = SpeedBook(None).race("a step", [Precision("fp32"), Precision("bf16")], step, rows=10)
    return (speed.precision.format, speed.precision.plain_attention), tried


def test_a_format_that_the_fused_kernel_makes_slow_is_tried_without_it():
    """What a Xeon took for a step of MiniLM."""
    seconds = {("fp32", False): 0.16, ("fp32", True): 0.16, ("bf16", False): 0.45, ("bf16", True): 0.12}
    assert winner(seconds)[0] == ("bf16", True)


def test_a_format_that_is_hopeless_is_not():
    seconds = {("fp32", False): 0.16, ("fp32", True): 0.16, ("bf16", False): 1.6, ("bf16", True): 0.12}
    best, tried = winner(seconds)
    assert best == ("fp32", False)
    assert ("bf16", True) not in tried


def test_a_processor_without_kernels_of_bf16_races_fp32_alone(monkeypatch):
    """As of before AVX-512: what torch does in their place takes a hundred times as long."""
    state, cpu = {"x": torch.zeros(1, 3, 8, 8)}, torch.device("cpu")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    assert {option.format for option in options_for(state, cpu)} == {"fp32", "bf16"}
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert {option.format for option in options_for(state, cpu)} == {"fp32"}


@pytest.mark.parametrize("shape", [(1, 8), (1, 3, 8, 8)])
def test_where_there_is_fp32_alone_attention_is_tried_in_both_ways(shape, monkeypatch):
    def step(option):
        if not option.plain_attention:
            x = torch.ones(1, 1, 2, 2)
            torch.nn.functional.scaled_dot_product_attention(x, x, x)
        return 1.0 if option.plain_attention else 2.0

    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    options = options_for({"x": torch.zeros(shape)}, torch.device("cpu"))
    assert SpeedBook(None).race("a step", options, step, rows=10).precision.plain_attention


def test_where_nothing_is_raced_an_accelerator_whose_16_bits_overflow_computes_in_32():
    options = [Precision("fp32"), Precision("fp16")]
    for overflows, format_ in ((False, "fp16"), (True, "fp32")):
        speeds = SettledSpeeds(torch.device("cuda"))
        step = {"fp32": 2.0, "fp16": math.inf if overflows else 1.0}
        speed = speeds.race("a step", options, lambda option, step=step: step[option.format], rows=10)
        assert speed.precision.format == format_
        assert math.isfinite(speed.seconds_a_row)


def test_fp32_is_whole_where_a_program_has_set_it_in_torchs_newer_way(monkeypatch):
    def mixed():
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "tf32"
        with in_whole_fp32(torch.device("cuda")):
            assert {place.fp32_precision for place in places} == {"ieee"}
        assert {place.fp32_precision for place in places} == {"tf32"}
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
