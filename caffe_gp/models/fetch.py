"""Getting the released weights: from their hosts, from mirrors in other formats, or from a folder.

    path = fetch("fcn-32s")                     # downloads unless it is there
    fetch("fcn-8s", from_dir=folder)            # takes a file that is already on this machine
    verify("fcn-32s")                           # reads it again and compares

A file appears under its name only when it has been checked: against its published hash, or, where none was
published, layer by layer against the net that will read it. Its sha256 is then pinned in weights.lock; a file
that differs later is an error. Whatever is unfinished lies in the folder ``.incoming``, where a later run
finds it and goes on.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from datetime import datetime, timezone
from functools import partial
from pathlib import Path, PurePosixPath

from caffe_gp.errors import CaffeGPError, DataError, DownloadError, WeightsError, printable, quoted
from caffe_gp.files import packed
from caffe_gp.files.atomic import into_place
from caffe_gp.files.checks import (
    MAX_UNKNOWN_BYTES,
    NotStoredError,
    SlowAddressError,
    need_space,
    storing,
    what_is_wrong,
)
from caffe_gp.files.hashes import digests
from caffe_gp.files.mirrors import FETCH_MODELS, Attempt, by_hand, download, try_each
from caffe_gp.files.regular import open_regular
from caffe_gp.files.workplace import Say, staged_name, url_name, workplace
from caffe_gp.files.zips import Zip, is_zip
from caffe_gp.models.weights import (
    LOCK,
    Mirror,
    Pin,
    WeightsFile,
    find,
    path_of,
    read_lock,
    status,
    write_lock,
)
from caffe_gp.proto import read_weights
from caffe_gp.surgery.param_shapes import check_layers


def fetch(
    name: str,
    folder: Path | None = None,
    *,
    from_dir: Path | None = None,
    accept_non_commercial: bool = False,
    progress: bool = True,
    say: Say = print,
) -> Path:
    """The path of the weights of a model (or of the file of this name), which are got if they are not there.

    folder                 of the weights; ``places.models_folder()`` by default
    from_dir               look for the file here, and nowhere else
    accept_non_commercial  the user accepts a licence without commercial use; only asked before a download
    say                    receives what is being done, line by line

    Raises WeightsError with every address tried, why each failed and what to do by hand; CaffeGPError for an
    unknown name or a full disk.
    """
    file = find(name)
    target = path_of(file.name, folder)
    if status(file.name, folder) == "verified":
        return target
    with workplace(target.parent, say) as incoming:
        if target.exists():
            _verify(file, target)
            return target
        if from_dir is not None:
            _take(file, target, incoming, Path(from_dir).expanduser(), say)
        else:
            if file.non_commercial and not accept_non_commercial:
                raise WeightsError(
                    f"{file.name}: licence: {file.licence}. --yes-non-commercial says that you accept this"
                )
            _download(file, target, incoming, progress, say)
        say(f"{file.name}: checked, in {target.parent}. Licence: {file.licence}")
    return target


def verify(name: str, folder: Path | None = None, *, say: Say = print) -> Pin:
    """Read a file that is there from end to end and compare it with its hashes, its net and its pin.

    Returns the pin, made now if there was none. Raises WeightsError.
    """
    file = find(name)
    target = path_of(file.name, folder)
    if not target.exists():
        raise WeightsError(f"{target}: not there")
    if file.name in read_lock(target.parent):
        return _verify(file, target)  # writes nothing
    with workplace(target.parent, say):
        return _verify(file, target)


def _verify(file: WeightsFile, target: Path) -> Pin:
    pin = read_lock(target.parent).get(file.name)
    converted = pin.converted if pin else ""
    try:
        sha256 = _check(file, target, converted)
        return _pin(file, target, sha256, target.parent, "in place", converted)
    except WeightsError as error:
        raise WeightsError(f"{error}. Move the file away and get it again") from None


# ------------------------------------------------------------------------------------ where they come from


def _download(file: WeightsFile, target: Path, incoming: Path, progress: bool, say: Say) -> None:
    """Try every address of the file, then every mirror's."""

    def get(url: str, mirror: Mirror | None, patient: bool) -> None:
        try:
            staged = _retrieve(file, url, mirror, incoming, progress, patient, say)
            _accept(file, target, staged, incoming, url, mirror, say)
        except (SlowAddressError, NotStoredError):
            raise
        except (DownloadError, WeightsError) as error:
            reason = str(error).replace(str(incoming / staged_name(url)), "the file there")
            raise DownloadError(reason) from None

    def failure(failed: list[str]) -> WeightsError:
        pages = file.pages or (["one of these addresses"] if failed else [])
        names = [pattern for pattern, _ in _names(file)]
        command = f"{FETCH_MODELS} {file.name}"
        return WeightsError(f"{file.name}: {by_hand(failed, file.note, pages, command, names)}")

    attempts: list[Attempt] = [(url, partial(get, url, None)) for url in file.urls]
    for mirror in file.mirrors:
        attempts += [(f"{url} ({mirror.format})", partial(get, url, mirror)) for url in mirror.urls]
    try_each(attempts, say, failure)
    _forget(file, incoming)


def _retrieve(
    file: WeightsFile,
    url: str,
    mirror: Mirror | None,
    incoming: Path,
    progress: bool,
    patient: bool,
    say: Say,
) -> Path:
    """Download ``url`` into ``incoming``."""
    known = None
    if mirror is not None:
        known = f"md5:{mirror.md5}" if mirror.md5 else None
    elif file.archive_member is None and file.hashes:
        known = ":".join(next(iter(file.hashes.items())))
    say(f"{file.name}: downloading {url}")
    staged = incoming / staged_name(url)
    itself = mirror is None and file.archive_member is None
    download(url, staged, known, progress, patient, file.size if itself else None)
    return staged


def _take(file: WeightsFile, target: Path, incoming: Path, source: Path, say: Say) -> None:
    """Find the file, an archive of it or a mirror's format of it in the folder ``source``."""
    if not source.is_dir():
        raise WeightsError(f"--from-dir {source}: no such folder")
    tried = []
    for pattern, mirror in _names(file):
        for path in sorted(filter(Path.is_file, source.glob(pattern))):
            say(printable(f"{file.name}: trying {path}"))
            staged = incoming / "taken-file"
            try:
                _link_or_copy(path, staged)
                _accept(file, target, staged, incoming, path.name, mirror, say)
                return _forget(file, incoming)
            except WeightsError as error:
                tried.append(printable(str(error).replace(str(staged), str(path))))
                say(f"  {tried[-1]}")
            finally:
                if staged.exists():
                    staged.unlink()
    if tried:
        lines = (f"  {line}" for one in tried for line in one.split("\n"))
        raise WeightsError(f"{file.name}: no file in {source} is it:", *lines)
    names = ", ".join(pattern for pattern, _ in _names(file))
    raise WeightsError(f"{file.name}: not in {source}, which has none of {names}")


def _names(file: WeightsFile) -> list[tuple[str, Mirror | None]]:
    """Patterns of file names under which people have this file, and the mirror that each belongs to.

    The star stands for what browsers add to a name that is taken: ``name (1).zip``.
    """
    names: list[tuple[str, Mirror | None]] = [(file.name, None)]
    if file.archive_member is not None:
        names += [(url_name(url), None) for url in file.urls]
        if "*" not in file.archive_member:
            names.append((file.archive_member, None))
    names += [(mirror.file, mirror) for mirror in file.mirrors]
    return [("{}*{}".format(*os.path.splitext(glob.escape(name))), mirror) for name, mirror in names]


def _link_or_copy(source: Path, destination: Path) -> None:
    """Hard links save half a gigabyte; other file systems get a copy. WeightsError for what is no file."""
    source = source.resolve()
    destination.unlink(missing_ok=True)
    try:
        with open_regular(source, MAX_UNKNOWN_BYTES) as stream:
            try:
                os.link(source, destination)
            except OSError:
                size = os.fstat(stream.fileno()).st_size
                need_space(destination.parent, size, source.name)
                packed.copy(stream, destination, size)
    except OSError as error:
        raise WeightsError(f"{source}: cannot be read: {error.strerror or error}") from None


# ---------------------------------------------------------------------------------------- accepting a file


def _accept(
    file: WeightsFile,
    target: Path,
    staged: Path,
    incoming: Path,
    origin: str,
    mirror: Mirror | None,
    say: Say,
) -> None:
    """Make the caffemodel of what came (``staged``), check and pin it, and give it its name.

    What is refused is deleted, or the next run would take it for a finished download.
    """
    made = incoming / file.name
    converted = mirror.format if mirror else ""
    try:
        if mirror is not None:
            _convert(file, staged, made, mirror, say)
        elif is_zip(staged):
            _extract(file, staged, made)
        else:
            made = staged
        sha256 = _check(file, made, converted)
        _pin(file, made, sha256, target.parent, origin, converted)
        with storing(target):
            into_place(made, target)
    except WeightsError as error:
        for path in (incoming / file.name, staged):
            path.unlink(missing_ok=True)
        raise WeightsError(str(error).replace(str(incoming / file.name), file.name)) from None


def _extract(file: WeightsFile, archive: Path, out: Path) -> None:
    """Copy the member out of the zip. The zip's own checksum is compared on the way."""
    pattern = file.archive_member or file.name
    most = file.size or MAX_UNKNOWN_BYTES
    with packed.reading(archive, WeightsError), Zip(archive) as members:
        files = [entry for entry in members.infolist() if not entry.is_dir()]
        found = [entry for entry in files if _matches(entry.filename, pattern)]
        if len(found) != 1:
            held = ", ".join(quoted(entry.filename, 40) for entry in files[:8])
            raise DataError(f"{len(found)} files named '{pattern}' among {held}")
        size = found[0].file_size
        if size > most:
            raise DataError(
                f"{quoted(found[0].filename, 40)} in it has {size} bytes; at most {most} are taken"
            )
        need_space(out.parent, size, file.name)
        with members.open(found[0]) as source:
            packed.copy(source, out, size)


def _matches(member: str, pattern: str) -> bool:
    path = PurePosixPath(member)
    return "__MACOSX" not in path.parts and fnmatch.fnmatchcase(path.name, pattern)


def _convert(file: WeightsFile, staged: Path, out: Path, mirror: Mirror, say: Say) -> None:
    """Make the caffemodel from a mirror's file."""
    from caffe_gp.models.convert import convert_file

    with open_regular(staged) as stream:
        wrong = what_is_wrong(stream.read(512))
    if wrong:
        raise WeightsError(f"{staged}: {wrong}")
    if mirror.md5 and digests(staged, ["md5"])["md5"] != mirror.md5:
        raise WeightsError(f"{staged}: not the published {mirror.file} (expected md5 {mirror.md5})")
    need_space(out.parent, 4 * file.parameters, file.name)
    say(f"{file.name}: converting {mirror.file} ({mirror.format})")
    try:
        convert_file(staged, out, file.models[0].name, mirror.format)
    except CaffeGPError as error:
        raise WeightsError(str(error)) from None


def _check(file: WeightsFile, path: Path, converted: str) -> str:
    """The sha256 of a caffemodel that is this file; WeightsError otherwise.

    A published hash settles it. Without one, or after conversion, the layers have to be those of the nets.
    """
    published = {} if converted else file.hashes
    if not published:
        check_layers(path, [model.net() for model in file.models])
    found = digests(path, ["sha256", *published])
    for algorithm, expected in published.items():
        if found[algorithm] != expected:
            read_weights(path).close()  # a page or a cut-off file says so itself
            raise WeightsError(
                f"{path}: {algorithm} {found[algorithm]}; the published file has {expected}. It is damaged, "
                "or another file"
            )
    if not converted and file.size is not None and path.stat().st_size != file.size:
        raise WeightsError(f"{path}: {path.stat().st_size} bytes; the published file has {file.size}")
    return found["sha256"]


def _pin(file: WeightsFile, path: Path, sha256: str, folder: Path, origin: str, converted: str) -> Pin:
    """Write down what was accepted, or compare with what was written down before.

    The authors' own file takes the place of one that was converted from a mirror.
    """
    pins = read_lock(folder)
    pin = pins.get(file.name)
    if pin is None or pin.converted and not converted:
        date = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        pin = pins[file.name] = Pin(sha256, path.stat().st_size, origin, date, converted)
        write_lock(folder, pins)
    elif pin.sha256 != sha256:
        raise WeightsError(
            f"{path}: sha256 {sha256}; pinned in {folder / LOCK} on {pin.date}: {pin.sha256} ({pin.url}). If "
            "the new file is right, delete the entry there"
        )
    return pin


def _forget(file: WeightsFile, incoming: Path) -> None:
    """Delete what is left of this file's downloads."""
    for url in [*file.urls, *(url for mirror in file.mirrors for url in mirror.urls)]:
        for path in incoming.glob(f"{staged_name(url)}*"):
            path.unlink()
