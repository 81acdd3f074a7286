"""Every error that caffe_gp raises on purpose: one root and a small closed set below it.

Each message names the file, layer and field it is about, what was expected, what was found and,
where one is known, the remedy. The command line tools print the message and exit; they never show
a traceback for one of these.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, Iterable, Sequence

# Names in other people's files may have any length; nobody reads more of one, or of a message.
_NAME, _MESSAGE = 100, 4000
_LONG_NAME = re.compile(rf"(?<!\S)'(?![./])([^\s']{{{_NAME}}})[^\s']{{20,}}'")


class CaffeGPError(RuntimeError):
    """Root of all errors raised by caffe_gp. ``exit_code`` is what a command line tool returns.

    A RuntimeError, since that is what pycaffe raises for a missing file, and what its scripts catch.
    Messages name what files hold, so whoever shows one, a traceback too, gets it printable and of bounded
    length. The first argument is the message, one line whatever the names in it hold; the others are the
    lines that follow.
    """

    exit_code = 1

    def __str__(self) -> str:
        message = _LONG_NAME.sub(r"'\1...'", "\n".join(one_line(str(one)) for one in self.args))
        if len(message) > _MESSAGE:
            message = f"{message[: 3 * _MESSAGE // 4]} ... {message[-_MESSAGE // 4 :]}"
        return message


class UsageError(CaffeGPError):
    """Options of a command, or arguments of a call, that are missing, out of range or do not go together."""

    exit_code = 2


class PrototxtError(CaffeGPError):
    """A prototxt or solver text that cannot be read: syntax, unknown field, mixed dialects, not text."""

    exit_code = 2


class NetError(CaffeGPError):
    """A net description that is readable but does not describe a net: shapes, blobs, names, parameters."""

    exit_code = 2


class OutOfMemoryError(NetError):
    """A net that needs more memory than it may take, or than there is. A smaller batch may do."""


class UnknownLayerTypeError(NetError):
    """A layer type that no registered layer implements; the message lists the nearest known types."""


class WeightsError(CaffeGPError):
    """A weight file that is damaged, is not one, or does not fit the net (layer, expected, found)."""

    exit_code = 2


class DownloadError(CaffeGPError):
    """A file that could not be got from one address, or that is not the published one."""

    exit_code = 2


class DataError(CaffeGPError):
    """An image, label map, list or database that is missing or not what its reader expects."""

    exit_code = 2


class ZeroGradientError(CaffeGPError):
    """The diff that reached the perturbed blob is zero everywhere; the message names likely causes."""

    exit_code = 3


class EngineError(CaffeGPError):
    """An engine that is not there, refused a call, or died (BVLC Caffe's CHECK failures)."""

    exit_code = 4


# Comparing two names takes time with the square of their lengths, and files may hold thousands of long ones.
_LONGEST_COMPARED, _MOST_COMPARED = 100, 1000


def nearest(name: str, known: Iterable[str], most: int = 3, cutoff: float = 0.6) -> list[str]:
    """The names most like ``name``, the nearest first. Long ones and all but the first thousand do not count.

    cutoff   from 0 to 1, as ``difflib`` has it
    """
    if len(name) > _LONGEST_COMPARED:
        return []
    short = [one for one in known if len(one) <= _LONGEST_COMPARED]
    return difflib.get_close_matches(name, short[:_MOST_COMPARED], n=most, cutoff=cutoff)


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """'; did you mean A or B?' for a name that is not among ``known``; '' if none is like it."""
    near = nearest(name, known, most, 0.4)
    return f"; did you mean {' or '.join(near)}?" if near else ""


_REASON = 120  # of what a reader says
_QUOTED = 16  # characters of a file's content in a message: enough to find it, too few to give it away


def quoted(text: str, most: int = _QUOTED) -> str:
    """The beginning of a text from a file, for a message: in quotes, without control characters."""
    return f"'{one_line(text[:most])}{'...' if len(text) > most else ''}'"


def printable(text: str) -> str:
    """The text with what a terminal would obey, or could not show, written out; lines and tabs stay."""
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text
    )


def one_line(text: str) -> str:
    """``printable``, and on one line: for names, which may hold line breaks."""
    return printable(text).replace("\n", "\\n")


def why(error: Exception) -> str:
    """An error of a foreign file's reader for a message: one line, short, without control characters."""
    return printable(" ".join(str(error).split())[:_REASON]) or type(error).__name__


def with_source(error: CaffeGPError, source: str) -> CaffeGPError:
    """The error with ``source`` in front of its message, unless that names it already."""
    if source in str(error):
        return error
    message, *lines = error.args or ("",)
    return type(error)(f"{source}: {message}", *lines)


_KINDS = {"f": "floating-point numbers", "iu": "integers", "iuf": "numbers", "b": "bool"}


def check_array(
    array: Any, what: str, kinds: str, shape: Sequence[int] | None = None, axes: int | None = None
) -> None:
    """DataError unless ``array`` is a numpy array of these kinds, this shape and so many axes.

    what    begins the message: 'the error signal'
    kinds   of numpy's dtype.kind: 'f', 'iu', 'iuf' or 'b'
    Before numpy broadcasts it, or converts it into something else.
    """
    expected = _KINDS[kinds]
    if not hasattr(array, "dtype") or not hasattr(array, "shape"):
        raise DataError(f"{what}: expected a numpy array of {expected}, found {type(array).__name__}")
    if array.dtype.kind not in kinds:
        raise DataError(f"{what}: expected {expected}, found {array.dtype}")
    if shape is not None and array.shape != tuple(shape):
        raise DataError(f"{what}: expected the shape {tuple(shape)}, found {array.shape}")
    if axes is not None and len(array.shape) != axes:
        raise DataError(f"{what}: expected {axes} axes, found the shape {array.shape}")
