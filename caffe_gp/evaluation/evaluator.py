"""One worker's part of an evaluation: a net, loaded once, that turns batches of images into records."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Iterable, Iterator, Sequence

import numpy as np

from caffe_gp import engines, provenance
from caffe_gp.errors import CaffeGPError, DataError, ZeroGradientError
from caffe_gp.evaluation import results
from caffe_gp.evaluation.labeller import CHANGES, Labeller, scores_of
from caffe_gp.gp import GPResult
from caffe_gp.images.label_maps import save_label_png
from caffe_gp.images.preprocess import Canvas
from caffe_gp.runs import batches

if TYPE_CHECKING:
    from caffe_gp.evaluation.segmentation import Evaluation

Batch = Sequence[str]

# Images in a row, the first ones of a worker, that no step moves: then it is the net, not the images.
_ZERO_GRADIENTS = 5


class Evaluator:
    """A net with everything that one worker needs; ``run`` does all, ``load`` and ``records`` a batch.

    changes   what was done to the net, one sentence each
    """

    def __init__(self, settings: Evaluation, folder: results.RunFolder) -> None:
        """Load the net. ``folder`` is where label maps go, if they are asked for."""
        self._settings, self._folder = settings, folder
        self._labeller = Labeller(settings)
        # One image without a gradient must not stop a run of thousands; see _check_moved.
        self._labeller.gp.allow_zero_gradient = True
        self._moved, self._unmoved = False, 0
        self.changes = self._labeller.prepared.changes
        classes, known = self._labeller.classes, len(settings.data.classes)
        if known > classes:
            raise DataError(
                f"set '{settings.data.name}' has {known} classes, the net's scores have {classes} channels"
            )

    def head(self, key: dict[str, Any]) -> dict[str, Any]:
        """First line of this worker's file of records: the key and where the records come from."""
        settings = self._settings
        names = settings.class_names(self._labeller.classes) or settings.data.classes
        return {
            "key": key,
            "classes": self._labeller.classes,
            "class_names": list(names),
            "background_counts": settings.data.background_counts,
            "made": {
                "date": provenance.now(),
                "process": os.getpid(),
                **settings.origin(self._labeller.prepared),
                "data": settings.data.describe(),
            },
        }

    def run(self, todo: Iterable[Batch]) -> Iterator[list[dict[str, Any]]]:
        """The records of each batch; the next batch is decoded while one is computed."""
        for batch, loaded in batches.loaded_ahead(todo, self.load):
            yield self.records(batch, *loaded)

    def load(self, batch: Batch) -> tuple[list[Canvas], list[np.ndarray | None]]:
        """The decoded images of a batch and their ground truth."""
        data = self._settings.data
        canvases = [self._labeller.preprocess.load(data.image(item)) for item in batch]
        truths: list[np.ndarray | None] = [None] * len(batch)
        if data.has_truth:
            truths = [data.truth(item) for item in batch]
        return canvases, truths

    def records(
        self, batch: Batch, canvases: Sequence[Canvas], truths: Sequence[np.ndarray | None]
    ) -> list[dict[str, Any]]:
        """The records of a loaded batch."""
        crf = None if self._settings.crf is None else _BehindCRF(self._settings, self._labeller, canvases)
        result = self._labeller.label(canvases, truths, on_probabilities=crf)
        if result.base_labels.ndim != 3:
            raise CaffeGPError("this net labels whole images; evaluations are of nets that label pixels")
        self._check_moved(result)
        return [
            self._record(item, canvas, truth, result, i, crf)
            for i, (item, canvas, truth) in enumerate(zip(batch, canvases, truths))
        ]

    def _record(
        self,
        item: str,
        canvas: Canvas,
        truth: np.ndarray | None,
        result: GPResult,
        i: int,
        crf: _BehindCRF | None,
    ) -> dict[str, Any]:
        settings, classes = self._settings, self._labeller.classes
        height, width = canvas.image.shape[:2]
        image_sha256, truth_sha256 = results.hashes(settings.data, item)
        maps = self._labeller.maps(result, i, canvas)
        scores = [scores_of(labels, truth, maps[0], classes) for labels in maps]
        for entry, confidence in zip(scores, [result.base_confidence, *result.confidence]):
            entry["confidence"] = float(confidence[i].mean())
        seconds = {kind: passes / len(result.base_labels) for kind, passes in result.seconds.items()}
        record: dict[str, Any] = {
            "item": item,
            "image_sha256": image_sha256,
            "truth_sha256": truth_sha256,
            "width": width,
            "height": height,
        }
        if crf is not None:
            behind = [of_batch[i] for of_batch in crf.maps]
            record["base_crf"], *record["gp_crf"] = [
                scores_of(labels, truth, behind[0], classes) for labels in behind
            ]
            maps = [*maps, *behind]
            seconds["crf"] = crf.seconds[i]
        record["base"], *record["gp"] = scores
        for name in CHANGES:
            for base in ("base", "base_crf"):
                record.get(base, {}).pop(name, None)
        if settings.label_maps:
            for path, labels in zip(self._folder.label_files(item, settings), maps):
                save_label_png(path, labels)
        return {**record, "seconds": seconds}

    def _check_moved(self, result: GPResult) -> None:
        """ZeroGradientError if the first images are all without a gradient."""
        if self._moved:
            return
        self._moved = any(signs.any() for signs in result.perturbation)
        self._unmoved += len(result.base_labels)
        if not self._moved and self._unmoved >= min(_ZERO_GRADIENTS, len(self._settings.data.ids)):
            raise ZeroGradientError(
                f"the diff of blob '{self._labeller.gp.blob}' was zero everywhere in the first "
                f"{self._unmoved} image(s). Likely causes: the weights do not belong to this net, the images "
                "are not scaled as it expects, or a layer passes no gradient; caffe_gp run on one of them "
                "says more"
            )


class _BehindCRF:
    """Watches the probabilities of a batch and labels them with a dense CRF over the photographs.

    maps      for base and every eps: label maps (H, W) of the batch's images, in their own pixels
    seconds   of each image, for all its maps together
    """

    def __init__(self, settings: Evaluation, labeller: Labeller, canvases: Sequence[Canvas]) -> None:
        from caffe_gp.crf import DenseCRF

        self._labeller, self._canvases = labeller, canvases
        self.maps: list[list[np.ndarray]] = []
        self.seconds, self._crfs = [], []
        for canvas in canvases:
            begin = time.perf_counter()
            self._crfs.append(DenseCRF(canvas.image, settings.crf_settings()))
            self.seconds.append(time.perf_counter() - begin)
        # numba, when it starts, gives OpenMP its own number of threads, hence PyTorch too.
        engines.load_caffe(settings.engine, settings.device, settings.threads)

    def __call__(self, k: int, probabilities: np.ndarray) -> None:
        self.maps.append([])
        for i, canvas in enumerate(self._canvases):
            begin = time.perf_counter()
            y = self._labeller.preprocess.scores_to_image(probabilities[i], canvas)
            scores = np.log(np.maximum(y, np.finfo(np.float32).tiny))
            self.maps[-1].append(self._crfs[i].labels(scores))
            self.seconds[i] += time.perf_counter() - begin
