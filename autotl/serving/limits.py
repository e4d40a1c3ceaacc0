"""How much a service takes on, so that no request can take it down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one request, and of all together."""

    bytes: int = 32 * 2**20  #: of a request: four photographs as a phone makes them, a hundred as the web has them
    rows: int = 256  #: in a request: more are several requests, which share batches anyway
    characters: int = 100_000  #: of a text: a short book, of which models read the first pages
    pixels: int = 50_000_000  #: of an image: what phones make at most; 200 MB when it is decoded
    pixels_in_all: int = 400_000_000  #: of the images of a request: some seconds of a core to decode
    requests: int = 512  #: in hand at once, from their header to their answer; then 503
    bytes_in_hand: int = 512 * 2**20  #: that these have sent so far; then 503
    seconds: float = 30.0  #: that a request's header may take to come, from its connection, and then its body
