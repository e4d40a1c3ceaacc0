"""The family that AutoTL asks: which networks, how to read images for them, how to load, save and restore them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from autotl.data.paths import paths_of
from autotl.errors import ZooError
from autotl.failures import is_out_of_memory
from autotl.plugins.contracts import Candidate, InputEncoder, Modality, Source, ZooContext
from autotl.untrusted import read_header, read_object
from autotl.zoo.building import built_within, check_settings
from autotl.zoo.local import cached_snapshots, model_folders
from autotl_timm.catalogue import Entry, catalogue, default_prior, recipe
from autotl_timm.folders import WEIGHTS, ModelFolder, read_model_folder

if TYPE_CHECKING:
    from autotl.plugins.contracts import Backbone
    from autotl_timm.images import ImageEncoder
    from autotl_timm.stages import StagedNetwork

FAMILY = "timm"

#: DINOv2 was trained on 518 pixels and interpolates its positions down to this, at a sixth of the cost.
LARGEST_TRANSFORMER_SIDE = 224

#: Numbers in the arguments of a network, taken together; the largest there are is 21 843, of classes.
LARGEST_ARGUMENTS = 2**17

#: Arguments that publishers record and that are ours to choose.
OURS = {"num_classes", "drop_rate", "drop_path_rate"}


class TimmFamily:
    """Image networks of timm in its local-dir layout or from the hub, safetensors only."""

    name = FAMILY
    modality: Modality = "image"
    augments = True

    def candidates(self, context: ZooContext) -> Sequence[Candidate]:
        """Networks in the folders given, in the hub's cache, and in the catalogue. Imports no torch."""
        found: dict[str, Candidate] = {}
        for path in model_folders(context.folders):
            if model := read_model_folder(path):
                found.setdefault(model.name, _local(model, model.name, "folder"))
        for hub_name, path in cached_snapshots():
            if model := read_model_folder(path):
                name = hub_name.removeprefix("timm/")
                found.setdefault(name, _local(model, name, "cache"))
        for entry in catalogue().values():
            found.setdefault(entry.name, _remote(entry))
        return list(found.values())

    def encoder(self, candidate: Candidate, sample: Sequence[Any]) -> InputEncoder:
        """The encoder of `candidate`, its side settled by `sample`. Raises `ZooError` when its settings are missing."""
        from timm.data import resolve_data_config

        from autotl_timm.images import are_long, native_side
        from autotl_timm.preprocess import common_white

        network, _ = _create(candidate, "none")
        paths = [path for cell in sample for path in paths_of(cell)]
        settings = resolve_data_config({}, model=network)
        fixed = network.pretrained_cfg.get("fixed_input_size") or hasattr(network, "patch_embed")
        _, smallest, _ = network.pretrained_cfg.get("min_input_size") or (3, 0, 0)
        built = getattr(getattr(network, "patch_embed", None), "img_size", None) or (candidate.input_size,)
        return self._reading(
            candidate,
            side=built[0] if fixed else native_side(paths, candidate.input_size, smallest=smallest),
            interpolation=settings["interpolation"],
            mean=tuple(settings["mean"]),
            std=tuple(settings["std"]),
            white=common_white(tuple(paths)),
            squeezed=are_long(paths),
        )

    def load(self, candidate: Candidate, *, drop: float = 0.0, pretrained: bool = True) -> Backbone:
        """The network with published weights, or with new ones, in eval mode, fp32, on the CPU.

        `drop` is the stochastic depth, or the dropout where a network has none of the former. Raises `ZooError`
        when the weights cannot be had.
        """
        network, arguments = _create(candidate, "published" if pretrained else "new", drop=drop)
        return self._in_stages(network, arguments, images=candidate.columns)

    def save(self, backbone: Backbone, encoder: InputEncoder, folder: Path) -> None:
        """Writes timm's local-dir layout, and how images are read."""
        from safetensors.torch import save_file

        network: Any = backbone.network
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        config = {
            "architecture": network.pretrained_cfg["architecture"],
            "num_classes": 0,
            "num_features": cast("StagedNetwork", backbone).features,
            "model_args": backbone.model_args,
            "pretrained_cfg": {k: v for k, v in network.pretrained_cfg.items() if k not in {"url", "file", "source"}},
        }
        (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        cast("ImageEncoder", encoder).save(folder)

    def restore(self, folder: Path) -> tuple[Backbone, InputEncoder]:
        """What `save` wrote, in eval mode on the CPU. Raises what the libraries raise for missing or torn files."""
        from autotl_timm.images import ImageEncoder

        network, arguments = saved_network(folder)
        return self._in_stages(network, arguments, images=1), ImageEncoder.restore(folder)

    def _reading(self, candidate: Candidate, **settings: Any) -> ImageEncoder:
        """The encoder of a candidate, by the settings of `ImageEncoder`."""
        from autotl_timm.images import ImageEncoder

        return ImageEncoder(**settings)

    def _in_stages(self, network: Any, arguments: dict[str, Any], *, images: int) -> Backbone:
        """The library's network as a backbone for rows of so many images, in eval mode."""
        from autotl_timm.stages import StagedNetwork

        return cast("Backbone", StagedNetwork(network, model_args=arguments).eval())


def saved_network(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The network that `TimmFamily.save` wrote, and what made it. Raises what the libraries raise."""
    import timm
    from safetensors.torch import load_file

    config = read_object(folder / "config.json")
    arguments, published = config["model_args"], config["pretrained_cfg"] | {"architecture": config["architecture"]}
    _check_arguments(arguments)
    if not timm.is_model(config["architecture"]):  # timm would look for some names elsewhere
        raise ValueError(f"config.json: timm knows no network {config['architecture']!r}")

    def build() -> Any:  # the published settings decide on sides and pooling too
        return timm.create_model(
            config["architecture"], pretrained=False, pretrained_cfg=published, num_classes=0, **arguments
        )

    _outline(build, read_header(folder / WEIGHTS).parameters)
    network = build()
    network.load_state_dict(load_file(folder / WEIGHTS))
    network.pretrained_cfg = published
    return network, arguments


def _create(
    candidate: Candidate, weights: Literal["published", "new", "none"], *, drop: float = 0.0
) -> tuple[Any, dict[str, Any]]:
    """A timm network without head, and the arguments that make another. Raises `ZooError`, whatever timm raises."""
    try:
        arguments = _model_args(candidate)
        network = _outline(lambda: _build(candidate, arguments), candidate.parameters)
        if network is None or weights != "none":
            network = _build(candidate, arguments, pretrained=weights == "published", drop=drop)
        return network, arguments
    except Exception as error:  # timm and the hub fail in many ways, and all mean that this one cannot be used
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ZooError(
            f"{candidate.key}: cannot be loaded from {candidate.location} ({reason}). "
            "Check that it is complete and a classification network of timm, or leave it out"
        ) from error


def _outline(build: Callable[[], Any], parameters: int) -> Any:
    """The network on no device; None where this release of timm cannot build it so.

    Raises `ValueError` where its settings ask for more than `parameters` fill.
    """
    try:
        with built_within(parameters):
            return build()
    except RuntimeError as error:
        if "meta" not in str(error):
            raise
        return None


def _build(candidate: Candidate, arguments: dict[str, Any], *, pretrained: bool = False, drop: float = 0.0) -> Any:
    """The network itself, in eval mode."""
    import timm

    name = f"local-dir:{_folder(candidate)}"
    network: Any
    try:
        network = timm.create_model(name, pretrained=pretrained, drop_rate=0.0, drop_path_rate=drop, **arguments)
    except TypeError:  # no stochastic depth in this one
        network = timm.create_model(name, pretrained=pretrained, drop_rate=drop, **arguments)
    # the head goes last: timm lets any tensor be missing when it is to load weights into another head
    network.reset_classifier(0)
    return network.eval()


def _folder(candidate: Candidate) -> Path:
    """Where its files are, downloaded first where that is the hub.

    By their names: timm would take a pickle where the hub does not answer for the weights, and does for that. What is
    here already is not asked for again: every training loads its network, and a connection may be gone by then.
    """
    if candidate.source != "hub":
        return Path(candidate.location)
    folder = dict(cached_snapshots()).get(candidate.location)
    if folder is not None and read_model_folder(folder):
        return folder
    from huggingface_hub import hf_hub_download

    files = [hf_hub_download(candidate.location, name) for name in ("config.json", WEIGHTS)]
    return Path(files[0]).parent


def _model_args(candidate: Candidate) -> dict[str, Any]:
    """What the published settings and our side ask of the constructor."""
    config = read_object(_folder(candidate) / "config.json")
    architecture, published = config["architecture"], config.get("model_args")
    _check_arguments(published or {})
    arguments = {name: value for name, value in (published or {}).items() if name not in OURS}
    if candidate.input_size > LARGEST_TRANSFORMER_SIDE and architecture.startswith(("vit", "aimv2")):
        arguments["img_size"] = LARGEST_TRANSFORMER_SIDE
    return arguments


def _check_arguments(arguments: dict[str, Any]) -> None:
    """Raises `ValueError` for arguments that are no network's: timm's own may name other files to load."""
    import inspect

    import timm

    if foreign := inspect.signature(timm.create_model).parameters.keys() & arguments.keys():
        raise ValueError(f"its settings name {min(foreign)!r}, which is no argument of a network")
    check_settings(arguments, largest=LARGEST_ARGUMENTS)


def _local(model: ModelFolder, name: str, source: Source) -> Candidate:
    entry = catalogue().get(name)
    return Candidate(
        name=name,
        family=FAMILY,
        modality="image",
        source=source,
        location=str(model.path),
        parameters=model.parameters,
        width=model.width,
        input_size=model.input_size,
        licence=model.licence if model.licence != "unknown" or entry is None else entry.licence,
        prior=entry.prior if entry else default_prior(model.parameters),
        recipe=recipe(model.architecture),
    )


def _remote(entry: Entry) -> Candidate:
    return Candidate(
        name=entry.name,
        family=FAMILY,
        modality="image",
        source="hub",
        location=f"timm/{entry.name}",
        parameters=entry.parameters,
        width=entry.width,
        input_size=entry.input_size,
        licence=entry.licence,
        prior=entry.prior,
        recipe=recipe(entry.name),
    )
