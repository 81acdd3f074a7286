"""Proposals of regions from a region proposal network: PVANet's layer, and py-faster-rcnn's Python layer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import numpy as np
import torch

from caffe_gp.caffe import mode, nms
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import TRAIN, Layer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.errors import quoted


class _ProposalLayer(Layer):
    """Bottoms: probabilities (1, 2 A, H, W), box deltas (1, 4 A, H, W), and the image's size and scale.

    Of the A anchors at each place the foreground probabilities are the second half of bottom 0. Boxes are
    moved by the deltas, clipped to the image, and go through non-maximum suppression; what is no number is
    left out. Tops: regions (R, 5), image 0 and x1, y1, x2, y2 in pixels, the best first, and perhaps their
    scores. No gradient comes back: the bottoms' diffs are zero.
    """

    exact_num_bottom = 3
    min_top = 1
    max_top = 2
    info: tuple[str, ...] = ()  # what the third bottom holds
    scores_shape: tuple[int, ...] = ()  # of the second top, behind the number of regions

    def set_up(self, stride: float, anchors: int, most: tuple[int, int], threshold: float) -> None:
        """Keep the parameters. ``most``: boxes before non-maximum suppression, and after."""
        if not all(map(math.isfinite, (stride, threshold))) or stride <= 0 or threshold < 0:
            raise self.error(
                f"feat_stride and nms_thresh must be positive and finite, found {stride:g}, {threshold:g}"
            )
        if min(most) < 1:
            raise self.error(f"pre_nms_topn and post_nms_topn must be positive, found {most[0]}, {most[1]}")
        self._stride, self._count, self._most, self._threshold = stride, anchors, most, threshold

    def anchors(self) -> np.ndarray:
        """(A, 4), around the first place."""
        raise NotImplementedError

    def judge(self, boxes: np.ndarray, scores: np.ndarray, info: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which boxes may stay, and their scores, by their sides."""
        raise NotImplementedError

    def shape_tops(self, regions: int, top: Sequence[Blob]) -> None:
        """For so many regions."""
        top[0].reshape(regions, 5)
        if len(top) > 1:
            top[1].reshape(regions, *self.scores_shape)

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The tops keep the regions of the last forward."""
        probability, deltas = bottom[0].shape, bottom[1].shape
        expected = [(1, n * self._count, *probability[2:]) for n in (2, 4)]
        if len(probability) != 4 or [probability, deltas] != expected:
            raise self.error(
                f"{self._count} anchors need probabilities (1, {2 * self._count}, H, W) and deltas "
                f"(1, {4 * self._count}, H, W) of one image, found {probability} and {deltas}"
            )
        if bottom[2].count != len(self.info):
            raise self.error(f"expected {', '.join(self.info)} of the image, found shape {bottom[2].shape}")

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Coordinates and places of all boxes, and of those that are compared; regions that are found."""
        boxes = bottom[1].count // 4
        return 40 * boxes + nms.WORKSPACE * min(boxes, self._most[0]) + 6 * min(boxes, self._most[1])

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        info = bottom[2].read_data().ravel()
        height, width = bottom[0].shape[2:]
        scores = bottom[0].read_data()[0, self._count :].transpose(1, 2, 0).ravel()
        deltas = bottom[1].read_data().reshape(self._count, 4, height, width)
        with np.errstate(all="ignore"):
            boxes = self._moved(deltas.transpose(2, 3, 0, 1).reshape(-1, 4), height, width)
            boxes = np.maximum(np.minimum(boxes, np.tile(info[1::-1] - 1, 2)), 0)
            stays, scores = self.judge(boxes, scores, info)
        found = np.flatnonzero(stays & np.isfinite(boxes).all(1) & ~np.isnan(scores))
        found = found[np.argsort(-scores[found], kind="stable")][: self._most[0]]
        kept = nms.kept(
            boxes[found],
            np.zeros(len(found), np.int64),
            self._threshold,
            most=self._most[1],
            extra=1,
            remedy="set a smaller pre_nms_topn or post_nms_topn",
        )
        found = found[kept]
        self.shape_tops(len(found), top)
        regions = np.concatenate([np.zeros((len(found), 1), np.float32), boxes[found]], 1)
        for blob, values in zip(top, (regions, scores[found].reshape(-1, *self.scores_shape))):
            blob.data_tensor = torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(mode.device())

    def _moved(self, deltas: np.ndarray, height: int, width: int) -> np.ndarray:
        """(H * W * A, 4) boxes: anchors moved by deltas."""
        shift = np.stack(np.meshgrid(np.arange(width), np.arange(height)), 2).reshape(-1, 1, 2)
        anchors = (np.tile(shift * self._stride, 2) + self.anchors()).reshape(-1, 4).astype(np.float32)
        size = anchors[:, 2:] - anchors[:, :2] + 1
        centre = deltas[:, :2] * size + (anchors[:, :2] + np.float32(0.5) * size)
        half = np.float32(0.5) * (np.exp(deltas[:, 2:]) * size)
        return np.concatenate([centre - half, centre + half], 1)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        for blob, wanted in zip(bottom, propagate_down, strict=True):
            if wanted:
                blob.zero_diff()

    def allow_force_backward(self, bottom_index: int) -> bool:
        """There is no gradient."""
        return False


def base_anchors(
    base: float, ratios: Sequence[float], scales: Sequence[float], rounded: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """(ratios * scales, 4): x1, y1, x2, y2 in pixels, both ends included, around a square of side ``base``.

    Each ratio, height to width, makes a box of the square's area with whole sides, each scale multiplies it.
    """
    ratio = np.array(ratios, np.float64)
    width = rounded(np.sqrt(base * base / ratio))
    sides = np.stack([width, rounded(width * ratio)], 1)
    half = (sides[:, None] * np.array(scales, np.float64)[:, None] - 1).reshape(-1, 2) / 2
    return np.concatenate([(base - 1) / 2 - half, (base - 1) / 2 + half], 1)


@register("Proposal")
class ProposalLayer(_ProposalLayer):
    """PVANet's. Boxes with a side below ``min_size``, times the scale of its axis, get score 0."""

    info = ("height", "width", "scale of the height", "scale of the width")

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.proposal_param
        if not (param.ratio and param.scale):
            raise self.error("proposal_param needs a ratio and a scale")
        if not all(0 < value < math.inf for value in (param.base_size, *param.ratio, *param.scale)):
            raise self.error("base_size, ratio and scale must be positive and finite")
        most = param.pre_nms_topn, param.post_nms_topn
        self.set_up(param.feat_stride, len(param.ratio) * len(param.scale), most, param.nms_thresh)
        self.shape_tops(param.post_nms_topn, top)

    def anchors(self) -> np.ndarray:
        param = self.layer_param.proposal_param
        return base_anchors(param.base_size, param.ratio, param.scale, lambda x: np.floor(x + 0.5))

    def judge(self, boxes: np.ndarray, scores: np.ndarray, info: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        least = self.layer_param.proposal_param.min_size * info[:1:-1]
        large = (boxes[:, 2:] - boxes[:, :2] + 1 >= least).all(1)
        return np.full(len(boxes), True), np.where(large, scores, np.float32(0))


@register("PythonProposal")
class PythonProposalLayer(_ProposalLayer):
    """``rpn.proposal_layer.ProposalLayer`` of py-faster-rcnn, which its prototxts name as a Python layer.

    ``param_str`` has ``'feat_stride': 16`` and perhaps ``'scales': [8, 16, 32]``. Ratios are 0.5, 1 and 2.
    Boxes with a side below 16 times the image's scale are dropped. 6000 boxes go into non-maximum suppression
    at 0.7, and 300 come out; 12000 and 2000 in the TRAIN phase.
    """

    info = ("height", "width", "scale")
    scores_shape = (1, 1, 1)

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        try:
            values = _parse(self.layer_param.python_param.param_str)
        except ValueError as error:
            raise self.error(f"param_str: {error}; expected \"'feat_stride': 16\" or the like") from None
        self._scales = values["scales"]
        most = (12000, 2000) if self.phase == TRAIN else (6000, 300)
        self.set_up(values["feat_stride"][0], 3 * len(self._scales), most, 0.7)
        self.shape_tops(1, top)

    def anchors(self) -> np.ndarray:
        return base_anchors(16, (0.5, 1, 2), self._scales, np.round)

    def judge(self, boxes: np.ndarray, scores: np.ndarray, info: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (boxes[:, 2:] - boxes[:, :2] + 1 >= 16 * info[2]).all(1), scores


_ENTRY = re.compile(
    r"""\s*(?P<quote>['"]?)(?P<key>\w+)(?P=quote)\s*:\s*(?:!!python/tuple\s*)?"""
    r"""(?:[\[(](?P<many>[^\[\]()]*)[\])]|(?P<one>[\w.+-]+))\s*(?:[,\n]\s*|$)"""
)


def _parse(text: str) -> dict[str, list[float]]:
    """The numbers of a ``param_str``, which is YAML: of that, what such layers have. ValueError for more."""
    found = {"scales": [8.0, 16.0, 32.0]}
    text = text.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    place = 0
    while place < len(text):
        entry = _ENTRY.match(text, place)
        if entry is None:
            raise ValueError(f"cannot read {quoted(text[place:])}")
        if entry["key"] not in ("feat_stride", "scales"):
            raise ValueError(f"there is no parameter {quoted(entry['key'])}")
        parts = entry["one"] or entry["many"]
        found[entry["key"]] = [float(part) for part in parts.split(",") if part.strip()]
        if not found[entry["key"]] or not all(0 < value < math.inf for value in found[entry["key"]]):
            raise ValueError(f"{entry['key']} must be positive and finite")
        place = entry.end()
    if len(found.get("feat_stride", ())) != 1:
        raise ValueError("feat_stride is missing, or more than one")
    return found
