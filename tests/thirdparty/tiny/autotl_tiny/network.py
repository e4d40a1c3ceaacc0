"""Embeddings and two residual blocks with batch statistics, so that frozen buffers can be watched."""

from __future__ import annotations

import torch


class Embedding(torch.nn.Module):
    def __init__(self, buckets, width):
        super().__init__()
        self.table = torch.nn.Embedding(buckets, width)

    def forward(self, state):
        return {"x": self.table(state["x"]), "mask": state["mask"]}


class Block(torch.nn.Module):
    def __init__(self, width, drop):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(width)
        self.up = torch.nn.Linear(width, width)
        self.down = torch.nn.Linear(width, width)
        self.drop = torch.nn.Dropout(drop)

    def forward(self, state):
        inside = self.norm(state["x"].transpose(1, 2)).transpose(1, 2)
        inside = self.down(torch.nn.functional.gelu(self.up(inside)))
        return {"x": state["x"] + self.drop(inside), "mask": state["mask"]}


class TinyBackbone(torch.nn.Module):
    def __init__(self, buckets, width, *, seed, drop):
        super().__init__()
        self.width = width
        self.stages = torch.nn.ModuleList([Embedding(buckets, width), Block(width, drop), Block(width, drop)])
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if "norm" not in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) / width**0.5)

    def forward(self, state, start=0, stop=None):
        for stage in list(self.stages)[start:stop]:
            state = stage(state)
        return state

    def pool(self, state):
        mask = state["mask"].unsqueeze(-1)
        return (state["x"] * mask).sum(1) / mask.sum(1).clamp(min=1.0)
