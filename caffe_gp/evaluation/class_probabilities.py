"""Probabilities of a classifier before and after steps towards its own labels, for images in memory.

    y = probabilities(ClassProbabilities.of_model("lenet", images=test, eps=[0.004], out=Path("out")))
    y[0].argmax(axis=1), y[1].max(axis=1)      # classes before, confidences after

Views and encodings as for nets that label pixels. (The paper's way, by neighbours, is ``classification``.) A
run can be stopped and resumed, with any number of workers that have as many threads.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Collection, Iterator, Sequence

import numpy as np
from PIL import Image

from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.errors import NetError, UsageError
from caffe_gp.evaluation.labelling_worker import LabellingWorker
from caffe_gp.evaluation.record_checks import PROBABILITIES, rows_in, rows_of
from caffe_gp.evaluation.settings import NetTask, Resolved, RunSettings, required
from caffe_gp.images.preprocess import Canvas, Size
from caffe_gp.runs.folder import RunFolder
from caffe_gp.runs.run import run
from caffe_gp.runs.task import Batch, Record


@dataclass(repr=False)
class ClassProbabilities(RunSettings):
    """What such a run is told.

    images   to be classified
    """

    images: ClassificationSet = field(default_factory=required)
    batch_size: int = 100

    def check(self) -> None:
        super().check()
        if self.encoding == "ground-truth":
            raise UsageError("encoding 'ground-truth' is for nets that label pixels; here classes are found")

    def image_size(self) -> Size | None:
        return (self.images.images.shape[2], self.images.images.shape[1])


def probabilities(settings: ClassProbabilities) -> list[np.ndarray]:
    """(N, C) float64 before, and after each eps; computes what the run's folder does not hold yet.

    Raises the errors of ``Labeller``; DataError, naming the setting, for a folder with a run of other ones.
    """
    settings.check()
    settings = settings.with_workers()
    task = ProbabilityTask.of(settings)
    with task.folder.only_here():
        run(task, task.folder, **settings.sharing())
        found = task.folder.records()
    parts = [found[item]["probabilities"] for item in task.items()]
    return [np.concatenate([part[k] for part in parts]) for k in range(1 + len(settings.eps))]


@dataclass(frozen=True)
class ProbabilityTask(NetTask):
    """Classify images a batch at a time. A ``runs.task.Task``."""

    resolved: Resolved
    key: dict[str, Any]
    description: dict[str, Any]

    @classmethod
    def of(cls, settings: ClassProbabilities) -> ProbabilityTask:
        """The task of checked settings; reads the net's files."""
        resolved, described = settings.resolve(), settings.images.describe()
        more = {"images": described, "batch_size": settings.batch_size, "threads": settings.threads}
        return cls(resolved, {**resolved.net_key(), **resolved.method, **more}, described)

    @property
    def settings(self) -> ClassProbabilities:
        """What the run was told."""
        return self.resolved.settings

    @property
    def folder(self) -> RunFolder:
        """Where the run lies."""
        name = f"{self.settings.images.name} probabilities"
        return RunFolder(self.settings.folder(name, self.key), PROBABILITIES)

    def items(self) -> Sequence[str]:
        return rows_of(len(self.settings.images), self.settings.batch_size)

    def images_of(self, item: str) -> int:
        return len(rows_in(item))

    def plan(self, todo: Collection[str]) -> list[Batch]:
        return [(item,) for item in self.items() if item in todo]

    def is_current(self, item: str, record: Record) -> bool:
        """The key holds the hash of all images, so records of the same key hold."""
        return True

    def open(self, device: str) -> ProbabilityWorker:
        return ProbabilityWorker(self, device)

    def on_this_machine(self) -> ProbabilityTask:
        return ProbabilityTask.of(self.settings)


class ProbabilityWorker(LabellingWorker):
    """A classifier, loaded; a ``runs.task.Worker``."""

    def __init__(self, task: ProbabilityTask, device: str) -> None:
        """Load the net."""
        super().__init__(task.resolved, device)
        self._task = task
        self._labeller.gp.allow_zero_gradient = True  # where no image of a batch is sure enough

    def head(self) -> dict[str, Any]:
        """First line of this worker's file of records: the key and where the records come from."""
        return {
            "key": self._task.key,
            "classes": self._labeller.classes,
            "made": {
                **self._resolved.origin(self._labeller.net),
                "data": self._task.description,
            },
        }

    def load(self, batch: Batch) -> list[list[Canvas]]:
        """The images of every item of a batch, as the net wants them."""
        images = self._settings.images
        return [[self._canvas(images.images[row]) for row in rows_in(item)] for item in batch]

    def _canvas(self, image: np.ndarray) -> Canvas:
        """Of an image (H, W, 1 or 3)."""
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).convert("RGB")
        return self._labeller.preprocess.canvas(picture, self._settings.images.name)

    def records(self, batch: Batch, loaded: list[list[Canvas]]) -> Iterator[list[Record]]:
        """One item after the other."""
        for item, canvases in zip(batch, loaded):
            start = time.perf_counter()
            parts = list(self._parts.of(len(canvases), lambda part: self._passes(canvases[part])))  # noqa: B023
            of_eps = [np.concatenate(found).astype(np.float64).tolist() for found in zip(*parts)]
            seconds = {"passes": time.perf_counter() - start}
            yield [{"item": item, "probabilities": of_eps, "seconds": seconds}]

    def _passes(self, canvases: Sequence[Canvas]) -> list[np.ndarray]:
        """(n, C) before, and after each eps."""
        result = self._labeller.label(canvases, [None] * len(canvases), keep_probabilities=True)
        assert result.base_probabilities is not None and result.probabilities is not None
        if result.base_labels[0].size != 1:
            raise NetError(
                f"the scores '{self._labeller.gp.score}' label {result.base_labels[0].size} places of an "
                "image: expected those of a net that labels whole images"
            )
        return [y.reshape(y.shape[:2]) for y in (result.base_probabilities, *result.probabilities)]
