"""Table 1: base and base + GP of every net on the reduced VOC2012 validation set (section 4.2)."""

from __future__ import annotations

from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments import cells
from caffe_gp.experiments.bench import Bench
from caffe_gp.models import zoo
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, above_zero
from caffe_gp.report.experiment_report import Figure, Report, Row, Table, signed
from caffe_gp.report.figures import Dot

NAME, TITLE = "table1", "Table 1: guided perturbations of pretrained nets"
# Mean IU of base and base + GP, in percent.
PAPER = {
    "fcn-32s": (62.10, 64.71),
    "fcn-8s": (63.97, 66.97),
    "fcn-8s-coco": (69.85, 71.99),
    "crfasrnn-coco": (72.95, 73.75),
    "deeplab-vgg16": (66.9, 69.1),
    "deeplab-resnet101": (74.1, 75.3),
}


def run(bench: Bench) -> Report:
    """One row a net."""
    suite = bench.suite
    header = ["net", "base (%)", "base + GP (%)", *cells.GAIN, "eps", "eps from"]
    paper_header = ["paper: base (%)", "paper: base + GP (%)", "paper: gain (points)"]
    table = Table(TITLE, header + paper_header * suite.paper, note=cells.JUDGED * suite.paper)
    gains, dots = [], []
    numbers, runs = {}, []
    for net in suite.nets:
        tuned = bench.gp(net)
        gain, base = cells.gain_of(tuned), mean_iu(tuned.base)
        runs.append(tuned.run)
        numbers[net.name] = {
            "base": cells.measures(tuned.run, tuned.base),
            "gp": cells.measures(tuned.run, tuned.matrices),
            "gain": gain.points(),
            "eps": tuned.eps,
            "eps_from": tuned.source,
        }
        gains.append(gain)
        dots.append(Dot(net.title, gain.points()))
        row: Row = [net.title, cells.iu(tuned.base), cells.iu(tuned.matrices), *cells.gain_cells(gain)]
        row += [tuned.text(), tuned.source]
        if suite.paper:
            paper_base, paper_gp = PAPER[net.name]
            row[1], row[3] = cells.judged(base, paper_base), cells.judged_gain(gain, paper_gp - paper_base)[0]
            dots[-1].paper = paper_gp - paper_base
            row += [f"{paper_base:.2f}", f"{paper_gp:.2f}", f"{paper_gp - paper_base:+.2f}"]
            numbers[net.name]["paper"] = {"base": paper_base, "gp": paper_gp}
        table.add(*row)
        if suite.beside is not None:
            other = bench.tune(net, net.grid, bench.named(suite.beside))
            gain = cells.gain_of(other)
            numbers[net.name]["beside"] = {"gain": gain.points(), "eps": other.eps, "eps_from": other.source}
            more = [cells.iu(other.matrices), *cells.gain_cells(gain), other.text(), other.source]
            table.add(f"{net.title}, other eps", cells.iu(other.base), *more)
    if not suite.paper:
        dots += [Dot(f"paper: {zoo.get(name).title}", paper=gp - base) for name, (base, gp) in PAPER.items()]
    figures.save(figures.beside(dots, "gain in mean IU (points)"), bench.out / NAME, NAME, figures.CURVES)
    caption = "Gain of base + GP over base with its 95 % interval, beside the paper's gains."
    claim = Claim(
        "Guided perturbations raise the mean IU of every pretrained net, without training.",
        "Table 1",
        "gain in mean IU (points), net by net",
        "+2.6, +3.0, +2.1, +0.8, +2.2, +1.2",
        ", ".join(signed(gain.gain) for gain in gains),
        *above_zero(gains),
    )
    return cells.report(
        bench,
        NAME,
        TITLE,
        suite.nets,
        runs,
        [claim],
        [table],
        [Figure(NAME, caption)],
        numbers={"nets": numbers},
    )
