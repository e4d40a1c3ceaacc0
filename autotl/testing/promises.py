"""What a failed check says: whose promise it was, what was promised, and what was found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class BrokenPromise(AssertionError):
    """A plugin does not do what its contract says; the message reads as a line of that contract."""

    def __init__(self, thing: str, promise: str, found: object) -> None:
        super().__init__(f"{thing}: {promise}. Found: {found}")


def expect(kept: bool, thing: str, promise: str, found: object) -> None:
    """Raises `BrokenPromise` unless the promise is kept."""
    if not kept:
        raise BrokenPromise(thing, promise, found)


@contextmanager
def expect_no_error(thing: str, promise: str) -> Iterator[None]:
    """Makes a `BrokenPromise` of whatever the block raises, but for one that it raises itself."""
    try:
        yield
    except BrokenPromise:
        raise
    except Exception as error:  # a plugin under test may fail in any way
        raise BrokenPromise(thing, promise, f"{type(error).__name__}: {error}") from error
