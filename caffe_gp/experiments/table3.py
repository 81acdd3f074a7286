"""Table 3: the classes one by one. The paper's is on VOC2012 test, whose server keeps the ground truth.

``run`` makes the same table on the suite's own images. ``caffe_gp submit`` writes the archive that
the server scores.
"""

from __future__ import annotations

from typing import Sequence

import numpy as np

from caffe_gp.evaluation.confusion import class_iu
from caffe_gp.experiments import cells
from caffe_gp.experiments.bench import Bench
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, Verdict
from caffe_gp.report.experiment_report import Figure, Report, Row, Table, points, signed
from caffe_gp.report.figures import Dot

NAME, TITLE = "table3", "Table 3: the classes one by one"
# FCN-8s on VOC2012 test, in the order of the classes, background first; the mean is last.
PAPER_BASE = (
    *(92.0, 82.4, 36.1, 75.6, 61.4, 65.4, 83.3, 77.2, 80.1, 27.9, 66.8, 51.5, 73.6, 71.9, 78.9, 77.1),
    *(55.3, 73.4, 44.3, 74.0, 63.2, 67.2),
)
PAPER_GP = (
    *(92.4, 84.4, 35.9, 79.3, 62.6, 70.5, 86.2, 80.0, 82.8, 28.0, 71.9, 55.2, 74.6, 75.6, 80.2, 77.4),
    *(56.9, 75.6, 45.8, 77.4, 63.18, 69.3),
)


def run(bench: Bench) -> Report:
    """A table a net, one row a class; the paper's numbers stand beside FCN-8s's."""
    tables: list[Table] = []
    numbers, runs = {}, []
    drawn, counts = [], []
    for net in bench.suite.nets:
        tuned = bench.gp(net)
        runs.append(tuned.run)
        base, gp = (class_iu(matrices.sum(axis=0)) for matrices in (tuned.base, tuned.matrices))
        classes = tuned.run.class_names
        with_paper = bench.suite.paper and net.name == "fcn-8s"
        header = ["class", "base (IU, %)", "base + GP (IU, %)", "difference (points)"]
        header += [f"paper, VOC2012 test: {name}" for name in header[1:]] * with_paper
        table = Table(f"{net.title}, eps {tuned.text()}", header)
        better = int(np.sum(gp > base))
        for label, name in enumerate([*classes, "mean"]):
            pair = (np.nanmean(base), np.nanmean(gp)) if name == "mean" else (base[label], gp[label])
            row: Row = [name, points(pair[0]), points(pair[1]), signed(pair[1] - pair[0])]
            if with_paper:
                row += [f"{PAPER_BASE[label]:.1f}", f"{PAPER_GP[label]:.1f}"]
                row.append(f"{PAPER_GP[label] - PAPER_BASE[label]:+.1f}")
            table.add(*row)
        table.note = f"GP is better on {better} of {len(classes)} classes (paper, FCN-8s on test: 19 of 21)."
        tables.append(table)
        drawn.append(_draw(bench, net.name, net.title, classes, base, gp, with_paper))
        counts.append((better, len(classes)))
        numbers[net.name] = {
            "eps": tuned.eps,
            "classes": list(classes),
            "base": _percent(base),
            "gp": _percent(gp),
            "better": better,
        }
    return cells.report(
        bench,
        NAME,
        TITLE,
        bench.suite.nets,
        runs,
        [_claim(counts)],
        tables,
        drawn,
        {"nets": numbers},
    )


def _claim(counts: Sequence[tuple[int, int]]) -> Claim:
    """``counts``: of each net, the classes that gain and all of them."""
    least = min(better / classes for better, classes in counts)
    verdict = Verdict.HOLDS if least >= 0.9 else Verdict.WEAKLY if least > 0.5 else Verdict.NOT
    return Claim(
        "Almost all classes gain.",
        "Table 3",
        "classes whose IU rises, net by net",
        "19 of 21",
        ", ".join(f"{better} of {classes}" for better, classes in counts),
        verdict,
        "Holds: nine in ten classes of every net gain, as in the paper. Weakly: more than half.",
    )


def _draw(
    bench: Bench,
    name: str,
    title: str,
    classes: Sequence[str],
    base: np.ndarray,
    gp: np.ndarray,
    with_paper: bool,
) -> Figure:
    dots = [
        Dot(one, {"gain": 100 * (gp[k] - base[k])}, PAPER_GP[k] - PAPER_BASE[k] if with_paper else None)
        for k, one in enumerate(classes)
        if not np.isnan(gp[k] - base[k])
    ]
    file = f"{NAME}_{name}"
    figures.save(figures.beside(dots, "difference in IU (points)"), bench.out / NAME, file, figures.CURVES)
    return Figure(file, f"{title}: by how much each class's IU changes.")


def _percent(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else 100 * float(value) for value in values]
