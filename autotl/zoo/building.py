"""Networks from settings that somebody else wrote: never larger than the weights that they are built for."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: The numbers in a network's settings, taken together. The largest vocabulary has 901 629 words; what libraries make of
#: so many before there is a network, such as a name for every label, takes less than a gigabyte.
LARGEST_SUM = 2**21

#: Networks register some weights twice while they are built, and the counts of a catalogue know no heads.
LEEWAY = 2

#: Numbers that a small network may hold in buffers, beside its weights: masks and tables of positions.
MOST_BUFFERS = 10**7

#: Modules and weights of a network; the deepest published have some thousands.
MOST_PARTS = 10**5


def check_settings(settings: Mapping[str, Any]) -> None:
    """Raises `ValueError` where the numbers in `settings` and the lists there are beyond those of any network."""
    total = sum(abs(number) for value in settings.values() for number in _numbers(value))
    if not total <= LARGEST_SUM:  # not a number is not in order either
        raise ValueError("its settings have larger numbers than any network here")


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)


@contextmanager
def built_within(parameters: int) -> Iterator[None]:
    """Whatever is built inside by this thread, on no device, raises `ValueError` beyond twice so many parameters.

    A network passes here first, without memory for its weights; only then is it built in earnest.
    """
    import torch
    from torch.nn.modules import module as registration

    most = LEEWAY * parameters + MOST_BUFFERS
    numbers = parts = 0
    builder = threading.get_ident()

    def count(_: torch.nn.Module, name: str, part: Any) -> None:
        nonlocal numbers, parts
        if threading.get_ident() != builder:
            return
        numbers += part.numel() if isinstance(part, torch.Tensor) else 0
        parts += 1
        if numbers > most or parts > MOST_PARTS:
            raise ValueError(f"its settings ask for a larger network than its weights ({parameters} parameters) fill")

    hooks = [
        registration.register_module_parameter_registration_hook(count),
        registration.register_module_buffer_registration_hook(count),
        registration.register_module_module_registration_hook(count),
    ]
    try:
        with torch.device("meta"):
            yield
    finally:
        for hook in hooks:
            hook.remove()
