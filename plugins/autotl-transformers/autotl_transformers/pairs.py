"""The same encoders for pairs of texts, in two ways, which a search chooses between as between any backbones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from autotl.plugins.contracts import Candidate, InputEncoder, Modality, ZooContext
from autotl_transformers.family import TransformersFamily

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone
    from autotl_transformers.stages import Pooling

#: Features of two towers for each channel of the encoder.
FEATURES = 4

#: What two towers have of the prior of their encoder. They start far ahead of cross-encoders, which screening sees by
#: itself, as a network that was never shown a pair says little of one: a head on MiniLM tells 0.84 of pairs of STS, as
#: two classes, by two towers, and 0.67 by a cross-encoder. Fine-tuned on 1000 pairs towers are still ahead (0.810 to
#: 0.779 of the test table, searches with one trial); with more to learn from, cross-encoders are level or ahead (on
#: STSb 84.3 to 84.7, and 88.3 to 85.4 after other pairs: Reimers and Gurevych 2019, table 2). So one should go on, and
#: the strongest by its prior does, to be trained where there is time for a second training: the factor only has to put
#: an encoder's towers behind itself (judgement).
TOWERS = 0.85


class PairFamily(TransformersFamily):
    """What both ways share; the candidates are those of texts."""

    modality: Modality = "text_pair"
    together: bool  #: whether both texts are one input of the network

    def _settled(self, tokenizer: str, sample: Sequence[Any], limit: int) -> InputEncoder:
        from autotl_transformers.texts import settle_pair_encoder

        return settle_pair_encoder(tokenizer, sample, limit=limit, together=self.together)


class TwoTowersFamily(PairFamily):
    """Each text by itself through the network: strong from the start where the encoder was trained for sentences."""

    name = "transformers-towers"
    together = False

    def candidates(self, context: ZooContext) -> Sequence[Candidate]:
        """Those of texts, with more features."""
        return [
            replace(
                candidate,
                family=self.name,
                modality=self.modality,
                width=FEATURES * candidate.width,
                prior=TOWERS * candidate.prior,
            )
            for candidate in super().candidates(context)
        ]

    def _in_stages(self, model: Any, pooling: Pooling) -> Backbone:
        from autotl_transformers.stages import TwoTowers

        return TwoTowers(model, pooling=pooling).eval()  # type: ignore[return-value]


class CrossEncoderFamily(PairFamily):
    """Both texts through the network at once: it has to be fine-tuned, and then compares more closely."""

    name = "transformers-cross"
    together = True

    def candidates(self, context: ZooContext) -> Sequence[Candidate]:
        """Those of texts."""
        found = super().candidates(context)
        return [replace(candidate, family=self.name, modality=self.modality) for candidate in found]

    def _in_stages(self, model: Any, pooling: Pooling) -> Backbone:
        from autotl_transformers.stages import CrossEncoder

        return CrossEncoder(model, pooling=pooling).eval()  # type: ignore[return-value]
