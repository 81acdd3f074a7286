"""The demonstration: the suite 'digits' with a friendlier page.

    base and base + GP at data, pool1 ... pool4 (the paper's table 4), with bootstrap intervals
    mean IU over eps, negative values too (figure 10), label encodings (figure 8), iterations (figure 5)

Evaluations, nets, steps and the rule that chooses eps are the experiments'. Every eps is chosen on validation
scenes; the test scenes have no say in it. ``run`` measures and returns what results.json holds; ``demo_page``
makes the HTML page of it.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from caffe_gp import provenance
from caffe_gp.datasets import fetch
from caffe_gp.datasets.digit_scenes import NUMBERS, SIZE
from caffe_gp.datasets.segmentation import SegmentationSet
from caffe_gp.engines import forward
from caffe_gp.errors import UsageError
from caffe_gp.evaluation.bootstrap import paired_gain
from caffe_gp.evaluation.image_outputs import read_signs
from caffe_gp.evaluation.results import RunResults
from caffe_gp.evaluation.tuning import best_eps, mean_iu
from caffe_gp.experiments import cells, chosen_images, suites, table4
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.demo_text import claims
from caffe_gp.experiments.suites import Net
from caffe_gp.files import places
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.report.results_file import SCHEMA
from caffe_gp.runs.progress import progress_bar
from caffe_gp.runs.task import Record

log = logging.getLogger(__name__)

NEGATIVE_EPS = (-6.0, -4.0, -2.0, -1.0, -0.5)
ENCODING_EPS = (-6.0, -3.0, -1.0, 1.0, 3.0, 6.0)
ENCODINGS = ("random-onehot", "uniform", "top2", "soft", "ground-truth")
ITERATIONS = (2, 3)
ITERATION_SCENES = 200
TIMING_ROUNDS = 7
GALLERY = {"successes": 6, "failures": 4, "drawn": 4}


@dataclass
class Settings:
    """What to run: sizes, engine, folder.

    out                  folder of the report; evaluations are kept in ``out/runs``
    data_root            folder of the data sets, where the scenes are drawn unless they are there
    scenes, validation   numbers of test and validation scenes
    batch_size           scenes in one pass
    """

    out: Path
    data_root: Path | None = None
    scenes: int = NUMBERS["test"]
    validation: int = NUMBERS["val"]
    batch_size: int = 20
    engine: str = "auto"
    device: str = "cpu"
    quiet: bool = False
    command: str = ""

    def check(self) -> None:
        """UsageError for numbers that make no sense."""
        for name, most in (("scenes", NUMBERS["test"]), ("validation", NUMBERS["val"])):
            if not 1 <= getattr(self, name) <= most:
                found = getattr(self, name)
                raise UsageError(f"{name} must be at least 1 and at most {most}, found {found}")
        if self.batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, found {self.batch_size}")


@dataclass
class Gallery:
    """Label maps of test scenes chosen by rule, for the pictures.

    groups   'opening' (one), 'successes', 'failures', 'drawn' -> indices of test scenes
    scenes   index -> image, truth, base, gp, perturbation, gained (pixels put right minus pixels broken),
             recognised (digits, as labels, that became recognised)
    """

    groups: dict[str, list[int]] = field(default_factory=dict)
    scenes: dict[int, dict[str, Any]] = field(default_factory=dict)


def run(settings: Settings) -> tuple[dict[str, Any], Gallery]:
    """Measure everything; returns the results (percent, JSON-ready) and the scenes for the pictures.

    A stopped run is resumed from its records when called again. Raises UsageError for settings that do not
    work.
    """
    settings.check()
    root = settings.data_root or places.data_folder()
    fetch.fetch("digit-scenes", root, say=(lambda line: None) if settings.quiet else log.info)
    bench = Bench(
        suites.get("digits"),
        settings.out,
        data_root=root,
        limit=settings.scenes,
        tuning_limit=settings.validation,
        engine=settings.engine,
        device=settings.device,
        batch_size=settings.batch_size,
        quiet=True,
        command=settings.command,
    )
    net = bench.suite.nets[0]
    started = time.perf_counter()
    with progress_bar(_passes(net, settings), what="demo", unit="", quiet=settings.quiet) as bar:
        measure = _Measure(bench, net, bar)
        rows, test, validation = _blob_rows(measure)
        eps = rows[0]["eps"]
        results = {
            "schema": SCHEMA,
            "task": "experiment",
            "name": "demo",
            "title": "Guided perturbations of a small FCN on digit scenes",
            **_origin(test, validation, settings),
            "base": {"validation": _scores(validation), "test": _scores(test)},
            "blobs": rows,
            "eps_curve": {
                "blob": "data",
                "encoding": "onehot",
                "iterations": 1,
                "unit": "grey levels",
                "validation": _curve(validation),
                "test": _curve(test),
            },
            "encodings": _encoding_rows(measure, test, eps, rows[0]["validation"]),
            "iterations": _iteration_rows(measure, eps),
        }
        gallery = _gallery(measure, eps or net.grid[0])
    chosen = {row["blob"]: row["eps"] for row in rows}
    passes = _time_passes(bench, net, chosen, settings.batch_size)
    results["seconds"] = {"passes": passes, "whole_run": time.perf_counter() - started}
    results["claims"] = [claim.record() for claim in claims(results)]
    return results, gallery


class _Measure:
    """Evaluates the net: ``measure(scenes, eps, blob=, encoding=, iterations=) -> RunResults``."""

    def __init__(self, bench: Bench, net: Net, bar: Any) -> None:
        self.bench, self.net, self._bar, self._work = bench, net, bar, 0
        self.test, self.tuning = bench.data(), bench.tuning_data()
        bench.on_records = self._count
        self._done: set[str] = set()

    def __call__(self, scenes: SegmentationSet | None, eps: Sequence[float], **method: Any) -> RunResults:
        assert scenes is not None
        name = f"{scenes.name} {list(eps)} {sorted(method.items())}"
        # Evaluated twice in one run, it is read the second time and is no work.
        self._work = 0 if name in self._done else passes_of(eps, method.get("iterations", 1))
        self._done.add(name)
        said = [f"{name} {value}" for name, value in method.items() if name != "save"]
        self._bar.set_postfix_str(", ".join([f"{len(scenes.ids)} scenes", f"{len(eps)} steps", *said]))
        return self.bench.run(self.net, eps, scenes, **method)

    def best(
        self, grid: Sequence[float], more: Sequence[float] = (), **method: Any
    ) -> tuple[float, RunResults]:
        """The step of ``grid`` that is best on validation scenes, 0 where none beats the base; and the sweep.

        more   steps that are swept too, but not chosen from
        """
        sweep = self(self.tuning, [*more, *grid], **method)
        return best_eps(grid, np.stack([sweep.at(eps) for eps in grid]), sweep.base), sweep

    def _count(self, records: Sequence[Record]) -> None:
        self._bar.update(self._work * len(records))


def passes_of(eps: Sequence[float], iterations: int = 1) -> int:
    """Passes of the net for one scene."""
    return 2 + len(eps) + (iterations - 1) * 2 * len(eps)


# ---- the parts of the table


def _blob_rows(measure: _Measure) -> tuple[list[dict[str, Any]], RunResults, RunResults]:
    """One row a blob, eps chosen on validation scenes; the input's sweeps on test and validation scenes."""
    net = measure.net
    deviations = measure.bench.deviations(net, ("data", *net.inner), table4.DEVIATION_IMAGES)
    sweeps = []
    rows = []
    for blob in ("data", *net.inner):
        if blob == "data":
            eps, tuning = measure.best(net.grid, more=NEGATIVE_EPS)
            found = measure(measure.test, [*NEGATIVE_EPS, *net.grid])
            sweeps += [found, tuning]
        else:
            grid = table4.inner_grid(deviations[blob])
            eps, tuning = measure.best(grid, blob=blob)
            found = measure(measure.test, [eps or grid[0]], blob=blob)
        rows.append(
            {
                **_row(found, eps, blob, "onehot", 1),
                "unit": "grey levels" if blob == "data" else "blob's units",
                "share_of_std": eps / deviations[blob],
                "validation": _curve(tuning),
            }
        )
    return rows, sweeps[0], sweeps[1]


def _encoding_rows(
    measure: _Measure, test: RunResults, onehot_eps: float, onehot_curve: dict[str, Any]
) -> list[dict[str, Any]]:
    rows = [{**_row(test, onehot_eps, "data", "onehot", 1), "validation": onehot_curve}]
    for encoding in ENCODINGS:
        eps, tuning = measure.best(ENCODING_EPS, encoding=encoding)
        found = measure(measure.test, [eps or ENCODING_EPS[0]], encoding=encoding)
        rows.append({**_row(found, eps, "data", encoding, 1), "validation": _curve(tuning)})
    return rows


def _iteration_rows(measure: _Measure, eps: float) -> list[dict[str, Any]]:
    """1, 2, 3 iterations with the chosen eps each, and with the step divided so that the sum is the same."""
    eps = eps or measure.net.grid[0]
    part = measure.test.first(ITERATION_SCENES)
    rows = [_row(measure(part, [eps]), eps, "data", "onehot", 1)]
    for iterations in ITERATIONS:
        steps = [eps, float(f"{eps / iterations:.3g}")]
        found = measure(part, steps, iterations=iterations)
        rows += [_row(found, step, "data", "onehot", iterations) for step in steps]
    return rows


def _row(run: RunResults, eps: float, blob: str, encoding: str, iterations: int) -> dict[str, Any]:
    """A line of a table; eps 0 stands for no step, where none was better."""
    after = run.at(eps) if eps else run.base
    k = run.eps.index(eps) if eps else None
    return {
        "blob": blob,
        "encoding": encoding,
        "iterations": iterations,
        "eps": eps,
        "images": len(run.ids),
        "base": _scores(run),
        "gp": cells.measures(run, after),
        **paired_gain(run.base, after).points(),
        "base_confidence": 100 * float(run.confidence[0].mean()),
        "confidence": 100 * float(run.confidence[0 if k is None else 1 + k].mean()),
        "fixed_pixels": 0 if k is None else int(run.fixed[k].sum()),
        "broken_pixels": 0 if k is None else int(run.broken[k].sum()),
    }


def _scores(run: RunResults) -> dict[str, Any]:
    return cells.measures(run, run.base)


def _curve(run: RunResults) -> dict[str, Any]:
    values = [100 * mean_iu(matrices) for matrices in run.after]
    return {"eps": run.eps, "mean_iu": values, "base": 100 * mean_iu(run.base)}


# ---- the pictures


def _gallery(measure: _Measure, eps: float) -> Gallery:
    """A scene in which a digit becomes recognised, those with the most and the fewest pixels put right on
    balance, and some drawn blindly.
    """
    found = measure(measure.test, [eps], save=("labels", "perturbation"))
    gained = (found.fixed[0] - found.broken[0]).tolist()
    order = sorted(range(len(gained)), key=lambda i: (-gained[i], i))
    recognised = {i: _recognised(measure.test, found, eps, i) for i in order}
    opening = next((i for i in order if recognised[i]), order[0])
    order.remove(opening)
    best = order[: GALLERY["successes"]]
    worst = [i for i in order[::-1] if i not in best][: GALLERY["failures"]]
    rest = [i for i in range(len(gained)) if i not in [opening, *best, *worst]]
    drawn = np.random.RandomState(0).permutation(rest)[: GALLERY["drawn"]].tolist()
    groups = {"opening": [opening], "successes": best, "failures": worst, "drawn": sorted(drawn)}
    gallery = Gallery(groups)
    for i in sorted(sum(groups.values(), [])):
        item = found.ids[i]
        perturbation = read_signs(found.folder / "perturbation" / f"{item}.npz", f"eps_{eps:g}")
        gallery.scenes[i] = {
            "image": chosen_images.photograph(measure.test, item),
            "truth": measure.test.truth(item),
            "base": found.label_map(item),
            "gp": found.label_map(item, eps),
            "gained": gained[i],
            "recognised": recognised[i],
            "perturbation": perturbation,
        }
    return gallery


def _recognised(data: SegmentationSet, run: RunResults, eps: float, i: int) -> list[int]:
    """Digits of a scene, as labels, of which more than half the pixels become right; none if one is lost."""
    item = run.ids[i]
    truth = data.truth(item)
    before, after = (
        found_digits(truth, labels) for labels in (run.label_map(item), run.label_map(item, eps))
    )
    return [label for label in after if label not in before] if set(before) <= set(after) else []


def found_digits(truth: np.ndarray, labels: np.ndarray) -> list[int]:
    """The digits of a scene, as labels, of which more than half the pixels are right."""
    digits = [int(label) for label in np.unique(truth) if label not in (0, IGNORE)]
    return [label for label in digits if np.mean(labels[truth == label] == label) > 0.5]


# ---- where the numbers come from, and how long it takes


def _origin(test: RunResults, validation: RunResults, settings: Settings) -> dict[str, Any]:
    origin = test.origin
    return {
        "date": provenance.now(),
        "code_version": provenance.code_version(),
        "command": settings.command,
        "model": origin["model"],
        "engine": origin["engine"],
        "preprocessing": origin["preprocessing"],
        "data": {
            "name": "digit scenes",
            "classes": test.class_names,
            "seed": 0,
            "size": [SIZE, SIZE],
            "test": {"split": "test", **origin["data"]},
            "validation": {"split": "val", **validation.origin["data"]},
        },
    }


def _time_passes(bench: Bench, net: Net, chosen: dict[str, float], batch_size: int) -> dict[str, Any]:
    """Seconds per scene of a plain forward and of GP at each blob: the fastest of interleaved rounds."""
    data = bench.data().first(batch_size)
    labeller = bench.labeller(net, net.grid[:1])
    images = np.stack([labeller.preprocess.load(data.image(item)).data for item in data.ids])
    loaded = labeller.net
    runs = {blob: GuidedPerturbation(loaded, blob=blob) for blob in chosen}
    seconds: dict[str, list[float]] = {name: [] for name in ("forward", *chosen)}
    for _ in range(TIMING_ROUNDS + 1):
        start = time.perf_counter()
        forward(loaded.net, loaded.data, images)
        np.argmax(loaded.net.blobs[loaded.score].data, axis=1)
        seconds["forward"].append(time.perf_counter() - start)
        for blob, gp in runs.items():
            start = time.perf_counter()
            gp(images, chosen[blob])
            seconds[blob].append(time.perf_counter() - start)
    # The first round warms up.
    fastest = {name: min(times[1:]) / len(images) for name, times in seconds.items()}
    return {
        "batch": len(images),
        "forward": fastest["forward"],
        "blobs": [
            {"blob": blob, "seconds": fastest[blob], "ratio": fastest[blob] / fastest["forward"]}
            for blob in chosen
        ],
    }


def _passes(net: Net, settings: Settings) -> int:
    """Passes of the net for one scene, summed over all: the whole work, for the progress bar."""
    test, val, part = settings.scenes, settings.validation, min(settings.scenes, ITERATION_SCENES)
    inner = len(net.inner) * (passes_of(suites.INNER_GRID) * val + passes_of([0]) * test)
    at_input = passes_of([*NEGATIVE_EPS, *net.grid]) * (val + test)
    encodings = len(ENCODINGS) * (passes_of(ENCODING_EPS) * val + passes_of([0]) * test)
    iterations = (passes_of([0]) + sum(passes_of([0, 0], n) for n in ITERATIONS)) * part
    return at_input + inner + encodings + iterations + passes_of([0]) * test
