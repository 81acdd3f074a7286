"""What an experiment is given: a suite's nets on its images, evaluated once and kept.

For example:

    bench = Bench(suite, out=Path("reports"))
    run = bench.run(net, eps=[0.55])             # RunResults; the second call reads the records
    eps = bench.eps(net)                          # the paper's, or tuned
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from caffe_gp.datasets import segmentation
from caffe_gp.datasets.segmentation import SegmentationSet
from caffe_gp.engines import forward, load_net
from caffe_gp.evaluation.choose_eps import AUTO
from caffe_gp.evaluation.labeller import Labeller
from caffe_gp.evaluation.segmentation import Evaluation, RunResults, chosen_eps, evaluate
from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.evaluation.tuning import CrossValidated, best_eps, cross_validate
from caffe_gp.experiments.suites import Net, Suite
from caffe_gp.runs.task import Record


@dataclass
class Tuned:
    """A step and where it comes from.

    eps       one value, or (with ``folds``) the values of the cross-validation's folds
    matrices  (N, C, C) per-image confusion matrices on the suite's data with it
    base      (N, C, C) before
    source    for people: 'paper', 'tuned on 120 images of ...', '5-fold cross-validation'
    run       the evaluation on the suite's data that holds the matrices
    """

    eps: list[float]
    matrices: np.ndarray
    base: np.ndarray
    source: str
    run: RunResults

    def text(self) -> str:
        """The step for a table's cell."""
        values = sorted(set(self.eps))
        return " / ".join(f"{value:g}" for value in values)


@dataclass
class Bench:
    """A suite, its images, and how to compute.

    out       folder of all reports; evaluations are kept in ``out/runs``
    ids         a list: only the images of the suite's data that it names
    available, limit   only the images that are there, only the first
    tuning_limit   only so many images for tuning
    stand_ins      classification sets to take in place of published ones: 'cifar10-test' -> 'folder:DIR'
    on_records     called with the records of every evaluation as they come
    """

    suite: Suite
    out: Path
    data_root: Path | None = None
    ids: Path | None = None
    available: bool = False
    limit: int | None = None
    engine: str = "auto"
    device: str = "cpu"
    precision: str = "float32"
    workers: int = 1
    threads: int | None = None
    batch_size: int = 1
    quiet: bool = False
    command: str = ""
    tuning_limit: int | None = None
    stand_ins: Mapping[str, str] = field(default_factory=dict)
    on_records: Callable[[Sequence[Record]], object] | None = None
    _sets: dict[str, SegmentationSet] = field(default_factory=dict)

    def data(self) -> SegmentationSet:
        """What the suite is measured on."""
        chosen = self.named(self.suite.data)
        if self.ids is not None:
            chosen = chosen.listed(self.ids, "chosen")
        return chosen if self.limit is None else chosen.first(self.limit)

    def tuning_data(self) -> SegmentationSet | None:
        """What eps is tuned on, or None where it is cross-validated."""
        if self.suite.tuning is None:
            return None
        chosen = self.named(self.suite.tuning)
        return chosen if self.tuning_limit is None else chosen.first(self.tuning_limit)

    def named(self, name: str) -> SegmentationSet:
        """A set by its name, or what is there of it if ``available``."""
        if name not in self._sets:
            chosen = segmentation.get(name, self.data_root)
            self._sets[name] = chosen.available() if self.available else chosen
        return self._sets[name]

    def run(
        self, net: Net, eps: Sequence[float], data: SegmentationSet | None = None, **method: Any
    ) -> RunResults:
        """Evaluate ``net``, or read the records of an earlier run with the same settings.

        data    default: the suite's; ``method``: blob, encoding, iterations, crf, ... of ``Evaluation``
        """
        settings = self._evaluation(net, eps, self.data() if data is None else data, method)
        return evaluate(settings, on_records=self.on_records)

    def eps_without_labels(self, net: Net, data: SegmentationSet, **method: Any) -> float:
        """The step that ``--eps auto`` chooses on all images of ``data``; ``method``: as for ``run``."""
        settings = self._evaluation(net, AUTO, data, {**method, "eps_images": len(data.ids)})
        settings.check()
        return chosen_eps(settings.with_workers()).eps

    def labeller(self, net: Net, eps: Sequence[float], **method: Any) -> Labeller:
        """The net loaded, for figures that look inside it."""
        return Labeller(NetSettings(**self._settings(net, eps, method)).resolve())

    def tune(
        self, net: Net, grid: Sequence[float], tuning: SegmentationSet | None = None, **method: Any
    ) -> Tuned:
        """The best step of ``grid`` on tuning images (the suite's), or by cross-validation without any."""
        tuning = tuning or self.tuning_data()
        if tuning is None:
            run = self.run(net, grid, **method)
            found = cross_validate(run.eps, run.after, run.base)
            return Tuned(found.eps, found.matrices, run.base, _folds_text(found), run)
        sweep = self.run(net, grid, tuning, **method)
        eps = best_eps(sweep.eps, sweep.after, sweep.base)
        source = f"tuned on {len(sweep.ids)} images of {tuning.name}"
        return self._at(net, eps, source, method)

    def gp(self, net: Net, **method: Any) -> Tuned:
        """The net's guided perturbation at the input: the paper's step where it states one, else tuned."""
        if net.eps is None:
            return self.tune(net, net.grid, **method)
        return self._at(net, net.eps, "paper", method)

    def one_eps(self, tuned: Tuned) -> float:
        """The step that most folds chose (the smaller of equals); 0 counts as the smallest of all."""
        values, counts = np.unique(tuned.eps, return_counts=True)
        return float(values[counts.argmax()])

    def deviations(self, net: Net, blobs: Sequence[str], images: int) -> dict[str, float]:
        """Standard deviation of each blob over the first images of the suite's data."""
        loaded = load_net(
            str(net.model.prototxt()),
            str(net.caffemodel()),
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            score=net.model.score,
        )
        data = self.data().first(images)
        squares = {blob: np.zeros(3) for blob in blobs}  # count, sum, sum of squares
        for item in data.ids:
            canvas = net.model.feed.load(data.image(item)).data[np.newaxis]
            forward(loaded.net, loaded.data, canvas)
            for blob, sums in squares.items():
                values = loaded.net.blobs[blob].data.astype(np.float64)
                sums += values.size, values.sum(), (values**2).sum()
        return {blob: float(np.sqrt(c / a - (b / a) ** 2)) for blob, (a, b, c) in squares.items()}

    def _evaluation(
        self, net: Net, eps: Sequence[float] | str, data: SegmentationSet, method: dict[str, Any]
    ) -> Evaluation:
        return Evaluation(
            data=data,
            workers=self.workers,
            threads=self.threads,
            batch_size=self.batch_size,
            **{**self.run_settings(), **self._settings(net, eps, method)},
        )

    def run_settings(self) -> dict[str, Any]:
        """What every run is told, whatever it computes."""
        return {"out": self.out / "runs", "by_key": True, "quiet": self.quiet, **self._engine_settings()}

    def _engine_settings(self) -> dict[str, Any]:
        """Likewise, also what keeps no records."""
        names = ("engine", "device", "precision", "command")
        return {name: getattr(self, name) for name in names}

    def _settings(self, net: Net, eps: Sequence[float] | str, method: dict[str, Any]) -> dict[str, Any]:
        """What ``NetSettings`` is told."""
        return {
            "prototxt": str(net.model.prototxt()),
            "caffemodel": str(net.caffemodel()),
            "model": net.name,
            "score": net.model.score,
            "eps": eps if isinstance(eps, str) else list(eps),
            **self._engine_settings(),
            **net.model.feed_options(),
            **method,
        }

    def _at(self, net: Net, eps: float, source: str, method: dict[str, Any]) -> Tuned:
        run = self.run(net, [eps or net.grid[0]], **method)
        return Tuned([eps], run.at(eps) if eps else run.base, run.base, source, run)


def _folds_text(found: CrossValidated) -> str:
    return f"{len(found.eps)}-fold cross-validation inside the set"
