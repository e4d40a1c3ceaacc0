"""Feature passes: AutoTL's beside the bare network on prepared tensors, and beside what tutorials do."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import torch
from contest import Contender, Result, contest
from material import DEVICE, Bench, Table, image_candidate, text_candidate

from autotl.features.batches import IMAGES_A_BATCH, inference_batches
from autotl.features.frozen import FrozenBackbone
from autotl.features.rows import EncodedRows
from autotl.features.store import FeatureStore

#: Rows for what pads them all: at a tenth of the speed, fewer tell as much.
PADDED_ROWS = 256

#: The side at which images are compared: what native_side gives for small photographs.
SIDE = 160


def _warmed(bench: Bench) -> tuple[EncodedRows, FrozenBackbone]:
    """The rows, all of them encoded, and the backbone, its precision settled."""
    warm = FeatureStore(bench.cache)
    rows = bench.rows(warm)
    rows.readable(bench.all)
    warm.flush()
    return rows, bench.look(warm, rows)


def image_pass(shared: Path | None, table: Table, architecture: str, name: str, folder: Path) -> Result:
    """Warm: decoded images are in the store. Cold: nothing is. The loop is timm's usual DataLoader, fp32."""
    bench = Bench(image_candidate(shared, architecture, name, folder), table, side=SIDE)
    rows, frozen = _warmed(bench)
    batches = [
        frozen.precision.place(rows.batch(bench.all[part], DEVICE), DEVICE)
        for part in inference_batches(None, len(bench.all))
    ]
    contenders = {
        "raw forward": Contender(lambda _: _raw(frozen, batches)),
        "AutoTL, decoded": Contender(lambda fresh: fresh.see(bench.all), lambda: _forgetful(frozen)),
        "AutoTL, from JPEG": Contender(lambda fresh: fresh.see(bench.all), lambda: _new(bench)),
        "timm loader, fp32": Contender(lambda _: _timm_loop(frozen, table, SIDE)),
    }
    note = f"{table.name}, {SIDE} px, {frozen.precision}"
    return contest(f"features, {name}", contenders, reference="raw forward", rows=len(bench.all), note=note)


def text_pass(table: Table) -> Result:
    """The library's network gets batches of like length; the tutorial pads all to 128, in fp32, in batches of 32."""
    bench = Bench(text_candidate(), table)
    rows, frozen = _warmed(bench)
    batches = [
        frozen.precision.place(rows.batch(bench.all[part], DEVICE), DEVICE)
        for part in inference_batches(rows.lengths(bench.all), len(bench.all))
    ]
    contenders = {
        "raw forward": Contender(lambda _: _raw_texts(frozen, batches)),
        "AutoTL": Contender(lambda fresh: fresh.see(bench.all), lambda: _forgetful(frozen)),
        "padded to 128, fp32": Contender(lambda _: _padded(table), rows=PADDED_ROWS),
    }
    note = f"{frozen.precision}, {rows.lengths(bench.all).mean():.0f} tokens on average"
    return contest(
        f"features, MiniLM, {table.name}", contenders, reference="raw forward", rows=len(bench.all), note=note
    )


def _raw(frozen: FrozenBackbone, batches: list[dict[str, torch.Tensor]]) -> None:
    with torch.no_grad(), frozen.precision.autocast(frozen.device):
        for state in batches:
            frozen.backbone.pool(frozen.backbone(state)).float().cpu()


def _raw_texts(frozen: Any, batches: list[dict[str, torch.Tensor]]) -> None:
    network = frozen.backbone.model
    with torch.no_grad(), frozen.precision.autocast(frozen.device):
        for state in batches:
            mask = state["mask"].long()
            hidden = network(input_ids=state["x"], attention_mask=mask).last_hidden_state
            _mean(hidden, mask).float().cpu()


def _forgetful(frozen: FrozenBackbone) -> FrozenBackbone:
    """The same backbone before decoded rows, with no features kept."""
    frozen.store = FeatureStore(None)
    return frozen


def _new(bench: Bench) -> FrozenBackbone:
    """The same backbone before rows that nobody has read."""
    folder = tempfile.mkdtemp(dir=bench.cache)
    return bench.look(FeatureStore(Path(folder)))


def _timm_loop(frozen: Any, table: Table, side: int) -> None:
    import timm.data
    from PIL import Image

    transform = timm.data.create_transform(side, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

    class Images(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(table.cells)

        def __getitem__(self, index: int) -> torch.Tensor:
            image: torch.Tensor = transform(Image.open(table.cells[index]).convert("RGB"))
            return image

    workers = torch.get_num_threads()
    loader = torch.utils.data.DataLoader(
        Images(), batch_size=IMAGES_A_BATCH, num_workers=workers, multiprocessing_context="fork"
    )
    network = frozen.backbone.network
    with torch.no_grad():
        for images in loader:
            network.forward_head(network.forward_features(images.to(DEVICE)), pre_logits=True).cpu()


@functools.cache
def _tutorial() -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    folder = text_candidate().location
    return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).to(DEVICE)


def _padded(table: Table) -> None:
    tokenizer, model = _tutorial()
    with torch.no_grad():
        for start in range(0, PADDED_ROWS, 32):
            batch = tokenizer(
                table.cells[start : start + 32],
                padding="max_length",
                max_length=128,
                truncation=True,
                return_tensors="pt",
            ).to(DEVICE)
            _mean(model(**batch).last_hidden_state, batch["attention_mask"]).cpu()


def _mean(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
