"""Table 5: guided perturbations and a dense CRF, alone and together (section 5).

The CRF takes the scores before or after the perturbation and always the unperturbed photograph.
"""

from __future__ import annotations

from caffe_gp.evaluation.bootstrap import paired_gain
from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments import cells
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import Net, Suite
from caffe_gp.models import zoo
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, above_zero
from caffe_gp.report.experiment_report import Figure, Report, Row, Table
from caffe_gp.report.figures import Dot

NAME, TITLE = "table5", "Table 5: guided perturbations and the dense CRF"
# Base, + CRF, + GP, + CRF + GP.
PAPER = {"fcn-8s-coco": (69.8, 71.1, 72.0, 72.7), "deeplab-resnet101": (74.1, 74.9, 75.3, 75.8)}
COLUMNS = ("base", "+ CRF", "+ GP", "+ CRF + GP")


def nets(suite: Suite) -> list[Net]:
    """Those that the suite names a CRF for."""
    return [suite.net(name) for name in suite.crf]


def run(bench: Bench) -> Report:
    """One row a net."""
    suite = bench.suite
    header = ["net", *(f"{column} (%)" for column in COLUMNS)]
    header += ["gain on top of the CRF (points)", cells.GAIN[1], "eps", "CRF"]
    table = Table(TITLE, header + [f"paper: {column} (%)" for column in COLUMNS] * suite.paper)
    numbers, runs = {}, []
    gains, dots = [], []
    for net in nets(suite):
        name, preset = net.name, suite.crf[net.name]
        tuned = bench.gp(net)
        eps = bench.one_eps(tuned)
        crf = bench.run(net, [eps], crf=preset)
        assert crf.base_crf is not None and crf.after_crf is not None
        runs += [tuned.run, crf]
        four = (crf.base, crf.base_crf, crf.at(eps), crf.after_crf[0])
        gain = paired_gain(crf.base_crf, crf.after_crf[0])
        numbers[name] = {
            "mean_iu": {column: 100 * mean_iu(matrices) for column, matrices in zip(COLUMNS, four)},
            "gp_on_top_of_crf": gain.points(),
            "eps": eps,
            "eps_from": tuned.source,
            "crf": preset,
        }
        gains.append(gain)
        dots.append(Dot(net.title, gain.points()))
        row: Row = [net.title, *map(cells.iu, four), *cells.gain_cells(gain), f"{eps:g}", preset]
        if suite.paper:
            paper = PAPER[name]
            row[1:5] = [cells.judged(mean_iu(matrices), value) for matrices, value in zip(four, paper)]
            row += [f"{value:.1f}" for value in paper]
            dots[-1].paper = paper[3] - paper[1]
        table.add(*row)
    table.note = (
        "The paper does not state its CRF's parameters; docs/crf.md lists the presets. Where eps is "
        "cross-validated, this table takes the value that most folds chose, for all images."
    )
    if not suite.paper:
        dots += [
            Dot(f"paper: {zoo.get(name).title}", paper=four[3] - four[1]) for name, four in PAPER.items()
        ]
    figures.save(
        figures.beside(dots, "gain on top of the CRF (points)"), bench.out / NAME, NAME, figures.CURVES
    )
    claim = Claim(
        "Guided perturbations improve even upon the output of a dense CRF.",
        "Table 5",
        "gain in mean IU on top of the CRF (points), net by net",
        ", ".join(f"{four[3] - four[1]:+.1f}" for four in PAPER.values()),
        ", ".join(map(cells.gain_text, gains)),
        *above_zero(gains),
    )
    return cells.report(
        bench,
        NAME,
        TITLE,
        nets(suite),
        runs,
        [claim],
        [table],
        [Figure(NAME, "Gain of CRF + GP over the CRF alone with its 95 % interval, beside the paper's.")],
        numbers={"nets": numbers},
    )
