"""A server that sends the bytes that it is told, whatever they are: hosts that do not keep to HTTP."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import Callable, Iterator

OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def answering(answer: Callable[[Callable[[bytes], None], threading.Event, str], None]) -> Iterator[str]:
    """The address of a server that calls ``answer(send, over, request)`` for each connection.

    over   set at the end: an answer without end stops then
    """
    listener, over = socket.create_server(("127.0.0.1", 0)), threading.Event()
    threads = []

    def serve(connection: socket.socket) -> None:
        with connection:
            request = connection.recv(65536).decode("latin-1")
            try:
                answer(connection.sendall, over, request)
            except OSError:  # the client went away
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/net.caffemodel"
    finally:
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join()
