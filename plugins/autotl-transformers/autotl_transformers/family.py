"""The family that AutoTL asks: which encoders, how to read texts for them, how to load, save and restore them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotl.errors import ZooError
from autotl.failures import is_out_of_memory
from autotl.plugins.contracts import Candidate, InputEncoder, Modality, ZooContext
from autotl.untrusted import LARGEST_TOKENIZER, read_object, read_text
from autotl_transformers.discovery import FAMILY, discover
from autotl_transformers.folders import LONGEST_INPUT

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone
    from autotl_transformers.stages import Pooling


class TransformersFamily:
    """Text encoders of the `transformers` library in the Hugging Face layout, safetensors only."""

    name = FAMILY
    modality: Modality = "text"
    augments = False

    def candidates(self, context: ZooContext) -> Sequence[Candidate]:
        """Encoders in the folders given, in the hub's cache, and in the catalogue. Imports no torch."""
        return discover(context)

    def encoder(self, candidate: Candidate, sample: Sequence[Any]) -> InputEncoder:
        """The encoder of `candidate`, its longest text settled by `sample`. Raises `ZooError` without a tokenizer."""
        from autotl_transformers.loading import tokenizer_json

        try:
            return self._settled(tokenizer_json(candidate), sample, candidate.input_size)
        except Exception as error:  # whatever a library says of a file, it means that the model cannot be used
            if is_out_of_memory(error):
                raise
            raise _unusable(candidate, "tokenizer", error) from error

    def load(self, candidate: Candidate, *, drop: float = 0.0, pretrained: bool = True) -> Backbone:
        """The backbone with published weights, or with new ones, in eval mode, fp32, on the CPU.

        `drop` becomes the hidden dropout. Raises `ZooError` when the weights are missing, incomplete or unreadable.
        """
        from autotl_transformers.loading import downloaded, published_network, published_pooling
        from autotl_transformers.stages import Unsuitable

        try:
            pooling = published_pooling(candidate)  # first, so that a snapshot with weights has it too
            folder = downloaded(candidate)
            model = published_network(
                candidate.location if folder is None else str(folder), candidate.parameters,
                local=folder is not None, drop=drop, pretrained=pretrained,
            )  # fmt: skip
            return self._in_stages(model, pooling)
        except Unsuitable as error:
            raise ZooError(f"{candidate.key}: {error}") from error
        except Exception as error:  # as above
            if is_out_of_memory(error):
                raise
            raise _unusable(candidate, "weights", error) from error

    def save(self, backbone: Backbone, encoder: InputEncoder, folder: Path) -> None:
        """Writes a folder in the Hugging Face layout (weights in safetensors), the tokenizer, and how texts are read.

        Takes what this family made; raises `TypeError` for anything else.
        """
        from autotl_transformers.loading import quiet
        from autotl_transformers.stages import Backbone
        from autotl_transformers.texts import TextEncoder

        if not isinstance(backbone, Backbone) or not isinstance(encoder, TextEncoder):
            raise TypeError(f"not of this family: {type(backbone).__name__}, {type(encoder).__name__}")
        with quiet():
            backbone.model.save_pretrained(folder)
        encoder.save(folder, pooling=backbone.pooling)

    def restore(self, folder: Path) -> tuple[Backbone, InputEncoder]:
        """What `save` wrote, in eval mode on the CPU. Raises what the libraries raise for missing or torn files."""
        from autotl_transformers.loading import saved_weights
        from autotl_transformers.preprocess import SETTINGS, TOKENIZER
        from autotl_transformers.texts import encoder_of

        settings = read_object(folder / SETTINGS)
        if not 1 <= settings["max_tokens"] <= LONGEST_INPUT:
            raise ValueError(f"{SETTINGS}: texts of {settings['max_tokens']} tokens")
        tokenizer = read_text(folder / TOKENIZER, largest=LARGEST_TOKENIZER)
        return self._in_stages(saved_weights(folder), settings["pooling"]), encoder_of(tokenizer, settings)

    def _settled(self, tokenizer: str, sample: Sequence[Any], limit: int) -> InputEncoder:
        """The encoder around a tokenizer's JSON for a network that takes `limit` tokens at most."""
        from autotl_transformers.texts import settle_encoder

        return settle_encoder(tokenizer, sample, limit=limit)

    def _in_stages(self, model: Any, pooling: Pooling) -> Backbone:
        """The library's network as a backbone, in eval mode."""
        from autotl_transformers.stages import Backbone

        return Backbone(model, pooling=pooling).eval()  # type: ignore[return-value]


def _unusable(candidate: Candidate, what: str, error: Exception) -> ZooError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    way_out = {
        "hub": "Check the connection, or download it and give its folder with --models",
        "cache": f"Remove {candidate.location} from the cache and download it again",
        "folder": "Check that the folder is complete, or leave it out",
    }[candidate.source]
    return ZooError(f"{candidate.key}: no {what} from {candidate.location} ({reason}). {way_out}")
