"""Hosts that lie, trickle or never end: a DownloadError that says why, no byte too many, no endlesswait."""

from __future__ import annotations

import errno
import io
import os
import threading

import pytest

from caffe_gp.errors import DownloadError
from tests.files.raw_server import OK, answering

pytest.importorskip("requests")

from caffe_gp.files import arrivals, checks, http  # noqa: E402

BODY = bytes(range(256)) * 40  # 10 kB


def get(url, tmp_path, **options):
    """Download within the limits that a test sets; returns the content."""
    path = tmp_path / "net.caffemodel"
    http.download(url, path, progress=False, **options)
    return path.read_bytes()


def refused(url, tmp_path, says, **options):
    with pytest.raises(DownloadError, match=says) as caught:
        get(url, tmp_path, **options)
    message = str(caught.value)
    assert message.isprintable() and len(message) < 300
    assert not (tmp_path / "net.caffemodel").exists()
    return message


def saying(*headers, status=b"HTTP/1.1 200 OK", body=BODY):
    """An answer with these headers."""
    text = b"\r\n".join((status, *headers)) + b"\r\n\r\n" + body
    return lambda send, over, request: send(text)


LENGTH = b"Content-Length: %d" % len(BODY)


@pytest.mark.parametrize(
    "headers, says",
    [
        ([b"Content-Length: -5"], "Content-Length is '-5', not a number"),
        ([b"Content-Length: abc"], "not a number"),
        ([b"Content-Length: 0x10"], "not a number"),
        ([b"Content-Length: 1_0"], "not a number"),
        (["Content-Length: \u0661\u0662".encode()], "not a number"),
        (["Content-Length: ²".encode("latin-1")], "not a number"),
        ([b"Content-Length: " + b"9" * 5000], "not a number"),
        ([LENGTH, b"Content-Length: 7"], "not a number|cannot be read"),
        ([LENGTH, b"Transfer-Encoding: chunked"], "contradict each other|cannot be read"),
        ([b"Content-Length: 99999999999999"], "it has 99999999999999 bytes; at most"),
        ([LENGTH, b"Content-Encoding: gzip"], "it comes compressed .*'gzip'"),
        ([LENGTH, b"Content-Encoding: \x1b]0;x\x07"], "it comes compressed"),
        ([b"X: " + b"y" * 70_000], "cannot be read"),
        ([b"X%d: y" % i for i in range(200)], "cannot be read"),
    ],
)
def test_odd_headers(tmp_path, headers, says):
    with answering(saying(*headers)) as url:
        refused(url, tmp_path, says)


@pytest.mark.parametrize(
    "status",
    [
        b"",
        b"\x1b[31mred",
        b"HTTP/1.1",
        b"HTTP/1.1 abc OK",
        b"HTTP/1.1 -1 OK",
        b"HTTP/1.1 99999 OK",
        b"HTTP/9.9 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 206 Partial Content",
        b"HTTP/1.1 304 Not Modified",
        b"HTTP/1.1 302 No address",
        b"HTTP/1.1 404 \x1b]0;owned\x07 " + b"x" * 5000,
        b"HTTP/1.1 416 Range Not Satisfiable",
        b"x" * 100_000,
    ],
)
def test_odd_status_lines(tmp_path, status):
    with answering(saying(LENGTH, status=status)) as url:
        refused(url, tmp_path, "HTTP|cannot be read|cut")


RANGES = (
    b"bytes 5-9",
    b"bytes 9-5/10",
    b"bytes 5000-5/10",
    b"bytes 5000-99999/10",
    b"bytes -1--1/-1",
    b"5000",
)


@pytest.mark.parametrize(
    "content_range", [*RANGES, b"bytes 5000-9999/" + b"9" * 5000, b"bytes ^\x1b[0m", b""]
)
def test_odd_ranges(tmp_path, content_range):
    (tmp_path / "net.caffemodel.part").write_bytes(BODY[:5000])
    headers = [b"Content-Range: " + content_range, b"Content-Length: 5240"]
    parts = []

    def answer(send, over, request):
        parts.append("Range: bytes=5000-" in request)
        saying(*headers, status=b"HTTP/1.1 206 Partial Content")(send, over, request)

    with answering(answer) as url:
        refused(url, tmp_path, "Content-Range|HTTP 206|contradict")
    assert parts[0]


def test_a_range_that_contradicts_its_length(tmp_path):
    (tmp_path / "net.caffemodel.part").write_bytes(BODY[:5000])
    headers = [b"Content-Range: bytes 5000-10239/10240", b"Content-Length: 7"]
    with answering(saying(*headers, status=b"HTTP/1.1 206 Partial Content")) as url:
        refused(url, tmp_path, "contradict each other: 7 bytes, or 5240")
    headers[1] = b"Content-Length: 5240"
    with answering(saying(*headers, status=b"HTTP/1.1 206 Partial Content", body=BODY[5000:])) as url:
        assert get(url, tmp_path, size=len(BODY)) == BODY


def test_a_packed_file_that_is_called_compressed(tmp_path):
    """Apache calls a .tgz a compressed .tar: the bytes are the file, and are not unpacked."""
    with answering(saying(LENGTH, b"Content-Encoding: x-gzip")) as url:
        assert get(url.replace("net.caffemodel", "benchmark.tgz"), tmp_path) == BODY


@pytest.mark.parametrize(
    "location",
    [
        b"file:///etc/passwd",
        b"ftp://127.0.0.1/x",
        b"gopher://127.0.0.1/",
        b"data:text/plain,x",
        b"http://",
        b"http://[::1",
        b"http://127.0.0.1:99999/",
        b"http://127.0.0.1:0/",
        b"javascript:\x1b[2J",
        b"\xff\xfe",
        b"/again",
    ],
)
def test_redirects(tmp_path, location):
    asked = []

    def answer(send, over, request):
        asked.append(request)
        send(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

    with answering(answer) as url:
        refused(url, tmp_path, "no http:// or https:// address|redirects more than 10 times|cannot be read")
    assert len(asked) <= arrivals.MOST_REDIRECTS + 1


def test_the_body_of_a_redirect_is_not_read(tmp_path):
    def answer(send, over, request):
        if "/elsewhere" in request:
            return send(OK + LENGTH + b"\r\n\r\n" + BODY)
        send(b"HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\n\r\n")
        while not over.is_set():
            send(bytes(65536))

    with answering(answer) as url:
        assert get(url, tmp_path) == BODY


def without_end(send, over, request):
    send(OK + b"\r\n")
    while not over.is_set():
        send(b"\1" * 65536)


def test_never_a_byte_more_than_published(tmp_path):
    with answering(without_end) as url:
        refused(url, tmp_path, "more than the 200000 bytes", size=200_000)
        refused(url, tmp_path, "more than the 300000 bytes", most=300_000)
    assert not list(tmp_path.iterdir()), "what came is not the file, so it is not kept"


def test_another_size_than_published_is_refused_before_a_byte_is_kept(tmp_path):
    with answering(saying(LENGTH)) as url:
        refused(url, tmp_path, "it has 10240 bytes; the published file has 10241", size=10241)
        refused(url, tmp_path, "it has 10240 bytes; at most 99 are taken", most=99)
        assert not list(tmp_path.iterdir())
        assert get(url, tmp_path, size=10240) == BODY


@pytest.mark.parametrize(
    "body",
    [
        b"-1\r\n",
        b"-5\r\nhello\r\n",
        b"ffffffffffffffffff\r\n",
        b"zz\r\n",
        b"\x1b[0m\r\n",
        b"5\r\nhel",
        b"5\r\nhello\r\n" + b"x" * 70_000,
        b"",
    ],
)
def test_odd_chunks(tmp_path, body):
    def answer(send, over, request):
        send(OK + b"Transfer-Encoding: chunked\r\n\r\n" + body)

    with answering(answer) as url:
        refused(url, tmp_path, "cut|cannot be read|empty")


@pytest.fixture
def hurried(monkeypatch):
    """The limits of time, shorter; one that a test waits for."""
    monkeypatch.setattr(http, "LOWEST_SPEED_SECONDS", 0.3)
    monkeypatch.setattr(http, "LOWEST_SPEED", 1e6)


def trickle(send, over, piece):
    while not over.wait(0.02):
        send(piece)


SLOW = {
    "a byte of the file at a time": lambda send, over: (
        send(OK + LENGTH + b"\r\n\r\n"),
        trickle(send, over, b"\1"),
    ),
    "a byte of a header at a time": lambda send, over: (send(OK + b"X: "), trickle(send, over, b"y")),
    "a byte of a chunk's length at a time": lambda send, over: (
        send(OK + b"Transfer-Encoding: chunked\r\n\r\n"),
        trickle(send, over, b"0"),
    ),
    "chunks of a byte": lambda send, over: (
        send(OK + b"Transfer-Encoding: chunked\r\n\r\n"),
        trickle(send, over, b"1\r\nx\r\n"),
    ),
    "trailers without end": lambda send, over: (
        send(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"),
        trickle(send, over, b"a: b\r\n"),
    ),
    "100 Continue without end": lambda send, over: trickle(send, over, b"HTTP/1.1 100 Continue\r\n\r\n"),
    "nothing": lambda send, over: over.wait(),
}


@pytest.mark.parametrize("how", SLOW)
def test_a_slow_loris_is_given_up(tmp_path, hurried, how):
    with answering(lambda send, over, request: SLOW[how](send, over)) as url:
        refused(url, tmp_path, "given up: [0-9]+ bytes in")


def test_a_host_that_cuts_after_every_byte_is_given_up(tmp_path, hurried):
    def answer(send, over, request):
        send(OK + LENGTH + b"\r\n\r\n\1" if "Range" not in request else b"HTTP/1.1 206 OK\r\n")

    with answering(answer) as url:
        refused(url, tmp_path, "given up|cut|cannot be read")


def test_the_whole_time_is_limited(tmp_path, monkeypatch):
    monkeypatch.setattr(http, "MOST_SECONDS", 0.2)

    def answer(send, over, request):
        send(OK + b"Content-Length: 9999999999\r\n\r\n")
        while not over.is_set():
            send(b"\1" * 100)

    with answering(answer) as url:
        refused(url, tmp_path, "not here after .* another run continues there", most=1 << 40)


def test_an_honest_slow_line_is_not_given_up(tmp_path, monkeypatch):
    """30 kB/s for 500 MB: 30 times what is given up, and within the whole time."""
    now = [0.0]
    monkeypatch.setattr(http.time, "monotonic", lambda: now[0])
    pace = http._Pace(patient=True)
    for _ in range(500_000_000 // 65536):
        now[0] += 65536 / 30e3
        pace.add(65536)
    for _ in range(3):  # it may also stand still for a minute now and then
        now[0] += arrivals.READ_TIMEOUT
        pace.add(0)
        now[0] += http.LOWEST_SPEED_SECONDS
        pace.add(int(30e3 * http.LOWEST_SPEED_SECONDS))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_disk_that_is_full_or_broken(tmp_path, monkeypatch, number):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(http, "open", lambda *_: Full(), raising=False)
    with answering(saying(LENGTH)) as url:
        with pytest.raises(checks.NotStoredError) as caught:
            get(url, tmp_path)
    message = str(caught.value)
    assert "net.caffemodel.part" in message and os.strerror(number) in message
    assert ("MB are still needed" in message and "MB are free in" in message) == (
        number in (errno.ENOSPC, errno.EDQUOT)
    )


def test_no_thread_stays_behind_an_honest_download(tmp_path):
    before = threading.active_count()
    with answering(saying(LENGTH)) as url:
        assert get(url, tmp_path) == BODY
    assert threading.active_count() <= before + 1  # the server's last one may still be ending
