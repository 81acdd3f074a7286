"""Cases of single layers."""

from __future__ import annotations

from typing import Any, Sequence

from conformance.case import FORWARD_ONLY, TEST, TRAIN, TWICE, Case, Step
from conformance.prototxt import input_layer, layer

PROBE = "bias_param { axis: 0 num_axes: 0 }"


class LayerCases:
    """Collects cases of single layers: a net of one Input layer and the layer under test."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def add(
        self,
        kind: str,
        extra: str,
        *shapes: Sequence[int],
        schemes: Sequence[str] | None = None,
        tops: int = 1,
        phase: int = TEST,
        in_place: bool = False,
        backward: str = "all",
        params: Sequence[str] | None = None,
        steps: Sequence[Step] | None = None,
        **more: Any,
    ) -> Case:
        """One case of layer type ``kind`` with parameters ``extra`` and inputs b0, b1, ... of ``shapes``.

        backward: 'all' (force_backward), 'none', or 'first N': only the first N inputs want a diff. Those
        then come through a Bias layer with learned parameters, as force_backward would ask for all.
        """
        schemes = [*(schemes or ()), *["gauss"] * (len(shapes) - len(schemes or ()))]
        names = ["b%d" % i for i in range(len(shapes))]
        lines = ["force_backward: true"] if backward == "all" else []
        lines += [input_layer(dict(zip(names, shapes)))] if shapes else []
        probed = int(backward.split()[1]) if backward.startswith("first") else 0
        bottoms = ["c%d" % i for i in range(probed)] + names[probed:]
        for i in range(probed):
            lines.append(layer("probe%d" % i, "Bias", names[i], bottoms[i], PROBE))
        top_names = ["t%d" % i for i in range(tops)]
        if in_place:
            top_names[0] = bottoms[0]
        if backward.startswith("first"):
            # Without a loss downstream Caffe runs no backward unless forced. The probes' own diffs are sums
            # over everything, often of terms that cancel.
            extra += "" if "loss_weight" in extra else " loss_weight: 1" * tops
            more["skip"] = [*more.get("skip", ()), *("param_diff/probe%d/0" % i for i in range(len(shapes)))]
        lines.append(layer("L", kind, bottoms, top_names, extra))
        steps = steps or (FORWARD_ONLY if backward == "none" else TWICE)
        words = [
            kind,
            extra,
            ", ".join("x".join(map(str, shape)) for shape in shapes),
            "in place" if in_place else "",
            "%d tops" % tops if tops != 1 else "",
            "TRAIN" if phase == TRAIN else "",
            backward if backward != "all" else "",
            ", ".join(sorted(set(schemes) - {"gauss"})),
            "reshaped" if ("reshape" in [s[0] for s in steps]) else "",
        ]
        case = Case(
            self._unique(words),
            layer=kind,
            text="\n".join(lines),
            phase=phase,
            inputs=dict(zip(names, schemes)),
            params={"L": params} if params else {},
            steps=steps,
            **more,
        )
        self.cases.append(case)
        return case

    def _unique(self, words: Sequence[str]) -> str:
        """A name of ``words``, with a number behind it if there is such a case already."""
        name = " ".join(" ".join(words).split())
        same = sum(case.name.split(" #")[0] == name for case in self.cases)
        return "%s #%d" % (name, same + 1) if same else name
