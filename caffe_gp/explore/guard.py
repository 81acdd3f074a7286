"""What the server answers at all: what the page needs, and nothing else that gradio can do.

Gradio serves files of its cache, fetches addresses for its clients, describes its functions and more. The
page has its pictures inside itself, so none of that is needed: what is not listed here is not there.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, MutableMapping, Sequence
from urllib.parse import urlsplit

#: Method and address, or how an address begins where it ends in '*'.
ALLOWED = (
    ("GET", "/"),
    ("HEAD", "/"),
    ("GET", "/config"),
    ("GET", "/manifest.json"),
    ("GET", "/theme.css"),
    ("GET", "/favicon.ico"),
    ("GET", "/assets/*"),
    ("GET", "/static/*"),
    ("GET", "/gradio_api/theme.css"),
    ("GET", "/gradio_api/startup-events"),
    ("GET", "/gradio_api/heartbeat/*"),
    ("GET", "/gradio_api/queue/data"),
    ("GET", "/gradio_api/upload_progress"),
    ("POST", "/gradio_api/queue/join"),
    ("POST", "/gradio_api/upload"),
)
MAX_UPLOAD = 64 << 20  # bytes of a picture's file
_MAX_JOIN = 1 << 20  # bytes that a press of a button sends
_AROUND = 1 << 16  # bytes of a form around the file

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]


class Guard:
    """ASGI middleware in front of gradio.

    hosts   names that requests may call the server by; None: any. A page of somebody else's that has its
            name lead to 127.0.0.1 would otherwise be one's own.
    on_upload   called before a file is taken
    """

    def __init__(self, app: App, hosts: Sequence[str] | None, on_upload: Callable[[], None]) -> None:
        self._app, self._hosts = app, None if hosts is None else {host.lower() for host in hosts}
        self._on_upload = on_upload

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        refused = self._refused(scope)
        if refused is None:
            if scope["path"].endswith("/upload"):
                self._on_upload()
            await self._app(scope, receive, send)
            return
        status, text = refused
        headers = [(b"content-type", b"text/plain; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text.encode()})

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = _host(headers.get(b"host", b"").decode("latin-1"))
        if self._hosts is not None and host not in self._hosts:
            return 421, f"this server answers to {', '.join(sorted(self._hosts))} only\n"
        if not is_allowed(scope["method"], scope["path"]):
            return 404, "not found\n"
        if scope["method"] == "POST":
            most = MAX_UPLOAD + _AROUND if scope["path"].endswith("/upload") else _MAX_JOIN
            length = headers.get(b"content-length", b"").decode("latin-1")
            if not (length.isascii() and length.isdigit()):
                return 411, "the length of the request is missing\n"
            if int(length[:20]) > most:
                return 413, f"more than {most} bytes\n"
        return None


def _host(named: str) -> str:
    """The host of 'host:port', in lower case; '' for what is none."""
    try:
        return (urlsplit(f"//{named}").hostname or "").lower()
    except ValueError:
        return ""


def is_allowed(method: str, path: str) -> bool:
    """Whether the page needs what is at a path, decoded, as ASGI gives it."""
    if ".." in path or "\\" in path or "\0" in path:
        return False
    for allowed, address in ALLOWED:
        if method == allowed and (path.startswith(address[:-1]) if address[-1] == "*" else path == address):
            return True
    return False
