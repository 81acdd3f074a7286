"""Figures 7 and 12 to 14: what guided perturbations do to whole images, successes and failures (section 4.2).

The images are those with the most, and with the least, pixels corrected minus pixels broken.
"""

from __future__ import annotations

from typing import Sequence

from caffe_gp.evaluation.segmentation import RunResults
from caffe_gp.experiments import cells, chosen_images
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import Net
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, Verdict
from caffe_gp.report.experiment_report import Figure, Report, Table
from caffe_gp.report.figures import Picture, PictureRow
from caffe_gp.report.pictures import Changes

NAME, TITLE = "figure7", "Figures 7 and 12 to 14: successes and failures"
# Which of the paper's figures shows which net.
PAPER = {
    "fcn-8s": "figure 12",
    "fcn-8s-coco": "figures 7 (above) and 13",
    "crfasrnn-coco": "figures 7 (below) and 14",
}
SUCCESSES, FAILURES = 4, 3
_TITLES = ("image", "ground truth", "base", "base + GP", "what changed")


def run(bench: Bench) -> Report:
    """A sheet a net."""
    sheets, numbers, runs = [], {}, []
    counts: list[tuple[int, int]] = []
    table = Table("How the images were chosen", ["net", "eps", "images better", "worse", "unchanged"])
    for net in bench.suite.nets:
        eps, all_images = chosen_images.step(bench, net), bench.gp(net).run
        groups = {
            "successes": chosen_images.successes(all_images, eps, SUCCESSES),
            "failures": chosen_images.failures(all_images, eps, FAILURES),
        }
        chosen = [image.item for group in groups.values() for image in group]
        better, worse = _counts(all_images, eps)
        table.add(net.title, f"{eps:g}", f"{better}", f"{worse}", f"{len(all_images.ids) - better - worse}")
        numbers[net.name] = {
            "eps": eps,
            "better": better,
            "worse": worse,
            **{name: [vars(image) for image in group] for name, group in groups.items()},
        }
        runs.append(all_images)
        counts.append((better, worse))
        if not chosen:
            continue
        shown = bench.run(net, [eps], bench.data().only(chosen), save=("labels",))
        rows = [
            PictureRow(_cells(bench, shown, eps, image.item), image.text(), *_titles(name, k))
            for name, group in groups.items()
            for k, image in enumerate(group)
        ]
        file = f"{NAME}_{net.name}"
        figures.save(figures.sheet(rows), bench.out / NAME, file)
        sheets.append(Figure(file, _caption(bench, net, eps)))
    table.note = (
        f"Images are ranked by {chosen_images.RULE}: the first {SUCCESSES} of those that gained are the "
        f"successes, the last {FAILURES} of those that lost the failures."
    )
    return cells.report(
        bench,
        NAME,
        TITLE,
        bench.suite.nets,
        runs,
        [_claim(counts)],
        [table],
        sheets,
        {"rule": chosen_images.RULE, "nets": numbers},
    )


def _claim(counts: Sequence[tuple[int, int]]) -> Claim:
    """``counts``: of each net, images better and worse."""
    from scipy.stats import binom  # here: no help of the command needs it

    # As likely as better is worse? The sign test, one-sided.
    sure = all(float(binom.sf(better - 1, better + worse, 0.5)) <= 0.05 for better, worse in counts)
    more = all(better > worse for better, worse in counts)
    return Claim(
        "Guided perturbations make whole images better; failures are few.",
        "Section 4.2, Figures 7 and 12 to 14",
        "images better and worse, net by net",
        "shown, no value",
        "; ".join(f"{better} and {worse}" for better, worse in counts),
        Verdict.HOLDS if sure else Verdict.WEAKLY if more else Verdict.NOT,
        "Holds: for every net more images are better than worse, and the sign test says p <= 0.05. Weakly: "
        "more are better.",
    )


def _counts(run: RunResults, eps: float) -> tuple[int, int]:
    """Images with more pixels corrected than broken, and the other way round."""
    k = run.eps.index(eps)
    return int((run.fixed[k] > run.broken[k]).sum()), int((run.fixed[k] < run.broken[k]).sum())


def _titles(group: str, row: int) -> tuple[Sequence[str], str]:
    """Above the first row of a group: the columns' names and the group's."""
    return ((), "") if row else (_TITLES, group.capitalize())


def _cells(bench: Bench, run: RunResults, eps: float, item: str) -> list[Picture]:
    image, truth = chosen_images.photograph(bench.data(), item), bench.data().truth(item)
    base, after = run.label_map(item), run.label_map(item, eps)
    names, colours = run.class_names, bench.data().colours
    return [
        Picture(image),
        figures.labelled(image, truth, names, colours),
        figures.labelled(image, base, names, colours),
        figures.labelled(image, after, names, colours),
        figures.changed(image, Changes.of(base, after, truth)),
    ]


def _caption(bench: Bench, net: Net, eps: float) -> str:
    paper = f" The paper's {PAPER[net.name]}." if bench.suite.paper and net.name in PAPER else ""
    return (
        f"{net.title}, eps {eps:g}: the images with the most pixels corrected (above) and broken (below) by "
        f"guided perturbations.{paper}"
    )
