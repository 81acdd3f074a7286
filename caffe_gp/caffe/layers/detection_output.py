"""DetectionOutput: the boxes that a detector found, from its predictions for prior boxes (SSD)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from caffe_gp.caffe import mode, nms
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb

log = logging.getLogger(__name__)

COLUMNS = 7  # image, label, score, x1, y1, x2, y2
_LAST = np.uint64(2**64 - 1)  # what no candidate has
_ALL = float(np.finfo(np.float32).min)  # a confidence_threshold that all numbers exceed


class DetectionRows(Layer):
    """A layer whose top is (1, 1, R, 7), a row a box that was found: R is known after a forward only.

    A row: the image's number in the batch, label, score, and x1, y1, x2, y2 in units of the image. Where
    nothing was found there is a row for each image, -1 everywhere but in column 0. No gradient.
    """

    exact_num_top = 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(1, 1, 1, 7): as many rows as a forward finds."""
        top[0].reshape(1, 1, 1, COLUMNS)

    def write_rows(self, rows: np.ndarray, images: int, top: Blob) -> None:
        """Make (R, 7) rows the top's data."""
        if not len(rows):
            rows = np.full((images, COLUMNS), -1.0)
            rows[:, 0] = np.arange(images)
        top.reshape(1, 1, len(rows), COLUMNS)
        values = torch.from_numpy(np.asarray(rows, np.float32)[None, None])
        top.data_tensor = values.to(mode.device())

    def allow_force_backward(self, bottom_index: int) -> bool:
        """There is no gradient."""
        return False


class _Candidates(NamedTuple):
    """Boxes by image, class and descending score."""

    image: np.ndarray
    label: np.ndarray
    prior: np.ndarray
    score: np.ndarray

    def chosen(self, which: np.ndarray) -> _Candidates:
        return _Candidates(*(part[which] for part in self))


@register("DetectionOutput")
class DetectionOutputLayer(DetectionRows):
    """Decodes boxes, and keeps those of each class that overlap no better one too much.

    Bottoms, with P priors, K ``num_classes``, and L = 1, or K with ``share_location: false``: locations
    (N, P * L * 4), probabilities (N, P * K), priors (1, 2, P * 4), and perhaps the image, which is not read.
    Rows come by image, by label, by descending score; coordinates are not clipped. Of equal scores the
    earlier prior comes first, and the lower label.

    ``save_output_param`` writes no files here, and that is said in the log; ``visualize`` is refused.
    """

    min_bottom = 3
    max_bottom = 4

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        param = self.layer_param.detection_output_param
        if not param.HasField("num_classes") or not param.num_classes:
            raise self.error("detection_output_param.num_classes must be given and positive")
        if param.visualize:
            raise self.error("visualize: true opens windows and is not available here; set it to false")
        if all(map(param.save_output_param.HasField, _WRITES)):
            log.warning(
                "layer '%s' (DetectionOutput): writes no files: save_output_param is left out; the rows that "
                "would go there are in the top",
                self.name,
            )
        self._classes, self._background = param.num_classes, param.background_label_id
        self._locations = 1 if param.share_location else param.num_classes
        self._code, self._fixed_variance = param.code_type, param.variance_encoded_in_target
        self._confidence = param.confidence_threshold if param.HasField("confidence_threshold") else _ALL
        self._keep = param.keep_top_k if param.keep_top_k >= 0 else None
        suppression = param.nms_param
        self._top_k = suppression.top_k if suppression.HasField("top_k") and suppression.top_k >= 0 else None
        self._threshold, self._eta = suppression.nms_threshold, suppression.eta
        if not self._threshold >= 0:
            raise self.error(f"nms_param.nms_threshold must be at least 0, found {self._threshold:g}")
        if not 0 < self._eta <= 1:
            raise self.error(f"nms_param.eta must be above 0 and at most 1, found {self._eta:g}")
        if math.isnan(self._confidence):
            raise self.error("confidence_threshold is not a number")

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Check that the bottoms belong together; see ``DetectionRows``."""
        location, confidence, prior = bottom[:3]
        if len(prior.shape) < 3 or prior.shape[:2] != (1, 2) or prior.count != 2 * prior.shape[2]:
            raise self.error(f"expected priors of shape (1, 2, 4 * priors), found {prior.shape}")
        if not location.shape or location.shape[:1] != confidence.shape[:1]:
            raise self.error(
                f"locations {location.shape} and confidences {confidence.shape} differ in batch size"
            )
        priors, left = divmod(prior.shape[2], 4)
        found = location.count_from(1), confidence.count_from(1)
        expected = priors * self._locations * 4, priors * self._classes
        if found != expected or left:
            raise self.error(
                f"{priors} priors need {expected[0]} locations and {expected[1]} confidences an image, found "
                f"{found[0]} and {found[1]}.{_twice(found, expected)}"
            )
        self._priors = priors
        super().reshape(bottom, top)

    def _most(self, images: int) -> tuple[int, int]:
        """How many boxes are compared, and how many are kept, at most."""
        of_class = self._priors if self._top_k is None else min(self._priors, self._top_k)
        compared = images * self._classes * of_class
        return compared, compared if self._keep is None else min(compared, images * self._keep)

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Rows that were found; the top has one before."""
        return COLUMNS * self._most(bottom[0].shape[0])[1]

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Of each confidence its place and rank, of the boxes that are compared their coordinates."""
        return 8 * bottom[1].count + (20 + nms.WORKSPACE) * self._most(bottom[0].shape[0])[0]

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        images = bottom[0].shape[0]
        found = self._candidates(bottom[1].read_data().reshape(images, self._priors, self._classes))
        boxes = self._boxes(found, bottom)
        which = nms.kept(
            boxes,
            found.image * self._classes + found.label,
            self._threshold,
            eta=self._eta,
            most=self._keep,
            remedy="set nms_param.top_k, keep_top_k or a higher confidence_threshold",
        )
        which = np.flatnonzero(which)
        if self._keep is not None:
            which = which[_best(found.chosen(which), self._keep)]
        found, boxes = found.chosen(which), boxes[which]
        columns = np.stack([found.image, found.label, found.score], 1)
        self.write_rows(np.concatenate([columns, boxes], 1), images, top[0])

    def _candidates(self, confidence: np.ndarray) -> _Candidates:
        """Of each image and class those above the threshold, the best first, ``top_k`` at most."""
        scores = np.ascontiguousarray(confidence.transpose(0, 2, 1))
        out = ~(scores > self._confidence)
        if 0 <= self._background < self._classes:
            out[:, self._background] = True
        rank = _falling(scores) << np.uint64(32) | np.arange(self._priors, dtype=np.uint64)
        rank[out] = _LAST
        if self._top_k is not None and self._top_k < self._priors:
            rank = np.partition(rank, self._top_k, axis=2)[:, :, : self._top_k]
        rank.sort(axis=2)
        image, label, place = np.nonzero(rank != _LAST)
        prior = (rank[image, label, place] & np.uint64(2**32 - 1)).astype(np.int64)
        return _Candidates(image, label, prior, scores[image, label, prior])

    def _boxes(self, found: _Candidates, bottom: Sequence[Blob]) -> np.ndarray:
        """(n, 4) decoded."""
        shape = bottom[0].shape[0], self._priors, self._locations, 4
        location = bottom[0].read_data().reshape(shape)
        t = location[found.image, found.prior, found.label if self._locations > 1 else 0]
        prior, variance = (part[found.prior] for part in bottom[2].read_data().reshape(2, self._priors, 4))
        if not self._fixed_variance:
            t = t * variance
        low, high = prior[:, :2], prior[:, 2:]
        size = high - low
        with np.errstate(all="ignore"):
            if self._code == pb.DetectionOutputParameter.CORNER:
                return prior + t
            if self._code == pb.DetectionOutputParameter.CORNER_SIZE:
                return prior + t * np.tile(size, 2)
            centre = t[:, :2] * size + (low + high) / 2
            half = np.exp(t[:, 2:]) * size / 2
            return np.concatenate([centre - half, centre + half], 1)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        if any(propagate_down):
            raise self.error("has no gradient; start the backward pass below it")


_WRITES = ("output_directory", "label_map_file", "name_size_file")  # all of them, and SSD writes files


def _twice(found: tuple[int, int], expected: tuple[int, int]) -> str:
    if found != (2 * expected[0], 2 * expected[1]):
        return ""
    return (
        " Twice as many: the layer PriorBox of TextBoxes makes every box twice, and is told from SSD's by a "
        "field of OpenCV's copy only: write additional_y_offset: true into each prior_box_param"
    )


def _falling(scores: np.ndarray) -> np.ndarray:
    """Numbers of 32 bits, in 64, that are in the opposite order of float32 numbers, equal for equal ones."""
    bits = (scores + np.float32(0)).view(np.uint32)  # -0 becomes 0
    negative = bits >> np.uint32(31) == 1
    return np.where(negative, bits, bits ^ np.uint32(2**31 - 1)).astype(np.uint64)


def _rank(group: np.ndarray) -> np.ndarray:
    """Places within groups; members of one lie together."""
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    return np.arange(len(group)) - np.repeat(starts, np.diff(starts, append=len(group)))


def _best(found: _Candidates, count: int) -> np.ndarray:
    """Whether each is among the ``count`` of the highest scores of its image."""
    order = np.lexsort((-found.score, found.image))
    best = np.zeros(len(order), bool)
    best[order[_rank(found.image[order]) < count]] = True
    return best
