"""Training passes that an accelerator plays from a recording. CUDA graphs exist on CUDA devices alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from autotl.features.heads import LinearHead
from autotl.features.precision import Precision
from autotl.training.capture import Captured
from autotl.training.model import Classifier

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Pictures(torch.nn.Module):
    """Two stages of convolutions, their batch statistics, and dropout."""

    width = 8

    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.stages = torch.nn.ModuleList(
            torch.nn.Sequential(torch.nn.Conv2d(channels, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Dropout(drop))
            for channels in (3, 8)
        )

    def forward(self, state, start=0, stop=None):
        x = state["x"]
        for stage in self.stages[start:stop]:
            x = stage(x).relu()
        return {"x": x}

    def pool(self, state):
        return state["x"].mean((2, 3))


class Drawing(Pictures):
    """Leaves its last stage out at random, as the host decides."""

    def forward(self, state, start=0, stop=None):
        return super().forward(state, start, 1 if torch.rand(()) < 0.5 else stop)


class Waiting(Pictures):
    """Has the host look at what the device computed."""

    def forward(self, state, start=0, stop=None):
        state = super().forward(state, start, stop)
        return {"x": state["x"] * 2.0} if state["x"].max() > 0.5 else state


@pytest.fixture
def device():
    before = torch.get_float32_matmul_precision()
    torch.backends.cudnn.allow_tf32 = False
    yield torch.device("cuda")
    torch.backends.cudnn.allow_tf32 = True
    assert torch.get_float32_matmul_precision() == before


def a_model(backbone, device):
    torch.manual_seed(0)
    head = LinearHead(np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32), np.zeros(3, np.float32))
    model = Classifier(backbone, head).to(device).train()
    model.backbone.stages[0].requires_grad_(False).eval()
    return model


def pictures(device, seed, rows=4):
    generator = torch.Generator().manual_seed(seed)
    return {"x": torch.randn(rows, 3, 16, 16, generator=generator).to(device)}


def test_what_is_played_is_what_the_network_computes(device):
    plain = a_model(Pictures(), device)
    recorded = copy.deepcopy(plain)
    before = copy.deepcopy(plain.state_dict())
    captured = Captured(recorded, 0, Precision(), pictures(device, 0), device)
    recorded.load_state_dict(before)  # batch statistics saw the sample
    optimizers = [torch.optim.SGD(filter(lambda p: p.requires_grad, m.parameters()), 0.1) for m in (plain, recorded)]
    for step in range(5):
        batch = pictures(device, step)
        assert captured.takes(batch)
        for logits, optimizer in zip((plain(batch), captured(batch)), optimizers, strict=True):
            logits.square().sum().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    for (name, expected), found in zip(plain.state_dict().items(), recorded.state_dict().values(), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4, msg=name)
    moved = [name for name, tensor in plain.state_dict().items() if not torch.equal(tensor, before[name])]
    assert {name.split(".")[2] for name in moved if name.startswith("backbone")} == {"1"}


def test_dropout_draws_anew_and_by_the_seed(device):
    captured = Captured(a_model(Pictures(drop=0.5), device), 0, Precision(), pictures(device, 0), device)
    answers = []
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        answers.append(captured(pictures(device, 0)).clone())
    assert not torch.equal(answers[0], answers[1])
    torch.testing.assert_close(answers[0], answers[2], atol=1e-5, rtol=1e-5)


def test_in_16_bits_with_the_channels_last(device):
    model = a_model(Pictures(), device)
    precision = Precision("bf16", channels_last=True)
    precision.arrange(model.backbone)
    state = precision.place(pictures(device, 0), device)
    captured = Captured(model, 0, precision, state, device)
    with precision.autocast(device):
        expected = model(state)
    torch.testing.assert_close(captured(state), expected, atol=0.02, rtol=0.02)


def test_another_shape_is_not_taken(device):
    captured = Captured(a_model(Pictures(), device), 0, Precision(), pictures(device, 0), device)
    assert not captured.takes(pictures(device, 0, rows=3))


@pytest.mark.parametrize("network", [Drawing, Waiting])
def test_what_the_host_decides_is_not_recorded(device, network):
    model = a_model(network(), device)
    with pytest.raises(RuntimeError):
        Captured(model, 0, Precision(), pictures(device, 0), device)
    model(pictures(device, 0)).sum().backward()  # and computes as before
    assert model.head.weight.grad.isfinite().all()
