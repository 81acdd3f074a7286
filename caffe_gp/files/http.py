"""Downloading one file through pooch, so that a cut connection costs nothing but time.

For example:

    download(url, Path("models/.incoming/net.caffemodel"), "sha1:...")
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import urlsplit

import pooch
import requests
from tqdm import tqdm

from caffe_gp.errors import DownloadError
from caffe_gp.files.atomic import naming
from caffe_gp.files.checks import SlowAddressError, need_space, what_is_wrong

CONNECT_TIMEOUT = 20.0  # seconds to reach a host
READ_TIMEOUT = 60.0  # seconds without a byte
# Below this average over these seconds an address is left for the next one. cs.toronto.edu has given about
# 80 kB/s since the middle of 2026, half an hour for CIFAR-10; its mirrors give megabytes.
LOW_SPEED = 100e3  # bytes a second
LOW_SPEED_SECONDS = 30.0
_CHUNK = 16 << 10


def download(
    url: str, path: Path, known_hash: str | None = None, progress: bool = True, patient: bool = True
) -> None:
    """Get the file at ``url``; it appears as ``path`` when it is complete and has ``known_hash``.

    ``known_hash``: 'sha1:...', 'md5:...' and the like, or None for any file. What has arrived of it lies in
    ``path`` + '.part' and is continued by the next call. Raises DownloadError with the reason in one line,
    SlowAddressError below LOW_SPEED unless ``patient``; CaffeGPError when the disk is full.
    """
    pooch.get_logger().setLevel("WARNING")  # it reports the sha256 of files whose hash it was not told
    downloader = ResumingDownloader(path.with_name(path.name + ".part"), progress, patient)
    try:
        pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader)
    except requests.RequestException as error:
        raise DownloadError(_reason(error)) from None
    except ValueError as error:
        if known_hash is None or "hash" not in str(error):
            raise
        found = str(error).partition("but got")[2].partition(".")[0].strip()
        raise DownloadError(f"not the published file: expected {known_hash}, got {found}") from None


class ResumingDownloader:
    """A downloader for pooch: what has arrived stays in the file ``part`` until everything has.

    ``part`` is continued with a Range request as long as the server still has the same file; where it does
    not do ranges, or the file has changed, the download starts again.
    """

    def __init__(self, part: Path, progress: bool, patient: bool = True) -> None:
        self.part = part
        self.progress = progress
        self.patient = patient
        # What the server calls this version of the file.
        self._version = part.with_name(part.name + ".version")

    def __call__(self, url: str, output_file: Any, pooch: Any, check_only: bool = False) -> None:
        """Put the file at ``url`` into the path ``output_file``.

        A cut connection is taken up again at once while every attempt brings new bytes. Raises
        requests.RequestException, or DownloadError for what is no file and for a slow host.
        """
        while True:
            before = self._have()
            try:
                self._continue(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if self._have() <= before:
                    raise
        os.replace(self.part, output_file)
        self._forget()

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _forget(self) -> None:
        for path in (self.part, self._version):
            if path.exists():
                path.unlink()

    def _continue(self, url: str) -> None:
        """Ask once for what is missing; returns when everything is there."""
        have = self._have()
        # Hashes are those of the file as it is, so it must not be compressed on its way.
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self._version.exists():
                headers["If-Range"] = self._version.read_text(encoding="latin-1")
        timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
        with requests.get(url, headers=headers, stream=True, timeout=timeout) as answer:
            start, total = _content_range(answer)
            if have and answer.status_code == 416 and total == have:
                return  # an earlier run ended between the last byte and the renaming
            if have and (answer.status_code == 416 or answer.status_code == 206 and start != have):
                self._forget()
                return self._continue(url)
            answer.raise_for_status()
            if answer.status_code == 200:
                have = 0
                total = _length(answer)
            elif answer.status_code != 206:
                raise DownloadError(f"HTTP {answer.status_code} {answer.reason}: no file")
            if total is not None:
                need_space(self.part.parent, total - have, self.part.name)
            self._receive(answer, url, have, total)
        if total is not None and self._have() != total:
            raise requests.ConnectionError(f"IncompleteRead: {self._have()} of {total} bytes")

    def _receive(self, answer: requests.Response, url: str, have: int, total: int | None) -> None:
        chunks: Iterator[bytes] = answer.iter_content(_CHUNK)
        if not have:
            first = next(chunks, b"")
            _refuse_page(first, url)
            chunks = itertools.chain([first], chunks)
            self._note_version(answer)
        bar = tqdm(
            total=total,
            initial=have,
            unit="B",
            unit_scale=True,
            disable=None if self.progress else True,  # None: only on a terminal
        )
        began, received = time.monotonic(), 0
        with bar, naming(self.part), open(self.part, "ab" if have else "wb") as stream:
            for chunk in chunks:
                stream.write(chunk)
                bar.update(len(chunk))
                received += len(chunk)
                seconds = time.monotonic() - began
                if seconds >= LOW_SPEED_SECONDS:
                    self._refuse_slow(received / seconds)
                    began, received = time.monotonic(), 0

    def _refuse_slow(self, speed: float) -> None:
        if not self.patient and speed < LOW_SPEED:
            raise SlowAddressError(f"only {speed / 1e3:.0f} kB/s")

    def _note_version(self, answer: requests.Response) -> None:
        etag = answer.headers.get("ETag", "")
        version = etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")
        if version:
            self._version.write_text(version, encoding="latin-1")
        elif self._version.exists():
            self._version.unlink()


def _length(answer: requests.Response) -> int | None:
    """Bytes of the body, if they are told and are those of the file."""
    length = answer.headers.get("Content-Length", "")
    encoded = answer.headers.get("Content-Encoding", "identity") != "identity"
    return int(length) if length.isdigit() and not encoded else None


def _content_range(answer: requests.Response) -> tuple[int | None, int | None]:
    """(first byte, size of the whole file) of ``Content-Range: bytes 5-9/10``; None where it is not told."""
    span, _, total = answer.headers.get("Content-Range", "").replace("bytes", "").strip().partition("/")
    first = span.partition("-")[0]
    return int(first) if first.isdigit() else None, int(total) if total.isdigit() else None


def _refuse_page(head: bytes, url: str) -> None:
    """Raise DownloadError when the start of what came shows that it is no binary file."""
    wrong = what_is_wrong(head)
    if wrong and (urlsplit(url).hostname or "").endswith("google.com"):
        wrong += "; Google Drive wants a large file to be confirmed, or its limit of downloads is reached"
    if wrong:
        raise DownloadError(wrong)


_OFFLINE = "the host's name is not known (or this machine is offline)"
_MEANINGS = (
    ("NameResolutionError", _OFFLINE),
    ("Name or service not known", _OFFLINE),
    ("name resolution", _OFFLINE),
    ("Connection refused", "the host refuses the connection"),
    ("Network is unreachable", "the network is unreachable"),
    ("ProxyError", "the proxy does not let it through"),
    ("CERTIFICATE_VERIFY_FAILED", "the host's certificate is not valid"),
    ("IncompleteRead", "the connection was cut; another run continues there"),
    ("Connection broken", "the connection was cut; another run continues there"),
    ("Connection reset", "the connection was cut; another run continues there"),
    ("Read timed out", f"no byte for {READ_TIMEOUT:g} s; another run continues there"),
)


def _reason(error: requests.RequestException) -> str:
    """Why a download failed, in one line."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {CONNECT_TIMEOUT:g} s"
    text = " ".join(str(error).split())
    for sign, meaning in _MEANINGS:
        if sign in text:
            return meaning
    return text[:300]
