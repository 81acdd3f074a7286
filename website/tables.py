"""Tables of what was measured, from the records of the benchmarks."""

from __future__ import annotations

import json
from typing import Any

from benchmarks import option_matrix
from benchmarks.folders import RESULTS
from caffe_gp.models import zoo


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


def _recorded(benchmark: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"{benchmark}.json").read_text(encoding="utf-8"))


def _least(figures: dict[str, list[float]], what: str) -> str:
    return f"{min(figures[what]):.3g}" if what in figures else "-"
