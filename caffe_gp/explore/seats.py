"""Whose picture is whose: looks by user, at most so many of them and so many bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict

from caffe_gp.explore.look import Look

#: Users whose pictures are kept, and what these may take together. Who was here longest ago gives way.
MAX_USERS = 32
MAX_BYTES = 2 << 30


class Seats:
    """The looks of all users. Threads may share it."""

    def __init__(self, users: int = MAX_USERS, nbytes: int = MAX_BYTES) -> None:
        self._users, self._bytes = users, nbytes
        self._looks: OrderedDict[str, Look] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, user: str) -> Look | None:
        """What a user looks at; None for a new one, and for one who had to give way."""
        with self._lock:
            if user in self._looks:
                self._looks.move_to_end(user)
            return self._looks.get(user)

    def put(self, user: str, look: Look) -> None:
        """Keep a look in place of the user's last one. The latest is kept whatever its size."""
        with self._lock:
            self._looks[user] = look
            self._looks.move_to_end(user)
            while len(self._looks) > 1 and (
                len(self._looks) > self._users
                or sum(one.nbytes for one in self._looks.values()) > self._bytes
            ):
                self._looks.popitem(last=False)

    def leave(self, user: str) -> None:
        """Forget a user who closed the page."""
        with self._lock:
            self._looks.pop(user, None)

    def __len__(self) -> int:
        return len(self._looks)
