"""One mirror: a connection with a time limit, a transfer that neither stalls nor runs forever.

In: a URL. Out: bytes in a file, or the fault in words. Knows nothing about tasks or their data.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from clue_runner.errors import DataError

CONNECT_SECONDS = 10.0
STALL_SECONDS = 30.0  # longest silence once connected
MAX_BYTES = 1024**3
CHUNK_BYTES = 64 * 1024
BROKEN_OFF = "the transfer broke off"

OnProgress = Callable[[int, int | None], None]


def host(url: str) -> str:
    """Return the host of a URL, or the URL if it has none."""
    return urlsplit(url).hostname or url


def answers(url: str) -> bool:
    """Return whether the server accepts a connection in time, name look-up and all addresses included.

    A library's own limit applies to one address of many, and not to the name look-up: behind a
    firewall that drops packets, a mirror with eight addresses would block the command for minutes.
    """
    from requests.utils import get_environ_proxies

    parts = urlsplit(url)
    if parts.hostname is None or get_environ_proxies(url):
        return True  # a missing host is a different error, and a proxy makes its own connections
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    reached, failures = threading.Event(), list[OSError]()
    worker = threading.Thread(target=_connect, args=(parts.hostname, port, reached, failures), daemon=True)
    worker.start()
    worker.join(CONNECT_SECONDS)
    if reached.is_set() or worker.is_alive():
        return reached.is_set()
    # A refusal is an answer: the request itself then reports the problem.
    return not any(isinstance(failure, TimeoutError) for failure in failures)


def _connect(host: str, port: int, reached: threading.Event, failures: list[OSError]) -> None:
    """Set ``reached`` once one of the host's addresses takes a connection; else note why none did."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the request itself reports the problem with the name
        return
    for family, kind, protocol, _, address in addresses:
        try:
            with socket.socket(family, kind, protocol) as connection:
                connection.settimeout(CONNECT_SECONDS / len(addresses))
                connection.connect(address)
            reached.set()
            return
        except OSError as error:
            failures.append(error)


def transfer(url: str, part: Path, on_progress: OnProgress | None) -> None:
    """Download ``url`` into ``part`` with pooch."""
    import pooch

    downloader = pooch.HTTPDownloader(
        progressbar=_Watch(on_progress), chunk_size=CHUNK_BYTES, timeout=(CONNECT_SECONDS, STALL_SECONDS)
    )
    downloader(url, str(part), None)


def transfer_fault(error: Exception) -> str:
    """Return how a request failed: never connected, or interrupted."""
    import requests

    # To requests, silence in the middle of a body is not a Timeout but a ConnectionError around one.
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no data for {STALL_SECONDS:g} seconds"
    if isinstance(error, requests.ConnectionError) and "IncompleteRead" not in str(error):
        return "no connection"
    return BROKEN_OFF


class _Watch:
    """The object that pooch reports chunks to; stops a download that never ends."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.total: int | None = None
        self._done = 0
        self._on_progress = on_progress

    def update(self, size: int) -> None:
        """Count a chunk."""
        self._done += size
        if self._done > MAX_BYTES:
            raise DataError("far larger than any official zip", received=f"more than {MAX_BYTES:,} bytes")
        if self._on_progress:
            self._on_progress(self._done, self.total or None)

    def reset(self) -> None:
        """Start over; pooch does so once at the end."""
        self._done = 0

    def close(self) -> None:
        """Do nothing; the owner of the progress display closes it."""
