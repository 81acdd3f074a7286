"""Where the data sets were published: what manifest.json says."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from caffe_gp.datasets import digit_scenes
from caffe_gp.errors import DataError, did_you_mean
from caffe_gp.files import manifest


@dataclass(frozen=True)
class IdList:
    """A text file of ids; its order and its endings do not count.

    target  under the data root
    urls    in the order in which they are tried; none for a list inside an archive
    count   of ids; ``sha1``: of the sorted ids, one a line; None where nobody published it
    """

    target: str
    urls: tuple[str, ...]
    count: int
    sha1: str | None


@dataclass(frozen=True)
class GzipFile:
    """A file that is kept packed, as it was published. Another gzip file of the same content will do.

    target       under the data root
    urls         in the order in which they are tried
    sha256       of the file as published
    content_md5  of what is in it
    """

    target: str
    urls: tuple[str, ...]
    sha256: str
    content_md5: str


@dataclass(frozen=True)
class Archive:
    """A tar or zip file. Values nobody published are None.

    file    what it is called, there and in ``--from-dir``
    urls    in the order in which they are tried; none where a login is needed
    size    bytes
    take    folder inside it -> folder under the data root
    counts  folder under the data root -> files that must be in it afterwards
    lists   that must be there afterwards
    members files under the data root -> md5 that they must have
    """

    file: str
    urls: tuple[str, ...]
    size: int | None
    md5: str | None
    sha256: str | None
    take: dict[str, str]
    counts: dict[str, int]
    lists: tuple[IdList, ...] = ()
    members: dict[str, str] = field(default_factory=dict)
    sha1: str | None = None

    @property
    def known_hash(self) -> str | None:
        """The strongest published hash as 'sha256:...', or None."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        if self.sha1:
            return f"sha1:{self.sha1}"
        return f"md5:{self.md5}" if self.md5 else None


@dataclass(frozen=True)
class Source:
    """Something to get: an archive, lists, single files, or scenes that are drawn here.

    name    as given to ``fetch``
    page    for people with a browser
    files   single files
    drawn   folders under the data root for digit scenes of the split that each is named after
    """

    name: str
    title: str
    archive: Archive | None
    lists: tuple[IdList, ...]
    licence: str
    page: str
    files: tuple[GzipFile, ...] = ()
    drawn: tuple[str, ...] = ()

    @property
    def single(self) -> tuple[IdList | GzipFile, ...]:
        """What is not in an archive."""
        return (*self.lists, *self.files)


# Names a manifest whose entries take the place of the package's: a mirror of one's own.
MANIFEST_VARIABLE = "CAFFE_GP_DATA_MANIFEST"


@functools.lru_cache(maxsize=None)
def published() -> dict[str, Source]:
    """Every source by name. DataError, naming file and field, for a manifest that is damaged."""
    found = {}
    path = Path(__file__).with_name("manifest.json")
    for where, entry in manifest.entries(path, MANIFEST_VARIABLE, "sources"):
        made = {
            "archive": _archive(entry, where),
            "lists": _lists(entry, where),
            "files": tuple(
                manifest.record(GzipFile, item, f"{where}, files[{number}]")
                for number, item in enumerate(manifest.objects(entry, "files", where))
            ),
        }
        source = manifest.record(Source, entry, where, made)
        for folder in source.drawn:
            if PurePosixPath(folder).name not in digit_scenes.NUMBERS:
                known = ", ".join(digit_scenes.NUMBERS)
                raise DataError(f"{where}, 'drawn': '{folder}' ends with none of {known}")
        found[source.name] = source
    return found


def _archive(entry: Any, where: str) -> Archive | None:
    packed = entry.get("archive") if isinstance(entry, dict) else None
    if packed is None:
        return None
    where = f"{where}, archive"
    archive = manifest.record(Archive, packed, where, {"lists": _lists(packed, where)})
    for path in (*archive.counts, *archive.members, *(item.target for item in archive.lists)):
        if not any(f"{path}/".startswith(f"{target}/") for target in archive.take.values()):
            raise DataError(f"{where}: '{path}' lies in no folder that 'take' makes")
    return archive


def _lists(entry: Any, where: str) -> tuple[IdList, ...]:
    return tuple(
        manifest.record(IdList, item, f"{where}, lists[{number}]")
        for number, item in enumerate(manifest.objects(entry, "lists", where))
    )


def find(name: str) -> Source:
    """The source of this name; DataError with the list otherwise."""
    known = published()
    if name not in known:
        hint = did_you_mean(name, known, most=2)
        raise DataError(f"unknown data '{name}'{hint} (known: {', '.join(known)})")
    return known[name]
