"""An HTTP answer that nobody has to wait for: a thread receives it, its owner takes what has arrived.

    with Arrivals(url, {"Range": "bytes=5-"}) as coming:
        head = coming.head(seconds=30)             # TimeoutError when it takes longer
        while (chunk := coming.chunk(seconds=30)):
            ...

A hostile host may send its headers, the length of a chunk or the end of a handshake a byte a minute, or
headers without end. No time limit of a socket sees that, so the owner stops waiting. The thread ends with the
host's next bytes, or with the process.
"""

from __future__ import annotations

import queue
import re
import threading
from dataclasses import dataclass
from typing import Any, Mapping
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from caffe_gp.errors import DownloadError, printable, quoted

CONNECT_TIMEOUT = 20.0  # seconds to reach a host
READ_TIMEOUT = 60.0  # seconds without a byte
MOST_REDIRECTS = 10  # published files need one or two
CHUNK = 64 << 10
_REDIRECTS = (301, 302, 303, 307, 308)
_QUEUED = 16  # chunks that wait for the disk
_SHOWN = 80  # characters of an address or of a host's words in a message


class CutError(DownloadError):
    """A connection that failed or ended too early: another one may bring the rest."""


@dataclass(frozen=True)
class Head:
    """What an answer says of itself; names of headers are in lower case."""

    status: int
    reason: str
    headers: Mapping[str, str]

    def count(self, name: str) -> int | None:
        """A header that is a number of bytes; None where there is none. DownloadError for anything else."""
        value = self.headers.get(name.lower(), "")
        values = {one.strip() for one in value.split(",")}
        if values == {""}:
            return None
        if len(values) > 1 or not re.fullmatch("[0-9]{1,15}", next(iter(values)), re.ASCII):
            raise DownloadError(f"its {name} is {quoted(value)}, not a number of bytes")
        return int(values.pop())


class Arrivals:
    """The answer to one GET, behind its redirects; its body as it was sent, not decompressed."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        # Head, chunks, b"" at the end; or an error.
        self._events: queue.Queue[Head | bytes | Exception] = queue.Queue(_QUEUED)
        self._ended = False
        self._given_up = threading.Event()
        thread = threading.Thread(target=self._receive, args=(url, dict(headers)), daemon=True)
        thread.start()

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(self, *exc: object) -> None:
        self._given_up.set()

    def head(self, seconds: float) -> Head:
        """What the answer says of itself. DownloadError, CutError; TimeoutError after ``seconds``."""
        return self._next(seconds)  # type: ignore[return-value]

    def chunk(self, seconds: float) -> bytes:
        """The bytes that came next; b'' at the end, and from then on. Errors as for ``head``."""
        if not self._ended:
            chunk: bytes = self._next(seconds)  # type: ignore[assignment]
            self._ended = not chunk
        return b"" if self._ended else chunk

    def _next(self, seconds: float) -> Head | bytes:
        try:
            event = self._events.get(timeout=max(seconds, 0))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(event, DownloadError):
            raise event
        if isinstance(event, Exception):
            raise CutError(_reason(event)) from None
        return event

    # ---- in the thread

    def _receive(self, url: str, headers: dict[str, str]) -> None:
        try:
            with _Session() as session, _follow(session, url, headers) as answer:
                names = {name.lower(): str(value) for name, value in answer.headers.items()}
                going_on = self._put(Head(answer.status_code, str(answer.reason), names))
                body: urllib3.HTTPResponse = answer.raw
                while going_on:
                    chunk = body.read1(CHUNK, decode_content=False) or b""
                    going_on = self._put(chunk) and bool(chunk)
        except Exception as error:  # whatever a host makes of its reader
            self._put(error)

    def _put(self, event: Head | bytes | Exception) -> bool:
        """False when nobody waits for it any more."""
        while not self._given_up.is_set():
            try:
                self._events.put(event, timeout=1.0)
                return True
            except queue.Full:
                pass
        return False


class _Session(requests.Session):
    """Follows no redirect by itself: requests would read the body of each into memory, however long it is."""

    def get_redirect_target(self, resp: Any) -> None:
        return None


def _follow(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """The first answer that is no redirect."""
    for _ in range(MOST_REDIRECTS + 1):
        _check_address(url)
        timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
        answer = session.get(url, headers=headers, stream=True, timeout=timeout)
        location = answer.headers.get("Location")
        if answer.status_code not in _REDIRECTS or not location:
            return answer
        answer.close()
        url = urljoin(url, location.encode("latin-1").decode("utf-8", "replace"))
    raise DownloadError(f"it redirects more than {MOST_REDIRECTS} times")


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise DownloadError(f"it leads to {quoted(url, _SHOWN)}, which is no http:// or https:// address")


# ---- messages

_OFFLINE = "the host's name is not known (or this machine is offline)"
_CUT = "the connection was cut; another run continues there"
_MEANINGS = (
    ("NameResolutionError", _OFFLINE),
    ("Name or service not known", _OFFLINE),
    ("name resolution", _OFFLINE),
    ("Connection refused", "the host refuses the connection"),
    ("Network is unreachable", "the network is unreachable"),
    ("ProxyError", "the proxy does not let it through"),
    ("CERTIFICATE_VERIFY_FAILED", "the host's certificate is not valid"),
    ("IncompleteRead", _CUT),
    ("Connection broken", _CUT),
    ("Connection reset", _CUT),
    ("Read timed out", f"no byte for {READ_TIMEOUT:g} s; another run continues there"),
)


def _reason(error: Exception) -> str:
    """Why a connection failed, in one line."""
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT:g} s"
    text = " ".join(str(error).split())
    for sign, meaning in _MEANINGS:
        if sign in text:
            return meaning
    return f"the host's answer cannot be read ({printable(text[:_SHOWN]) or type(error).__name__})"
