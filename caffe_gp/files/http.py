"""Downloading one file, so that a cut connection costs nothing but time, and a hostile host not even that.

download(url, Path("models/.incoming/net.caffemodel"), "sha1:...", size=538_000_000)
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from urllib.parse import urlsplit

from caffe_gp.errors import DownloadError, printable, quoted
from caffe_gp.files.arrivals import Arrivals, CutError, Head
from caffe_gp.files.atomic import into_place, write_text
from caffe_gp.files.checks import (
    MAX_UNKNOWN_BYTES,
    SlowAddressError,
    need_space,
    not_stored,
    what_is_wrong,
)
from caffe_gp.files.hashes import digests
from caffe_gp.files.regular import read_regular

# Below this average over these seconds an address is left for the next one. cs.toronto.edu has given about
# 80 kB/s since the middle of 2026, half an hour for CIFAR-10; its mirrors give megabytes.
LOW_SPEED = 100e3  # bytes a second
LOW_SPEED_SECONDS = 30.0
# Below this one the last address is given up too: 500 MB would take six days. A poor line has 30 times that,
# and may stand still for READ_TIMEOUT of these seconds.
LOWEST_SPEED = 1e3  # bytes a second
LOWEST_SPEED_SECONDS = 120.0
MOST_SECONDS = 48 * 3600.0  # the largest data set, 2 GB, at 12 kB/s. Another run continues
_HEAD = 512  # bytes that show what is no file
_MAX_VERSION = 256  # characters of an ETag; longer ones are not sent back


def download(
    url: str,
    path: Path,
    known_hash: str | None = None,
    progress: bool = True,
    patient: bool = True,
    size: int | None = None,
    most: int = MAX_UNKNOWN_BYTES,
) -> None:
    """Get the file at ``url``; it appears as ``path`` when it is complete and has ``known_hash``.

    known_hash   'sha1:...', 'md5:...' and the like, or None for any file
    size         bytes of the published file; None where nobody told
    most         bytes that are taken where the size is not known

    What has arrived of it lies in ``path`` + '.part' and is continued by the next call. Raises DownloadError
    with the reason in one line, SlowAddressError below LOW_SPEED unless ``patient``, NotStoredError when the
    disk is full.
    """
    if path.exists() and _other_hash(path, known_hash):
        path.unlink()
    if path.exists():
        return  # an earlier run got it, and ended before it was used
    parts = _Part(path.with_name(f"{path.name}.part"))
    _Download(url, parts, progress, _Pace(patient), size, size if size is not None else most).run()
    found = _other_hash(parts.path, known_hash)
    if found:
        parts.forget()
        raise DownloadError(f"not the published file: expected {known_hash}, got {found}")
    try:
        into_place(parts.path, path)
    except OSError as error:
        raise not_stored(error, path) from None
    parts.forget()


def _other_hash(path: Path, known_hash: str | None) -> str:
    """The hash of a file that has another one than the known; '' otherwise."""
    algorithm, _, expected = (known_hash or "").partition(":")
    found = digests(path, [algorithm])[algorithm] if algorithm else ""
    return found if found != expected else ""


class _Part:
    """What has arrived, and what the server calls this version of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version = path.with_name(f"{path.name}.version")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def forget(self) -> None:
        for path in (self.path, self._version):
            path.unlink(missing_ok=True)

    def version(self) -> str:
        """For If-Range; '' where it is not known."""
        try:
            return read_regular(self._version, 4 * _MAX_VERSION).decode("utf-8")
        except (OSError, ValueError):
            return ""

    def begin(self, head: Head) -> None:
        """An empty part of another version: never what has arrived of one under the name of another."""
        self.forget()
        etag = head.headers.get("etag", "")
        version = etag if etag.startswith('"') else head.headers.get("last-modified", "")
        if version.isprintable() and 0 < len(version) <= _MAX_VERSION:
            write_text(self._version, version)
        self.path.touch()


class _Pace:
    """Watches how fast a file comes, over all connections."""

    def __init__(self, patient: bool) -> None:
        self._patient = patient
        self._window = LOWEST_SPEED_SECONDS if patient else LOW_SPEED_SECONDS
        self._end = time.monotonic() + MOST_SECONDS
        self._began, self._received = time.monotonic(), 0

    def seconds(self) -> float:
        """How long to wait for more."""
        return min(self._began + self._window, self._end) - time.monotonic()

    def add(self, count: int) -> None:
        """Count what came. DownloadError, SlowAddressError when that takes too long."""
        self._received += count
        now = time.monotonic()
        if now >= self._end:
            raise DownloadError(f"not here after {MOST_SECONDS / 3600:g} hours; another run continues there")
        seconds = now - self._began
        if seconds < self._window:
            return
        speed = self._received / seconds
        if not self._patient and speed < LOW_SPEED:
            raise SlowAddressError(f"only {speed / 1e3:.0f} kB/s")
        if speed < LOWEST_SPEED:
            raise DownloadError(
                f"given up: {self._received} bytes in {seconds:.0f} s; another run continues there"
            )
        self._began, self._received = now, 0


class _Download:
    """One file from one address into its part."""

    def __init__(
        self, url: str, part: _Part, progress: bool, pace: _Pace, size: int | None, most: int
    ) -> None:
        self.url, self.part, self.progress, self.pace = url, part, progress, pace
        self.size, self.most = size, most

    def run(self) -> None:
        """Get what is missing. A cut connection is taken up at once while every one brings new bytes."""
        while True:
            before = self.part.size()
            try:
                return self._continue()
            except CutError:
                if self.part.size() <= before:
                    raise

    def _continue(self) -> None:
        """Ask once for what is missing; returns when everything is there."""
        have = self.part.size()
        if have > self.most:
            self.part.forget()
            have = 0
        with Arrivals(self.url, self._asking(have)) as coming:
            head = self._head(coming)
            first, length, whole = _content_range(head)
            if have and head.status == 416 and whole == have and self.size in (None, have):
                return  # an earlier run ended between the last byte and the renaming
            if have and (head.status == 416 or head.status == 206 and first != have):
                self.part.forget()
                return self._continue()
            total = self._total(head, have, length, whole)
            have = have if head.status == 206 else 0
            begun = b"" if have else self._beginning(coming)
            total = self.size if total is None else total
            if total is not None:
                need_space(self.part.path.parent, total - have, self.part.path.name)
            self._store(coming, head, begun, have, total)
        if total is not None and self.part.size() != total:
            raise CutError("the connection was cut; another run continues there")

    def _asking(self, have: int) -> dict[str, str]:
        # Hashes are those of the file as it is, so it must not be compressed on its way.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.part.version():
                headers["If-Range"] = self.part.version()
        return headers

    def _head(self, coming: Arrivals) -> Head:
        while True:
            try:
                return coming.head(self.pace.seconds())
            except TimeoutError:
                self.pace.add(0)

    def _chunk(self, coming: Arrivals) -> bytes:
        while True:
            try:
                chunk = coming.chunk(self.pace.seconds())
            except TimeoutError:
                chunk = None
            self.pace.add(len(chunk or b""))
            if chunk is not None:
                return chunk

    def _total(self, head: Head, have: int, length: int | None, whole: int | None) -> int | None:
        """Bytes of the whole file, None where they are not told. DownloadError for an answer without it."""
        status = f"HTTP {head.status} {printable(head.reason[: _HEAD // 8])}"
        if head.status >= 400:
            raise DownloadError(status)
        if head.status != 200 and not (have and head.status == 206):
            raise DownloadError(f"{status}: no file")
        encoding = head.headers.get("content-encoding", "identity")
        # Some hosts call a .tgz, which is what it is, a compressed .tar.
        if encoding != "identity" and not urlsplit(self.url).path.endswith((".gz", ".tgz")):
            raise DownloadError(f"it comes compressed (Content-Encoding: {quoted(encoding)})")
        count = head.count("Content-Length")
        if count is not None and "transfer-encoding" in head.headers:
            raise DownloadError("its headers contradict each other: Content-Length and Transfer-Encoding")
        if head.status == 206 and None not in (count, length) and count != length:
            raise DownloadError(f"its headers contradict each other: {count} bytes, or {length}")
        total = whole if head.status == 206 else count
        if total is not None and self.size not in (None, total):
            raise DownloadError(f"it has {total} bytes; the published file has {self.size}")
        if total is not None and total > self.most:
            raise DownloadError(f"it has {total} bytes; at most {self.most} are taken of it")
        return total

    def _beginning(self, coming: Arrivals) -> bytes:
        """The first bytes of a file. DownloadError when they show that it is none."""
        begun = b""
        while len(begun) < _HEAD:
            chunk = self._chunk(coming)
            if not chunk:
                break
            begun += chunk
        _refuse_page(begun, self.url)
        return begun

    def _store(self, coming: Arrivals, head: Head, begun: bytes, have: int, total: int | None) -> None:
        from tqdm import tqdm

        bar = tqdm(
            total=total,
            initial=have,
            unit="B",
            unit_scale=True,
            disable=None if self.progress else True,  # None: only on a terminal
        )
        most = self.most if total is None else total
        try:
            if not have:
                self.part.begin(head)
            with bar, open(self.part.path, "ab") as stream:
                chunk = begun or self._chunk(coming)
                while chunk:
                    have += len(chunk)
                    if have > most:
                        break
                    stream.write(chunk)
                    bar.update(len(chunk))
                    chunk = self._chunk(coming)
        except OSError as error:
            raise not_stored(error, self.part.path, None if total is None else total - have) from None
        if have > most:
            self.part.forget()
            raise DownloadError(f"more than the {most} bytes came that it may have")


def _content_range(head: Head) -> tuple[int | None, int | None, int | None]:
    """(first byte, bytes, size of the whole file) of ``Content-Range: bytes 5-9/10``; None: not told.

    DownloadError for one that cannot be.
    """
    value = head.headers.get("content-range", "").strip()
    if head.status not in (206, 416) or not value:
        return None, None, None
    number = "([0-9]{1,15})"
    found = re.fullmatch(rf"bytes (?:{number}-{number}|\*)/(?:{number}|\*)", value, re.ASCII)
    first, last, whole = (None if n is None else int(n) for n in found.groups()) if found else (None,) * 3
    if first is None or last is None:
        if found and head.status == 416:
            return None, None, whole
    elif first <= last and (whole is None or last < whole):
        return first, last - first + 1, whole
    raise DownloadError(f"its Content-Range is {quoted(value, 40)}, which no part of a file has")


def _refuse_page(head: bytes, url: str) -> None:
    """Raise DownloadError when the start of what came shows that it is no binary file."""
    wrong = what_is_wrong(head)
    if wrong and (urlsplit(url).hostname or "").endswith("google.com"):
        wrong += "; Google Drive wants a large file to be confirmed, or its limit of downloads is reached"
    if wrong:
        raise DownloadError(wrong)
