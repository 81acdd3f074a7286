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
    with pytest.raises(DataError, match="sbd_val.txt: no such list; 'tools/fetch_data.py sbd-lists' gets it"):
        segmentation.get("voc2012-reduced346", root)


def test_missing_files_are_counted(root):
    images = segmentation.get("voc2012-val", root)
    (root / f"VOCdevkit/VOC2012/JPEGImages/{IDS[0]}.jpg").unlink()
    with pytest.raises(DataError, match="1 of 3 images or label maps are missing .*2007_000001"):
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
    with pytest.raises(DataError, match="expected folder:IMAGES:LABELS:CLASSES"):
        segmentation.get("folder:here")


def test_camvid_void(tmp_path):
    save(tmp_path / "camvid/val/a.png", np.zeros((2, 2, 3), np.uint8), "RGB")
    save(tmp_path / "camvid/valannot/a.png", np.array([[0, 10], [11, 11]], np.uint8))
    images = segmentation.get("camvid-val", tmp_path)
    assert images.truth("a").tolist() == [[0, 10], [255, 255]] and len(images.classes) == 11
    with pytest.raises(DataError, match="'tools/fetch_data.py camvid' gets it"):
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


def test_pascal_context_names(tmp_path):
    names = dict(zip(pascal_context.NUMBERS, PASCAL_CONTEXT[1:]))
    names.update({397: "table", 19: "bed clothes", 80: "cloth"})
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"{number}: {name}\n" for number, name in names.items()))
    pascal_context.check_names(path)
    path.write_text(path.read_text().replace("2: aeroplane", "2: accordion"))
    with pytest.raises(DataError, match="class 2 is 'accordion', expected 'aeroplane'"):
        pascal_context.check_names(path)


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
    found = {int(label) for item in here.ids[:40] for label in np.unique(here.truth(item))}
    assert found <= {*range(21), 255}
