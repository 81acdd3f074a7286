"""An HTTP server on this machine that misbehaves on request, for the tests of downloading."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Iterator, Sequence


class Page:
    """What is served under one path.

    ranges   Range requests are honoured, else ignored
    cut      connections are closed after these numbers of bytes, one number a request, then never again
    hold     after this many bytes nothing more is sent until ``go`` is set
    etag     sent, and compared with If-Range
    """

    def __init__(
        self,
        body: bytes,
        *,
        ranges: bool = True,
        cut: Sequence[int] = (),
        hold: int | None = None,
        etag: str | None = None,
        status: int = 200,
    ) -> None:
        self.body = body
        self.ranges = ranges
        self.cut = list(cut)
        self.hold = hold
        self.go = threading.Event()
        self.etag = etag
        self.status = status


class Server:
    """``url(path)`` of the pages in ``pages``; ``asked`` lists (path, Range header or None) in order."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str | None]] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}/{path}"

    def serve(self, path: str, body: bytes, **options: Any) -> str:
        self.pages[path] = Page(body, **options)
        return self.url(path)


@contextmanager
def serving() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            asked = self.headers.get("Range")
            server.asked.append((path, asked))
            page = server.pages.get(path)
            if page is None:
                return self.send_error(404)
            if page.status != 200:
                return self.send_error(page.status)
            body, start = page.body, 0
            unchanged = self.headers.get("If-Range") in (None, page.etag)
            if asked and page.ranges and unchanged:
                match = re.fullmatch(r"bytes=(\d+)-", asked)
                assert match, asked
                start = int(match[1])
                if start >= len(body):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(body)}")
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            else:
                self.send_response(200)
            if page.etag:
                self.send_header("ETag", page.etag)
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            end = start + page.cut.pop(0) if page.cut else len(body)
            try:
                if page.hold is not None and start < page.hold < end:
                    self.wfile.write(body[start : page.hold])
                    page.go.wait()
                    start = page.hold
                self.wfile.write(body[start:end])
            except (BrokenPipeError, ConnectionResetError):
                pass
            self.close_connection = True

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    server = Server(httpd.server_address[1])
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()
