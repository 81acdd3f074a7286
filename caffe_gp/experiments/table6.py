"""Table 6: MNIST and CIFAR-10, before and after a step towards the neighbours' classes (section 5)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Callable, Mapping, Sequence

from caffe_gp.evaluation.classification import PLACES, evaluate
from caffe_gp.evaluation.classification_page import HEADER, curve, neighbours_of, title_of
from caffe_gp.evaluation.classification_results import ClassificationResults, Outcome, Variant
from caffe_gp.experiments import cells, classifiers
from caffe_gp.experiments.bench import Bench
from caffe_gp.experiments.suites import Net, Suite
from caffe_gp.report import figures
from caffe_gp.report.claims import Claim, Verdict
from caffe_gp.report.experiment_report import Figure, Report, Table, points, signed

NAME, TITLE = "table6", "Table 6: classification by nearest neighbours"
PAPER_ONLY = True

K = (1, 3, 5)  # the paper's is 3


def nets(suite: Suite) -> Sequence[Net]:
    """None of the suite's: classifiers have a list of their own."""
    return ()


def checks(bench: Bench) -> Sequence[Callable[[], object]]:
    """Both nets and their data."""
    return classifiers.checks(bench, classifiers.CLASSIFIERS)


def run(bench: Bench) -> Report:
    """One row for each weights of each net; for its first ones everything that may be varied."""
    header = ["net", "base (%)", "with GP (%)", "gain (points)", "fixed", "broken", "p", "eps"]
    header += ["paper: base (%)", "paper: with GP (%)"]
    table = Table(TITLE, header)
    tables, drawn, runs = [table], [], {}
    numbers: dict[str, Any] = {}
    outcomes: dict[str, list[Outcome]] = {}
    for classifier in classifiers.CLASSIFIERS:
        seeds = {}
        outcomes[classifier.name] = []
        for caffemodel in classifier.weights():
            found = evaluate(classifiers.settings(bench, classifier, caffemodel))
            outcomes[classifier.name].append(_chosen(found))
            row = _row(table, classifier, classifier.title(caffemodel), found, found.variants[0])
            seeds[caffemodel.stem] = {**found.summary(), "gp": row}
            runs[f"{classifier.name}/{caffemodel.stem}"] = found.origin
        first = classifier.weights()[0]
        varied = {"k": K, "features": classifier.features, "gradient_at": PLACES}
        found = evaluate(classifiers.settings(bench, classifier, first, **varied))
        runs[f"{classifier.name}/{first.stem}, varied"] = found.origin
        numbers[classifier.name] = {"paper": classifier.paper, "seeds": seeds, "varied": found.summary()}
        tables.append(_ablation(classifier, classifier.title(first), found))
        shown = [variant for variant in found.variants if variant.features == classifier.features[0]]
        name = f"{NAME}_{classifier.name}"
        level = classifier.paper[1] - classifier.paper[0]
        figure = curve(found, "eps (units of the input)", shown, level)
        figures.save(figure, bench.out / NAME, name, figures.CURVES)
        drawn.append(Figure(name, f"{classifier.title(first)}: accuracy over eps, and the paper's gain."))
    table.note = (
        "Accuracy in percent on the test set; 3 neighbours of equal weight, gradients at the neighbours, "
        "features of the last hidden layer after ReLU. eps was chosen on training images that neither the "
        "net nor the bank has seen. p: McNemar's exact test. ✓ and ✗: within 0.3 points of the paper, or not."
    )
    images = len(found.truth)
    text = [
        "The paper gives the nets' widths and accuracies; these nets were trained here. Images that were "
        "wrong and became right are fixed, the other way round broken."
    ]
    provenance = {"command": bench.command, "runs": runs}
    said = text, list(classifiers.warnings(bench, classifiers.CLASSIFIERS, images))
    more: dict[str, Any] = {"numbers": {"nets": numbers}, "provenance": provenance, "up": cells.INDEX}
    return Report(NAME, TITLE, [_claim(outcomes)], *said, tables, drawn, **more)


def _chosen(found: ClassificationResults) -> Outcome:
    """Of the first variant at the step that was chosen for it."""
    eps = found.chosen_eps(found.variants[0])
    assert eps is not None
    return found.outcome(found.variants[0], eps)


def _claim(outcomes: Mapping[str, Sequence[Outcome]]) -> Claim:
    every = [one for found in outcomes.values() for one in found]
    gains = "; ".join(
        f"{name} {', '.join(signed(one.gain) for one in found)}" for name, found in outcomes.items()
    )
    sure = all(one.gain > 0 and one.p <= 0.05 for one in every)
    more = all(one.gain > 0 for one in every)
    return Claim(
        "Guided perturbations towards the nearest neighbours' classes raise the accuracy on both sets.",
        "Table 6",
        "gain in accuracy (points), each of the nets' weights",
        "MNIST +0.23, CIFAR-10 +0.64",
        gains,
        Verdict.HOLDS if sure else Verdict.WEAKLY if more else Verdict.NOT,
        "Holds: with all weights the accuracy rises, and McNemar's exact test says p <= 0.05. Weakly: it "
        "rises.",
    )


def _row(
    table: Table,
    classifier: classifiers.Classifier,
    title: str,
    found: ClassificationResults,
    variant: Variant,
) -> dict[str, Any]:
    eps = found.chosen_eps(variant)
    assert eps is not None
    outcome = found.outcome(variant, eps)
    base, after = classifier.paper
    table.add(
        title,
        cells.judged(found.accuracy(), base),
        cells.judged(outcome.accuracy, after),
        signed(outcome.gain),
        str(outcome.fixed),
        str(outcome.broken),
        f"{outcome.p:.2g}",
        f"{eps:.3g}",
        f"{base:.2f}",
        f"{after:.2f}",
    )
    return {"eps": eps, **asdict(outcome)}


def _ablation(classifier: classifiers.Classifier, title: str, found: ClassificationResults) -> Table:
    """Each variant at the eps that was chosen for it."""
    table = Table(f"{title}: what may be varied", HEADER)
    table.add("none (base)", "", points(found.accuracy()), "", "", "", "")
    for features in classifier.features:
        for k in K:
            vote = points(found.vote(features, k))
            table.add(f"vote of {neighbours_of(features, k)}, no net", "", vote, "", "", "", "")
    for variant in found.variants:
        eps = found.chosen_eps(variant)
        assert eps is not None
        outcome = found.outcome(variant, eps)
        table.add(
            title_of(variant),
            f"{eps:.3g}",
            points(outcome.accuracy),
            signed(outcome.gain),
            str(outcome.fixed),
            str(outcome.broken),
            f"{outcome.p:.2g}",
        )
    return table
