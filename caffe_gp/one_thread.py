"""A net belongs to one thread at a time: passes of two threads would overwrite each other's blobs unseen."""

from __future__ import annotations

import threading
from functools import wraps
from typing import Any, Callable, TypeVar, cast

from caffe_gp.errors import EngineError

Method = TypeVar("Method", bound=Callable[..., Any])


class OneThread:
    """``with`` it: others are refused meanwhile, with EngineError; the same thread may enter again.

    what   is used: 'this net'
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise EngineError(
                f"{self._what} is at work in another thread: one thread may use it at a time, from its "
                "forward until its results are read or copied. Give each thread a net of its own "
                "(Net.share_with shares the weights), or let threads wait for each other with a lock"
            )

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    # Copies and pickles have a lock of their own.
    def __reduce__(self) -> Any:
        return OneThread, (self._what,)


def in_one_thread(method: Method) -> Method:
    """The method, inside its object's ``one_thread``."""

    @wraps(method)
    def inside(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self.one_thread:
            return method(self, *args, **kwargs)

    return cast(Method, inside)
