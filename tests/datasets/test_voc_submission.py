"""The archive for VOC's server: its layout, and every way in which it could be wrong."""

from __future__ import annotations

import tarfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from caffe_gp.datasets.segmentation import SegmentationSet
from caffe_gp.datasets.voc_submission import write_archive
from caffe_gp.errors import DataError
from caffe_gp.images.label_maps import save_label_png

pytestmark = pytest.mark.engine


@pytest.fixture
def images(tmp_path):
    (tmp_path / "JPEGImages").mkdir()
    for number, item in enumerate(("2008_000006", "2008_000011")):
        Image.fromarray(np.zeros((5, 4 + number, 3), np.uint8)).save(tmp_path / f"JPEGImages/{item}.jpg")
        save_label_png(tmp_path / f"labels/{item}.png", np.full((5, 4 + number), 20 * number))
    ids = ("2008_000006", "2008_000011")
    return SegmentationSet("test", tuple(map(str, range(21))), ids, tmp_path / "JPEGImages", None)


def test_layout(images, tmp_path):
    target = write_archive(images, tmp_path / "labels", tmp_path / "out/base.tgz")
    with tarfile.open(target) as archive:
        names = archive.getnames()
        assert names == [f"results/VOC2012/Segmentation/comp6_test_cls/{item}.png" for item in images.ids]
        with archive.extractfile(names[1]) as content, Image.open(content) as picture:
            assert picture.mode == "P" and np.asarray(picture).max() == 20
    assert [path.name for path in target.parent.iterdir()] == ["base.tgz"]


@pytest.mark.parametrize(
    ("labels", "message"),
    (
        (np.zeros((4, 5)), "labels of 5 x 4 for an image of 4 x 5"),
        (np.full((5, 4), 255), "label 255; a prediction has 0..20"),
        (None, "no such label map"),
    ),
)
def test_what_the_server_would_not_take(images, tmp_path, labels, message):
    path = tmp_path / "labels/2008_000006.png"
    path.unlink()
    if labels is not None:
        save_label_png(path, labels.astype(np.uint8))
    with pytest.raises(DataError, match=message):
        write_archive(images, tmp_path / "labels", tmp_path / "base.tgz")
    assert not (tmp_path / "base.tgz").exists()
    part = replace(images, ids=images.ids[1:])
    assert write_archive(part, tmp_path / "labels", tmp_path / "b.tgz").exists()
