"""The paper's two classifiers on their data, for table 6 and figures 11 and 16: trained here.

The nets were trained without the part of the training set that ``ClassificationSet.split`` keeps for tuning.
eps is chosen on that part, and neighbours come from the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Sequence

from caffe_gp.datasets import classification as sets
from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.errors import DataError
from caffe_gp.evaluation.classification import Classification
from caffe_gp.experiments.bench import Bench
from caffe_gp.files import places
from caffe_gp.models import zoo


@dataclass(frozen=True)
class Classifier:
    """A net of the zoo with its data set.

    name         in the zoo, and its folder in ``models``
    train, test  names of the sets
    levels       steps at the input, in grey levels; the positive ones are tried, all are drawn
    features     blobs of the ablation; the first is the one that the scores are made from
    paper        accuracy in percent before and after
    """

    name: str
    train: str
    test: str
    levels: tuple[float, ...]
    features: tuple[str, ...]
    paper: tuple[float, float]

    @property
    def model(self) -> zoo.Model:
        """Its entry in the zoo."""
        return zoo.get(self.name)

    @property
    def eps(self) -> list[float]:
        """The steps in units of the input."""
        return [level * self.model.feed.scale for level in self.levels]

    def title(self, caffemodel: Path) -> str:
        """For people: the net, and which of its weights where their file's name tells more."""
        more = "" if caffemodel.stem == self.name else f", {caffemodel.stem}"
        return self.model.title + more

    def weights(self) -> list[Path]:
        """The caffemodels, one for each seed that it was trained with; DataError where there is none."""
        folder = places.shipped("models", self.name)
        found = sorted(folder.glob("*.caffemodel"))
        if not found:
            raise DataError(f"{folder}: no caffemodel there; 'caffe_gp train {self.name}' makes one")
        return found


CLASSIFIERS = (
    Classifier(
        "lenet",
        "mnist-train",
        "mnist-test",
        (-8.0, -4.0, -2.0, 1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0),
        ("ip1", "pool2", "data"),
        (98.92, 99.15),
    ),
    Classifier(
        "cifar10",
        "cifar10-train",
        "cifar10-test",
        (-1.0, -0.5, -0.25, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
        ("ip1", "pool4"),
        (76.31, 76.95),
    ),
)


def checks(bench: Bench, wanted: Sequence[Classifier]) -> list[Callable[[], object]]:
    """What has to be there for some of them, as calls that raise DataError where it is not."""
    found: list[Callable[[], object]] = [classifier.weights for classifier in wanted]
    for name in sorted({name for one in wanted for name in (one.train, one.test)}):
        found.append(lambda name=name: _set(bench, name))  # type: ignore[misc]
    return found


def _set(bench: Bench, name: str) -> ClassificationSet:
    return sets.get(bench.stand_ins.get(name, name), bench.data_root)


def settings(bench: Bench, classifier: Classifier, caffemodel: Path, **method: Any) -> Classification:
    """An evaluation with eps chosen on the part that is kept for tuning.

    method   k, features, gradient_at, eps of ``Classification``
    """
    train, tune = _set(bench, classifier.train).split()
    test = _set(bench, classifier.test)
    given: dict[str, Any] = {
        "eps": classifier.eps,
        "caffemodel": str(caffemodel),
        "train": train,
        "tune": tune if bench.tuning_limit is None else tune.first(bench.tuning_limit),
        "test": test if bench.limit is None else test.first(bench.limit),
        **bench.run_settings(),
        **method,
    }
    return Classification.of_model(classifier.name, **given)


def warnings(bench: Bench, used: Sequence[Classifier], images: int) -> Sequence[str]:
    """What a reader of a report on these nets must not overlook."""
    names = {name for one in used for name in (one.train, one.test)}
    said = [
        f"{name} is not the published set, '{_set(bench, name).name}' stands in for it: these are not the "
        "paper's numbers."
        for name in bench.stand_ins
        if name in names
    ]
    if bench.limit is not None:
        said.append(f"Only the first {images} test images: these are not the paper's numbers.")
    return said
