"""The sets on small folders in the published layout, their errors, and the real lists and images."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from caffe_gp.datasets import pascal_context, segmentation
from caffe_gp.datasets.class_names import PASCAL_CONTEXT
from caffe_gp.errors import DataError
from caffe_gp.images.reading import IMAGE_SUFFIXES

pytestmark = pytest.mark.engine

IDS = ("2007_000001", "2007_000002", "2008_000003")


def save(path, array, mode="P"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array, "RGB" if mode == "RGB" else "L").save(path)


@pytest.fixture
def root(tmp_path):
    """VOC2012 with three validation images, the second of which SBD has."""
    devkit = tmp_path / "VOCdevkit/VOC2012"
    (devkit / "ImageSets/Segmentation").mkdir(parents=True)
    (devkit / "ImageSets/Segmentation/val.txt").write_text("\n".join(IDS) + "\n")
    for number, item in enumerate(IDS):
        save(devkit / f"JPEGImages/{item}.jpg", np.zeros((4 + number, 6, 3), np.uint8), "RGB")
        truth = np.full((4 + number, 6), number, np.uint8)
        truth[0] = 255
        save(devkit / f"SegmentationClass/{item}.png", truth)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/sbd_train.txt").write_text("2007_000002\n2007_999999\n")
    (tmp_path / "lists/sbd_val.txt").write_text("2008_123456.jpg\n")
    return tmp_path


def test_voc_val(root):
    images = segmentation.get("voc2012-val", root).check()
    assert images.ids == IDS and len(images) == 3 and images.has_truth
    assert images.truth(IDS[2]).shape == (6, 6) and images.truth(IDS[2])[1, 0] == 2
    assert images.list_sha256 == hashlib.sha256("".join(f"{i}\n" for i in IDS).encode()).hexdigest()
    part = images.only([IDS[2], IDS[0]])
    assert part.ids == (IDS[0], IDS[2]) and "2 chosen of 3" in part.name
    with pytest.raises(DataError, match="1 unknown ids"):
        images.only(["nobody"])


def test_the_reduced_set_is_val_minus_sbd(root, monkeypatch):
    with pytest.raises(DataError, match="has 2 ids with sha1 .*, expected 346"):
        segmentation.get("voc2012-reduced346", root)
    left = "2007_000001\n2008_000003\n"
    monkeypatch.setattr(segmentation, "REDUCED_SHA1", hashlib.sha1(left.encode()).hexdigest())
    assert segmentation.get("voc2012-reduced346", root).ids == (IDS[0], IDS[2])
    assert segmentation.get("voc2012-tuning", root).ids == (IDS[1],)
    (root / "lists/sbd_val.txt").unlink()
    with pytest.raises(DataError, match="sbd_val.txt: no such list; 'caffe_gp fetch data voc2012 sbd-lists'"):
        segmentation.get("voc2012-reduced346", root)


def test_missing_files_are_counted(root):
    images = segmentation.get("voc2012-val", root)
    (root / f"VOCdevkit/VOC2012/JPEGImages/{IDS[0]}.jpg").unlink()
    with pytest.raises(DataError, match="1 of 3 .* missing .*2007_000001.*caffe_gp fetch data voc2012'"):
        images.check()
    assert images.available().ids == IDS[1:] and "2 available of 3" in images.available().name


@pytest.mark.parametrize(
    ("truth", "message"),
    (
        (np.zeros((4, 5), np.uint8), "labels of 5 x 4 for an image of 6 x 4"),
        (np.full((4, 6), 21, np.uint8), "0..20 or 255, found .21."),
        (np.zeros((4, 6, 3), np.uint8), "palette colours"),
    ),
)
def test_wrong_label_maps_are_refused(root, truth, message):
    save(root / f"VOCdevkit/VOC2012/SegmentationClass/{IDS[0]}.png", truth, "RGB" if truth.ndim == 3 else "P")
    with pytest.raises(DataError, match=message):
        segmentation.get("voc2012-val", root).truth(IDS[0])


def test_names():
    with pytest.raises(DataError, match="did you mean voc2012-reduced346"):
        segmentation.get("voc2012-reduced")


def test_own_folders(tmp_path):
    save(tmp_path / "images/a.png", np.zeros((3, 4, 3), np.uint8), "RGB")
    save(tmp_path / "labels/a.png", np.ones((3, 4), np.uint8))
    (tmp_path / "names.txt").write_text("sky\nsea\n\n")
    for classes, names in (("3", ("0", "1", "2")), (str(tmp_path / "names.txt"), ("sky", "sea"))):
        own = segmentation.get(f"folder:{tmp_path / 'images'}:{tmp_path / 'labels'}:{classes}")
        assert own.classes == names and own.ids == ("a",) and own.truth("a").all()
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "images/B.JPG")
    save(tmp_path / "labels/B.png", np.ones((3, 4), np.uint8))
    own = segmentation.get(f"folder:{tmp_path / 'images'}:{tmp_path / 'labels'}:3").check()
    assert own.ids == ("B", "a") and own.image("B").name == "B.JPG"
    (tmp_path / "ids.txt").write_bytes(b"\xef\xbb\xbfimages\\B.JPG 1\r\n")
    assert own.listed(tmp_path / "ids.txt").ids == ("B",)
    (tmp_path / "images/B.JPG").rename(tmp_path / "images/M\u00fcller 1.JPG")
    own = segmentation.get(f"folder:{tmp_path / 'images'}:{tmp_path / 'labels'}:3")
    assert own.describe()["list_sha256"] == hashlib.sha256("M\u00fcller 1\na\n".encode()).hexdigest()


@pytest.mark.parametrize(
    ("spec", "message"),
    (
        ("folder:images", "expected folder:IMAGES:LABELS:CLASSES"),
        ("folder:images::3", "expected folder:IMAGES:LABELS:CLASSES"),
        ("folder:nope:labels:3", "nope: no such folder"),
        ("folder:images:nope:3", "nope: no such folder of label maps"),
        ("folder:images:labels:0", "CLASSES must be 1..255 .*, found 0"),
        ("folder:images:labels:-2", "CLASSES must be 1..255 .*, found -2"),
        ("folder:images:labels:300", "CLASSES must be 1..255 .*, found 300"),
        ("folder:images:labels:x", "CLASSES is a number or a file with a name a line; there is no file x"),
        (
            "folder:images:labels:empty.txt",
            "empty.txt: expected 1 to 255 names of classes, one a line, found 0",
        ),
        ("folder:twice:labels:3", "a.png and twice/a.jpg: .* names must differ"),
    ),
)
def test_own_folders_that_are_none(tmp_path, monkeypatch, spec, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels").mkdir()
    (tmp_path / "empty.txt").write_text("\n")
    for name in ("images/a.png", "twice/a.jpg", "twice/a.png"):
        save(tmp_path / name, np.zeros((3, 4, 3), np.uint8), "RGB")
    with pytest.raises(DataError, match=message):
        segmentation.get(spec)


def test_camvid_void(tmp_path):
    save(tmp_path / "camvid/val/a.png", np.zeros((2, 2, 3), np.uint8), "RGB")
    save(tmp_path / "camvid/valannot/a.png", np.array([[0, 10], [11, 11]], np.uint8))
    images = segmentation.get("camvid-val", tmp_path)
    assert images.truth("a").tolist() == [[0, 10], [255, 255]] and len(images.classes) == 11
    with pytest.raises(DataError, match="'caffe_gp fetch data camvid' gets it"):
        segmentation.get("camvid-test", tmp_path)


def test_pascal_context(tmp_path):
    assert len(PASCAL_CONTEXT) == 60 and len(set(pascal_context.NUMBERS)) == 59
    (tmp_path / "VOCdevkit/VOC2010/ImageSets/Main").mkdir(parents=True)
    (tmp_path / "VOCdevkit/VOC2010/ImageSets/Main/val.txt").write_text("x\n")
    save(tmp_path / "VOCdevkit/VOC2010/JPEGImages/x.jpg", np.zeros((2, 3, 3), np.uint8), "RGB")
    (tmp_path / "pascal-context/trainval").mkdir(parents=True)
    path = tmp_path / "pascal-context/trainval/x.mat"
    savemat(path, {"LabelMap": np.array([[2, 458, 397], [1, 459, 19]], np.uint16)})
    images = segmentation.get("pascal-context-val", tmp_path)
    named = [[PASCAL_CONTEXT[label] for label in row] for row in images.truth("x")]
    assert named == [["aeroplane", "wood", "diningtable"], ["background", "background", "bedcloth"]]
    assert not images.background_counts
    path.write_bytes(b"not a mat file")
    with pytest.raises(DataError, match=r"x.mat: not a readable .mat file"):
        images.truth("x")


# Each class with its number among the 459, as the FCN authors' two lists of names give it.
PUBLISHED = """
    aeroplane 2 bicycle 23 bird 25 boat 31 bottle 34 bus 45 car 59 cat 65 chair 72 cow 98
    diningtable 397 dog 113 horse 207 motorbike 258 person 284 pottedplant 308 sheep 347 sofa 368
    train 416 tvmonitor 427 bag 9 bed 18 bench 22 book 33 building 44 cabinet 46 ceiling 68 clothes
    80 computer 85 cup 104 door 115 fence 144 floor 158 flower 159 food 162 grass 187 ground 189
    keyboard 220 light 232 mountain 259 mouse 260 curtain 105 platform 296 sign 355 plate 295 road
    324 rock 326 shelves 349 sidewalk 354 sky 360 snow 366 bedcloth 19 track 415 tree 420 truck 424
    wall 440 water 445 window 454 wood 458
""".split()


def test_pascal_context_numbers():
    to_60 = pascal_context.table()
    named = [PASCAL_CONTEXT[to_60[int(number)]] for number in PUBLISHED[1::2]]
    assert named == PUBLISHED[::2] == list(PASCAL_CONTEXT[1:]) and (to_60 > 0).sum() == 59


def test_sbd(tmp_path):
    for folder in ("img", "cls"):
        (tmp_path / "sbd" / folder).mkdir(parents=True)
    (tmp_path / "sbd/train.txt").write_text("2008_000008\n")
    save(tmp_path / "sbd/img/2008_000008.jpg", np.zeros((2, 3, 3), np.uint8), "RGB")
    path = tmp_path / "sbd/cls/2008_000008.mat"
    savemat(path, {"GTcls": {"Segmentation": np.array([[0, 20, 3], [1, 1, 0]], np.uint8), "Boundaries": 0}})
    images = segmentation.get("sbd-train", tmp_path).check()
    assert images.truth("2008_000008").tolist() == [[0, 20, 3], [1, 1, 0]]
    for content, message in (
        ({"GTcls": {"Segmentation": np.full((2, 3), 21, np.uint8)}}, "must be 0..20, found 21..21"),
        ({"GTcls": {"Segmentation": np.zeros((3, 3), np.uint8)}}, "labels of 3 x 3 for an image of 3 x 2"),
        ({"GTcls": {"Boundaries": 0}}, "expected 'GTcls.Segmentation'"),
        ({"GTinst": {"Segmentation": np.zeros((2, 3), np.uint8)}}, "expected 'GTcls.Segmentation'"),
    ):
        savemat(path, content)
        with pytest.raises(DataError, match=message):
            images.truth("2008_000008")


def test_the_real_reduced_set(shared_data, tmp_path):
    """The published fingerprint from the published lists, and every label map that is here."""
    source = shared_data / "voc2012"
    (tmp_path / "VOCdevkit").symlink_to(source / "VOCdevkit")
    (tmp_path / "lists").mkdir()
    for part, file in (("train", "sds_train5623.txt"), ("val", "sds_val5732.txt")):
        (tmp_path / f"lists/sbd_{part}.txt").symlink_to(source / "lists" / file)
    reduced = segmentation.get("voc2012-reduced346", tmp_path)
    assert len(reduced) == 346
    here = reduced.available()
    assert list(here.ids) == (source / "lists/available_of_346.txt").read_text().split()
    assert list(reduced.ids) == (source / "lists/reducedval346.txt").read_text().split()
    counts = sum(np.bincount(here.truth(item).ravel(), minlength=256) for item in here.ids)
    assert len(here) == 326 and (counts[:21] > 0).all() and counts[21:255].sum() == 0
    assert 0.6 < counts[0] / counts[:21].sum() < 0.8 and 0.02 < counts[255] / counts.sum() < 0.1


def test_image_suffixes():
    """What is read in the same way everywhere; of two files of one id the JPEG is taken."""
    known = {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".gif", ".webp"}
    assert set(IMAGE_SUFFIXES) == known
    assert IMAGE_SUFFIXES[:2] == (".jpg", ".png")
