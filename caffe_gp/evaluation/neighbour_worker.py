"""A classifier with the bank of its training images: neighbours, their gradients, labels after a step.

One worker of a classification run, which turns batches of test images into records.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from caffe_gp import engines
from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.engines import GPNet
from caffe_gp.evaluation.classification_results import Variant
from caffe_gp.evaluation.feature_bank import FeatureBank
from caffe_gp.evaluation.record_checks import rows_in
from caffe_gp.evaluation.settings import Resolved
from caffe_gp.gp import NeighbourPerturbation, Neighbours
from caffe_gp.runs.batches import FittingParts
from caffe_gp.runs.task import Batch, Record


@dataclass(frozen=True)
class NeighbourJob:
    """What a worker is to do.

    resolved   of a ``Classification``
    images     the set to be classified
    key, bank_key   of the run, and of the bank in ``bank_folder``
    method, data    what results say of the method and of the sets
    """

    resolved: Resolved
    images: ClassificationSet
    key: Mapping[str, Any]
    bank_folder: Path
    bank_key: dict[str, Any]
    method: dict[str, Any]
    data: dict[str, Any]


class NeighbourWorker:
    """A net, loaded, and its bank; a ``runs.task.Worker``.

    method, bank   the perturbation, and the training images' features and gradients
    """

    def __init__(self, job: NeighbourJob, net: GPNet) -> None:
        """Open the bank. DataError, naming the setting, for one that belongs to something else."""
        self._job, self._net, self._settings = job, net, job.resolved.settings
        settings = self._settings
        self.method = NeighbourPerturbation(self._net, blob=settings.blob, features=settings.features)
        self.preprocess = job.resolved.preprocess
        self.on_progress: Callable[[str], None] | None = None
        self.bank = FeatureBank(
            job.bank_folder,
            self.method,
            settings.train,
            self.preprocess,
            job.bank_key,
            batch_size=settings.batch_size,
            quiet=settings.quiet,
        )
        # The embedded Caffe multiplies on its device.
        caffe = engines.load_caffe(settings.engine, self._net.device)
        self._product = getattr(caffe, "matmul", np.matmul)
        self._banks: dict[str, Neighbours] = {}
        self._gradients: dict[int, np.ndarray] = {}
        self._parts = FittingParts(settings.quiet)

    @property
    def changes(self) -> Sequence[str]:
        return self._net.changes

    def close(self) -> None:
        """Nothing of the process was changed."""

    def head(self) -> dict[str, Any]:
        """First line of this worker's file of records: the key and where the records come from."""
        return {
            "key": self._job.key,
            "made": {
                **self._job.resolved.origin(self._net),
                "method": self._job.method,
                "data": self._job.data,
            },
        }

    def load(self, batch: Batch) -> list[np.ndarray]:
        """The images of every item of a batch, as the net wants them."""
        return [self.preprocess.batch(self._job.images.images[list(rows_in(item))]) for item in batch]

    def records(self, batch: Batch, loaded: list[np.ndarray]) -> Iterator[list[Record]]:
        """Search for all items together, then perturb one after the other."""
        seconds: dict[str, float] = {}
        nearest, done = self._nearest(loaded, seconds), 0
        for item, images in zip(batch, loaded):
            rows = {name: found[done : done + len(images)] for name, found in nearest.items()}
            done += len(images)
            yield [self._record(item, images, rows, seconds)]
            seconds = {}

    def steps(self, images: np.ndarray, neighbours: np.ndarray, gradient_at: str) -> np.ndarray:
        """Sums of signs for some images, int8 like the blob; times eps / K they are what is added.

        images       (n, H, W, C) uint8
        neighbours   (n, K) rows of the training set
        """
        self.method.look(self.preprocess.batch(images))
        return self._signs(neighbours, gradient_at).sum(axis=1, dtype=np.int8)

    def _nearest(self, loaded: Sequence[np.ndarray], seconds: dict[str, float]) -> dict[str, np.ndarray]:
        """(n, K) rows of the training set for each feature blob, nearest first."""
        if not self._banks:
            with _clock(seconds, "features"):
                features = self.bank.features()
                self._banks = {name: Neighbours(bank, self._product) for name, bank in features.items()}
        self._say("neighbours")
        with _clock(seconds, "search"):
            looks = [features for images in loaded for features in self._features(images)]
            most, found = max(self._settings.k), {}
            for name, bank in self._banks.items():
                found[name], _ = bank.nearest(np.concatenate([features[name] for features in looks]), most)
        return found

    def _features(self, images: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
        """Of the images, part by part."""
        return self._parts.of(len(images), lambda part: self.method.look(images[part])[1])

    def _record(
        self, item: str, images: np.ndarray, neighbours: dict[str, np.ndarray], seconds: dict[str, float]
    ) -> Record:
        """``seconds``: what was spent before on what this item stands for."""
        settings = self._settings
        self._say("perturbed")
        if "neighbour" in settings.gradient_at:
            with _clock(seconds, "gradients"):
                self._fetch_gradients(np.concatenate([rows.ravel() for rows in neighbours.values()]))
        with _clock(seconds, "perturbed"):
            parts = list(
                self._parts.of(
                    len(images),
                    lambda part: self._labels(
                        images[part], {name: rows[part] for name, rows in neighbours.items()}
                    ),
                )
            )
        nearest = {name: rows.tolist() for name, rows in neighbours.items()}
        return {
            "item": item,
            "base": np.concatenate([base for base, _ in parts]).tolist(),
            "neighbours": nearest,
            "labels": {
                name: np.concatenate([labels[name] for _, labels in parts], axis=1).tolist()
                for name in parts[0][1]
            },
            "seconds": seconds,
        }

    def _labels(
        self, images: np.ndarray, neighbours: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Labels (n,) before, and (eps, n) after the step of each variant."""
        settings = self._settings
        base, _ = self.method.look(images)
        labels = {}
        for features, rows in neighbours.items():
            for place in settings.gradient_at:
                signs = self._signs(rows, place)
                for k in settings.k:
                    step = signs[:, :k].sum(axis=1, dtype=np.int8)
                    after = [self.method.after(step, eps / k) for eps in settings.eps]
                    labels[Variant(features, place, k).name] = np.stack(after)
        return base, labels

    def _say(self, phase: str) -> None:
        if self.on_progress is not None:
            self.on_progress(phase)

    def _fetch_gradients(self, rows: np.ndarray) -> None:
        """Have the signs of the gradients of training images at hand."""
        missing = np.array([row for row in np.unique(rows).tolist() if row not in self._gradients], np.int64)
        if len(missing):
            self._gradients.update(zip(missing.tolist(), self.bank.directions(missing)))

    def _signs(self, neighbours: np.ndarray, gradient_at: str) -> np.ndarray:
        """(n, K, ...) int8: each neighbour's sign, its own or, 'test', at the images just looked at."""
        if gradient_at == "test":
            return toward_each(self.method, self._settings.train.labels[neighbours])
        self._fetch_gradients(neighbours)
        return np.stack([[self._gradients[row] for row in rows] for rows in neighbours.tolist()])


@contextmanager
def _clock(seconds: dict[str, float], phase: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[phase] = seconds.get(phase, 0.0) + time.perf_counter() - start


def toward_each(method: NeighbourPerturbation, classes: np.ndarray) -> np.ndarray:
    """(n, K, ...) int8: signs of the gradients towards several classes (n, K) at the images last looked at.

    Most images' neighbours are of one class, so classes that repeat in a row are computed once.
    """
    signs = None
    left = np.ones(classes.shape, bool)
    while left.any():
        now = classes[np.arange(len(classes)), left.argmax(axis=1)]
        found = method.toward(now)
        if signs is None:
            signs = np.empty((*classes.shape, *found.shape[1:]), np.int8)
        same = classes == now[:, np.newaxis]
        for j in range(classes.shape[1]):
            signs[same[:, j], j] = found[same[:, j]]
        left &= ~same
    assert signs is not None
    return signs
