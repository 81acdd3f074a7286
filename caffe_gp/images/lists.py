"""Text lists as the field writes them: of image files, alone or with label maps or numbers, or of ids."""

from __future__ import annotations

import codecs
import os
import re
from itertools import islice
from pathlib import Path
from typing import Collection, Iterator, NamedTuple

from caffe_gp.errors import DataError, quoted
from caffe_gp.files.regular import MAX_LIST_BYTES, read_regular
from caffe_gp.images.reading import missing

#: A path has at most 4,096 bytes. A line has one or two, or one and a number for each of a thousand classes.
MAX_LINE_LENGTH = 64 << 10
#: Of a path: at how many blanks, commas and semicolons it may end. Each is looked for on the disk.
MAX_GAPS = 64

_BETWEEN = re.compile(r"[\s,;]+")
_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?")
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class NotTextError(DataError):
    """A file that was given as a list and is no text."""


class Listed(NamedTuple):
    """An image file, and its label map if the list names one."""

    image: str
    labels: str | None = None


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Number and content of the lines that say something; NotTextError, or DataError if it is not there.

    UTF-8 or UTF-16, with or without a byte order mark, else Latin-1. Blank lines and those that begin with #
    do not count. DataError for a line of more than MAX_LINE_LENGTH characters.
    """
    try:
        content = read_regular(path, MAX_LIST_BYTES)
    except FileNotFoundError:
        raise missing(path, "list") from None
    except OSError as error:
        raise DataError(f"{path}: not a readable list ({error.strerror or error})") from None
    text = _decoded(content)
    if "\0" in text:
        raise NotTextError(f"{path}: not a text file, so not a list")
    found = []
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole.strip()
        if len(line) > MAX_LINE_LENGTH:
            raise DataError(
                f"{path}, line {number}: longer than {MAX_LINE_LENGTH} characters, so not a line of a list: "
                f"{quoted(line)}"
            )
        if line and not line.startswith("#"):
            found.append((number, line))
    return found


def _decoded(content: bytes) -> str:
    encodings = [encoding for mark, encoding in _ENCODINGS if content.startswith(mark)]
    if not encodings and content[:1] != b"\0" == content[1:2]:
        encodings = ["utf-16-le"]
    for encoding in [*encodings, "utf-8"]:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            pass
    return content.decode("latin-1")


def read_image_list(path: Path) -> list[Listed]:
    """The images of a list whose lines are ``path``, ``path label-map`` or ``path number``.

    Paths are relative to the current folder or to the list, may be quoted, hold blanks, and have / or \\ in
    them; one that leads nowhere from / is tried from these folders too. Numbers (Caffe's classes of whole
    images) are passed over. DataError, naming the line, for what is not there, and for a second image of one
    name.
    """
    found: list[Listed] = []
    lines: dict[str, int] = {}  # of names
    for number, line in read_lines(path):
        entry = _image_entry(line, path.parent)
        if entry is None:
            raise DataError(
                f"{path}, line {number}: no such image: {line} (nor beside the list). A line is a path, "
                "'path label-map' or 'path number'"
            )
        image, beside = entry
        before = lines.setdefault(Path(image).stem, number)
        if before != number:
            raise DataError(
                f"{path}, line {number}: {image} has the name of the image of line {before}: "
                "results are named after the image, so names must differ"
            )
        if not beside or beside.startswith("#") or _are_numbers(beside):
            found.append(Listed(image))
            continue
        labels = _existing(beside, path.parent)
        if labels is None:
            raise DataError(f"{path}, line {number}: no such label map: {beside} (nor beside the list)")
        found.append(Listed(image, labels))
    if len({entry.labels is None for entry in found}) > 1:
        raise DataError(f"{path}: some of its lines name a label map and some do not; all must, or none")
    return found


def _are_numbers(text: str) -> bool:
    return all(_NUMBER.fullmatch(word) for word in _BETWEEN.split(text) if word)


def _image_entry(line: str, folder: Path) -> tuple[str, str] | None:
    """(existing image file, what stands behind it) of a line; the longest name that exists counts."""
    whole = _existing(line, folder)
    if whole is not None:
        return whole, ""
    for between in _gaps(line):
        image = _existing(line[: between.start()], folder)
        if image is not None:
            return image, line[between.end() :]
    return None


def _gaps(line: str) -> list[re.Match[str]]:
    """Where a path at the beginning of a line may end, the last first."""
    return list(islice(_BETWEEN.finditer(line), MAX_GAPS))[::-1]


def _existing(text: str, folder: Path) -> str | None:
    """The file that a text of a list names, if it is there; DataError for a broken link.

    What no file can be called, such as 5,000 letters, is not there either.
    """
    name = _unquoted(text)
    for spelt in dict.fromkeys((name, name.replace("\\", "/"))):
        bare = spelt.lstrip("/")
        for path in dict.fromkeys((spelt, os.path.join(folder, spelt), bare, os.path.join(folder, bare))):
            if os.path.isfile(path):  # unlike pathlib's, no error for a name that is too long
                return str(Path(path))
            if os.path.islink(path):
                raise missing(path, "image")
    return None


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def read_ids(path: Path, known: Collection[str]) -> list[str]:
    """Those of the ``known`` image ids that a list names, in its order. DataError for a line that names none.

    A line is an id or an image's path, with something behind it or not: ``2007_000033``,
    ``2007_000033 -1`` or ``JPEGImages/2007_000033.jpg SegmentationClass/2007_000033.png``.
    """
    found, ids = [], set(known)
    for number, line in read_lines(path):
        named = next((name for name in _names(line) if name in ids), None)
        if named is None:
            raise DataError(f"{path}, line {number}: the set has no image {line}")
        found.append(named)
    if not found:
        raise DataError(f"{path}: the list is empty")
    return found


def _names(line: str) -> Iterator[str]:
    """What of a line could be an id, the longest first."""
    ends = [len(line), *(between.start() for between in _gaps(line))]
    for end in ends:
        name = _unquoted(line[:end]).replace("\\", "/").rpartition("/")[2]
        yield name
        yield name.rpartition(".")[0]
