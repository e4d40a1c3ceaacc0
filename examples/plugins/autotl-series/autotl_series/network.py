"""Convolutions at four dilations; what is most in each of their channels, and how often it is above zero."""

import torch


class Convolutions(torch.nn.Module):
    """One stage, ``[batch, length, 1]`` to ``[batch, length, kernels]``; two features a kernel."""

    def __init__(self, kernels):
        super().__init__()
        self.width = 2 * kernels
        each = (torch.nn.Conv1d(1, kernels // 4, 9, dilation=d, padding=4 * d) for d in (1, 2, 4, 8))
        self.stages = torch.nn.ModuleList([torch.nn.ModuleList(each)])

    def forward(self, state, start=0, stop=None):
        for convolutions in list(self.stages)[start:stop]:
            state = state | {"x": torch.cat([convolution(state["x"].mT) for convolution in convolutions], 1).mT}
        return state

    def pool(self, state):
        there = state["mask"].unsqueeze(-1) > 0
        most = state["x"].masked_fill(~there, -torch.inf).amax(1)
        above = (10 * state["x"]).sigmoid().masked_fill(~there, 0.0).sum(1) / there.sum(1)
        return torch.cat([most, above], 1)
