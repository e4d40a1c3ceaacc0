"""Number formats and memory layouts that a network can run in.

bfloat16 makes most networks two to three times faster on processors that have it, and some slower. Accelerators from
before 2020 have fp16 in its place, whose small range asks for care (`autotl.training.optimizer.LossScale`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

if TYPE_CHECKING:
    from autotl.plugins.contracts import State

#: fp32, or what torch's autocast computes most in.
Format: TypeAlias = Literal["fp32", "bf16", "fp16"]

#: Those of 16 bits, as torch calls them.
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def half_format(device: torch.device) -> Format | None:
    """The format of 16 bits that a device may be fast in: NVIDIA's have bf16 from compute capability 8 (Ampere) on.

    None for processors that torch has no kernels of bf16 for, such as Intel's of before AVX-512: its way around took 25
    to 500 times as long as fp32 there (pytorch's issues 146508 and 183815), too long to be raced.
    """
    if device.type == "cpu" and not _has_kernels_of_bf16():
        return None
    return "fp16" if device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0) else "bf16"


def _has_kernels_of_bf16() -> bool:
    """What torch asks itself before it leaves bf16 to oneDNN; true where a release of torch has no such question."""
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is None or bool(supported())


@dataclass(frozen=True)
class Precision:
    """How a network runs: in fp32 or by autocast, channels last or first, attention fused or as plain products.

    The fused kernel for processors goes backward slowly: for texts of a dozen tokens it takes 40 % of a training step.
    """

    format: Format = "fp32"
    channels_last: bool = False
    plain_attention: bool = False

    def __str__(self) -> str:
        words: list[str] = [self.format]
        words += ["channels last"] * self.channels_last + ["plain attention"] * self.plain_attention
        return ", ".join(words)

    @property
    def exact(self) -> bool:
        return self.format == "fp32"

    @contextlib.contextmanager
    def autocast(self, device: torch.device) -> Iterator[None]:
        """Around a forward pass; the backward pass follows it by itself."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.autocast(device.type, HALVES.get(self.format), enabled=not self.exact))
            if self.plain_attention:
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            yield

    def arrange(self, backbone: torch.nn.Module) -> None:
        """Lays out the weights of `backbone` in place."""
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        backbone.to(memory_format=layout)  # type: ignore[call-overload]

    def place(self, state: State, device: torch.device) -> State:
        """The state on `device`, maps in this layout, numbers as exact as this precision computes with."""
        if device.type == "cuda":  # copies from pinned memory run beside what the device computes
            state = {
                name: tensor.pin_memory() if tensor.device.type == "cpu" else tensor for name, tensor in state.items()
            }
        placed = {name: tensor.to(device, non_blocking=True) for name, tensor in state.items()}
        x = placed["x"]
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)
        placed["x"] = x
        # stored states may be fp16; only bf16 was computed so and goes on so
        kept = torch.bfloat16 if self.format == "bf16" else torch.float32
        return {
            name: tensor.float() if tensor.is_floating_point() and tensor.dtype != kept else tensor
            for name, tensor in placed.items()
        }


def options_for(state: State, device: torch.device) -> list[Precision]:
    """What is worth racing for this input: layouts matter for images only. fp32 first."""
    layouts = [True, False] if state["x"].ndim == 4 else [False]
    half = half_format(device)
    formats: list[Format] = ["fp32"] if half is None else ["fp32", half]
    found = [Precision(format_, channels_last) for format_ in formats for channels_last in layouts]
    # one alone would be no race
    return found if len(found) > 1 else [*found, Precision(plain_attention=True)]


@contextlib.contextmanager
def in_whole_fp32(device: torch.device) -> Iterator[None]:
    """Has an accelerator compute in fp32 what it would round to TF32, which is some 1e-3 off in a probability."""
    if device.type == "cpu":
        yield
        return
    try:
        before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:  # a program that has set them in the way of torch 2.9 may not read them in the old one
        with _in_whole_fp32_by_torch_2_9():
            yield
        return
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


@contextlib.contextmanager
def _in_whole_fp32_by_torch_2_9() -> Iterator[None]:
    """By the settings that torch has since 2.9."""
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            place.fp32_precision = value
