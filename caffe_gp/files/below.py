"""Whether what is to be written lies in the folder that the user named."""

from __future__ import annotations

import os


def is_below(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Whether a path, with all symbolic links followed, lies in a folder, whether it exists yet or not.

    A zero byte, which no path holds, counts as a separator: opening such a path is refused anyway.
    """
    real, root = (os.path.realpath(os.fspath(one).replace("\0", "/")) for one in (path, folder))
    return os.path.commonpath([real, root]) == root
