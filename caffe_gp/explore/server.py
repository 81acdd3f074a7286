"""The explorer's server: one process, one net, until Ctrl-C."""

from __future__ import annotations

import logging
import os
import signal
import socket
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, NoReturn, Sequence

from caffe_gp.errors import UsageError
from caffe_gp.explore import parts
from caffe_gp.explore.answers import Answers
from caffe_gp.explore.app import STATIC, page
from caffe_gp.explore.examples import examples_for
from caffe_gp.explore.guard import MAX_UPLOAD, Guard
from caffe_gp.explore.net import SharedNet
from caffe_gp.explore.seats import Seats

LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: Bytes that uploads may take on disk together; the oldest go.
MAX_UPLOADS = 1 << 30

# What gradio asks the environment for. It would look for a newer version of itself, and count users.
_GRADIO = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def serve(
    net: SharedNet,
    sources: Sequence[str] = (),
    *,
    host: str = LOOPBACK[0],
    port: int = 7860,
    on_ready: Callable[[str], None],
) -> None:
    """Answer until the process is interrupted.

    sources    pictures to offer: files, folders, lists; none: the net's own
    port       0 takes one that is free
    on_ready   called with the page's address
    Raises UsageError for an address that cannot be had, DataError for sources that are no pictures.
    """
    examples, left_out = examples_for(net, sources)
    with _listening(host, port) as listening, _own_folder() as folder:
        import uvicorn

        answers = Answers(net, examples, Seats(), folder)
        blocks = page(net, parts.example_buttons(examples, left_out), answers)
        app = Guard(_mounted(blocks), LOOPBACK if host in LOOPBACK else None, lambda: sweep(folder))
        config = uvicorn.Config(
            app, log_level="error", access_log=False, ws="none", timeout_graceful_shutdown=1
        )

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                on_ready(_address(host, listening.getsockname()[1]))

        with _ended_by_sigterm():
            Server(config).run(sockets=[listening])


def _mounted(blocks: Any) -> Any:
    """The ASGI application of a page: nothing of gradio's beside it, and nothing from the network."""
    import gradio as gr
    from fastapi import FastAPI

    return gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        show_error=False,
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        # The default theme loads its letters from Google.
        theme=gr.themes.Default(
            primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ).set(body_text_color_subdued="#5b6470", block_info_text_color="#5b6470"),
        css_paths=STATIC / "page.css",
    )


def _address(host: str, port: int) -> str:
    named = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    return f"http://[{named}]:{port}/" if ":" in named else f"http://{named}:{port}/"


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((host, port))
            one.listen(128)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"{host}, port {port}: {why}; give another --port (0: any) or --host") from None
        yield one


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the process as an exception does: its folder goes first."""

    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # of a test
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _own_folder() -> Iterator[Path]:
    """A folder for all that gradio writes, uploads above all; it goes with the process."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="caffe_gp_explore_") as folder:
        os.environ.update({**_GRADIO, "GRADIO_TEMP_DIR": folder})
        logging.getLogger("httpx").setLevel(logging.WARNING)
        tempfile.tempdir = folder  # half of an upload that broke off
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def sweep(folder: Path, most: int = MAX_UPLOADS) -> None:
    """Remove the oldest files of a folder until the others take at most so many bytes."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                state = path.stat()
                found.append((state.st_mtime, state.st_size, path))
        except OSError:  # another request was faster
            continue
    taken = 0
    for _, size, path in sorted(found, reverse=True):
        taken += size
        if taken > most:
            path.unlink(missing_ok=True)
