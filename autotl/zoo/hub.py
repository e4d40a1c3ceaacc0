"""Whether the model hub can be reached: asked once, and for two seconds at most."""

from __future__ import annotations

import os
import queue
import socket
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

#: A reachable hub answers in tens of milliseconds; a person notices two seconds and no more.
PROBE_SECONDS = 2.0


def reachable(seconds: float = PROBE_SECONDS) -> bool:
    """True when a connection to the hub (or to the proxy that leads there) opens in time.

    Honours ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``, ``TRANSFORMERS_OFFLINE`` and the proxy variables. Looking a name up
    knows no time limit, so it happens in a thread that is left behind.
    """
    offline = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    if offline.upper() in {"1", "ON", "YES", "TRUE"}:
        return False
    try:
        hub = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
        proxies = getproxies() if hub.hostname and not proxy_bypass(hub.hostname) else {}
        proxy = proxies.get(hub.scheme) or proxies.get("all")
        target = urlsplit(proxy if "://" in proxy else f"http://{proxy}") if proxy else hub
        usual = 1080 if target.scheme.startswith("socks") else 443 if target.scheme == "https" else 80
        address = target.hostname or "", target.port or usual
    except ValueError:  # an endpoint or a proxy that is no address
        return False
    if not address[0]:
        return False
    answers: queue.Queue[bool] = queue.Queue()

    def connect(family: int, place: tuple[Any, ...]) -> None:
        try:
            with socket.socket(family, socket.SOCK_STREAM) as trying:
                trying.settimeout(seconds)
                trying.connect(place)
            answers.put(True)
        except (OSError, OverflowError):  # of a port that is none
            answers.put(False)  # unreachable is an answer, not an error

    def look_up() -> None:
        try:
            found = {(family, place) for family, _, _, _, place in socket.getaddrinfo(*address)}
        except (OSError, UnicodeError):  # a name may be none that can be looked up
            found = set()
        places.put(len(found))
        for family, place in found:  # at once, as one of two ways may lead nowhere
            threading.Thread(target=connect, args=(family, place), daemon=True).start()

    places: queue.Queue[int] = queue.Queue()
    threading.Thread(target=look_up, daemon=True).start()
    end = time.monotonic() + seconds
    with suppress(queue.Empty):
        for _ in range(places.get(timeout=seconds)):
            if answers.get(timeout=max(end - time.monotonic(), 0.0)):
                return True
    return False
