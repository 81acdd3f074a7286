"""What an attack is."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, NamedTuple, Union

# A file that must never be there, and a word that must never be seen: code that ran, what was not to be read.
HARM = "harm"
SECRET = "the-secret-of-another-file"

NETS = ("net", "training_net", "tool")


class Attack(NamedTuple):
    """An abuse of one kind of file.

    name      unique, for the table
    idea      what it tries, in a few words
    make      writes the input into an empty folder; returns the file that is opened
    readers   names of ``readers.READERS``: who opens it
    expected  what comes out of the first of them: the name of a CaffeGPError, or 'loads'. The others may do
              either, within the limits.
    """

    name: str
    idea: str
    make: Callable[[Path], Path]
    readers: tuple[str, ...]
    expected: str


Content = Union[str, bytes, Callable[[], Union[str, bytes]]]


def written(name: str, content: Content) -> Callable[[Path], Path]:
    """A ``make`` that writes a file.

    content   a function for a large one: memory that this process held would hide what readers take
    """

    def make(folder: Path) -> Path:
        path, found = folder / name, content() if callable(content) else content
        path.write_bytes(found.encode() if isinstance(found, str) else found)
        return path

    return make
