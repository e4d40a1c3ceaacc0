"""``onnx``, in the numbers of the bundle, and ``onnx-int8``, a quarter of its size."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from autotl.exporters.standalone import StandaloneExporter

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from autotl.plugins.contracts import State


class OnnxExporter(StandaloneExporter):
    """Networks in fp32, with any number of rows and any length of texts."""

    name = "onnx"
    help = "ONNX networks and a predict.py that needs onnxruntime and numpy"
    suffix = ".onnx"
    requires = ("onnxruntime",)

    def runtime(self) -> str:
        return files("autotl_onnx").joinpath("network.py").read_text(encoding="utf-8")

    def write_network(self, program: ExportedProgram, path: Path, batches: Iterator[State]) -> None:
        import torch

        # inputs go by the names that encoders give their tensors; torch puts that of the argument before them
        names = [name.removeprefix("state_") for name in program.graph_signature.user_inputs if isinstance(name, str)]
        with quiet():
            written = torch.onnx.export(program, dynamo=True, verbose=False, input_names=names, output_names=["logits"])
        if written is None:
            raise TypeError("torch.onnx.export gives a program where it is asked for dynamo")
        written.save(path)


class SmallOnnxExporter(OnnxExporter):
    """Weights in 8 bits, and the arithmetic of most layers with them."""

    name = "onnx-int8"
    help = "the same with weights of 8 bits: a quarter of the size; what it loses is measured"
    exact = False

    def write_network(self, program: ExportedProgram, path: Path, batches: Iterator[State]) -> None:
        from autotl_onnx.quantization import quantize

        with tempfile.TemporaryDirectory(dir=path.parent) as folder:  # large networks come in two files
            whole = Path(folder) / "whole.onnx"
            super().write_network(program, whole, batches)
            with quiet():
                quantize(whole, path, batches)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings and no progress while it lasts: the libraries speak of their own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
