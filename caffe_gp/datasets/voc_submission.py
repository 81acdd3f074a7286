"""The archive that the VOC2012 evaluation server scores: one label map for each test image.

    results/VOC2012/Segmentation/comp6_test_cls/ID.png      indexed PNGs, every id of test.txt once

comp6 is the competition for nets that were trained on other data too.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np

from caffe_gp.datasets.segmentation import SegmentationSet
from caffe_gp.errors import DataError
from caffe_gp.files.atomic import replacing
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.images.reading import image_size

INSIDE = "results/VOC2012/Segmentation/comp6_test_cls"


def write_archive(images: SegmentationSet, labels: Path, target: Path) -> Path:
    """Pack the label maps ``labels/ID.png`` of every image of a set; returns the archive's path.

    target   a .tgz; it appears only when it is whole
    Raises DataError for a label map that is missing, of another size than its image, with a label outside the
    classes (255 too: the server wants an answer everywhere), or not indexed.
    """
    for item in images.ids:
        path = labels / f"{item}.png"
        found = read_label_png(path, len(images.classes))
        size = image_size(images.image(item))
        if found.shape[::-1] != size:
            shape = f"{found.shape[1]} x {found.shape[0]}"
            raise DataError(f"{path}: labels of {shape} for an image of {size[0]} x {size[1]}")
        largest = int(np.max(found))
        if largest >= len(images.classes):
            raise DataError(f"{path}: label {largest}; a prediction has 0..{len(images.classes) - 1}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for item in images.ids:
            archive.add(labels / f"{item}.png", f"{INSIDE}/{item}.png", recursive=False)
    return target
