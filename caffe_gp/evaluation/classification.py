"""A classifier on a test set, before and after guided perturbations by nearest training images (section 5).

    train, test = (classification.get(name) for name in ("mnist-train", "mnist-test"))
    run = evaluate(Classification.of_model("lenet", train=train, test=test, eps=[0.03], out=Path("out")))
    run.accuracy(), run.outcome(run.variants[0], 0.03)

What ``caffe_gp classify`` does, as a function. All eps, k, feature blobs and both places of the
gradient share one bank. A run can be stopped and goes on where it stopped.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Iterator

import numpy as np
from tqdm import tqdm

import caffe_gp
from caffe_gp import engines, proto, provenance
from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.evaluation.classification_results import ClassificationResults, Example, Variant
from caffe_gp.evaluation.feature_bank import FeatureBank
from caffe_gp.evaluation.results import keyed_name
from caffe_gp.evaluation.settings import NetSettings, required
from caffe_gp.files.hashes import sha256_of, sha256_of_text
from caffe_gp.files.json_files import write_json
from caffe_gp.gp import NeighbourPerturbation, Neighbours
from caffe_gp.runs.records import Records

SCHEMA = "caffe_gp.classification/1"
PLACES = ("neighbour", "test")
_MOST_NEIGHBOURS = 127  # whose signs are summed in int8
_SEARCHED = 300  # images at once: matrix products of fewer rows are slower

__all__ = ["PLACES", "Classification", "ClassificationResults", "Variant", "evaluate"]


@dataclass
class Classification(NetSettings):
    """Everything an evaluation is told; ``encoding``, ``inject``, ``iterations`` and ``seed`` play no part.

    train, test   the images that neighbours are taken from, and those to be classified
    out           folder of the run; ``bank``: folder of the features and gradients, default ``out/bank``
    by_key        put run and bank into folders of ``out`` named after their keys: many runs share one ``out``
    k             numbers of neighbours
    features      blobs whose values are compared; default: the one that the scores are made from
    gradient_at   'neighbour' (the paper's formula) or 'test' (at the test image, with the neighbour's class)
    tune          images to choose eps on, none of which may be in ``train``; None: every eps is reported
    """

    train: ClassificationSet = field(default_factory=required)
    test: ClassificationSet = field(default_factory=required)
    out: Path = field(default_factory=required)
    tune: ClassificationSet | None = None
    bank: Path | None = None
    by_key: bool = False
    k: tuple[int, ...] = (3,)
    features: tuple[str, ...] = ()
    gradient_at: tuple[str, ...] = ("neighbour",)
    batch_size: int = 100

    def variants(self) -> list[Variant]:
        """Every combination of features, place of the gradient and k."""
        return [
            Variant(features, place, k)
            for features in self.features
            for place in self.gradient_at
            for k in self.k
        ]

    def check(self) -> None:
        """CaffeGPError for settings that make no sense together."""
        self.check_eps()
        for place in self.gradient_at:
            if place not in PLACES:
                raise CaffeGPError(f"gradient_at must be 'neighbour' or 'test', found '{place}'")
        most = min(len(self.train.labels), _MOST_NEIGHBOURS)
        if not self.k or not 1 <= min(self.k) <= max(self.k) <= most:
            raise CaffeGPError(f"k must be in 1..{most}, found {list(self.k)}")
        for other in (self.test, self.tune):
            if other is not None:
                _check_classes(self.train, other)

    def method(self, prepared: Any) -> dict[str, Any]:
        """The method's settings, for results."""
        common = super().method(prepared)
        return {
            **{name: common[name] for name in ("eps", "blob", "score")},
            "k": list(self.k),
            "features": list(self.features),
            "gradient_at": list(self.gradient_at),
        }


def evaluate(settings: Classification) -> ClassificationResults:
    """Compute what the run's folder does not hold yet, write ``results.json`` and return the results.

    Raises the errors of ``engines.load_net``, ``NeighbourPerturbation`` and ``Preprocess``; DataError for
    images and labels that do not suit the net and, naming the setting, for a folder with a run of other ones.
    """
    return Work(settings).evaluate()


class Work:
    """The net of some settings, loaded, and its bank.

    settings     with the names of the feature blobs filled in
    folder       of the run; method, preprocess, bank
    seconds      what this process spent on 'features', 'search', 'gradients' and 'perturbed'
    """

    def __init__(self, settings: Classification) -> None:
        """Load the net. Raises what ``evaluate`` does."""
        settings.check()
        self.seconds: dict[str, float] = {}
        self._described: dict[int, dict[str, Any]] = {}
        loaded = engines.load_net(
            settings.prototxt,
            settings.caffemodel,
            engine=settings.engine,
            device=settings.device,
            score=settings.score,
            input_shape=settings.input_shape,
        )
        self.prepared = loaded.prepared
        self.preprocess = settings.preprocess(loaded.prepared)
        self.method = NeighbourPerturbation(loaded, blob=settings.blob, features=settings.features)
        self.settings = settings = replace(settings, features=tuple(self.method.features))
        for images in (settings.train, settings.test, settings.tune):
            if images is not None:
                _check_labels(images, self.method.classes)
                self._check_size(images)
        if not settings.quiet:
            for change in loaded.changes:
                print(f"  {change}", file=sys.stderr)
        key = self._bank_key()
        self.bank = FeatureBank(
            settings.bank or Path(settings.out) / self._name("bank", settings.train, key),
            self.method,
            settings.train,
            self.preprocess,
            key,
            batch_size=settings.batch_size,
            quiet=settings.quiet,
        )
        self.folder = Path(settings.out) / self._name("", settings.test, self._key(settings.test))
        # The embedded Caffe multiplies on its device.
        self._product = getattr(engines.load_caffe(settings.engine, settings.device), "matmul", np.matmul)

    def evaluate(self) -> ClassificationResults:
        """See the function of this name."""
        tune = self.settings.tune
        results = self.run(self.settings.test, self.folder)
        if tune is not None:
            name = self._name("tuning", tune, self._key(tune))
            results.tuning = self.run(tune, Path(self.settings.out) / name)
        report = {**_report(results), "seconds": self.seconds}
        write_json(self.folder / "results.json", report)
        return results

    def run(self, images: ClassificationSet, folder: Path) -> ClassificationResults:
        """Classify ``images``, keeping records in ``folder``."""
        every, size = np.arange(len(images.labels)), self.settings.batch_size
        batches = [every[first : first + size] for first in range(0, len(every), size)]
        with Records(folder / "records.jsonl", self._key(images)) as records:
            todo = [rows for rows in batches if _item(rows) not in records]
            if todo:
                self._compute(images, todo, records)
            return self._results(images, [records[_item(rows)] for rows in batches])

    def steps(self, images: np.ndarray, neighbours: np.ndarray, gradient_at: str) -> np.ndarray:
        """Sums of signs for some images, int8 like the blob; times eps / K they are what is added.

        images       (n, H, W, C) uint8
        neighbours   (n, K) rows of the training set
        """
        self.method.look(self.preprocess.batch(images))
        gradients = self._gradients(neighbours) if gradient_at == "neighbour" else None
        return self._signs(neighbours, gradients).sum(axis=1, dtype=np.int8)

    def examples(
        self, run: ClassificationResults, variant: Variant, eps: float, fixed: int, broken: int
    ) -> list[Example]:
        """The first test images that the perturbation fixed, then the first that it broke."""
        before, after = run.base == run.truth, run.at(variant, eps) == run.truth
        rows = np.concatenate(
            [np.flatnonzero(after & ~before)[:fixed], np.flatnonzero(before & ~after)[:broken]]
        )
        if not len(rows):
            return []
        images = self.settings.test.images[rows]
        neighbours = run.neighbours[variant.features][rows, : variant.k]
        steps = self.steps(images, neighbours, variant.gradient_at)
        data = self.preprocess.batch(images)
        at_input = self.method.blob == self.method.input
        found = []
        for i, row in enumerate(rows.tolist()):
            moved = data[i] + np.float32(eps / variant.k) * steps[i] if at_input else None
            found.append(
                Example(
                    row,
                    neighbours[i],
                    self.settings.train.labels[neighbours[i]],
                    int(run.truth[row]),
                    int(run.base[row]),
                    int(run.at(variant, eps)[row]),
                    steps[i],
                    None if moved is None else self.preprocess.picture(moved),
                )
            )
        return found

    def _check_size(self, images: ClassificationSet) -> None:
        """DataError where a fully connected layer would meet images of another size."""
        fixed = [layer.name for layer in self.prepared.net.layer if layer.type == "InnerProduct"]
        height, width = self.prepared.input_shape.dim[2:4]
        found = self.preprocess.canvas_size((images.images.shape[2], images.images.shape[1]))
        if fixed and found != (width, height):
            raise DataError(
                f"set '{images.name}' has images of {found[0]} x {found[1]}, layer '{fixed[0]}' needs "
                f"{width} x {height}: --resize {width},{height}"
            )

    # ---- the phases

    def _compute(self, images: ClassificationSet, todo: list[np.ndarray], records: Records) -> None:
        settings, method = self.settings, self.method
        neighbours = self._search(images, todo)
        at_neighbours = None
        if "neighbour" in settings.gradient_at:
            used = np.concatenate([found[rows].ravel() for found in neighbours.values() for rows in todo])
            at_neighbours = self._gradients(used)
        with self._clock("perturbed"), self._bar(todo, "perturbed") as bar:
            for rows in todo:
                base, _ = method.look(self.preprocess.batch(images.images[rows]))
                labels = {}
                for features, found in neighbours.items():
                    for place in settings.gradient_at:
                        gradients = at_neighbours if place == "neighbour" else None
                        signs = self._signs(found[rows], gradients)
                        for k in settings.k:
                            step = signs[:, :k].sum(axis=1, dtype=np.int8)
                            after = [method.after(step, eps / k).tolist() for eps in settings.eps]
                            labels[Variant(features, place, k).name] = after
                nearest = {name: found[rows].tolist() for name, found in neighbours.items()}
                records.add(_item(rows), {"base": base.tolist(), "neighbours": nearest, "labels": labels})
                bar.update(len(rows))

    def _search(self, images: ClassificationSet, todo: list[np.ndarray]) -> dict[str, np.ndarray]:
        """(N, K) rows of the training set for each feature blob, where they are still needed."""
        most, size = max(self.settings.k), self.settings.batch_size
        with self._clock("features"):
            banks = {name: Neighbours(bank, self._product) for name, bank in self.bank.features().items()}
        found = {name: np.zeros((len(images.labels), most), np.int64) for name in banks}
        with self._clock("search"), self._bar(todo, "neighbours") as bar:
            several = max(1, _SEARCHED // size)
            for together in (todo[first : first + several] for first in range(0, len(todo), several)):
                looks = [self.method.look(self.preprocess.batch(images.images[rows])) for rows in together]
                every = np.concatenate(together)
                for name, bank in banks.items():
                    queries = np.concatenate([features[name] for _, features in looks])
                    found[name][every], _ = bank.nearest(queries, most)
                bar.update(len(every))
        return found

    def _gradients(self, rows: np.ndarray) -> dict[int, np.ndarray]:
        """The signs of the gradients of training images, by row."""
        unique = np.unique(rows)
        with self._clock("gradients"):
            return dict(zip(unique.tolist(), self.bank.directions(unique)))

    def _signs(self, neighbours: np.ndarray, gradients: dict[int, np.ndarray] | None) -> np.ndarray:
        """(n, K, ...) int8: each neighbour's sign, from ``gradients``; None: at the images just looked at."""
        if gradients is not None:
            return np.stack([[gradients[row] for row in rows] for rows in neighbours.tolist()])
        return toward_each(self.method, self.settings.train.labels[neighbours])

    @contextmanager
    def _clock(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def _bar(self, todo: list[np.ndarray], what: str) -> Any:
        return tqdm(
            total=sum(map(len, todo)),
            desc=what,
            unit="image",
            disable=self.settings.quiet,
            file=sys.stderr,
            # In a log file every update is a line of its own.
            mininterval=0.2 if sys.stderr.isatty() else 10,
        )

    # ---- what identifies it, and what it found

    def _name(self, what: str, images: ClassificationSet, key: dict[str, Any]) -> str:
        """A folder of ``out``: ``what``, or with ``by_key`` a name of its own."""
        if not self.settings.by_key:
            return what
        net = self.settings.model or Path(self.settings.prototxt).resolve().parent.name
        return keyed_name(net, f"{images.name} {what}", key)

    def _bank_key(self) -> dict[str, Any]:
        settings = self.settings
        engine = engines.describe(settings.engine, settings.device)
        versions = [engine[name] for name in ("engine_version", "torch") if name in engine]
        return {
            "caffemodel_sha256": sha256_of(settings.caffemodel),
            "prepared_prototxt_sha256": sha256_of_text(proto.to_text(self.prepared.net)),
            "train": self._describe(settings.train),
            **self.preprocess.describe(),
            "engine": engine["engine"],
            "engine_version": ", torch ".join(versions),
            "device": settings.device.split(":")[0],
            "version": caffe_gp.__version__,
        }

    def _describe(self, images: ClassificationSet) -> dict[str, Any]:
        """What a set says of itself, asked once: it hashes all images."""
        if id(images) not in self._described:
            self._described[id(images)] = images.describe()
        return self._described[id(images)]

    def _key(self, images: ClassificationSet) -> dict[str, Any]:
        return {
            **self._bank_key(),
            "images": self._describe(images),
            **self.settings.method(self.prepared),
            "batch_size": self.settings.batch_size,
        }

    def _results(self, images: ClassificationSet, found: list[dict[str, Any]]) -> ClassificationResults:
        settings = self.settings
        neighbours = {
            name: np.concatenate([record["neighbours"][name] for record in found])
            for name in settings.features
        }
        train = settings.train
        data = {
            "train": self._describe(train),
            "images": self._describe(images),
            "class_names": list(images.classes),
        }
        labels = {
            variant: np.concatenate([record["labels"][variant.name] for record in found], axis=1)
            for variant in settings.variants()
        }
        return ClassificationResults(
            eps=[float(eps) for eps in settings.eps],
            truth=images.labels,
            base=np.concatenate([record["base"] for record in found]),
            labels=labels,
            neighbours=neighbours,
            neighbour_classes={name: train.labels[rows] for name, rows in neighbours.items()},
            origin={**settings.origin(self.prepared), "data": data},
        )


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


def _item(rows: np.ndarray) -> str:
    return f"{rows[0]}-{rows[-1]}"


def _check_labels(images: ClassificationSet, classes: int) -> None:
    largest = int(images.labels.max())
    if largest >= classes:
        raise DataError(f"set '{images.name}' has a label {largest}: the net has {classes} classes")


def _check_classes(one: ClassificationSet, other: ClassificationSet) -> None:
    if one.classes == other.classes:
        return
    message = f"sets '{one.name}' and '{other.name}' differ in their classes"
    for label, (name, found) in enumerate(zip(one.classes, other.classes)):
        if name != found:
            raise DataError(f"{message}: class {label} is '{name}' in one and '{found}' in the other")
    raise DataError(f"{message}: {len(one.classes)} and {len(other.classes)}")


def _report(run: ClassificationResults) -> dict[str, Any]:
    report = {
        "schema": SCHEMA,
        "date": provenance.now(),
        **run.origin,
        "summary": run.summary(),
    }
    if run.tuning is not None:
        report["tuning"] = {"data": run.tuning.origin["data"]["images"], **run.tuning.summary()}
    return report
