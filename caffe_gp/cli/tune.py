"""``caffe_gp tune``: the eps with the highest mean IU on labelled images."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from caffe_gp.cli import call, options
from caffe_gp.cli import evaluate as evaluate_command
from caffe_gp.errors import UsageError, printable
from caffe_gp.evaluation.choose_eps import AUTO
from caffe_gp.evaluation.results import RunResults, table
from caffe_gp.evaluation.segmentation import Evaluation, chosen_eps, evaluate
from caffe_gp.evaluation.segmentation_page import evaluate_with_page
from caffe_gp.evaluation.tuning import tuned

# Times the eps that is chosen without labels, where none are given to try.
AROUND = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4)

EXAMPLES = """
examples:
  the best of these steps on VOC's tuning images, for tests on others:
    caffe_gp tune --model fcn-32s --data voc2012-tuning --eps 0.1 0.22 0.55 1 --out runs/tuned
  seven steps around the one that closes a quarter of the confidence gap (docs/choosing_eps.md):
    caffe_gp tune --prototxt P --caffemodel W --data folder:IMAGES:LABELS:11 --out runs/tuned

It is an evaluation that names the best step: OUT holds what 'caffe_gp evaluate' writes. Without labels,
'--eps auto' of run and evaluate chooses. Press Ctrl-C at any time; the same command resumes.
"""

ON_INTERRUPT = options.RESUMES
add_arguments = evaluate_command.add_arguments


def work(args: argparse.Namespace) -> None:
    """Evaluate the steps; print the table and the best of them."""
    given = call.given(args)
    page = not given.pop("no_page")
    settings = evaluate_command.settings_of(given)
    if not settings.data.has_truth:
        raise UsageError(f"set '{settings.data.name}' has no ground truth to tune eps with: 'run --eps auto'")
    call.check_output(settings.out)
    run = call.on_engine(settings.engine, _sweep, settings, page)
    if not settings.quiet:
        print(printable(f"{table(run)}\n{words(run)}"))


def words(run: RunResults) -> str:
    """Which eps was best, and what it can be expected to do on other images."""
    found = tuned(run.eps, run.after, run.base)
    if not found.eps:
        return "best eps: none, no step has a higher mean IU than the base"
    gain, says = found.gain, f"best eps by mean IU: {found.eps:g}"
    line = f"{says}, gain {100 * gain.gain:+.2f} ({100 * gain.low:+.2f} .. {100 * gain.high:+.2f})"
    if found.eps in (min(run.eps), max(run.eps)) and len(run.eps) > 1:
        line += "; the last of those tried, so give others beyond it"
    other = found.cross_validated
    if other is None:
        return line
    return (
        f"{line}\nfor images that did not choose it ({found.folds}-fold cross-validation): "
        f"{100 * other.gain:+.2f} ({100 * other.low:+.2f} .. {100 * other.high:+.2f})"
    )


def _sweep(settings: Evaluation, page: bool) -> RunResults:
    if settings.eps == AUTO:
        settings.check()
        settings = settings.with_workers()
        choice = chosen_eps(settings)
        steps: list[Any] = [float(f"{choice.eps * factor:.3g}") for factor in AROUND]
        settings = replace(settings, eps=steps, eps_choice=None)
    return (evaluate_with_page if page else evaluate)(settings)
