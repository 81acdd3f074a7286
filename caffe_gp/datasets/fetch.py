"""Getting the data sets: downloaded, checked, unpacked; or taken from a folder where they are already.

    fetch("voc2012", root)                        # downloads 2 GB unless it is there
    fetch("voc2012", root, from_dir=folder)       # a tar, or a VOCdevkit that was unpacked elsewhere

A folder appears under its name only when all of it is there. Whatever is unfinished lies in ``.incoming``,
where a later run finds it and goes on; the archive is deleted when its files are in place.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
import shutil
import zlib
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Callable, Sequence

from caffe_gp.datasets import classification, digit_scenes, segmentation
from caffe_gp.datasets.sources import Archive, GzipFile, IdList, Source, find
from caffe_gp.errors import DataError, DownloadError, why
from caffe_gp.files import packed
from caffe_gp.files.atomic import into_place, sync_folder, write_bytes
from caffe_gp.files.checks import NotStoredError, need_space, storing
from caffe_gp.files.hashes import digests
from caffe_gp.files.mirrors import FETCH_DATA, by_hand, download, try_each
from caffe_gp.files.regular import open_regular, read_regular
from caffe_gp.files.workplace import Say, staged_name, workplace
from caffe_gp.images.reading import image_size

# Of one list, of which SBD's has 70 kB, and of one file that is kept packed, of which MNIST's has 10 MB.
MAX_LIST_BYTES = 4 << 20
MAX_FILE_BYTES = classification.MAX_IDX_BYTES


def what_is_missing(source: Source, root: Path) -> str:
    """What of a source is not there, or is not what was published, as a sentence; '' if all is well."""
    wrong = [_what_is_wrong(item, root / item.target) for item in source.single]
    wrong += [f"{root / folder} is missing" for folder in source.drawn if not (root / folder).is_dir()]
    if source.archive is not None:
        places = {target: root / target for target in source.archive.take.values()}
        wrong.append(_what_lacks(source.archive, places))
    return next(filter(None, wrong), "")


def _what_lacks(archive: Archive, places: dict[str, Path]) -> str:
    """The same of an archive's folders, each of which lies at ``places``."""

    def place(path: str) -> Path:
        top = next(target for target in places if path == target or path.startswith(f"{target}/"))
        return places[top] / path[len(top) :].lstrip("/")

    for folder in places.values():
        if not folder.is_dir():
            return f"{folder} is missing"
    for path, count in archive.counts.items():
        found = len(os.listdir(place(path))) if place(path).is_dir() else 0
        if found < count:
            return f"{place(path)} has {found} files of {count}"
    wrong = (_wrong_list(item, place(item.target)) for item in archive.lists)
    wrong_members = (_wrong_member(place(path), md5) for path, md5 in archive.members.items())
    return next(filter(None, itertools.chain(wrong, wrong_members)), "")


def _wrong_member(path: Path, md5: str) -> str:
    if not path.is_file():
        return f"{path} is missing"
    found = digests(path, ["md5"])["md5"]
    return f"{path}: md5 {found}, the published file has {md5}" if found != md5 else ""


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
        for folder in source.drawn:
            say(f"{name}: drawing {folder}, some seconds")
            _draw(folder, root, incoming)
        if from_dir is not None:
            _take(source, root, incoming, Path(from_dir).expanduser(), say)
        else:
            for item in source.single:
                _download_one(source, item, root, incoming, say)
            if source.archive is not None:
                _download_archive(source, source.archive, root, incoming, progress, say)
    lacks = what_is_missing(source, root)
    if lacks:
        raise DataError(f"{name}: {lacks}")
    say(f"{name}: in {root}. Licence: {source.licence}")


def verify(name: str, root: Path) -> int:
    """Check what is there: lists by their ids, folders by their files, every label map and set by reading it.

    Returns the number of images and label maps that were read. Raises DataError for the first that is wrong.
    """
    lacks = what_is_missing(find(name), root)
    if lacks:
        raise DataError(f"{name}: {lacks}. '{FETCH_DATA} {name}' gets it")
    read = set()
    for title, needs in segmentation.SOURCES_OF.items():
        if needs[:1] != (name,) or any(what_is_missing(find(other), root) for other in needs):
            continue
        images = segmentation.get(title, root)
        for item in images.ids:
            path = images.image(item)
            if path in read:
                continue
            if images.has_truth:
                images.truth(item)
            else:
                image_size(path)
            read.add(path)
    pictures = 0
    for title, sources in classification.SOURCES_OF.items():
        if name in sources:
            pictures += len(classification.get(title, root))
    return len(read) + pictures


# ---- lists and single files


def _what_is_wrong(item: IdList | GzipFile, path: Path) -> str:
    """Why the file at ``path`` is not the published one, as a sentence; '' if it is."""
    return _wrong_list(item, path) if isinstance(item, IdList) else _wrong_content(item, path)


def _wrong_content(item: GzipFile, path: Path) -> str:
    if not path.is_file():
        return f"{path} is missing"
    try:
        with open_regular(path, MAX_FILE_BYTES) as stream:
            found = _md5_inside(stream)
    except (OSError, EOFError, zlib.error) as error:
        return f"{path}: a damaged gzip file ({why(error)})"
    if not found:
        return f"{path}: more than {MAX_FILE_BYTES} bytes are in it, so it is not the published file"
    if found == item.content_md5:
        return ""
    return f"{path}: the md5 of what is in it is {found}, the published file's is {item.content_md5}"


def _md5_inside(stream: BinaryIO) -> str:
    """MD5 of what is in a gzip file; '' where that is more than any published file has."""
    digest, left = hashlib.md5(), MAX_FILE_BYTES
    unpacked = gzip.GzipFile(fileobj=stream)
    for chunk in iter(lambda: unpacked.read(1 << 20), b""):
        left -= len(chunk)
        if left < 0:
            return ""
        digest.update(chunk)
    return digest.hexdigest()


def _wrong_list(item: IdList, path: Path) -> str:
    """Why the file is not this list, as a sentence; '' if it is."""
    if not path.is_file():
        return f"{path} is missing"
    try:
        words = read_regular(path, MAX_LIST_BYTES).decode("ascii").split()
    except OSError as error:
        return f"{path}: not a list of ids ({error.strerror or error})"
    except UnicodeDecodeError:
        words = []
    ids = sorted(PurePosixPath(word).stem for word in words)
    found = hashlib.sha1("".join(f"{name}\n" for name in ids).encode("ascii")).hexdigest()
    if len(ids) != item.count or item.sha1 not in (None, found):
        expected = f"{item.count} with {item.sha1}" if item.sha1 else f"{item.count}"
        return f"{path}: {len(ids)} ids with sha1 {found}; the published list has {expected}"
    return ""


def _put(item: IdList | GzipFile, staged: Path, root: Path) -> None:
    """Give a file that came its name; DownloadError if it is another."""
    wrong = _what_is_wrong(item, staged)
    if wrong:
        raise DownloadError(wrong)
    target = root / item.target
    with storing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        into_place(staged, target)


def _download_one(source: Source, item: IdList | GzipFile, root: Path, incoming: Path, say: Say) -> None:
    known = None if isinstance(item, IdList) else f"sha256:{item.sha256}"

    def one(url: str, patient: bool) -> None:
        staged = incoming / staged_name(url)
        most = MAX_LIST_BYTES if isinstance(item, IdList) else MAX_FILE_BYTES
        download(url, staged, known, False, patient, most=most)
        try:
            _put(item, staged, root)
        finally:
            if staged.exists():
                staged.unlink()

    if _what_is_wrong(item, root / item.target):
        _try_all(source, item.urls, one, say)


# ---- scenes


def _draw(folder: str, root: Path, incoming: Path) -> None:
    """Draw the scenes of the split that ``folder`` is named after."""
    target, staged = root / folder, incoming / "unpacked" / folder
    if not target.is_dir():
        digit_scenes.write(staged, target.name)
        _into_place(staged, target)
        _forget_unpacked(incoming)


# ---- archives


def _download_archive(
    source: Source, archive: Archive, root: Path, incoming: Path, progress: bool, say: Say
) -> None:
    def one(url: str, patient: bool) -> None:
        staged = incoming / staged_name(url)
        download(url, staged, archive.known_hash, progress, patient, archive.size)
        try:
            _unpack(staged, archive, root, incoming, say)
        except DataError as error:
            raise DownloadError(str(error)) from None
        finally:
            staged.unlink()

    _try_all(source, archive.urls, one, say)


def _try_all(source: Source, urls: Sequence[str], one: Callable[[str, bool], None], say: Say) -> None:
    """Call ``one`` with each address, and whether to be patient, until it succeeds."""

    def get(url: str, patient: bool) -> None:
        say(f"{source.name}: downloading {url}")
        one(url, patient)

    def failure(failed: list[str]) -> DataError:
        left = by_hand(failed, "", [source.page], f"{FETCH_DATA} {source.name}", _names(source))
        return DataError(f"{source.name} ({source.title}): {left}")

    try_each([(url, partial(get, url)) for url in urls], say, failure)


def _names(source: Source) -> list[str]:
    names = [PurePosixPath(item.target).name for item in source.single]
    if source.archive is not None:
        names += [source.archive.file, *source.archive.take]
    return names


def _take(source: Source, root: Path, incoming: Path, folder: Path, say: Say) -> None:
    """From a folder: lists and files by their names, an archive by its name, or folders unpacked there."""
    if not folder.is_dir():
        raise DataError(f"--from-dir {folder}: no such folder")
    for item in source.single:
        _take_one(source, item, root, incoming, folder)
    archive = source.archive
    if archive is None:
        return
    path = folder / archive.file
    if path.is_file():
        _check_archive(path, archive)
        return _unpack(path, archive, root, incoming, say)
    places = {target: _unpacked_at(folder, inside, target) for inside, target in archive.take.items()}
    for (inside, target), place in zip(archive.take.items(), places.values()):
        if place is None:
            raise DataError(f"{folder} has neither {archive.file} nor {' nor '.join({inside: 0, target: 0})}")
    found_places = {target: place.resolve() for target, place in places.items() if place is not None}
    lacks = _what_lacks(archive, found_places)
    if lacks:
        raise DataError(f"{source.name}: {lacks}: {folder} has not all of it")
    for target, place in found_places.items():
        _make_room(root / target)
        (root / target).symlink_to(place, target_is_directory=True)
        say(f"{source.name}: {root / target} is a link to {place}")


def _take_one(source: Source, item: IdList | GzipFile, root: Path, incoming: Path, folder: Path) -> None:
    """A list or a single file out of a folder, packed or not."""
    name = PurePosixPath(item.target).name
    found, copy = folder / name, incoming / f"taken-{name}"
    pack = not found.is_file() and name.endswith(".gz")
    if pack:
        found = folder / name[: -len(".gz")]
    if not found.is_file():
        raise DataError(f"{folder} has no {name}, which '{source.name}' needs")
    try:
        content = read_regular(found, MAX_FILE_BYTES)
    except OSError as error:
        raise DataError(f"{found}: not the published file ({error.strerror or error})") from None
    with storing(copy):
        write_bytes(copy, gzip.compress(content, mtime=0) if pack else content)
    try:
        _put(item, copy, root)
    except NotStoredError:
        raise
    except DownloadError as error:
        raise DataError(str(error).replace(str(copy), str(found))) from None
    finally:
        copy.unlink(missing_ok=True)


def _check_archive(path: Path, archive: Archive) -> None:
    """DataError for a file that has not the size and the strongest hash of the published one."""
    size = path.stat().st_size
    if archive.size not in (None, size):
        raise DataError(f"{path}: {size} bytes, the published file has {archive.size}")
    algorithm, _, expected = (archive.known_hash or "").partition(":")
    found = digests(path, [algorithm])[algorithm] if algorithm else ""
    if found != expected:
        raise DataError(f"{path}: {algorithm} {found}, the published file has {expected}")


def _make_room(target: Path) -> None:
    """Get a place ready for a folder: a link that is there goes; DataError for files that are."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        raise DataError(f"{target} is there, but is not complete: move it away first")


def _unpacked_at(folder: Path, *names: str) -> Path | None:
    """Where one of the paths lies in a folder that may be one of its parents: 'VOCdevkit', 'VOC2012'."""
    for name in names:
        parts = PurePosixPath(name).parts
        for skipped in range(len(parts) + 1):
            inside = folder.joinpath(*parts[skipped:])
            if (not skipped or folder.name == parts[skipped - 1]) and inside.is_dir():
                return inside
    return None


def _unpack(path: Path, archive: Archive, root: Path, incoming: Path, say: Say) -> None:
    """Unpack the folders of ``take`` beside the root and rename them into it. DataError for a damaged one."""
    say(f"unpacking {path.name}")
    need_space(root, path.stat().st_size, path.name)
    workspace = incoming / "unpacked"
    try:
        packed.unpack(path, lambda name: _target_of(name, archive, workspace))
        lacks = _what_lacks(archive, {target: workspace / target for target in archive.take.values()})
        if lacks:
            raise DataError(f"{path}: {lacks.replace(f'{workspace}/', '')} in it")
        os.sync()  # tens of thousands of files, so not one by one
        for target in archive.take.values():
            _merge(workspace / target, root / target)
    except OSError as error:
        raise DataError(f"{path}: could not be unpacked ({error})") from None
    finally:
        _forget_unpacked(incoming)


def _target_of(name: str, archive: Archive, workspace: Path) -> Path | None:
    """Where a file of an archive goes, None if nowhere."""
    clean = str(PurePosixPath(*[part for part in PurePosixPath(name).parts if part != "."]))
    for folder, target in archive.take.items():
        if clean.startswith(f"{folder}/"):
            return workspace / (target + clean[len(folder) :])
    return None


def _merge(source: Path, target: Path) -> None:
    """Rename a folder to its place; into a folder that is there, file by file."""
    if target.is_symlink():
        target.unlink()  # what it leads to is someone's own
    if not target.exists():
        return _into_place(source, target)
    for path in sorted(source.iterdir()):
        if path.is_dir():
            _merge(path, target / path.name)
        else:
            os.replace(path, target / path.name)


def _into_place(source: Path, target: Path) -> None:
    """Rename a folder whose files are on the disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)
    sync_folder(target.parent)


def _forget_unpacked(incoming: Path) -> None:
    """Remove what an interrupted run had unpacked."""
    shutil.rmtree(incoming / "unpacked", ignore_errors=True)
