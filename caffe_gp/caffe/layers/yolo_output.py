"""YoloDetectionOutput and Yolov3DetectionOutput: the boxes that a YOLO net found (MobileNet-YOLO)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from caffe_gp.caffe import nms
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.detection_output import COLUMNS, DetectionRows
from caffe_gp.caffe.layers.registry import register


class _Found(NamedTuple):
    """Candidates: label from 1 (n,), score (n,), centre and size (n, 4) in units of the image."""

    label: np.ndarray
    score: np.ndarray
    box: np.ndarray


class _YoloLayer(DetectionRows):
    """Boxes of all maps and all images go through one non-maximum suppression, whatever their class.

    As in the fork: column 0 is 0 whatever the image, and a box is dropped if its overlap with a better one
    reaches ``nms_threshold``. Equal scores come in the order of maps, images, places, boxes and classes.
    """

    labels_a_box = 1  # candidates at one place

    def set_up(self, param: Any, coordinates: int) -> None:
        """Keep what both layers have. ``coordinates``: channels of a box before its objectness."""
        if not param.HasField("num_classes") or min(param.num_classes, param.num_box) < 1:
            raise self.error("num_classes must be given, and it and num_box positive")
        if math.isnan(param.confidence_threshold) or math.isnan(param.nms_threshold):
            raise self.error("confidence_threshold and nms_threshold must be numbers")
        if not all(map(math.isfinite, param.biases)):
            raise self.error("biases must be finite")
        self._classes, self._boxes, self._coordinates = param.num_classes, param.num_box, coordinates
        self._confidence, self._threshold = np.float32(param.confidence_threshold), param.nms_threshold

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the maps; see ``DetectionRows``."""
        channels = self._boxes * (self._coordinates + 1 + self._classes)
        for blob in bottom:
            if len(blob.shape) != 4 or blob.shape[1] != channels:
                raise self.error(
                    f"{self._boxes} boxes and {self._classes} classes need maps (N, {channels}, H, W), found "
                    f"{blob.shape}"
                )
        super().reshape(bottom, top)

    def _most(self, bottom: Sequence[Blob]) -> int:
        places = sum(blob.shape[0] * blob.shape[2] * blob.shape[3] for blob in bottom)
        return places * self._boxes * self.labels_a_box

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Rows that were found; the top has one before."""
        return COLUMNS * self._most(bottom)

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The values of a map as scores, and the boxes that may be found."""
        return 6 * max(blob.count for blob in bottom) + (48 + nms.WORKSPACE) * self._most(bottom)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        with np.errstate(all="ignore"):
            found = [self.candidates(self._values(blob), t) for t, blob in enumerate(bottom)]
        label, score, box = (np.concatenate(parts) for parts in zip(*found))
        order = np.argsort(-score, kind="stable")
        half = box[:, 2:] / 2
        corners = np.concatenate([box[:, :2] - half, box[:, :2] + half], 1)[order]
        kept = nms.kept(
            corners,
            np.zeros(len(order), np.int64),
            self._threshold,
            below=True,
            remedy="set a higher confidence_threshold",
        )
        order, corners = order[kept], corners[kept]
        columns = np.stack([np.zeros(len(order)), label[order], score[order]], 1)
        self.write_rows(np.concatenate([columns, corners], 1), bottom[0].shape[0], top[0])

    def _values(self, blob: Blob) -> np.ndarray:
        """(N, H, W, boxes, channels of a box)."""
        n, _, height, width = blob.shape
        return blob.read_data().reshape(n, self._boxes, -1, height, width).transpose(0, 3, 4, 1, 2)

    def candidates(self, values: np.ndarray, t: int) -> _Found:
        """Of map ``t``."""
        raise NotImplementedError

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Zero diffs: the fork's layers, other than SSD's, may lie above a loss."""
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                blob.zero_diff()


def _placed(
    values: np.ndarray, which: Sequence[np.ndarray], anchors: np.ndarray, unit: np.ndarray
) -> np.ndarray:
    """Centre and size, (n, 4), of some boxes of a map.

    values   x, y, width and height of all, (N, H, W, boxes, 4)
    which    image, row, column and box of each
    anchors  sides of those of all boxes, (boxes, 2)
    unit     what is divided by: the image's width and height for centres, and for sides, (4,)
    """
    _, row, column, box = which
    values = values[tuple(which)]
    grid = np.stack([column, row], 1).astype(np.float32)
    centre = (grid + _sigmoid(values[:, :2])) / unit[:2]
    return np.concatenate([centre, np.exp(values[:, 2:]) * anchors[box] / unit[2:]], 1).astype(np.float32)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


@register("Yolov3DetectionOutput")
class Yolov3DetectionOutputLayer(_YoloLayer):
    """Maps (N, num_box * (5 + num_classes), H, W), the best row first: see ``DetectionRows``.

    Channels of a box: x, y, width, height, objectness, classes; with ``gaussian_box`` a mean and a deviation
    for each of the first four. Box n of map t has the anchor ``mask[t * num_box + n]``: two ``biases``, in
    pixels of an image of ``anchors_scale[t]`` times the map's size. Every class with objectness times
    probability above ``confidence_threshold`` makes a row; labels count from 1.
    """

    min_bottom = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.yolov3_detection_output_param
        self._gaussian = param.gaussian_box
        self.set_up(param, 8 if self._gaussian else 4)
        self.labels_a_box = self._classes
        maps, mask, self._scale = param.mask_group_num, list(param.mask), list(param.anchors_scale)
        if len(bottom) != maps:
            raise self.error(f"mask_group_num is {maps}, and there are {len(bottom)} bottoms")
        if len(self._scale) < maps or 0 in self._scale:
            raise self.error(
                f"expected a positive anchors_scale for each of {maps} bottoms, found {self._scale[:8]}"
            )
        if len(mask) != maps * self._boxes:
            raise self.error(
                f"{maps} maps of {self._boxes} boxes need {maps * self._boxes} mask, found {len(mask)}"
            )
        if 2 * max(mask) + 1 >= len(param.biases):
            raise self.error(f"mask {max(mask)} needs {2 * max(mask) + 2} biases, found {len(param.biases)}")
        anchors = np.array(param.biases[: len(param.biases) // 2 * 2], np.float32).reshape(-1, 2)
        self._anchors = anchors[mask].reshape(maps, self._boxes, 2)

    def candidates(self, values: np.ndarray, t: int) -> _Found:
        objectness = _sigmoid(values[..., self._coordinates])
        step = 1
        if self._gaussian:
            step, spread = 2, _sigmoid(values[..., 1:8:2])
            objectness = objectness * ((4 - spread.sum(-1)) / 4)
        score = objectness[..., None] * _sigmoid(values[..., self._coordinates + 1 :])
        *which, label = np.nonzero(score > self._confidence)
        height, width = values.shape[1:3]
        unit = np.array([width, height, width * self._scale[t], height * self._scale[t]], np.float32)
        boxes = _placed(values[..., : 4 * step : step], which, self._anchors[t], unit)
        return _Found(label + 1, score[(*which, label)], boxes)


@register("YoloDetectionOutput")
class YoloDetectionOutputLayer(_YoloLayer):
    """YOLOv2's: one or two square maps (N, num_box * (5 + num_classes), S, S); see ``Yolov3DetectionOutput``.

    ``biases`` are the anchors in units of a cell, the same for both maps; ``side`` and ``label_map_file`` are
    not needed. A box has its best class only, by a softmax, and makes a row from ``confidence_threshold`` on.
    """

    min_bottom = 1
    max_bottom = 2

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.yolo_detection_output_param
        if param.coords != 4:
            raise self.error(f"coords must be 4, found {param.coords}")
        self.set_up(param, 4)
        if len(param.biases) < 2 * self._boxes:
            raise self.error(f"{self._boxes} boxes need {2 * self._boxes} biases, found {len(param.biases)}")
        self._anchors = np.array(param.biases[: 2 * self._boxes], np.float32).reshape(-1, 2)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check the maps; see ``DetectionRows``."""
        super().reshape(bottom, top)
        for blob in bottom:
            if blob.shape[2] != blob.shape[3]:
                raise self.error(f"the maps must be square, found {blob.shape}")

    def candidates(self, values: np.ndarray, t: int) -> _Found:
        classes = values[..., 5:]
        best = classes.argmax(-1)
        shares = np.exp(classes - classes.max(-1, keepdims=True))
        score = _sigmoid(values[..., 4]) / shares.sum(-1)
        which = np.nonzero(score >= self._confidence)
        side = np.full(4, values.shape[1], np.float32)
        boxes = _placed(values[..., :4], which, self._anchors, side)
        return _Found(best[which] + 1, score[which], boxes)
