"""``torch``: the networks as programs of `torch.export`, which run without the library that they were built with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from autotl.exporters.standalone import StandaloneExporter, shipped

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from autotl.plugins.contracts import State


class TorchExporter(StandaloneExporter):
    """A `.pt2` file a network: JSON and raw numbers, nothing pickled."""

    name = "torch"
    help = "programs of torch.export and a predict.py that needs torch and numpy"
    suffix = ".pt2"
    requires = ("torch",)

    def runtime(self) -> str:
        return shipped("torch_network.py")

    def write_network(self, program: ExportedProgram, path: Path, batches: Iterator[State]) -> None:
        import torch

        program.example_inputs = None  # torch would pickle them
        torch.export.save(program, path)
