"""Figure 5: the ground truth's gradient, and one to three iterations with the net's own (section 3.1.1)."""

from __future__ import annotations

from typing import Any, Sequence

from caffe_gp.evaluation.segmentation import RunResults
from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.experiments import cells, chosen_images
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import ablation_only
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, Verdict
from caffe_gp.report.experiment_report import Figure, Report, Table, points
from caffe_gp.report.figures import Dot, Picture, PictureRow

NAME, TITLE = "figure5", "Figure 5: the ground truth's gradient, and iterations"
ITERATIONS = (1, 2, 3)
ROWS = 4

nets = ablation_only


def run(bench: Bench) -> Report:
    """The images that the first iteration improved most, and the mean IU of every variant."""
    (net,) = nets(bench.suite)
    eps, data = chosen_images.step(bench, net), bench.data()
    variants: dict[str, RunResults] = {
        "true gradient": bench.run(net, [eps], data, encoding="ground-truth", save=("labels",))
    }
    for iterations in ITERATIONS:
        name = "GP, 1 iteration" if iterations == 1 else f"GP, {iterations} iterations"
        variants[name] = bench.run(net, [eps], data, iterations=iterations, save=("labels",))
    first = variants["GP, 1 iteration"]
    base = mean_iu(first.base)
    table = Table(
        f"{net.title}, eps {eps:g}, {len(data)} images", ["perturbation", "mean IU (%)", *cells.GAIN]
    )
    table.add("none (base)", points(base), "", "")
    numbers: dict[str, Any] = {}
    titles = [f"base\n{points(base)} %", "ground truth"]
    for name, found in variants.items():
        score = mean_iu(found.at(eps))
        table.add(name, points(score), *cells.gain_cells(found.gain(eps)))
        numbers[name] = {"mean_iu": 100 * score, "gain": found.gain(eps).points()}
        titles.append(f"{name}\n{points(score)} %")
    chosen = chosen_images.successes(first, eps, ROWS) or [chosen_images.best(first, eps)]
    rows = [
        PictureRow(_cells(bench, variants, eps, image.item), image.item, () if k else titles)
        for k, image in enumerate(chosen)
    ]
    figures.save(figures.sheet(rows), bench.out / NAME, NAME)
    gains = [numbers[name]["gain"]["gain"] for name in variants]
    dots = [Dot(name, found["gain"]) for name, found in numbers.items()]
    figures.save(
        figures.beside(dots, "gain in mean IU (points)"), bench.out / NAME, f"{NAME}_gains", figures.CURVES
    )
    return cells.report(
        bench,
        NAME,
        TITLE,
        [net],
        variants.values(),
        _claims(*gains),
        [table],
        [
            Figure(f"{NAME}_gains", "Gain of each variant with its 95 % interval; the paper states none."),
            Figure(
                NAME,
                f"{net.title}, eps {eps:g} in every step; under the titles the mean IU over {len(data)} "
                "images. The third column steps along the gradient of the true labels, which no "
                "prediction can know. The rows are the images whose first iteration has the most "
                f"{chosen_images.RULE}.",
            ),
        ],
        {
            "net": net.name,
            "eps": eps,
            "images": len(data),
            "base": 100 * base,
            "variants": numbers,
            "chosen": [vars(image) for image in chosen],
        },
    )


def _claims(true: float, first: float, *later: float) -> list[Claim]:
    """From the gains, in points: of the true labels' gradient, of one iteration and of more."""
    return [
        Claim(
            "With the gradient of the true labels the gain would be vastly larger.",
            "Section 3.1.1, Figure 5",
            "gain in mean IU (points) with the true and with the predicted labels",
            "shown, no value",
            f"{true:+.2f} and {first:+.2f}",
            Verdict.HOLDS if true > 2 * max(first, 0) else Verdict.WEAKLY if true > first else Verdict.NOT,
            "Holds: more than twice the gain. Weakly: more.",
        ),
        first_iteration([first, *later]),
    ]


def first_iteration(gains: Sequence[float]) -> Claim:
    """``gains``: in points, after one iteration, after two, ..."""
    part = gains[0] / max(gains) if gains[0] > 0 else 0.0
    return Claim(
        "The first iteration brings most of the improvement.",
        "Section 3.1.1, Figure 5",
        f"gain in mean IU (points) after 1 to {len(gains)} iterations",
        "shown, no value",
        ", ".join(f"{gain:+.2f}" for gain in gains),
        Verdict.HOLDS if part >= 2 / 3 else Verdict.WEAKLY if part >= 0.5 else Verdict.NOT,
        "Holds: the first brings two thirds of the largest gain. Weakly: half of it.",
    )


def _cells(bench: Bench, variants: dict[str, RunResults], eps: float, item: str) -> list[Picture]:
    data, first = bench.data(), next(iter(variants.values()))
    image, maps = chosen_images.photograph(data, item), [first.label_map(item), data.truth(item)]
    maps += [found.label_map(item, eps) for found in variants.values()]
    return [figures.labelled(image, labels, first.class_names, data.colours) for labels in maps]
