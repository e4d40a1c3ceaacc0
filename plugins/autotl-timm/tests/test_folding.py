"""Networks with their normalizations folded give what they gave."""

from __future__ import annotations

import pytest
import torch
from autotl_timm.folding import folded
from torch import nn

from autotl.features.frozen import weights_digest

#: Kinds whose convolutions are followed by batch normalizations.
FOLDING = {"resnet", "regnet", "efficientnet", "mobilenetv2", "mobilenetv3", "ghostnet", "densenet"}


def normalizations(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@torch.no_grad()
def test_folded_network_gives_the_same_at_every_stage(family, local, photos, kind):
    backbone, encoder = family.load(local[kind]), family.encoder(local[kind], photos)
    before = weights_digest(backbone)
    passing = backbone.folded()
    assert (passing is not backbone) == (kind in FOLDING)
    assert weights_digest(backbone) == before
    assert not passing.training
    ours = theirs = encoder.batch(encoder.encode(photos))
    for stage in range(len(backbone.stages)):
        ours, theirs = passing(ours, stage, stage + 1), backbone(theirs, stage, stage + 1)
        largest = theirs["x"].abs().max().item()
        torch.testing.assert_close(ours["x"], theirs["x"], atol=1e-4 * largest, rtol=0)
    torch.testing.assert_close(passing.pool(ours), backbone.pool(theirs), atol=1e-4 * largest, rtol=0)


@pytest.mark.parametrize("kind", sorted(FOLDING - {"densenet"}))  # whose normalizations come before
def test_no_normalization_is_left(family, local, kind):
    backbone = family.load(local[kind])
    assert normalizations(backbone) > 0
    assert normalizations(backbone.folded()) == 0


class Network(nn.Module):
    """A convolution and a normalization, in this order, and what is done with them."""

    def __init__(self, does):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.does = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), does
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2.0)

    def forward(self, x):
        return self.does(self, x).mean((2, 3))


@pytest.mark.parametrize(
    "does",
    [
        lambda self, x: self.conv(x) + self.norm(self.conv(x)),
        lambda self, x: (lambda made: made + self.norm(made))(self.conv(x)),
        lambda self, x: self.norm(self.conv(x).relu()),
        lambda self, x: self.norm(self.conv(x)).view(len(x), 8, 18, 18),
    ],
    ids=["called twice", "used twice", "something between", "made for another size"],
)
def test_what_would_not_be_the_same_is_left_as_it_is(does):
    network = Network(does).eval()
    found = folded(network)
    assert found is None or normalizations(found) == 1
    assert normalizations(network) == 1


def test_what_can_be_folded_is():
    network = Network(lambda self, x: self.norm(self.conv(x))).eval()
    x = torch.rand(2, 3, 20, 20)
    found = folded(network)
    assert normalizations(found) == 0
    torch.testing.assert_close(found(x), network(x), atol=1e-5, rtol=0)
