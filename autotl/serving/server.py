"""The service on a port of this machine, until it is told to end."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from autotl.errors import RunError
from autotl.predictor.predictor import Predictor
from autotl.serving.app import make_app
from autotl.serving.connections import impatient
from autotl.serving.limits import Limits

#: Seconds that requests in hand have to be answered when the service is told to end.
GRACE = 30

#: Seconds that an idle connection stays open: longer than clients and proxies keep theirs, so that none is closed in
#: the moment in which it is used again.
KEPT_ALIVE = 75

#: More are refused, those that have sent nothing yet counted; by default a process may have 1024 files open.
CONNECTIONS = 900


def serve(predictor: Predictor, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM, and then answers what is in hand. Raises `RunError` for an address that is taken.

    port: 0 for a free one. announce: is told the address once connections are taken.
    """
    listening, limits = _listen(host, port), Limits()
    config = uvicorn.Config(
        make_app(predictor, limits),
        http=impatient(AutoHTTPProtocol, limits.seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEPT_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    announce(f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}")
    with listening, _settled():
        uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def _settled() -> Iterator[None]:
    """Keeps the garbage collector from what is there to stay: torch's modules took it 0.3 s once in 1000 requests."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _listen(host: str, port: int) -> socket.socket:
    if not host:  # which would be all of this machine's
        raise RunError("--host is empty; name an address, such as 127.0.0.1")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=CONNECTIONS)
    except (OSError, OverflowError) as error:
        raise RunError(f"{host}:{port} cannot be served on ({error}); name others with --host and --port") from error
