"""Table 3: the classes one by one. The paper's is on VOC2012 test, whose server keeps the ground truth.

``run`` makes the same table on the suite's own images. ``caffe_gp submit`` writes the archive that
the server scores.
"""

from __future__ import annotations

import numpy as np

from caffe_gp.evaluation.confusion import class_iu
from caffe_gp.experiments import cells
from caffe_gp.experiments.bench import Bench
from caffe_gp.report.experiment_report import Report, Row, Table, points, signed

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
    for net in bench.suite.nets:
        tuned = bench.gp(net)
        runs.append(tuned.run)
        base, gp = (class_iu(matrices.sum(axis=0)) for matrices in (tuned.base, tuned.matrices))
        classes = tuned.run.class_names
        with_paper = bench.suite.paper and net.name == "fcn-8s"
        header = ["class", "base", "base + GP", "difference"]
        header += ["paper, VOC2012 test: base", "base + GP"] * with_paper
        table = Table(f"{net.title}, eps {tuned.text()}", header)
        better = int(np.sum(gp > base))
        for label, name in enumerate([*classes, "mean"]):
            pair = (np.nanmean(base), np.nanmean(gp)) if name == "mean" else (base[label], gp[label])
            row: Row = [name, points(pair[0]), points(pair[1]), signed(pair[1] - pair[0])]
            if with_paper:
                row += [f"{PAPER_BASE[label]:.1f}", f"{PAPER_GP[label]:.1f}"]
            table.add(*row)
        table.note = f"GP is better on {better} of {len(classes)} classes (paper, FCN-8s on test: 19 of 21)."
        tables.append(table)
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
        tables,
        numbers={"nets": numbers},
    )


def _percent(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else 100 * float(value) for value in values]
