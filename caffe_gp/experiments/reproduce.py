"""Runs the paper's experiments by name: what is there is checked first, then each leaves its report.

    reproduce(["table1", "table4"], Context(suites.get("paper"), out=Path("reports")))
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Callable, Sequence

from caffe_gp.errors import CaffeGPError
from caffe_gp.experiments import table1, table2, table3, table4, table5
from caffe_gp.experiments.context import Context
from caffe_gp.experiments.suites import of_zoo
from caffe_gp.report.experiment_report import Report


@dataclass(frozen=True)
class Experiment:
    """One table or figure.

    run      makes its report
    title    for people
    paper_only   whether it needs data that only the suite 'paper' has
    """

    run: Callable[[Context], Report]
    title: str
    paper_only: bool = False


def _of(module: ModuleType, paper_only: bool = False) -> Experiment:
    return Experiment(module.run, module.TITLE, paper_only)


EXPERIMENTS = {
    "table1": _of(table1),
    "table2": _of(table2, paper_only=True),
    "table3": _of(table3),
    "table4": _of(table4),
    "table5": _of(table5),
}


def missing(names: Sequence[str], context: Context) -> list[str]:
    """What the experiments need and is not there, a sentence each with how to get it; nothing is computed."""
    found = []
    checks: list[Callable[[], object]] = [lambda: context.data().check()]
    tuning = context.suite.tuning
    if tuning is not None and any(net.eps is None for net in context.suite.nets):
        checks.append(lambda: context.named(str(tuning)).check())
    checks += [net.caffemodel for net in context.suite.nets] + [net.prototxt for net in context.suite.nets]
    if "table2" in names:
        checks += [lambda: context.named(table2.DATA).check(), of_zoo(table2.MODEL).caffemodel]
    for check in checks:
        try:
            check()
        except CaffeGPError as error:
            if str(error) not in found:
                found.append(str(error))
    return found


def reproduce(names: Sequence[str], context: Context) -> list[Path]:
    """Run the experiments; returns the pages. What was computed before is read from ``context.out``.

    Raises CaffeGPError with everything that is missing before any work starts.
    """
    unknown = [name for name in names if name not in EXPERIMENTS]
    if unknown:
        raise CaffeGPError(f"unknown experiment '{unknown[0]}' (known: {', '.join(EXPERIMENTS)})")
    names = [name for name in names if context.suite.paper or not EXPERIMENTS[name].paper_only]
    lacks = missing(names, context)
    if lacks:
        raise CaffeGPError("not everything is here:\n  " + "\n  ".join(lacks))
    pages = []
    for name in names:
        report = EXPERIMENTS[name].run(context)
        pages.append(report.write(context.out / name)[-1])
    return pages
