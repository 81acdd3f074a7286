"""What the channels of the nets' scores are called, in channel order."""

from __future__ import annotations

# PASCAL VOC, as in its devkit.
VOC = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)

# The 59 classes of PASCAL-Context in the order of FCN-8s, VOC's twenty first; background is everything else.
PASCAL_CONTEXT = (
    *VOC,
    *("bag", "bed", "bench", "book", "building", "cabinet", "ceiling", "clothes", "computer", "cup"),
    *("door", "fence", "floor", "flower", "food", "grass", "ground", "keyboard", "light", "mountain"),
    *("mouse", "curtain", "platform", "sign", "plate", "road", "rock", "shelves", "sidewalk", "sky"),
    *("snow", "bedcloth", "track", "tree", "truck", "wall", "water", "window", "wood"),
)

# CamVid as SegNet's authors split and merged it.
CAMVID = (
    *("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian"),
    "bicyclist",
)
# The colours (red, green, blue) that CamVid's classes are usually shown in: SegNet's.
CAMVID_COLOURS = (
    *((128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0)),
    *((192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192)),
)

DIGITS = tuple("0123456789")
DIGIT_SCENES = ("background", *DIGITS)

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
