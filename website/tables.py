"""Tables of what was measured, from the records of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import option_matrix
from benchmarks.folders import RESULTS
from caffe_gp.models import weights, zoo
from conformance.folders import ROOT


def time_and_memory() -> str:
    """A row for every net that was measured: one image, one thread of the embedded Caffe on a CPU."""
    figures: dict[str, dict[str, Any]] = _recorded("networks")["figures"]["1-cpu"]
    lines = [
        "| net | parameters | forward, s | one guided perturbation, s | memory, GB | on BVLC Caffe, s | GB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, model in zoo.MODELS.items():
        ours, bvlc = figures.get(f"embedded:{name}"), figures.get(f"bvlc:{name}", {})
        if ours is not None:
            cells = [_least(ours, "forward"), _least(ours, "gp"), _least(ours, "peak_gb")]
            cells += [_least(bvlc, "gp"), _least(bvlc, "peak_gb")]
            lines.append(f"| `{name}` | {model.parameters:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def options() -> str:
    """What each combination of signal, step and blob gains and costs."""
    return option_matrix.table(_recorded("option_matrix"))


def models() -> str:
    """A row for every net by name: its files, what was published and measured of it, what it costs."""
    figures = _recorded("networks")["figures"]["1-cpu"]
    head = [
        "`--model`",
        "prototxt",
        "hash of the weights",
        "published",
        "measured here",
        "step, s",
        "GB",
        "command",
    ]
    lines = [f"| {' | '.join(head)} |", "| --- | --- | --- | --- | --- | ---: | ---: | --- |"]
    for name, model in zoo.MODELS.items():
        hash_, published, measured = _trained_here(name) if model.weights is None else _released(name)
        ours = figures.get(f"embedded:{name}", {})
        command = "classify" if model.title.startswith(("LeNet", "CNN")) else "run"
        cells = [f"`{name}`", f"`prototxt/{name}/deploy.prototxt`", hash_, published, measured]
        cells += [_least(ours, "gp"), _least(ours, "peak_gb"), f"`caffe_gp {command} --model {name}`"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _released(name: str) -> tuple[str, str, str]:
    """Hash, published scores, and scores measured here: none, for the weights are not here."""
    file = weights.find(name)
    hashes = [f"{kind} `{value[:12]}`" for kind, value in file.hashes.items()]
    scores = "; ".join(f"{score.mean_iu:g} ({score.on})" for score in file.scores)
    if len(file.models) > 1:  # the scores are of one or another of them
        scores = "[which score is whose](weights.md#what-they-should-score)"
    if not file.is_published:
        return hashes[0], "", f"{scores}; [with GP](results.md#two-voc-nets-on-the-reduced-validation-set)"
    return hashes[0] if hashes else "none published", scores, ""


def _trained_here(name: str) -> tuple[str, str, str]:
    record = json.loads((ROOT / "models" / name / "training.json").read_text(encoding="utf-8"))
    if "of" in record:  # the same net in another form
        measured = f"as `{Path(record['of']['weights']).stem}`"
    elif "validation" in record:
        measured = (
            f"{100 * record['validation']['mean_iu']:.2f} mean IU on validation images; [with GP](results.md)"
        )
    else:
        right = f"{100 * record['test']['accuracy']:.2f} % of {record['test']['images']:,} test images"
        measured = f"{right}; [with GP](results.md)"
    return f"sha256 `{record['sha256'][:12]}`", "", measured


def _recorded(benchmark: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{benchmark}.json").read_text(encoding="utf-8"))


def _least(figures: dict[str, list[float]], what: str) -> str:
    return f"{min(figures[what]):.3g}" if what in figures else "-"
