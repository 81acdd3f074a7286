"""Getting the data sets: downloaded, checked, unpacked; or taken from a folder where they are already.

    fetch("voc2012", root)                        # downloads 2 GB unless it is there
    fetch("voc2012", root, from_dir=folder)       # a tar, or a VOCdevkit that was unpacked elsewhere

A folder appears under its name only when all of it is there. Whatever is unfinished lies in ``.incoming``,
where a later run finds it and goes on; the archive is deleted when its files are in place.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, Callable, Iterator

from caffe_gp.datasets.sources import Archive, IdList, Source, find
from caffe_gp.downloads.files import digests, need_space
from caffe_gp.downloads.workplace import Say, staged_name, workplace
from caffe_gp.errors import CaffeGPError, DataError, DownloadError

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def what_is_missing(source: Source, root: Path) -> str:
    """What of a source is not there, as a sentence; '' if all of it is."""
    for item in source.lists:
        if not (root / item.target).is_file():
            return f"{root / item.target} is missing"
    if source.archive is not None:
        for folder in source.archive.take.values():
            if not (root / folder).is_dir():
                return f"{root / folder} is missing"
        for folder, count in source.archive.counts.items():
            found = len(os.listdir(root / folder)) if (root / folder).is_dir() else 0
            if found < count:
                return f"{root / folder} has {found} files of {count}"
    return ""


def fetch(
    name: str,
    root: Path,
    *,
    from_dir: Path | None = None,
    progress: bool = True,
    say: Say = print,
) -> None:
    """Put a data set under ``root``, unless it is there.

    from_dir   look for the archive, the lists or the unpacked folders here only; folders are linked
    Raises DataError with every address tried, why each failed and what to do by hand; CaffeGPError when the
    disk is full.
    """
    source = find(name)
    if not what_is_missing(source, root):
        say(f"{name}: is there, in {root}")
        return
    with workplace(root, say) as incoming:
        _forget_unpacked(incoming)
        if from_dir is not None:
            _take(source, root, incoming, Path(from_dir).expanduser(), say)
        else:
            for item in source.lists:
                _download_list(source, item, root, incoming, say)
            if source.archive is not None:
                _download_archive(source, source.archive, root, incoming, progress, say)
    lacks = what_is_missing(source, root)
    if lacks:
        raise DataError(f"{name}: {lacks}")
    say(f"{name}: in {root}. Licence: {source.licence}")


def verify(name: str, root: Path) -> None:
    """Check what is there against what was published: lists by their ids, archives by the number of files.

    Raises DataError. Label maps are read, and checked, by the sets (``segmentation.SegmentationSet.truth``).
    """
    source = find(name)
    lacks = what_is_missing(source, root)
    if lacks:
        raise DataError(f"{name}: {lacks}. 'tools/fetch_data.py {name}' gets it")
    for item in source.lists:
        _check_list(item, (root / item.target).read_bytes(), str(root / item.target))


# ---- lists


def _check_list(item: IdList, content: bytes, where: str) -> None:
    try:
        words = content.decode("ascii").split()
    except UnicodeDecodeError:
        words = []
    ids = sorted(PurePosixPath(word).stem for word in words)
    found = hashlib.sha1("".join(f"{name}\n" for name in ids).encode("ascii")).hexdigest()
    if (len(ids), found) != (item.count, item.sha1):
        raise DownloadError(
            f"{where}: {len(ids)} ids with sha1 {found}; the published list has {item.count} with {item.sha1}"
        )


def _download_list(source: Source, item: IdList, root: Path, incoming: Path, say: Say) -> None:
    def one(url: str) -> None:
        staged = incoming / staged_name(url)
        _download(url, staged, None, False)
        try:
            _check_list(item, staged.read_bytes(), url)
            _put(staged, root / item.target)
        finally:
            if staged.exists():
                staged.unlink()

    if not (root / item.target).is_file():
        _try_all(source, item.urls, one, say)


# ---- archives


def _download_archive(
    source: Source, archive: Archive, root: Path, incoming: Path, progress: bool, say: Say
) -> None:
    def one(url: str) -> None:
        staged = incoming / staged_name(url)
        _download(url, staged, archive.known_hash, progress)
        try:
            _unpack(staged, archive, root, incoming, say)
        except DataError as error:
            raise DownloadError(str(error)) from None
        finally:
            staged.unlink()

    _try_all(source, archive.urls, one, say)


def _download(url: str, staged: Path, known_hash: str | None, progress: bool) -> None:
    try:
        from caffe_gp.downloads.http import download
    except ImportError as error:
        raise CaffeGPError(
            f"downloading needs the Python package {error.name} (pip install pooch); '--from-dir' does not"
        ) from None
    download(url, staged, known_hash, progress)


def _try_all(source: Source, urls: tuple[str, ...], one: Callable[[str], None], say: Say) -> None:
    """Call ``one`` with each address until it succeeds."""
    tried = []
    for url in urls:
        say(f"{source.name}: downloading {url}")
        try:
            return one(url)
        except DownloadError as error:
            tried.append(f"{url}: {error}")
            say(f"  {error}")
    raise DataError(
        f"{source.name} ({source.title}): "
        + ("could not be downloaded. Tried:\n  " + "\n  ".join(tried) if tried else "cannot be downloaded.")
        + f"\nBy hand: get it with a browser from {source.page} or another place, then\n"
        f"  tools/fetch_data.py {source.name} --from-dir FOLDER\nwhich knows these names: "
        + ", ".join(_names(source))
    )


def _names(source: Source) -> list[str]:
    names = [PurePosixPath(item.target).name for item in source.lists]
    if source.archive is not None:
        names += [source.archive.file, *source.archive.take.values()]
    return names


def _take(source: Source, root: Path, incoming: Path, folder: Path, say: Say) -> None:
    """From a folder: lists by their names, an archive by its name, or folders that were unpacked there."""
    if not folder.is_dir():
        raise DataError(f"--from-dir {folder}: no such folder")
    for item in source.lists:
        found = folder / PurePosixPath(item.target).name
        if not found.is_file():
            raise DataError(f"{folder} has no {found.name}, which '{source.name}' needs")
        _check_list(item, found.read_bytes(), str(found))
        copy = incoming / f"taken-{found.name}"
        shutil.copyfile(found, copy)
        _put(copy, root / item.target)
    archive = source.archive
    if archive is None:
        return
    packed = folder / archive.file
    if packed.is_file():
        for algorithm in ("sha256", "md5"):
            expected = getattr(archive, algorithm)
            if expected is not None:
                found_hash = digests(packed, [algorithm])[algorithm]
                if found_hash != expected:
                    raise DataError(f"{packed}: {algorithm} {found_hash}, the published file has {expected}")
                break
        return _unpack(packed, archive, root, incoming, say)
    for target in archive.take.values():
        inside = _unpacked_at(folder, target)
        if inside is None:
            raise DataError(f"{folder} has neither {archive.file} nor {target}")
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        if not (root / target).exists():
            (root / target).symlink_to(inside.resolve(), target_is_directory=True)
            say(f"{source.name}: {root / target} is a link to {inside.resolve()}")


def _unpacked_at(folder: Path, target: str) -> Path | None:
    """Where ``target`` lies in a folder that may itself be one of its parents: 'VOCdevkit', 'VOC2012'."""
    parts = PurePosixPath(target).parts
    for skipped in range(len(parts) + 1):
        inside = folder.joinpath(*parts[skipped:])
        if skipped and folder.name != parts[skipped - 1]:
            continue
        if inside.is_dir():
            return inside
    return None


def _unpack(packed: Path, archive: Archive, root: Path, incoming: Path, say: Say) -> None:
    """Unpack the folders of ``take`` beside the root and rename them into it. DataError for a damaged one."""
    say(f"unpacking {packed.name}")
    need_space(root, packed.stat().st_size, packed.name)
    workspace = incoming / "unpacked"
    try:
        _extract(packed, archive, workspace)
        for folder, target in archive.take.items():
            if not (workspace / target).is_dir():
                raise DataError(f"{packed}: there is no folder '{folder}' in it")
        for folder, count in archive.counts.items():
            found = len(os.listdir(workspace / folder))
            if found < count:
                raise DataError(f"{packed}: {found} files for {folder}, expected {count}")
        for target in archive.take.values():
            _merge(workspace / target, root / target)
    except _DAMAGED as error:
        raise DataError(f"{packed}: a damaged archive ({error})") from None
    finally:
        _forget_unpacked(incoming)


def _extract(packed: Path, archive: Archive, workspace: Path) -> None:
    for name, content in _members(packed):
        target = _target_of(name, archive)
        if target is not None:
            path = workspace / target
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as stream:
                shutil.copyfileobj(content, stream, 1 << 20)


def _members(packed: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """(name, content) of the regular files in a tar or zip, in order."""
    if zipfile.is_zipfile(packed):
        with zipfile.ZipFile(packed) as archive:
            for entry in archive.infolist():
                if not entry.is_dir():
                    with archive.open(entry) as content:
                        yield entry.filename, content
        return
    with tarfile.open(packed, "r|*") as archive:  # a stream: tgz cannot be read twice
        for member in archive:
            extracted = archive.extractfile(member) if member.isfile() else None
            if extracted is not None:
                yield member.name, extracted


def _target_of(name: str, archive: Archive) -> str | None:
    """Where a member goes under the root, None if nowhere. DataError for a name that leads outside."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"the archive has a file '{name}', which leads out of its folder: it is not unpacked")
    clean = str(PurePosixPath(*[part for part in path.parts if part != "."]))
    for folder, target in archive.take.items():
        if clean.startswith(f"{folder}/"):
            return target + clean[len(folder) :]
    return None


def _merge(source: Path, target: Path) -> None:
    """Rename a folder to its place; into a folder that is there, file by file."""
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
        return
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _merge(path, target / path.name)
        else:
            os.replace(path, target / path.name)


def _put(staged: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(staged, target)


def _forget_unpacked(incoming: Path) -> None:
    """Remove what an interrupted run had unpacked."""
    shutil.rmtree(incoming / "unpacked", ignore_errors=True)
