"""Is the eps that closes a quarter of the confidence gap a good one? The tables of docs/choosing_eps.md.

    python -m benchmarks.choosing_eps [--out DIR] [--runs reports/choosing_eps]

Nets of this project with labelled images: sweeps over eps on images to choose on and on others to test on,
kept in ``--runs`` and resumable; everything else is computed from their records. Needs the data sets camvid,
voc2012 with sbd-lists and digit-scenes (CAFFE_GP_DATA) and the two MobileNetV2 nets (CAFFE_GP_MODELS).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from caffe_gp.evaluation.results import RunResults
from caffe_gp.evaluation.tuning import best_eps, mean_iu
from caffe_gp.experiments import suites
from caffe_gp.experiments.bench import Bench
from caffe_gp.files import atomic, json_files
from caffe_gp.report.experiment_report import Table

from .folders import RESULTS

SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
COUNTS = (5, 10, 20, 40)
DRAWS = 400
CHOICE = 40  # images to choose on


@dataclass(frozen=True)
class Case:
    """A net of a suite, powers of two times a unit that are tried, sets, number of test images, the blob."""

    suite: str
    net: str
    powers: range
    choice: str
    test: str
    images: int
    blob: str = "data"
    unit: float = 1.0
    choose_on: int = CHOICE

    @property
    def title(self) -> str:
        return self.net if self.blob == "data" else f"{self.net}, {self.blob}"


_VOC, _DIGITS = ("voc2012-tuning", "voc2012-reduced346"), ("digit-scenes-val", "digit-scenes-test")
CASES = (
    Case("digits", "digits", range(-4, 5), *_DIGITS, 200),
    Case("camvid", "camvid", range(-6, 3), "camvid-val", "camvid-test", 50),
    Case("voc-small", "mnv2-dm05-257", range(-7, 1), *_VOC, 100),
    Case("voc-small", "mnv2-dm10-513", range(-7, 0), *_VOC, 80),
    # Units: the blobs' standard deviations.
    Case("digits", "digits", range(-9, 0), *_DIGITS, 100, "pool3", 0.7953977128531219, 20),
    Case("voc-small", "mnv2-dm05-257", range(-9, 0), *_VOC, 60, "block5_add", 9.028962535181906, 20),
)


class Sweep:
    """The curves of a run: share of the gap and mean IU over eps, linear in log eps between those measured.

    Below the smallest step both go to those of the base, linear in eps.
    """

    def __init__(self, run: RunResults) -> None:
        self.run, self.eps = run, np.array(run.eps)
        self.base = mean_iu(run.base)
        self.gains = np.array([100 * (mean_iu(run.at(eps)) - self.base) for eps in run.eps])

    def closed(self, images: Any = slice(None)) -> np.ndarray:
        """Share of the gap of some images at each eps."""
        base, *after = self.run.confidence[:, images].mean(axis=1)
        return (np.array(after) - base) / (1 - base)

    def eps_for(self, share: float, images: Any = slice(None)) -> float:
        """The smallest eps that closes ``share``; where none does, the one with the highest confidence."""
        closed = self.closed(images)
        peak = int(closed.argmax())
        if closed[peak] < share:
            return float(self.eps[peak])
        at = int(np.argmax(closed >= share))
        if at == 0:
            return float(self.eps[0] * share / closed[0])
        x = np.interp(share, closed[at - 1 : at + 1], np.log(self.eps[at - 1 : at + 1]))
        return float(np.exp(x))

    def gain(self, eps: float) -> float:
        """In mean IU, points."""
        if eps <= self.eps[0]:
            return float(self.gains[0] * eps / self.eps[0])
        return float(np.interp(np.log(eps), np.log(self.eps), self.gains))

    @property
    def best(self) -> float:
        """The highest gain, 0 where no step has one."""
        return max(0.0, float(self.gains.max()))


def main() -> None:
    """Sweep, and write choosing_eps.json and choosing_eps.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, default=Path("reports/choosing_eps"))
    options = parser.parse_args()
    pairs = [_sweeps(case, options.runs) for case in CASES]
    parts = [_best(pairs), _left_out(pairs), _counts(pairs), _shares(pairs)]
    options.out.mkdir(parents=True, exist_ok=True)
    json_files.write_json(
        options.out / "choosing_eps.json", {"curves": [_curves(*pair) for pair in zip(CASES, pairs)]}
    )
    atomic.write_text(options.out / "choosing_eps.md", "\n".join(part.markdown() for part in parts))
    print("\n".join(part.markdown() for part in parts))


def _sweeps(case: Case, out: Path) -> tuple[Sweep, Sweep]:
    bench = Bench(suites.get(case.suite), out, available=True, threads=1, quiet=True)
    net = bench.suite.net(case.net)
    digits = "g" if case.blob == "data" else ".3g"
    steps = [float(f"{case.unit * 2.0**power:{digits}}") for power in case.powers]
    if case.blob == "data":
        steps = [2.0**power for power in case.powers]
    sets = ((case.choice, case.choose_on), (case.test, case.images))
    choice, test = (
        Sweep(bench.run(net, steps, bench.named(name).first(count), blob=case.blob)) for name, count in sets
    )
    return choice, test


def _best(pairs: Sequence[tuple[Sweep, Sweep]]) -> Table:
    table = Table(
        "A quarter of the gap",
        [
            "net",
            "test images",
            "base",
            "best of the sweep",
            "eps by labels of others",
            "a quarter, others",
            "a quarter, first 20",
        ],
    )
    for case, (choice, test) in zip(CASES, pairs):
        top = float(test.eps[test.gains.argmax()])
        labels = best_eps(choice.run.eps, choice.run.after, choice.run.base)
        cells = [_cell(test, top)] + [
            _cell(test, eps) for eps in (labels, choice.eps_for(0.25), test.eps_for(0.25, slice(0, 20)))
        ]
        gain = test.run.gain(top)
        cells[0] += f" ({100 * gain.low:+.2f} .. {100 * gain.high:+.2f})"
        table.add(
            case.title,
            str(case.images),
            f"{100 * test.base:.2f}, c {test.run.confidence[0].mean():.3f}",
            *cells,
        )
    return table


def _cell(test: Sweep, eps: float) -> str:
    return f"{test.gain(eps):+.2f} at {eps:.3g}" if eps else "+0.00, no step"


def _left_out(pairs: Sequence[tuple[Sweep, Sweep]]) -> Table:
    table = Table("The share chosen on the other nets", ["net", "share", "eps", "gain", "best"])
    for case, (choice, test) in zip(CASES, pairs):
        others = [pair for other, pair in zip(CASES, pairs) if other.net != case.net]
        losses = [
            np.mean([two.best - two.gain(one.eps_for(share)) for one, two in others]) for share in SHARES
        ]
        share = SHARES[int(np.argmin(losses))]
        eps = choice.eps_for(share)
        table.add(case.title, f"{share:g}", f"{eps:.3g}", f"{test.gain(eps):+.2f}", f"{test.best:+.2f}")
    return table


def _counts(pairs: Sequence[tuple[Sweep, Sweep]]) -> Table:
    table = Table("How many images", ["net", *(f"{count}: eps; gain" for count in COUNTS)])
    random = np.random.RandomState(0)
    for case, (choice, test) in zip(CASES, pairs):
        cells = []
        for count in COUNTS:
            size = len(choice.run.ids)
            eps = [choice.eps_for(0.25, random.randint(0, size, count)) for _ in range(DRAWS)]
            low, high = np.percentile(eps, [5, 95])
            worst, most = np.percentile([test.gain(one) for one in eps], [5, 95])
            cells.append(f"{low:.2g} .. {high:.2g}; {worst:+.2f} .. {most:+.2f}")
        table.add(case.title, *cells)
    return table


def _shares(pairs: Sequence[tuple[Sweep, Sweep]]) -> Table:
    table = Table("Gain over the share", ["net", *(f"{share:g}" for share in SHARES), "best"])
    for case, (choice, test) in zip(CASES, pairs):
        gains = [f"{test.gain(choice.eps_for(share)):+.2f}" for share in SHARES]
        table.add(case.title, *gains, f"{test.best:+.2f}")
    return table


def _curves(case: Case, pair: tuple[Sweep, Sweep]) -> dict[str, Any]:
    return {
        "case": case.title,
        **{
            name: {
                "images": len(sweep.run.ids),
                "eps": sweep.eps.tolist(),
                "base": 100 * sweep.base,
                "base_confidence": float(sweep.run.confidence[0].mean()),
                "gap_closed": sweep.closed().tolist(),
                "gain": sweep.gains.tolist(),
            }
            for name, sweep in zip(("choice", "test"), pair)
        },
    }


if __name__ == "__main__":
    main()
