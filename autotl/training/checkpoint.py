"""A training put down, so that it can be taken up where it was: after a pause, a kill, or a new budget."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from autotl.errors import TrialError
from autotl.files import is_disk_full, making_room
from autotl.training.optimizer import MOMENTS

if TYPE_CHECKING:
    from autotl.training.average import Average
    from autotl.training.optimizer import AdamW
    from autotl.training.trial import Trial

#: Seconds between two checkpoints, as a multiple of what one takes: they cost a hundredth of the time.
SPACING = 100.0

#: Nor more often than this: a kill loses some seconds at most.
LEAST_SPACING = 5.0


#: How far a training was: its numbers in the file.
_TOLD = {"step", "steps", "seconds", "trained", "permille", "average", "training", "share"}


def progress_in(file: Path) -> dict[str, float]:
    """What `Checkpoint.write` was told, and more of `_TOLD`.

    Raises `OSError`, `SafetensorError` or `ValueError` for a file that is torn, or of another version.
    """
    with safe_open(file, "pt") as stored:
        about: dict[str, float] = json.loads((stored.metadata() or {}).get("progress", "{}"))
    if missing := _TOLD - about.keys():
        raise ValueError(f"it does not say {', '.join(sorted(missing))}")
    return about


def go_on_from(trial: Trial, late: Path, *, rest: float) -> int:
    """Has a training begin at its late checkpoint and take `rest` times as long again as its steps took until there.

    Returns its next step. Raises `TrialError` where there is none, or it is not all that the strategy trains.
    """
    try:
        about = progress_in(late)
    except (OSError, SafetensorError, ValueError) as error:
        raise TrialError(f"there is no late checkpoint to refit from: {error}") from error
    if about["training"] > 0:
        raise TrialError("its strategy trains several times, and the last of it alone cannot be repeated")
    trial.share = about["share"]  # so that it finds the states that there are
    trial.checkpoint = late  # overwritten on the way: a refit that is cut goes on from where it was
    if math.isfinite(trial.clock.seconds):
        loading = about["seconds"] - about["trained"]
        trial.clock.seconds = min(trial.clock.seconds, trial.clock.elapsed + loading + rest * about["trained"])
        trial.fill_time = True  # steps take as long as before; the clock ends it in any case
    return int(about["step"])


class Checkpoint:
    """One file for one training: weights, their mean, the optimizer's moments, and how far it was.

    Batches and all that is drawn at random follow from the seed and the step, so nothing else is needed. Where a
    strategy trains several times, one after the other, only the training that wrote the file goes on from it: others
    begin anew.
    """

    def __init__(self, trial: Trial, model: torch.nn.Module, optimizer: AdamW, average: Average) -> None:
        """In the files that the trial names; where it names none, nothing is kept."""
        self._file, self._late, self._trial = trial.checkpoint, trial.late_checkpoint, trial
        self._optimizer, self._average = optimizer, average
        self._counters = [buffer for buffer in model.buffers() if not buffer.is_floating_point()]
        self._spacing, self._last = LEAST_SPACING, time.monotonic()
        self._training = trial.trainings  #: whose it is, where a strategy trains several times
        trial.trainings += 1

    @property
    def due(self) -> bool:
        return self._file is not None and time.monotonic() - self._last > self._spacing

    def write(self, *, step: int, steps: int, begun: float, permille: int) -> None:
        """step: that comes next, of `steps`, which began at `begun` on the trial's clock.

        permille: the last rung that was judged.

        On a full disk the cache makes way; where that is not enough, the checkpoint before stays, if there is one.
        """
        if self._file is None:
            return
        began, file, seconds = time.monotonic(), self._file, self._trial.clock.elapsed
        about = {"step": step, "steps": steps, "seconds": seconds, "trained": seconds - begun, "permille": permille}
        about |= {"average": self._average.steps, "training": self._training, "share": self._trial.share}
        try:
            making_room(lambda: self._save(file, about), [self._trial.frozen.store.give_way])
        except (OSError, SafetensorError) as error:
            if not is_disk_full(error):
                raise
        self._last = time.monotonic()
        self._spacing = max(SPACING * (self._last - began), LEAST_SPACING)

    def _save(self, file: Path, about: dict[str, float]) -> None:
        tensors = self._tensors()
        self._trial.frozen.store.claim(sum(tensor.nbytes for tensor in tensors.values()))
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}")
        try:
            save_file(tensors, fresh, metadata={"progress": json.dumps(about)})
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)

    def keep_late(self) -> None:
        """Keeps what was written last as the late checkpoint: another name for a file that is never changed."""
        if self._file is not None and self._late is not None and self._file.exists():
            self._late.unlink(missing_ok=True)
            try:
                os.link(self._file, self._late)
            except OSError:  # a disk without links
                with contextlib.suppress(OSError):  # or a full one: there will be nothing to refit from
                    shutil.copyfile(self._file, self._late)

    def restore(self) -> dict[str, float] | None:
        """Puts everything back; returns what `write` was told, or None when there is nothing whole to go on from."""
        if self._file is None or not self._file.is_file():
            return None
        try:
            about = progress_in(self._file)
            if about["training"] != self._training:
                return None
            with safe_open(self._file, "pt") as stored:
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  not a dict
            averaged = int(about["average"])
            self._take(tensors)
        except (SafetensorError, OSError, LookupError, ValueError, RuntimeError):
            return None  # torn, or of another network: the training begins anew, which costs time and nothing else
        self._average.steps = averaged
        return about

    def _tensors(self) -> dict[str, torch.Tensor]:
        found = self._places()
        for i, parameter in enumerate(self._trained()):
            found |= {f"moment {i} {name}": value for name, value in self._optimizer.state.get(parameter, {}).items()}
        return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in found.items()}

    @torch.no_grad()
    def _take(self, tensors: dict[str, torch.Tensor]) -> None:
        """All or nothing: raises `LookupError` or `ValueError` for tensors of another network, and changes nothing."""
        trained, places = self._trained(), self._places()
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name in tensors.keys() - places.keys():
            _, number, what = name.split(" ")
            parameter, moment = trained[int(number)], tensors[name]
            if moment.shape not in (parameter.shape, (), (*parameter.shape[:1], 1)):  # counts of steps are smaller
                raise ValueError(f"{name} has the shape {list(moment.shape)}")
            moments.setdefault(int(number), {})[what] = moment.to(parameter.device, copy=True)  # not the file's
        if any(state.keys() != MOMENTS for state in moments.values()):
            raise ValueError("its moments are another optimizer's")
        for name, place in places.items():
            if tensors[name].shape != place.shape:
                raise ValueError(f"{name} has the shape {list(tensors[name].shape)}")
        for name, place in places.items():
            place.copy_(tensors[name])
        for i, state in moments.items():
            self._optimizer.state[trained[i]] = state

    def _places(self) -> dict[str, torch.Tensor]:
        """What is written and restored in place, by its name in the file."""
        found = {f"weights {i}": tensor for i, tensor in enumerate(self._average.followed)}
        found |= {f"counter {i}": tensor for i, tensor in enumerate(self._counters)}
        return found | {f"mean {i}": tensor for i, tensor in enumerate(self._average.mean)}

    def _trained(self) -> list[torch.Tensor]:
        return [parameter for group in self._optimizer.param_groups for parameter in group["params"]]
