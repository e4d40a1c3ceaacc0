"""Which precision is raced, by steps whose seconds are made up."""

from __future__ import annotations

import torch

from autotl.features.precision import Precision
from autotl.features.speed import SpeedBook


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
