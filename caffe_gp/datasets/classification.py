"""Sets of images with a class each: MNIST, CIFAR-10, and one's own folders.

    digits = get("mnist-test", root)              # DataError says what is missing and how to get it
    digits.images[0], digits.labels[0]            # (28, 28, 1) uint8 and a number
    learning, tuning = get("mnist-train").split()

A root folder holds what was published under the published names (docs/data.md):

    mnist/train-images-idx3-ubyte.gz ...    cifar-10-batches-py/ or cifar-10-batches-bin/
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Callable, Sequence

import numpy as np

from caffe_gp.datasets import cifar
from caffe_gp.datasets.class_names import CIFAR10, DIGITS
from caffe_gp.errors import DataError, did_you_mean, why
from caffe_gp.files import places
from caffe_gp.files.mirrors import FETCH_DATA
from caffe_gp.files.regular import open_regular
from caffe_gp.images.inputs import images_in
from caffe_gp.images.reading import read_image

# Images of a training set that are kept from training: eps and every other choice is tuned on these.
TUNING = 5000

MAX_IDX_BYTES = 64 << 20  # MNIST has 47 MB
_IDX_IMAGES, _IDX_LABELS = 0x00000803, 0x00000801


@dataclass(frozen=True, eq=False)
class ClassificationSet:
    """Images of one size with a class each, in memory.

    name     as given to ``get``; subsets say of how many
    classes  names of labels 0, 1, ...
    images   (N, H, W, C) uint8, C = 1 grey or 3: red, green, blue
    labels   (N,) int64
    Raises DataError for arrays that are not this.
    """

    name: str
    classes: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray

    def __repr__(self) -> str:
        return f"<ClassificationSet {self.name}: images {self.images.shape}, {len(self.classes)} classes>"

    def __post_init__(self) -> None:
        shape = self.images.shape
        if self.images.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or not shape[0]:
            raise DataError(
                f"set '{self.name}': images are (N, H, W, 1 or 3) uint8, found {shape} {self.images.dtype}"
            )
        if self.labels.dtype != np.int64 or self.labels.shape != shape[:1]:
            raise DataError(
                f"set '{self.name}': {shape[0]} labels, int64; found {self.labels.shape} {self.labels.dtype}"
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise DataError(
                f"set '{self.name}': labels must be 0..{len(self.classes) - 1}, found {low}..{high}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def part(self, indices: Sequence[int] | np.ndarray, what: str = "chosen") -> ClassificationSet:
        """The images with these indices, in their order; DataError for indices outside and for none."""
        chosen = np.asarray(indices, np.int64).reshape(-1)
        outside = chosen[(chosen < 0) | (chosen >= len(self))]
        if outside.size:
            raise DataError(f"set '{self.name}' has images 0..{len(self) - 1}, asked for {outside[0]}")
        name = f"{self.name} ({len(chosen)} {what} of {len(self)})"
        return ClassificationSet(name, self.classes, self.images[chosen], self.labels[chosen])

    def first(self, number: int) -> ClassificationSet:
        """The first images of it; itself where it has no more. DataError for fewer than one."""
        if number < 1:
            raise DataError(f"set '{self.name}': the first {number} of its images are none")
        return self if number >= len(self) else self.part(range(number), "first")

    def split(self, tuning: int = TUNING) -> tuple[ClassificationSet, ClassificationSet]:
        """(images to learn from, ``tuning`` images to tune on), of a training set.

        Chosen at random, the same ones every time, because some sets are sorted by class; both parts keep the
        set's order. DataError when nothing would be left.
        """
        if not 0 < tuning < len(self):
            raise DataError(f"set '{self.name}': {tuning} of its {len(self)} images cannot be held out")
        order = np.random.RandomState(0).permutation(len(self))
        learning, held_out = np.sort(order[tuning:]), np.sort(order[:tuning])
        return self.part(learning, "to learn from"), self.part(held_out, "to tune on")

    def describe(self) -> dict[str, Any]:
        """What a result says about its images; the hash is of the images' bytes, then of the labels'."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(np.ascontiguousarray(self.labels, "<i8").data)
        return {"name": self.name, "images": len(self), "sha256": digest.hexdigest()}


def get(name: str, root: str | os.PathLike | None = None) -> ClassificationSet:
    """The set of this name under ``root`` (default: ``places.data_folder()``).

    ``folder:DIR`` is a set of one's own: a sub-folder a class, images of one size in it, both in the order of
    their names. Raises DataError for an unknown name, missing files and files that are not what they should
    be.
    """
    if name.startswith("folder:"):
        return _folder(Path(name.partition(":")[2]).expanduser())
    if name not in _SETS:
        hint = did_you_mean(name, _SETS, most=2)
        raise DataError(f"unknown data set '{name}'{hint} (known: {', '.join(_SETS)}, folder:DIR)")
    make, _ = _SETS[name]
    return make(name, Path(root or places.data_folder()))


# ---- MNIST: idx files


def _mnist(name: str, root: Path) -> ClassificationSet:
    stem, number = {"mnist-train": ("train", 60_000), "mnist-test": ("t10k", 10_000)}[name]
    images = read_idx(_plain_or_packed(root / "mnist" / f"{stem}-images-idx3-ubyte"))
    labels = read_idx(_plain_or_packed(root / "mnist" / f"{stem}-labels-idx1-ubyte"))
    if images.shape != (number, 28, 28) or labels.shape != (number,):
        raise DataError(
            f"{root / 'mnist'}: '{name}' has {number} images of 28 x 28 and as many labels, found images "
            f"{images.shape} and labels {labels.shape}"
        )
    return ClassificationSet(name, DIGITS, images[..., np.newaxis], labels.astype(np.int64))


def _plain_or_packed(path: Path) -> Path:
    packed = path.with_name(f"{path.name}.gz")
    if not packed.is_file() and not path.is_file():
        raise DataError(f"{packed}: no such file; '{FETCH_DATA} mnist' gets it")
    return packed if packed.is_file() else path


def read_idx(path: Path) -> np.ndarray:
    """An idx file of bytes, plain or gzip: images (N, H, W) uint8 or labels (N,) uint8.

    Raises DataError for a damaged file, another kind of idx, and a size that is not what its header says.
    """
    try:
        with open_regular(path, MAX_IDX_BYTES) as stream:
            return _idx_array(path, gzip.GzipFile(fileobj=stream) if path.suffix == ".gz" else stream)
    except OSError as error:
        raise DataError(f"{path}: not a readable file ({error.strerror or why(error)})") from None
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path}: not a readable file ({why(error)})") from None


def _idx_array(path: Path, stream: BinaryIO | gzip.GzipFile) -> np.ndarray:
    """Reads no more than the header says, however much is packed behind it."""
    magic = int.from_bytes(stream.read(4), "big")
    if magic not in (_IDX_IMAGES, _IDX_LABELS):
        raise DataError(
            f"{path}: expected an idx file of bytes, magic 0x{_IDX_IMAGES:08x} or 0x{_IDX_LABELS:08x}, found "
            f"0x{magic:08x}"
        )
    dimensions = 3 if magic == _IDX_IMAGES else 1
    sides = stream.read(4 * dimensions)
    shape = tuple(int(side) for side in np.frombuffer(sides.ljust(4 * dimensions, b"\0"), ">u4"))
    count = math.prod(shape)
    if count > MAX_IDX_BYTES:
        raise DataError(f"{path}: its header says {shape}; at most {MAX_IDX_BYTES} bytes are read")
    content = stream.read(count + 1)
    if len(content) != count or len(sides) < 4 * dimensions:
        found = f"{4 + len(sides) + len(content)}" if len(content) <= count else "more"
        expected = 4 + 4 * dimensions + count
        raise DataError(f"{path}: its header says {shape}, {expected} bytes in all; found {found}")
    return np.frombuffer(content, np.uint8).reshape(shape)


# ---- CIFAR-10


def _cifar10(name: str, root: Path) -> ClassificationSet:
    images, labels = cifar.read(root, name.split("-")[1])
    return ClassificationSet(name, CIFAR10, images, labels)


# ---- one's own


def _folder(folder: Path) -> ClassificationSet:
    """The set in a folder; it is called by the folder's last two names, not by where these lie."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    places = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not places:
        raise DataError(f"{folder}: expected a sub-folder for each class, found none")
    images: list[np.ndarray] = []
    labels: list[int] = []
    for label, place in enumerate(places):
        for path in images_in(place):
            image = np.asarray(read_image(path))
            if images and image.shape != images[0].shape:
                size, found = images[0].shape, image.shape
                raise DataError(
                    f"{path}: {found[1]} x {found[0]}; the images of a set have one size, here {size[1]} x "
                    f"{size[0]} as its first"
                )
            images.append(image)
            labels.append(label)
    stack = np.stack(images)
    if np.array_equal(stack[..., 0], stack[..., 1]) and np.array_equal(stack[..., 0], stack[..., 2]):
        stack = stack[..., :1].copy()  # grey
    parts = folder.resolve().parts[-2:]
    classes = tuple(place.name for place in places)
    return ClassificationSet(f"folder:{'/'.join(parts)}", classes, stack, np.array(labels, np.int64))


# Name -> (what makes the set, what can be fetched for it; any one of them is enough).
_SETS: dict[str, tuple[Callable[[str, Path], ClassificationSet], tuple[str, ...]]] = {
    "mnist-train": (_mnist, ("mnist",)),
    "mnist-test": (_mnist, ("mnist",)),
    "cifar10-train": (_cifar10, ("cifar10", "cifar10-binary")),
    "cifar10-test": (_cifar10, ("cifar10", "cifar10-binary")),
}
NAMES = tuple(_SETS)
SOURCES_OF = {name: sources for name, (_, sources) in _SETS.items()}
