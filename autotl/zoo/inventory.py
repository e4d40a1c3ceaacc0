"""What could be searched here: every candidate of every family, from where, and why (not)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from autotl.config import BYTES_A_PARAMETER, Limits
from autotl.errors import AutoTLError, ZooError
from autotl.plugins.contracts import PICTORIAL, Candidate, Modality, ModelFamily, ZooContext
from autotl.untrusted import read_object
from autotl.zoo.licences import allowed
from autotl.zoo.local import cached_snapshots, model_folders, pickled_only
from autotl.zoo.manifest import packed_model

logger = logging.getLogger(__name__)

#: Bytes a second of a common line, 20 Mbit/s.
DOWNLOAD_BYTES_A_SECOND = 2.5e6

#: A model of the hub must be downloaded inside the budget: it may take a part of it on such a line, or so many bytes,
#: which are less than three minutes.
DOWNLOAD_SHARE, LEAST_DOWNLOAD = 0.2, 4e8


_NO_LIMITS = Limits()

#: Why a backbone that could be downloaded is not.
TOO_LARGE = "too large to download in some minutes: fetch it once, name it with --backbones, or give a longer budget"

#: The same of one that was fetched, and is of no use.
PICKLED = "in the hub's cache, but {} is a pickle, which is never read: convert it to safetensors"

#: What families say of a licence that nothing states.
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Listing:
    """A candidate, and whether this search can use it."""

    candidate: Candidate
    usable: bool
    reason: str


def zoo_folders(given: Sequence[str | Path]) -> tuple[Path, ...]:
    """Each folder once. Raises `ZooError` for one that is missing."""
    named = {Path(name).expanduser().resolve(): name for name in given}
    folders = tuple(named)
    for folder, name in named.items():
        if not folder.is_dir():
            raise ZooError(f"{name}: no such folder of models. Check --models and AUTOTL_ZOO")
    for model in model_folders(folders):
        if pickled := pickled_only(model):
            logger.warning(
                "%s: skipped, %s is a pickle, which is never read: convert it to safetensors", model, pickled
            )
    return folders


def largest_download(budget: float | None) -> float:
    """Bytes of the largest model that a search of so many seconds downloads by itself; None: it has all the time."""
    return math.inf if budget is None else max(DOWNLOAD_SHARE * budget * DOWNLOAD_BYTES_A_SECOND, LEAST_DOWNLOAD)


def inventory(
    families: Sequence[ModelFamily], context: ZooContext, limits: Limits = _NO_LIMITS, licences: Sequence[str] = (),
    download: float = LEAST_DOWNLOAD,
) -> list[Listing]:  # fmt: skip
    """Every candidate, usable ones first, then by strength.

    licences: that may be used, as in `SearchRequest`. download: bytes of the largest model that may be fetched.
    """
    candidates = [_with_licence(candidate) for family in families for candidate in _found_by(family, context)]
    listings = [_judge(candidate, context, limits, licences, download) for candidate in candidates]
    return sorted(listings, key=lambda listing: (not listing.usable, -listing.candidate.prior, listing.candidate.key))


def _found_by(family: ModelFamily, context: ZooContext) -> Sequence[Candidate]:
    """What a family finds: nothing, and a word of why, where it fails."""
    try:
        return list(family.candidates(context))
    except AutoTLError:
        raise
    except Exception as error:  # a foreign plugin may fail in any way, and must cost itself only
        logger.warning("family %r finds nothing (%s: %s)", family.name, type(error).__name__, error)
        return []


def _with_licence(candidate: Candidate) -> Candidate:
    """Where a packed zoo knows the licence that the model's own files do not state."""
    if candidate.source != "folder" or candidate.licence != UNKNOWN:
        return candidate
    packed = packed_model(Path(candidate.location))
    return replace(candidate, licence=packed.licence) if packed else candidate


def _judge(
    candidate: Candidate, context: ZooContext, limits: Limits, licences: Sequence[str], download: float
) -> Listing:
    if reason := limits.too_large(candidate.parameters):
        return Listing(candidate, False, reason)
    if not allowed(candidate.licence, licences):
        return Listing(candidate, False, f"its licence is {candidate.licence}, which --licenses leaves out")
    if candidate.source == "folder":
        return Listing(candidate, True, "in a folder given")
    if context.folders:
        return Listing(candidate, False, "not in the folders given")
    if candidate.source == "package":
        return Listing(candidate, True, "comes with its plugin")
    if candidate.source == "cache":
        return Listing(candidate, True, "in the hub's cache on this machine")
    if not context.hub:
        return Listing(candidate, False, "the hub is not reachable and it is not cached here")
    if BYTES_A_PARAMETER * candidate.parameters > download:
        fetched = (pickled_only(folder) for name, folder in cached_snapshots() if name == candidate.location)
        pickled = next(filter(None, fetched), "")
        return Listing(candidate, False, PICKLED.format(pickled) if pickled else TOO_LARGE)
    return Listing(candidate, True, "from the hub")


def called(name: str, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that a person means: by name or key; where none is spelled so, by a name without its publisher."""
    spelled = [candidate for candidate in candidates if name in (candidate.key, candidate.name)]
    return spelled or [candidate for candidate in candidates if candidate.name.rpartition("/")[2] == name]


def usable_candidates(
    modality: Modality,
    families: Sequence[ModelFamily],
    context: ZooContext,
    limits: Limits = _NO_LIMITS,
    licences: Sequence[str] = (),
    download: float = LEAST_DOWNLOAD,
) -> list[Candidate]:
    """The candidates that a search may use, as `inventory` has them.

    Raises `ZooError` when there is none, saying what was looked at.
    """
    extra, kind = ("vision", "image") if modality in PICTORIAL else ("text", modality.replace("_", " "))
    if not families:
        raise ZooError(f"no plugin here brings {kind} backbones: pip install 'autotl[{extra}]'")
    listings = inventory(families, context, limits, licences, download)
    usable = [listing.candidate for listing in listings if listing.usable]
    larger = [item.candidate for item in inventory(families, context, licences=licences) if item.usable]
    if not usable and larger:
        smallest = min(larger, key=lambda candidate: candidate.parameters)
        raise ZooError(
            f"no {kind} backbone here keeps the limits: the smallest, {smallest.key}, has "
            f"{limits.too_large(smallest.parameters)}. Raise it"
        )
    barred = [item.candidate for item in inventory(families, context) if item.usable]
    if not usable and barred:
        found = ", ".join(sorted({candidate.licence for candidate in barred}))
        raise ZooError(
            f"no {kind} backbone here has a licence that --licenses {','.join(licences)} allows: there are {found}"
            ". Allow one of these, or give others with --models FOLDER"
        )
    if not usable:
        looked = ", ".join(str(folder) for folder in context.folders) or "the hub's cache on this machine"
        hub = "" if context.hub or context.folders else " and the hub is not reachable (HF_ENDPOINT may name another)"
        layout = "a local-dir of timm" if modality in PICTORIAL else "the hub has them"
        raise ZooError(
            f"no {kind} backbone found in {looked}{hub}{_untaken(context)}. Give a folder of models with --models "
            f"FOLDER (laid out as {layout}, safetensors), or see 'autotl models'"
        )
    return usable


def _untaken(context: ZooContext) -> str:
    """What lies in the folders given and says of itself which kind of network it is."""
    kinds = []
    for folder in model_folders(context.folders):
        with suppress(OSError, ValueError):
            config = read_object(folder / "config.json")
            kind = config.get("model_type") or config.get("architecture") or config.get("architectures")
            kinds += [f"{folder.name} ({kind})"] if kind else []
    return f": no family for it takes {', '.join(kinds[:3])}" if kinds else ""
