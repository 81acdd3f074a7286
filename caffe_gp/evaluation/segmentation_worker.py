"""One worker's part of a run over images: a net, loaded once, that turns batches of images into records."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from caffe_gp import engines
from caffe_gp.errors import CaffeGPError, DataError, ZeroGradientError
from caffe_gp.evaluation.calibration import sums_of
from caffe_gp.evaluation.image_outputs import ImageWriter
from caffe_gp.evaluation.labelled_images import hashes
from caffe_gp.evaluation.labeller import CHANGES, Labeller, scores_of
from caffe_gp.evaluation.labelling_worker import LabellingWorker
from caffe_gp.evaluation.settings import Resolved
from caffe_gp.gp import GPResult
from caffe_gp.images.corruptions import Corruption
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.images.placing import place_labels, place_maps
from caffe_gp.images.preprocess import Canvas
from caffe_gp.images.reading import read_image
from caffe_gp.runs.task import Batch, Record

log = logging.getLogger(__name__)
# Images in a row, the first ones of a worker, that no step moves: then it is the net, not the images.
_ZERO_GRADIENTS = 5

Loaded = Sequence[Any]  # canvases and truths


class SegmentationWorker(LabellingWorker):
    """A net with everything that is needed to label; a ``runs.task.Worker``.

    resolved   of an ``Evaluation``
    key        of the run; folder: where pictures go
    kind       'segmentation', or 'images': also for nets that label whole images, and strict about gradients
    """

    def __init__(
        self, resolved: Resolved, key: Mapping[str, Any], folder: Path, kind: str, device: str
    ) -> None:
        """Load the net."""
        super().__init__(resolved, device)
        self._key, self._kind, settings = key, kind, self._settings
        self._names = settings.class_names(self._labeller.classes) or list(settings.data.classes) or None
        self._writer = ImageWriter(folder, settings.save, settings.palette, self._names)
        # One image without a gradient must not stop a run of thousands; see _check_moved.
        self._labeller.gp.allow_zero_gradient = kind == "segmentation"
        self._moved, self._unmoved = False, 0
        self._labeller.gp.on_progress = self._report
        self._check_classes()

    def _check_classes(self) -> None:
        """DataError unless the set's classes are the net's channels."""
        data, score, channels = self._settings.data, self._labeller.gp.score, self._labeller.classes
        if len(data.classes) not in (0, channels):
            raise DataError(
                f"set '{data.name}' has {len(data.classes)} classes, the net's scores (blob '{score}') have "
                f"{channels} channels: they must be as many, since label k is channel k"
            )
        label = self._settings.label_255
        if isinstance(label, int) and not 0 <= label < channels:
            raise DataError(f"label_255 {label}: the net's classes are 0..{channels - 1}")

    def head(self) -> dict[str, Any]:
        """First line of this worker's file of records: the key and where the records come from."""
        settings, classes, choice = self._settings, self._labeller.classes, self._settings.eps_choice
        return {
            "key": self._key,
            "classes": classes,
            "class_names": self._names,
            "background_counts": settings.data.background_counts,
            "made": {
                **self._resolved.origin(self._labeller.net),
                "data": settings.data.describe(),
                **({} if choice is None else {"eps_choice": choice.record()}),
            },
        }

    def load(self, batch: Batch) -> Loaded:
        """The decoded images of a batch and their ground truth."""
        data = self._settings.data
        canvases = [self._canvas(data.image(item)) for item in batch]
        truths: list[np.ndarray | None] = [None] * len(batch)
        if data.has_truth:
            truths = [self._truth(item) for item in batch]
        return canvases, truths

    def _canvas(self, path: Path) -> Canvas:
        if self._settings.corrupt is None:
            return self._labeller.preprocess.load(path)
        picture = Corruption.named(self._settings.corrupt).of_picture(read_image(path))
        return self._labeller.preprocess.canvas(picture, str(path))

    def _truth(self, item: str) -> np.ndarray:
        truth = self._settings.data.truth(item, self._labeller.classes)
        if isinstance(self._settings.label_255, int):
            truth[truth == IGNORE] = self._settings.label_255
        return truth

    def records(self, batch: Batch, loaded: Loaded) -> Iterator[list[Record]]:
        """The records of a loaded batch, and the files that are asked for."""
        canvases, truths = loaded
        yield from self._parts.of(
            len(batch), lambda part: self._records(batch[part], canvases[part], truths[part])
        )

    def _records(
        self, batch: Batch, canvases: Sequence[Canvas], truths: Sequence[np.ndarray | None]
    ) -> list[Record]:
        crf = None if self._settings.crf is None else _BehindCRF(self._settings, self._labeller, canvases)
        trust = _Trust(self._labeller, canvases, truths)

        def watch(k: int, probabilities: np.ndarray) -> None:
            for watcher in (trust, crf):
                if watcher is not None:
                    watcher(k, probabilities)

        keep = "probabilities" in self._settings.save
        result = self._labeller.label(canvases, truths, keep_probabilities=keep, on_probabilities=watch)
        if result.base_labels.ndim != 3 and self._kind == "segmentation":
            raise CaffeGPError("this net labels whole images; evaluations are of nets that label pixels")
        self._check_moved(result)
        said = self._labeller.said_of_sizes(result, canvases[0])
        if said and not self._settings.quiet:
            log.info("  %s", said)
        return [
            self._record(item, canvas, truth, result, i, crf, trust)
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
        trust: _Trust,
    ) -> Record:
        settings, classes = self._settings, self._labeller.classes
        height, width = canvas.image.shape[:2]
        image_sha256, truth_sha256 = hashes(settings.data, item)
        maps = self._labeller.maps(result, i, canvas)
        scores = [scores_of(labels, truth, maps[0], classes) for labels in maps]
        for entry, confidence in zip(scores, [result.base_confidence, *result.confidence]):
            entry["confidence"] = float(confidence[i].mean())
        for entry, sums in zip(scores, trust.sums):
            entry["calibration"] = sums[i]
        seconds = {kind: passes / len(result.base_labels) for kind, passes in result.seconds.items()}
        record: Record = {
            "item": item,
            "image_sha256": image_sha256,
            "truth_sha256": truth_sha256,
            "width": width,
            "height": height,
        }
        behind: list[np.ndarray] = []
        if crf is not None:
            # Where there are no scores the CRF has nothing to say either.
            behind = [np.where(maps[0] == IGNORE, IGNORE, of_batch[i]) for of_batch in crf.maps]
            record["base_crf"], *record["gp_crf"] = [
                scores_of(labels, truth, behind[0], classes) for labels in behind
            ]
            seconds["crf"] = crf.seconds[i]
        record["base"], *record["gp"] = scores
        if settings.switch and maps[0].ndim == 2:
            switched = self._labeller.switched_maps(result, i, canvas)
            record["gp_switched"] = [scores_of(labels, truth, maps[0], classes) for labels in switched]
        for name in CHANGES:
            for base in ("base", "base_crf"):
                record.get(base, {}).pop(name, None)
        if settings.save:
            record["save"] = sorted(settings.save)
            record["files"] = self._writer.write(item, canvas, truth, maps, behind, result, i)
        return {**record, "seconds": seconds}

    def _report(self, done: int, total: int, what: str) -> None:
        if self.on_progress is not None and self._kind == "images":
            self.on_progress(f"{what.replace('_', ' ')} {done}/{total}")

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
                "are not scaled as it expects, or a layer passes no gradient; 'caffe_gp run' on one of them "
                "says more"
            )


class _Trust:
    """Watches the probabilities of a batch and sums what calibration is made of, on the canvas' pixels.

    sums   for base and every eps: ``calibration.sums_of`` of each image; none of nets that label whole images
    """

    def __init__(
        self, labeller: Labeller, canvases: Sequence[Canvas], truths: Sequence[np.ndarray | None]
    ) -> None:
        self._labeller, self._canvases = labeller, canvases
        self._truths = [
            truth if truth is None else labeller.preprocess.labels_to_canvas(truth, canvas)
            for truth, canvas in zip(truths, canvases)
        ]
        self.sums: list[list[dict[str, Any]]] = []

    def __call__(self, k: int, probabilities: np.ndarray) -> None:
        if probabilities.ndim != 4:
            return
        self.sums.append([])
        placing = self._labeller.net.placing
        for y, canvas, truth in zip(probabilities, self._canvases, self._truths):
            shape = canvas.data.shape[1:]
            height, width = canvas.valid
            # Where label maps have no label there is nothing to trust either.
            inside = place_labels(np.zeros(y.shape[1:], np.uint8), shape, placing) != IGNORE
            maps = place_maps(y, shape, placing)[:, :height, :width]
            cut = None if truth is None else truth[:height, :width]
            self.sums[-1].append(sums_of(maps, cut, inside[:height, :width]))


class _BehindCRF:
    """Watches the probabilities of a batch and labels them with a dense CRF over the photographs.

    maps      for base and every eps: label maps (H, W) of the batch's images, in their own pixels
    seconds   of each image, for all its maps together
    """

    def __init__(self, settings: Any, labeller: Labeller, canvases: Sequence[Canvas]) -> None:
        from caffe_gp.crf import DenseCRF, NumpyRows

        self._labeller, self._canvases = labeller, canvases
        self.maps: list[list[np.ndarray]] = []
        self.seconds: list[float] = []
        # The embedded Caffe's are of its device.
        caffe = engines.load_caffe(settings.engine, labeller.net.device)
        arrays = getattr(caffe, "crf_rows", lambda: NumpyRows)()
        self._crfs = []
        for canvas in canvases:
            begin = time.perf_counter()
            self._crfs.append(DenseCRF(canvas.image, settings.crf_settings(), arrays))
            self.seconds.append(time.perf_counter() - begin)
        # numba, when it starts, gives OpenMP its own number of threads, hence PyTorch too.
        engines.load_caffe(settings.engine, labeller.net.device, settings.threads)

    def __call__(self, k: int, probabilities: np.ndarray) -> None:
        self.maps.append([])
        for i, canvas in enumerate(self._canvases):
            begin = time.perf_counter()
            placing = self._labeller.net.placing
            y = self._labeller.preprocess.scores_to_image(probabilities[i], canvas, placing)
            scores = np.log(np.maximum(y, np.finfo(np.float32).tiny))
            self.maps[-1].append(self._crfs[i].labels(scores))
            self.seconds[i] += time.perf_counter() - begin
