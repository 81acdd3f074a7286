"""A classifier on a test set, before and after guided perturbations by nearest training images (section 5).

    train, test = (classification.get(name) for name in ("mnist-train", "mnist-test"))
    run = evaluate(Classification.of_model("lenet", train=train, test=test, eps=[0.03], out=Path("out")))
    run.accuracy(), run.outcome(run.variants[0], 0.03)

What ``caffe_gp classify`` does, as a function. All eps, k, feature blobs and both places of the gradient
share one bank. A run can be stopped and resumed, with any number of workers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Collection, Sequence

from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.errors import DataError, UsageError
from caffe_gp.evaluation.classification_results import (
    ClassificationResults,
    Variant,
    read_results,
    variants_of,
    write_reports,
)
from caffe_gp.evaluation.neighbour_worker import NeighbourJob, NeighbourWorker
from caffe_gp.evaluation.record_checks import CLASSIFICATION, rows_in, rows_of
from caffe_gp.evaluation.settings import NetTask, Resolved, RunSettings, as_names, required
from caffe_gp.gp import NeighbourPerturbation
from caffe_gp.images.preprocess import Size
from caffe_gp.runs.folder import RunFolder, keyed_folder
from caffe_gp.runs.progress import OnProgress, during
from caffe_gp.runs.run import run
from caffe_gp.runs.task import Batch, Record

PLACES = ("neighbour", "test")
_MOST_NEIGHBOURS = 127  # whose signs are summed in int8
_SEARCHED = 300  # images at once: matrix products of fewer rows are slower

__all__ = ["PLACES", "Classification", "ClassificationResults", "Variant", "evaluate"]


@dataclass(repr=False)
class Classification(RunSettings):
    """Everything an evaluation is told; ``encoding``, ``inject``, ``iterations`` and ``seed`` play no part.

    ``average`` and ``adapt`` are refused: they are for evaluations of images.

    train, test   the images that neighbours are taken from, and those to be classified
    bank          folder of the features and gradients, default ``out/bank``
    k             numbers of neighbours
    features      blobs whose values are compared; default: the one that the scores are made from
    gradient_at   'neighbour' (the paper's formula) or 'test' (at the test image, with the neighbour's class)
    tune          images to choose eps on, none of which may be in ``train``; None: every eps is reported
    """

    train: ClassificationSet = field(default_factory=required)
    test: ClassificationSet = field(default_factory=required)
    tune: ClassificationSet | None = None
    bank: Path | None = None
    k: tuple[int, ...] = (3,)
    features: tuple[str, ...] = ()
    gradient_at: tuple[str, ...] = ("neighbour",)
    batch_size: int = 100

    def variants(self) -> list[Variant]:
        """Every combination of features, place of the gradient and k."""
        return variants_of(self.features, self.gradient_at, self.k)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.k = (self.k,) if isinstance(self.k, int) else tuple(self.k)
        self.features, self.gradient_at = as_names(self.features), as_names(self.gradient_at)

    def image_size(self) -> Size | None:
        return (self.train.images.shape[2], self.train.images.shape[1])

    def check(self) -> None:
        super().check()
        if self.average or self.adapt is not None:
            raise UsageError("average and adapt are not for the perturbation by neighbours")
        for place in self.gradient_at:
            if place not in PLACES:
                raise UsageError(f"gradient_at must be 'neighbour' or 'test', found '{place}'")
        most = min(len(self.train.labels), _MOST_NEIGHBOURS)
        if not self.k or not 1 <= min(self.k) <= max(self.k) <= most:
            raise UsageError(f"k must be in 1..{most}, found {list(self.k)}")
        for other in (self.test, self.tune):
            if other is not None:
                _check_classes(self.train, other)

    def method(self, resolved: Resolved) -> dict[str, Any]:
        """The method's settings, for results."""
        return {
            **{name: resolved.method[name] for name in ("eps", "blob", "score")},
            "k": list(self.k),
            "features": list(self.features),
            "gradient_at": list(self.gradient_at),
        }


def evaluate(settings: Classification, on_progress: OnProgress | None = None) -> ClassificationResults:
    """Compute what the run's folder does not hold yet, write its reports and return the results.

    on_progress   called as ``on_progress(done, total, what)``: see ``runs.run``; the images that eps is
                  chosen on come afterwards, as 'tuning'
    Raises the errors of ``engines.load_net``, ``NeighbourPerturbation`` and ``Preprocess``; DataError for
    images and labels that do not suit the net and, naming the setting, for a folder with a run of other ones.
    """
    return run_task(ClassificationTask.of(settings), on_progress)


def run_task(task: ClassificationTask, on_progress: OnProgress | None = None) -> ClassificationResults:
    """``evaluate`` for a task that is opened already."""
    found = _run(task, on_progress)
    if task.settings.tune is not None:
        found.tuning = _run(task.of_tuning(task.settings.tune), during("tuning", on_progress))
        write_reports(task.folder, found)
    return found


def _run(task: ClassificationTask, on_progress: OnProgress | None) -> ClassificationResults:
    with task.folder.only_here():
        folder = run(task, task.folder, on_progress=on_progress, **task.settings.sharing())
        found = read_results(folder, task.images, task.settings.train.labels)
        if not folder.is_reported():
            write_reports(folder, found)
        return found


@dataclass(frozen=True)
class ClassificationTask(NetTask):
    """Classify the images of one set. A ``runs.task.Task``; an item is a batch of rows, '0-99'.

    images        the test or tuning set, and ``what`` it is for: '' or 'tuning'
    bank_key      everything that the bank's values depend on
    description, train_description   what the sets say of themselves: they hash all images, so once
    opened        the net, loaded; stays in the process that it was loaded in
    """

    resolved: Resolved
    images: ClassificationSet
    what: str
    bank_key: dict[str, Any]
    key: dict[str, Any]
    description: dict[str, Any]
    train_description: dict[str, Any]
    opened: Any = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "opened": None}

    @classmethod
    def of(cls, settings: Classification) -> ClassificationTask:
        """The task over the test set. Raises what ``evaluate`` does before it computes."""
        settings.check()
        settings = settings.with_workers()
        resolved = settings.resolve()
        # Only the loaded net tells which blob the scores are made from.
        opened = resolved.open_net()
        method = NeighbourPerturbation(opened, blob=settings.blob, features=settings.features)
        settings = replace(settings, features=tuple(method.features))
        resolved = replace(resolved, settings=settings)
        for images in (settings.train, settings.test, settings.tune):
            if images is not None:
                _check_channels(images, method.classes)
        described = settings.train.describe()
        bank_key = {**resolved.net_key(), "train": described}
        task = cls(resolved, settings.test, "", bank_key, {}, {}, described, opened)
        return task._over(settings.test, "")

    def of_tuning(self, images: ClassificationSet) -> ClassificationTask:
        """The same over the images that eps is chosen on."""
        return self._over(images, "tuning")

    def _over(self, images: ClassificationSet, what: str) -> ClassificationTask:
        described = images.describe()
        key = {
            **self.bank_key,
            "images": described,
            **self.settings.method(self.resolved),
            "batch_size": self.settings.batch_size,
        }
        return replace(self, images=images, what=what, key=key, description=described)

    @property
    def settings(self) -> Classification:
        """What the run was told, with the names of the feature blobs filled in."""
        return self.resolved.settings

    @property
    def folder(self) -> RunFolder:
        """Where the run lies."""
        return RunFolder(self._place(self.what, self.images, self.key), CLASSIFICATION)

    @property
    def bank_folder(self) -> Path:
        """Where features and gradients of the training set lie."""
        return self.settings.bank or self._place("bank", self.settings.train, self.bank_key)

    def items(self) -> Sequence[str]:
        return rows_of(len(self.images), self.settings.batch_size)

    def images_of(self, item: str) -> int:
        return len(rows_in(item))

    def plan(self, todo: Collection[str]) -> list[Batch]:
        """Items in their order, as many together as are searched at once."""
        ordered, several = list(todo), max(1, _SEARCHED // self.settings.batch_size)
        return [ordered[first : first + several] for first in range(0, len(ordered), several)]

    def is_current(self, item: str, record: Record) -> bool:
        """The key holds hashes of all images, so records of the same key hold."""
        return True

    def open(self, device: str) -> NeighbourWorker:
        data = {
            "train": self.train_description,
            "images": self.description,
            "class_names": list(self.images.classes),
        }
        method = self.settings.method(self.resolved)
        job = NeighbourJob(
            self.resolved, self.images, self.key, self.bank_folder, self.bank_key, method, data
        )
        is_open = self.opened is not None and self.opened.device == device
        return NeighbourWorker(job, self.opened if is_open else self.resolved.open_net(device))

    def on_this_machine(self) -> ClassificationTask:
        again = ClassificationTask.of(self.settings)
        return again._over(self.images, self.what)

    def _place(self, what: str, images: ClassificationSet, key: dict[str, Any]) -> Path:
        """A folder of ``out``: ``what``, or with ``by_key`` a name of its own."""
        settings = self.settings
        if not settings.by_key:
            return Path(settings.out) / what
        net = settings.net_name() if settings.module else settings.model
        net = net or Path(settings.prototxt).resolve().parent.name
        return keyed_folder(settings.out, f"{net}-{images.name} {what}", key)


def _check_channels(images: ClassificationSet, channels: int) -> None:
    """DataError unless the set's classes are the net's channels."""
    if len(images.classes) != channels:
        raise DataError(
            f"set '{images.name}' has {len(images.classes)} classes, the net's scores have {channels} "
            "channels: they must be as many, since label k is channel k"
        )


def _check_classes(one: ClassificationSet, other: ClassificationSet) -> None:
    if one.classes == other.classes:
        return
    message = f"sets '{one.name}' and '{other.name}' differ in their classes"
    for label, (name, found) in enumerate(zip(one.classes, other.classes)):
        if name != found:
            raise DataError(f"{message}: class {label} is '{name}' in one and '{found}' in the other")
    raise DataError(f"{message}: {len(one.classes)} and {len(other.classes)}")
