"""The released weight files: what manifest.json says about them, where they lie, what is known of them.

    file = weights.find("fcn-32s")          # by model or by file name
    file.licence, file.parameters, file.scores
    weights.require("fcn-32s")              # its path, or an error that says how to get it

Getting them is ``caffe_gp.models.fetch`` (``caffe_gp fetch models``). Weights of nets that are trained here
come with the project: models/NAME/NAME.caffemodel.
"""

from __future__ import annotations

import functools
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from caffe_gp.errors import DataError, UsageError, WeightsError, did_you_mean, printable
from caffe_gp.files import manifest, places
from caffe_gp.files.json_files import MAX_JSON_BYTES, write_json
from caffe_gp.files.mirrors import FETCH_MODELS
from caffe_gp.files.regular import read_regular
from caffe_gp.models import zoo

LOCK = "weights.lock"
# Names a manifest whose entries take the place of the package's: a mirror of one's own, or stand-ins.
MANIFEST_VARIABLE = "CAFFE_GP_WEIGHTS_MANIFEST"
HASHES = ("sha256", "sha1", "md5")  # strongest first


@dataclass(frozen=True)
class Score:
    """A published mean IU of the plain net, in percent, on a named set of images."""

    mean_iu: float
    on: str
    source: str


@dataclass(frozen=True)
class Mirror:
    """The same weights in another format, for ``caffe_gp.models.convert``.

    format  its name there
    file    what the download is called; found under this name in ``--from-dir``
    urls    in the order in which they are tried
    md5     published, or None
    """

    format: str
    file: str
    urls: tuple[str, ...]
    md5: str | None
    source: str


@dataclass(frozen=True)
class WeightsFile:
    """One released caffemodel. Values nobody published are None.

    name            in the weights folder
    urls            in the order in which they are tried
    archive_member  the file, or a pattern for it, inside the zip at the URLs; None: they are the caffemodel
    size            bytes
    parameters      float32 values that its nets read from it, shared ones counted once
    non_commercial  its licence forbids commercial use: downloaded only for who says that this is accepted
    pages           for people with a browser
    stand_in        not the released weights but others in their place, for trials: results say so
    """

    name: str
    urls: tuple[str, ...]
    archive_member: str | None
    size: int | None
    sha1: str | None
    md5: str | None
    sha256: str | None
    parameters: int
    licence: str
    non_commercial: bool
    scores: tuple[Score, ...]
    source: str
    pages: tuple[str, ...]
    note: str
    mirrors: tuple[Mirror, ...]
    stand_in: bool = False

    @property
    def hashes(self) -> dict[str, str]:
        """The published hashes by algorithm, strongest first."""
        return {name: getattr(self, name) for name in HASHES if getattr(self, name)}

    @property
    def is_published(self) -> bool:
        """Whether there is an address to download it from; otherwise it comes through --from-dir only."""
        return bool(self.urls or self.mirrors)

    @property
    def models(self) -> list[zoo.Model]:
        """The models of the zoo that read this file, the one with most parameters first."""
        users = [model for model in zoo.MODELS.values() if model.weights == self.name]
        return sorted(users, key=lambda model: -model.parameters)


@dataclass(frozen=True)
class Pin:
    """What was found when a file was accepted: an entry of weights.lock.

    url        where it came from: an address, the name of a file from --from-dir, or 'in place'
    date       ISO 8601, UTC
    converted  the mirror's format when the file was made from one, else ''; published hashes are then not its
    """

    sha256: str
    size: int
    url: str
    date: str
    converted: str = ""


@functools.lru_cache(maxsize=None)
def released() -> dict[str, WeightsFile]:
    """Every released file by name. DataError, naming file and field, for a manifest that is damaged."""
    known = {model.weights for model in zoo.MODELS.values() if model.weights}
    files = {}
    path = Path(__file__).with_name("manifest.json")
    for where, entry in manifest.entries(path, MANIFEST_VARIABLE, "files"):
        made = {
            name: tuple(
                manifest.record(kind, item, f"{where}, {name}[{number}]")
                for number, item in enumerate(manifest.objects(entry, name, where))
            )
            for name, kind in (("scores", Score), ("mirrors", Mirror))
        }
        file = manifest.record(WeightsFile, entry, where, made)
        if file.name not in known:
            raise DataError(
                f"{where}, 'name': no model reads {file.name} (known: {', '.join(sorted(known))})"
            )
        files[file.name] = file
    return files


def find(name: str) -> WeightsFile:
    """The file of this name, or the one that the model of this name reads. Raises UsageError."""
    files = released()
    if name in files:
        return files[name]
    if name in zoo.named():
        weights = zoo.named()[name].weights
        if weights is None:
            raise UsageError(
                f"nobody released weights for the model '{name}': 'caffe_gp train {name}' makes some"
            )
        return files[weights]
    known = [*(model for model, entry in zoo.MODELS.items() if entry.weights), *files]
    hint = did_you_mean(name, known)
    raise UsageError(f"'{name}' is neither a model nor a weights file{hint} (known: {', '.join(known)})")


def path_of(name: str, folder: Path | None = None) -> Path:
    """Where the file of a model (or the file of this name) lies once it is there. Raises UsageError."""
    return (folder or places.models_folder()) / find(name).name


def require(name: str, folder: Path | None = None) -> Path:
    """The weights of a model, which are there: ``path_of`` its file, or those that were trained here.

    Raises WeightsError with the command that gets or makes them otherwise.
    """
    if name in zoo.MODELS and zoo.MODELS[name].weights is None:
        return _trained_here(name, folder)
    path = path_of(name, folder)
    if not path.is_file():
        raise WeightsError(
            f"{path}: the weights of '{name}' are not there. Get them with '{FETCH_MODELS} {name}', "
            "or from a file that you have with '--from-dir FOLDER'; CAFFE_GP_MODELS names another folder"
        )
    return path


def _trained_here(name: str, folder: Path | None) -> Path:
    """Those that ship with the package, or those that were trained into the weights folder since."""
    shipped = places.shipped("models", name, f"{name}.caffemodel")
    trained = (folder or places.models_folder()) / name / shipped.name
    for path in (shipped, trained):
        if path.is_file():
            return path
    raise WeightsError(f"{shipped}: not there, nor {trained}; 'caffe_gp train {name}' trains it")


def status(name: str, folder: Path | None = None) -> str:
    """'missing', 'present' (never checked), 'verified' (checked and pinned) or 'changed' (since then).

    By name and size only; ``fetch.verify`` reads the whole file.
    """
    path = path_of(name, folder)
    if not path.is_file():
        return "missing"
    pin = read_lock(path.parent).get(path.name)
    if pin is None:
        return "present"
    return "verified" if pin.size == path.stat().st_size else "changed"


def read_lock(folder: Path) -> dict[str, Pin]:
    """The pins of a weights folder, by file name. Raises WeightsError when weights.lock is damaged."""
    path = folder / LOCK
    try:
        entries: dict[str, Any] = json.loads(read_regular(path, MAX_JSON_BYTES))
        return {name: manifest.record(Pin, entry, printable(name)) for name, entry in entries.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError, DataError) as error:
        raise WeightsError(
            f"{path}: damaged ({error}). Delete it: the files beside it are then checked and pinned anew"
        ) from None


def write_lock(folder: Path, pins: dict[str, Pin]) -> None:
    """Replace the pins of a weights folder."""
    write_json(folder / LOCK, {name: asdict(pins[name]) for name in sorted(pins)})
