"""Sets of images with label maps: VOC2012 and its subsets, PASCAL-Context, CamVid, and one's own folders.

    images = get("voc2012-reduced346", root)      # DataError says what is missing and how to get it
    images.ids, images.image("2007_000033"), images.truth("2007_000033")

A root folder holds what was published under the published names (docs/data.md):

    VOCdevkit/VOC2012/...    VOCdevkit/VOC2010/...    lists/    pascal-context/    camvid/
    VOCdevkit-test/VOC2012/...    sbd/    digit-scenes/
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable, Sequence

import numpy as np

from caffe_gp.datasets import digit_scenes, pascal_context, sbd
from caffe_gp.datasets.class_names import CAMVID, CAMVID_COLOURS, DIGIT_SCENES, PASCAL_CONTEXT, VOC
from caffe_gp.errors import DataError, did_you_mean
from caffe_gp.files import places
from caffe_gp.files.mirrors import FETCH_DATA
from caffe_gp.files.regular import MAX_LIST_BYTES, read_regular
from caffe_gp.images.inputs import images_in
from caffe_gp.images.label_maps import IGNORE, check_label_size, read_label_png
from caffe_gp.images.lists import read_ids, read_lines
from caffe_gp.images.reading import IMAGE_SUFFIXES


@dataclass(frozen=True)
class SegmentationSet:
    """Images with label maps, by id.

    name      as given to ``get``; subsets say of how many
    classes   names of labels 0, 1, ...
    ids       in the published order
    images    folder of the images, ID.jpg or another suffix
    labels    folder of the label maps, ID.png or .mat; None for a set without (VOC test)
    read      turns a label file into (H, W) uint8, 255 where nothing counts
    sources   what has to be fetched for it (``sources.published``)
    background_counts   False where class 0 is no class but 'everything else', so means are over 1.. too
    colours   (red, green, blue) of labels 0, 1, ... in pictures; empty: VOC's
    """

    name: str
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    images: Path
    labels: Path | None
    read: Callable[[Path, int], np.ndarray] = read_label_png
    label_suffix: str = ".png"
    background_counts: bool = True
    colours: tuple[tuple[int, int, int], ...] = ()
    sources: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<SegmentationSet {self.name}: {len(self.ids)} images, {len(self.classes)} classes>"

    @property
    def has_truth(self) -> bool:
        """Whether there are label maps."""
        return self.labels is not None

    def image(self, item: str) -> Path:
        """The image file of an id; DataError if it is not there."""
        for suffix in IMAGE_SUFFIXES:
            for spelt in (suffix, suffix.upper()):
                path = self.images / f"{item}{spelt}"
                if path.is_file():
                    return path
        suffixes = ", ".join(IMAGE_SUFFIXES)
        raise DataError(f"{self.images / item}: no such image ({suffixes}) for set '{self.name}'")

    def label_file(self, item: str) -> Path | None:
        """The label file of an id, or None for a set without; DataError if it is not there."""
        if self.labels is None:
            return None
        for suffix in (self.label_suffix, self.label_suffix.upper()):
            path = self.labels / f"{item}{suffix}"
            if path.is_file():
                return path
        raise DataError(f"{self.labels / item}{self.label_suffix}: no such label map for set '{self.name}'")

    def truth(self, item: str, classes: int | None = None) -> np.ndarray:
        """Ground truth (H, W) uint8, 0..classes-1 or 255; DataError if it is no label map of its image.

        classes   how many labels there may be; default: the set's
        """
        path = self.label_file(item)
        if path is None:
            raise DataError(f"set '{self.name}' has no ground truth")
        labels = self.read(path, classes or len(self.classes))
        check_label_size(path, labels.shape[::-1], self.image(item))
        return labels

    @property
    def list_sha256(self) -> str:
        """SHA-256 of the sorted ids, one a line."""
        return hashlib.sha256(_lines(self.ids)).hexdigest()

    def only(self, ids: Sequence[str], what: str = "chosen") -> SegmentationSet:
        """The part with these ids, in this set's order; DataError for ids that it does not have."""
        wanted = set(ids)
        unknown = sorted(wanted - set(self.ids))
        if unknown:
            raise DataError(f"set '{self.name}' has no {', '.join(unknown[:5])} ({len(unknown)} unknown ids)")
        chosen = tuple(item for item in self.ids if item in wanted)
        if len(chosen) == len(self.ids):
            return self
        return replace(self, name=f"{self.name} ({len(chosen)} {what} of {len(self.ids)})", ids=chosen)

    def listed(self, path: Path, what: str = "listed") -> SegmentationSet:
        """The part that a list names (``images.lists.read_ids``)."""
        return self.only(read_ids(path, self.ids), what)

    def first(self, number: int) -> SegmentationSet:
        """The first images of it."""
        return self.only(self.ids[:number], "first")

    def available(self) -> SegmentationSet:
        """The part whose images and label maps are there; DataError if none is."""
        found = [item for item in self.ids if self._is_there(item)]
        if not found:
            raise DataError(f"{self.images}: none of the {len(self.ids)} images of '{self.name}' is here")
        return self.only(found, "available")

    def check(self) -> SegmentationSet:
        """Itself, if every file is there; DataError with how many are missing and how to get them."""
        lacking = [item for item in self.ids if not self._is_there(item)]
        if lacking:
            how = f"'{FETCH_DATA} {' '.join(self.sources)}' gets them" if self.sources else "Put them there"
            raise DataError(
                f"set '{self.name}': {len(lacking)} of {len(self.ids)} images or label maps "
                f"(NAME{self.label_suffix}) are missing in {self.images} and {self.labels}: "
                f"{', '.join(lacking[:3])}, ... {how}; --available uses the ones that are there"
            )
        return self

    def absolute(self) -> SegmentationSet:
        """The same with absolute paths, for processes with another current folder."""
        labels = None if self.labels is None else self.labels.resolve()
        return replace(self, images=self.images.resolve(), labels=labels)

    def describe(self) -> dict[str, Any]:
        """What a result says about its images."""
        return {"name": self.name, "images": len(self.ids), "list_sha256": self.list_sha256}

    def _is_there(self, item: str) -> bool:
        try:
            return bool(self.image(item)) and (self.labels is None or bool(self.label_file(item)))
        except DataError:
            return False


def _lines(ids: Sequence[str]) -> bytes:
    return "".join(f"{item}\n" for item in sorted(ids)).encode("utf-8")


# ---- the sets by name

REDUCED_SHA1 = "c2e5fe4130ef81fcf4c6a44f05b45be722d54095"


def get(name: str, root: str | os.PathLike | None = None) -> SegmentationSet:
    """The set of this name under ``root`` (default: ``places.data_folder()``).

    ``folder:IMAGES:LABELS:CLASSES`` is a set of one's own: label maps named as the images are, CLASSES a
    number or a text file with a name a line. Raises DataError for an unknown name or missing lists.
    """
    if name.startswith("folder:"):
        return _folder(name)
    if name not in _SETS:
        hint = did_you_mean(name, _SETS, most=2)
        raise DataError(f"unknown data set '{name}'{hint} (known: {', '.join(_SETS)}, folder:...)")
    make, sources = _SETS[name]
    return replace(make(name, Path(root or places.data_folder())), sources=sources)


def _read_list(path: Path, name: str) -> tuple[str, ...]:
    """Ids of a list file for the set ``name``, one a line; a suffix (in some copies of SBD) is dropped."""
    try:
        words = read_regular(path, MAX_LIST_BYTES).decode("ascii").split()
    except FileNotFoundError:
        sources = SOURCES_OF[name]
        how = f"; '{FETCH_DATA} {' '.join(sources)}' gets what '{name}' needs" if sources else ""
        raise DataError(f"{path}: no such list{how}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a list of ids ({error})") from None
    if not words:
        raise DataError(f"{path}: the list is empty")
    return tuple(word[:-4] if word.endswith((".jpg", ".mat", ".png")) else word for word in words)


def _voc(name: str, root: Path, ids: Sequence[str]) -> SegmentationSet:
    devkit = root / "VOCdevkit" / "VOC2012"
    return SegmentationSet(name, VOC, tuple(ids), devkit / "JPEGImages", devkit / "SegmentationClass")


def _val_ids(name: str, root: Path) -> tuple[str, ...]:
    return _read_list(root / "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt", name)


def _voc_val(name: str, root: Path) -> SegmentationSet:
    return _voc(name, root, _val_ids(name, root))


def _reduced_ids(name: str, root: Path) -> tuple[str, ...]:
    """VOC2012 val without what SBD has: the 346 images that no net was trained on."""
    lists = (_read_list(root / f"lists/sbd_{part}.txt", name) for part in ("train", "val"))
    sbd = set().union(*lists)
    ids = tuple(item for item in _val_ids(name, root) if item not in sbd)
    found = hashlib.sha1(_lines(ids)).hexdigest()
    if found != REDUCED_SHA1:
        raise DataError(
            f"{root}: VOC2012 val minus SBD has {len(ids)} ids with sha1 {found}, expected 346 with "
            f"{REDUCED_SHA1}: one of the lists val.txt, sbd_train.txt, sbd_val.txt is not the published one"
        )
    return ids


def _reduced(name: str, root: Path) -> SegmentationSet:
    return _voc(name, root, _reduced_ids(name, root))


def _tuning(name: str, root: Path) -> SegmentationSet:
    reduced = set(_reduced_ids(name, root))
    return _voc(name, root, [item for item in _val_ids(name, root) if item not in reduced])


def _seg11valid(name: str, root: Path) -> SegmentationSet:
    ids = _read_list(root / "lists/seg11valid.txt", name)
    if len(ids) != 736:
        raise DataError(f"{root / 'lists/seg11valid.txt'}: expected 736 ids, found {len(ids)}")
    return _voc(name, root, ids)


def _voc_test(name: str, root: Path) -> SegmentationSet:
    devkit = root / "VOCdevkit-test" / "VOC2012"
    ids = _read_list(devkit / "ImageSets/Segmentation/test.txt", name)
    return SegmentationSet(name, VOC, ids, devkit / "JPEGImages", None)


def _sbd(name: str, root: Path) -> SegmentationSet:
    folder = root / "sbd"
    ids = _read_list(folder / f"{name.split('-')[1]}.txt", name)
    return SegmentationSet(
        name, VOC, ids, folder / "img", folder / "cls", read=sbd.read_labels, label_suffix=".mat"
    )


def _context(name: str, root: Path) -> SegmentationSet:
    devkit = root / "VOCdevkit" / "VOC2010"
    return SegmentationSet(
        name,
        PASCAL_CONTEXT,
        _read_list(devkit / "ImageSets/Main/val.txt", name),
        devkit / "JPEGImages",
        root / "pascal-context" / "trainval",
        read=pascal_context.read_labels,
        label_suffix=".mat",
        background_counts=False,
    )


def _camvid(name: str, root: Path) -> SegmentationSet:
    part = name.split("-")[1]
    images = root / "camvid" / part
    if not images.is_dir():
        raise DataError(f"{images}: no such folder; '{FETCH_DATA} camvid' gets it")
    ids = sorted(path.stem for path in images.iterdir() if path.suffix in IMAGE_SUFFIXES)
    labels = root / "camvid" / f"{part}annot"
    return SegmentationSet(
        name, CAMVID, tuple(ids), images, labels, read=_read_camvid, colours=CAMVID_COLOURS
    )


def _digit_scenes(name: str, root: Path) -> SegmentationSet:
    part = name.split("-")[-1]
    folder = root / "digit-scenes" / part
    ids = tuple(f"{index:04d}" for index in range(digit_scenes.NUMBERS[part]))
    classes, colours = DIGIT_SCENES, digit_scenes.PALETTE
    return SegmentationSet(name, classes, ids, folder / "images", folder / "labels", colours=colours)


def _read_camvid(path: Path, classes: int) -> np.ndarray:
    labels = read_label_png(path, classes + 1)
    labels[labels == classes] = IGNORE
    return labels


OWN_FOLDERS = "folder:IMAGES:LABELS:CLASSES"

# Name -> (what makes the set, what has to be fetched for it; the first holds the label maps).
_SETS: dict[str, tuple[Callable[[str, Path], SegmentationSet], tuple[str, ...]]] = {
    "voc2012-reduced346": (_reduced, ("voc2012", "sbd-lists")),
    "voc2012-val": (_voc_val, ("voc2012",)),
    "voc2012-seg11valid": (_seg11valid, ("voc2012", "seg11valid")),
    "voc2012-tuning": (_tuning, ("voc2012", "sbd-lists")),
    "voc2012-test": (_voc_test, ("voc2012-test",)),
    "pascal-context-val": (_context, ("pascal-context", "voc2010")),
    "sbd-train": (_sbd, ("sbd",)),
    "sbd-val": (_sbd, ("sbd",)),
    "camvid-train": (_camvid, ("camvid",)),
    "camvid-val": (_camvid, ("camvid",)),
    "camvid-test": (_camvid, ("camvid",)),
    "digit-scenes-val": (_digit_scenes, ("digit-scenes",)),
    "digit-scenes-test": (_digit_scenes, ("digit-scenes",)),
}
NAMES = tuple(_SETS)
SOURCES_OF = {name: sources for name, (_, sources) in _SETS.items()}


def _folder(name: str) -> SegmentationSet:
    parts = name.split(":")
    if len(parts) != 4 or not all(parts):
        raise DataError(f"'{name}': expected {OWN_FOLDERS}: two folders, then a number or a file of names")
    images, labels = Path(parts[1]), Path(parts[2])
    classes = _class_names(name, parts[3])
    if not labels.is_dir():
        raise DataError(f"'{name}': {labels}: no such folder of label maps")
    files: dict[str, Path] = {}
    for path in images_in(images):
        if path.stem in files:
            raise DataError(
                f"{path} and {files[path.stem]}: label maps are named after the image, so names must differ"
            )
        files[path.stem] = path
    return SegmentationSet(name, classes, tuple(files), images, labels)


def _class_names(name: str, classes: str) -> tuple[str, ...]:
    """The CLASSES of a ``folder:`` set: a number, or a file with a name a line."""
    if classes.lstrip("+-").isdigit():
        number = int(classes)
        if not 1 <= number <= IGNORE:
            raise DataError(f"'{name}': CLASSES must be 1..{IGNORE} ({IGNORE} is void), found {number}")
        return tuple(map(str, range(number)))
    if not Path(classes).is_file():
        raise DataError(
            f"'{name}': CLASSES is a number or a file with a name a line; there is no file {classes}"
        )
    names = tuple(line for _, line in read_lines(Path(classes)))
    if not 1 <= len(names) <= IGNORE:
        raise DataError(f"{classes}: expected 1 to {IGNORE} names of classes, one a line, found {len(names)}")
    return names
