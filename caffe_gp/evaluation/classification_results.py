"""Labels of a test set before and after guided perturbations, what they amount to, and the reports of it."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Sequence

import numpy as np

from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.errors import DataError
from caffe_gp.evaluation.frames import need_pandas
from caffe_gp.evaluation.record_checks import rows_in
from caffe_gp.evaluation.results import check_reported, digest, in_order, provenance
from caffe_gp.gp import majority
from caffe_gp.images import notebook
from caffe_gp.report.results_file import SCHEMA, Results
from caffe_gp.runs.folder import RunFolder
from caffe_gp.runs.task import Record


class Variant(NamedTuple):
    """One way to perturb: the blob that neighbours are searched by, where gradients are taken, how many."""

    features: str
    gradient_at: str
    k: int

    @property
    def name(self) -> str:
        """For files and JSON."""
        return f"{self.features}/{self.gradient_at}/{self.k}"


def variants_of(features: Sequence[str], places: Sequence[str], ks: Sequence[int]) -> list[Variant]:
    """Every combination, in the order of results."""
    return [Variant(*each) for each in itertools.product(features, places, ks)]


@dataclass
class Outcome:
    """A variant at one eps, against the net without a perturbation.

    accuracy, gain   fractions of the test images
    fixed, broken    images that were wrong and became right, and the other way round
    p                McNemar's exact p-value, two-sided
    """

    accuracy: float
    gain: float
    fixed: int
    broken: int
    p: float


def mcnemar(fixed: int, broken: int) -> float:
    """How probable a split of the changed images as uneven as this is if both ways are as likely; exact."""
    from scipy import stats

    if not fixed + broken:
        return 1.0
    return float(min(1.0, 2 * stats.binom.cdf(min(fixed, broken), fixed + broken, 0.5)))


@dataclass(repr=False)
class ClassificationResults:
    """What an evaluation found.

    eps          the steps, in units of the blob
    truth        (N,) the test set's labels
    base         (N,) the net's labels
    labels       (E, N) for each variant: labels at each eps
    neighbours   (N, K) for each feature blob: rows of the training set, nearest first
    neighbour_classes   (N, K) their labels
    origin       what a reported number must say: settings, net, data, engine, code version
    tuning       the same on the images that eps is chosen on; None without them
    records_sha256   over the records that it was read from
    """

    eps: list[float]
    truth: np.ndarray
    base: np.ndarray
    labels: dict[Variant, np.ndarray]
    neighbours: dict[str, np.ndarray]
    neighbour_classes: dict[str, np.ndarray]
    origin: dict[str, Any]
    tuning: ClassificationResults | None = None
    records_sha256: str = ""

    def to_frame(self) -> Any:
        """A ``pandas.DataFrame`` with a row for every image, variant and eps.

        row (of the test set), features, gradient_at, k, eps, truth, label_before, label. CaffeGPError where
        pandas is not installed.
        """
        pandas = need_pandas()
        known = {"row": np.arange(len(self.truth)), "truth": self.truth, "label_before": self.base}
        frames = [
            pandas.DataFrame({**known, **variant._asdict(), "eps": eps, "label": self.at(variant, eps)})
            for variant in self.variants
            for eps in self.eps
        ]
        return pandas.concat(frames, ignore_index=True)

    def __repr__(self) -> str:
        return (
            f"<ClassificationResults of {len(self.truth)} images: accuracy {100 * self.accuracy():.2f}; "
            f"{len(self.variants)} variant(s), eps {', '.join(f'{eps:g}' for eps in self.eps)}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            [f"{variant.name}, eps {eps:g}", f"{100 * self.outcome(variant, eps).accuracy:.2f}"]
            for variant in self.variants
            for eps in self.eps
        ]
        title = f"{len(self.truth)} images, accuracy in %"
        return notebook.table(title, ["", ""], [["base", f"{100 * self.accuracy():.2f}"], *rows])

    @property
    def variants(self) -> list[Variant]:
        """What was computed, in order."""
        return list(self.labels)

    def accuracy(self) -> float:
        """Share of the test images that the net labels rightly by itself."""
        return float((self.base == self.truth).mean())

    def vote(self, features: str, k: int) -> float:
        """Accuracy of the neighbours' own majority, without the net's last layers and any perturbation."""
        return float((majority(self.neighbour_classes[features][:, :k]) == self.truth).mean())

    def at(self, variant: Variant, eps: float) -> np.ndarray:
        """(N,) labels; those of the net for eps 0. DataError for an eps that was not computed."""
        if eps == 0:
            return self.base
        if float(eps) not in self.eps:
            raise DataError(f"eps {eps:g} was not computed, only {self.eps}")
        return self.labels[variant][self.eps.index(float(eps))]

    def outcome(self, variant: Variant, eps: float) -> Outcome:
        """What the perturbation changed."""
        before, after = self.base == self.truth, self.at(variant, eps) == self.truth
        fixed, broken = int((after & ~before).sum()), int((before & ~after).sum())
        gain = (fixed - broken) / len(self.truth)
        return Outcome(float(after.mean()), gain, fixed, broken, mcnemar(fixed, broken))

    def best_eps(self, variant: Variant) -> float:
        """The positive step with the highest accuracy, the smallest of a tie; 0 if none beats the net."""
        found = [(self.accuracy(), 0.0)]
        found += [(self.outcome(variant, eps).accuracy, eps) for eps in self.eps if eps > 0]
        return max(found, key=lambda one: (one[0], -one[1]))[1]

    def chosen_eps(self, variant: Variant) -> float | None:
        """The step chosen on the tuning images; None without them."""
        return None if self.tuning is None else self.tuning.best_eps(variant)

    def reported_eps(self, variant: Variant) -> list[float]:
        """The computed steps, ascending, and the chosen one: that may be 0, no step."""
        chosen = self.chosen_eps(variant)
        return sorted({*self.eps, *([] if chosen is None else [chosen])})

    def summary(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        rows = []
        for variant in self.variants:
            row: dict[str, Any] = variant._asdict()
            row["vote_accuracy"] = self.vote(variant.features, variant.k)
            row["gp"] = [{"eps": eps, **asdict(self.outcome(variant, eps))} for eps in self.eps]
            chosen = self.chosen_eps(variant)
            if chosen is not None:
                row["chosen"] = {"eps": chosen, **asdict(self.outcome(variant, chosen))}
            rows.append(row)
        correct = int((self.base == self.truth).sum())
        base = {"images": len(self.truth), "correct": correct, "accuracy": self.accuracy()}
        return {"base": base, "variants": rows}


def read_results(
    folder: RunFolder, images: ClassificationSet, train_labels: np.ndarray
) -> ClassificationResults:
    """What the records of a finished run amount to. DataError for records that are none, or are missing.

    images         the classified set; ``train_labels`` (N,): of the set that neighbours come from
    """
    parts = folder.parts()
    found, key = in_order(folder, parts), folder.key()
    _check_cover(folder, found, len(images))
    neighbours = {
        name: np.concatenate([np.array(record["neighbours"][name], np.int64) for record in found])
        for name in key["features"]
    }
    labels = {
        variant: np.concatenate([record["labels"][variant.name] for record in found], axis=1)
        for variant in variants_of(key["features"], key["gradient_at"], key["k"])
    }
    seconds: dict[str, float] = {}
    for record in found:
        for phase, value in record["seconds"].items():
            seconds[phase] = seconds.get(phase, 0.0) + value
    about = {**provenance(parts, folder.ids()), "class_names": list(images.classes), "seconds": seconds}
    if folder.is_reported():
        check_reported(folder, found, about)
    return ClassificationResults(
        eps=[float(eps) for eps in key["eps"]],
        truth=images.labels,
        base=np.concatenate([record["base"] for record in found]),
        labels=labels,
        neighbours=neighbours,
        neighbour_classes={name: train_labels[rows] for name, rows in neighbours.items()},
        origin=about,
        records_sha256=digest(found),
    )


def _check_cover(folder: RunFolder, records: Sequence[Record], images: int) -> None:
    """DataError unless the records' rows are those of the set, one after the other."""
    after = 0
    for record in records:
        rows = rows_in(record["item"])
        if rows.start != after:
            break
        after = rows.stop
    if after != images:
        raise DataError(
            f"{folder.path / 'ids.txt'}: expected rows 0..{images - 1}, each once and in order, as if it was "
            "edited; the command that began the run writes it anew"
        )


def write_reports(folder: RunFolder, run: ClassificationResults) -> None:
    """Write ``results.json`` and ``provenance.json`` of a finished run."""
    results: Results = {
        "schema": SCHEMA,
        "task": "classification",
        "key": folder.key(),
        "images": len(run.truth),
        "classes": len(run.origin["class_names"]),
        "class_names": run.origin["class_names"],
        "records_sha256": run.records_sha256,
        "summary": run.summary(),
    }
    if run.tuning is not None:
        results["tuning"] = {"data": run.tuning.origin["data"]["images"], **run.tuning.summary()}
    folder.write_reports(results, run.origin)


def table(run: ClassificationResults) -> str:
    """Accuracy of every variant and eps as lines of text."""
    lines = [f"{'base':<44}accuracy {100 * run.accuracy():.2f}"]
    for variant in run.variants:
        chosen = run.chosen_eps(variant)
        name = f"{variant.features}, gradient at {variant.gradient_at}, k {variant.k}"
        lines.append(f"{name + ': vote':<44}accuracy {100 * run.vote(variant.features, variant.k):.2f}")
        for eps in run.reported_eps(variant):
            found = run.outcome(variant, eps)
            mark = "   <- chosen on held-out training images" if eps == chosen else ""
            lines.append(
                f"{f'  eps {eps:g}':<44}accuracy {100 * found.accuracy:.2f} ({100 * found.gain:+.2f})  "
                f"fixed {found.fixed}  broken {found.broken}  p {found.p:.2g}{mark}"
            )
    return "\n".join([*lines, f"{len(run.truth)} image(s)"])
