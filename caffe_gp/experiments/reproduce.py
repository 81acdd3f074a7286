"""Runs the paper's experiments by name: what is there is checked first, then each leaves its report.

For example:

    reproduce(["table1", "table4"], Bench(suites.get("paper"), out=Path("reports")))
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Callable, Sequence

from caffe_gp.errors import CaffeGPError, DataError, UsageError, did_you_mean
from caffe_gp.experiments import (
    figure3,
    figure4,
    figure5,
    figure6,
    figure7,
    figure8,
    figure9,
    figure10,
    figure11,
    relatives,
    relatives_classifiers,
    table1,
    table2,
    table3,
    table4,
    table5,
    table6,
)
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import Net, Suite
from caffe_gp.report.experiment_report import Report
from caffe_gp.report.index import write_index


@dataclass(frozen=True)
class Experiment:
    """One table or figure.

    run      makes its report
    title    for people
    nets     the nets of a suite that it takes
    data     the set that it is measured on; None: the suite's
    paper_only   whether only the suite 'paper' has it
    checks   calls that raise a CaffeGPError where something else that it needs is not there
    """

    run: Callable[[Bench], Report]
    title: str
    nets: Callable[[Suite], Sequence[Net]]
    data: str | None = None
    paper_only: bool = False
    checks: Callable[[Bench], Sequence[Callable[[], object]]] = lambda bench: ()


def _of(module: ModuleType) -> Experiment:
    """An experiment's module: NAME, TITLE, run; nets and DATA where they are not the suite's; PAPER_ONLY and
    checks where it needs something else."""
    nets = getattr(module, "nets", lambda suite: suite.nets)
    data = getattr(module, "DATA", None)
    paper_only = getattr(module, "PAPER_ONLY", data is not None)
    checks = getattr(module, "checks", lambda bench: ())
    return Experiment(module.run, module.TITLE, nets, data, paper_only, checks)


_TABLES = (table1, table2, table3, table4, table5, table6)
_FIGURES = (figure3, figure4, figure5, figure6, figure7, figure8, figure9, figure10, figure11)
# The paper's, which 'all' stands for, and what goes beyond it.
_BEYOND = (relatives, relatives_classifiers)
OF_PAPER = tuple(module.NAME for module in (*_TABLES, *_FIGURES))
EXPERIMENTS = {module.NAME: _of(module) for module in (*_TABLES, *_FIGURES, *_BEYOND)}


def missing(names: Sequence[str], bench: Bench) -> list[str]:
    """What the experiments need and is not there, a sentence each with how to get it; nothing is computed."""
    checks: dict[str, Callable[[], object]] = {}
    for name in names:
        experiment = EXPERIMENTS[name]
        checks.update((f"{name} {k}", check) for k, check in enumerate(experiment.checks(bench)))
        if not experiment.nets(bench.suite):
            continue  # no net of the suite, so no images of it
        if experiment.data is None:
            checks["data"] = lambda: bench.data().check()
        else:
            checks[experiment.data] = partial(_check_set, bench, experiment.data)
        for net in experiment.nets(bench.suite):
            checks[f"{net.name} weights"] = net.caffemodel
            if net.eps is None and bench.suite.tuning is not None:
                checks["tuning"] = partial(_check_set, bench, bench.suite.tuning)
    found: dict[str, None] = {}
    for check in checks.values():
        try:
            check()
        except CaffeGPError as error:
            found[str(error)] = None
    return list(found)


def _check_set(bench: Bench, name: str) -> None:
    bench.named(name).check()


def reproduce(names: Sequence[str], bench: Bench) -> list[Path]:
    """Run the experiments; returns the pages. What was computed before is read from ``bench.out``.

    ``bench.out / "index.html"`` lists them with those of earlier calls.

    Raises DataError with everything that is missing before any work starts.
    """
    unknown = [name for name in names if name not in EXPERIMENTS]
    if unknown:
        hint = did_you_mean(unknown[0], EXPERIMENTS)
        raise UsageError(f"unknown experiment '{unknown[0]}'{hint} (known: {', '.join(EXPERIMENTS)})")
    names = [name for name in names if bench.suite.paper or not EXPERIMENTS[name].paper_only]
    lacks = missing(names, bench)
    if lacks:
        raise DataError("not everything is here:", *(f"  {one}" for one in lacks))
    pages = []
    for name in names:
        report = EXPERIMENTS[name].run(bench)
        pages.append(report.write(bench.out / name)[-1])
        # After each: a run that is stopped leaves a page of what there is.
        write_index(bench.out, f"The paper's claims on {bench.suite.title}", list(EXPERIMENTS))
    return pages
