"""Where the time of FCN-32s' forward pass goes, layer by layer, against what the processor can do.

    python -m benchmarks.bench_layers [WAY ...] [--rounds 2] [--settings 1-cpu]

fast      the embedded Caffe, in its second pass over an image of 500 x 500
plain     the same without its fast paths (CAFFE_GP_OPTIMIZE=0)
machine   the rate of a large matrix product and of a 3 x 3 convolution, and that of copying memory

A layer's work is counted as in a direct convolution, so rates above the machine's are multiplications saved.
Draws docs/images/roofline.png.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from . import fcn32s, measure, report, workers
from .folders import ROOT
from .measure import Setting

WAYS = ("fast", "plain", "machine")
PICTURE = ROOT / "docs" / "images" / "roofline.png"
_LEAST_SHARE = 0.005  # of the plain pass: layers below are summed up


def run_net(setting: Setting) -> dict[str, float]:
    """Seconds of each layer, a ReLU in place together with the layer before it."""
    import caffe_gp.caffe as caffe
    from caffe_gp import proto

    net = caffe.Net.from_param(proto.parse_net_param(fcn32s.prototxt()), caffe.TEST)
    fcn32s.fill(net)
    names = list(net._layer_names)
    found: dict[str, float] = {}
    for number in range(3):
        net.blobs["data"].data[...] = fcn32s.image(seed=number)
        i = 0
        while i < len(names):
            last = i + (i + 1 < len(names) and net.layers[i + 1].type == "ReLU")
            seconds = setting.seconds(lambda: net._forward(i, last))  # noqa: B023
            if number:
                found[names[i]] = min(seconds, found.get(names[i], seconds))
            i = last + 1
    return found


def run_machine(setting: Setting) -> dict[str, float]:
    """Seconds a billion operations, of a product and of a convolution, and a billion bytes."""
    import torch

    one, other = torch.randn(2048, 2048), torch.randn(2048, 2048)
    product = setting.fastest(lambda: one @ other) / (2 * 2048**3 / 1e9)
    image, weight = torch.randn(1, 256, 64, 64), torch.randn(256, 256, 3, 3)
    convolution = setting.fastest(lambda: torch.conv2d(image, weight, padding=1))
    convolution /= 18 * 256**2 * 64**2 / 1e9
    large, copy = torch.ones(1 << 26), torch.ones(1 << 26)
    copied = setting.fastest(lambda: copy.copy_(large))
    found = {"of_a_product": product, "of_a_convolution": convolution}
    return {**found, "seconds_a_gb": copied / (8 * (1 << 26) / 1e9)}


def work_of_layers() -> dict[str, tuple[float, float]]:
    """Convolutions: billions of operations, and of bytes of inputs, outputs and weights."""
    import caffe_gp.caffe as caffe
    from caffe_gp import proto

    net = caffe.Net.from_param(proto.parse_net_param(fcn32s.prototxt()), caffe.TEST)
    found = {}
    for name, layer in net.layer_dict.items():
        if layer.type == "Convolution":
            bottom, top = net.blobs[net.bottom_names[name][0]], net.blobs[net.top_names[name][0]]
            weight = layer.blobs[0]
            operations = 2 * top.count * weight.count_from(1)
            found[name] = operations / 1e9, 4 * (bottom.count + top.count + weight.count) / 1e9
    return found


def markdown(result: dict) -> str:
    """A line a layer; draws the picture of the first setting."""
    explanation = (
        "FCN-32s, one image of 500 x 500, forward; milliseconds, and the rate of a direct convolution."
    )
    ways = measure.best(next(iter(result["figures"].values())))
    if set(WAYS) <= set(ways):
        _draw(ways)
    return report.page(result, "Where a forward pass spends its time", explanation, _table)


def _table(ways: dict[str, dict[str, float]]) -> list[str]:
    work, plain, fast = work_of_layers(), ways.get("plain", {}), ways.get("fast", {})
    total = sum(plain.values())
    rows, rest = [], [0.0, 0.0]
    for name in plain:
        if plain[name] < _LEAST_SHARE * total:
            rest = [rest[0] + plain[name], rest[1] + fast.get(name, 0)]
            continue
        operations = work.get(name, (0.0, 0.0))[0]
        cells = [f"{1000 * way[name]:.1f}" if name in way else "-" for way in (plain, fast)]
        rates = [
            f"{operations / way[name]:.0f}" if operations and name in way else "-" for way in (plain, fast)
        ]
        rows.append([name, *cells, *rates])
    rows.append(["others", *(f"{1000 * seconds:.1f}" for seconds in rest), "-", "-"])
    rows.append(["all", *(f"{1000 * sum(way.values()):.0f}" for way in (plain, fast)), "-", "-"])
    machine = ways.get("machine", {})
    lines = report.table(["layer", "plain, ms", "fast, ms", "plain, GFLOP/s", "fast, GFLOP/s"], rows)
    if machine:
        product, convolution, copied = (1 / seconds for seconds in machine.values())
        lines += [
            "",
            f"A matrix product of 2048 x 2048: {product:.0f} GFLOP/s; a direct 3 x 3 convolution: "
            f"{convolution:.0f} GFLOP/s; copying: {copied:.1f} GB/s.",
        ]
    return lines


def _draw(ways: dict[str, dict[str, float]]) -> None:
    """The rate of each convolution over its operations a byte, below the roof of the machine."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    product, convolution, bandwidth = (1 / seconds for seconds in ways["machine"].values())
    peak = max(product, convolution)
    figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
    intensity = np.geomspace(1, 1000, 50)
    axes.loglog(intensity, np.minimum(peak, bandwidth * intensity), color="black", label="the machine's roof")
    for way, colour in (("plain", "tab:gray"), ("fast", "tab:blue")):
        for k, (name, (operations, moved)) in enumerate(work_of_layers().items()):
            rate = operations / ways[way][name]
            axes.plot(operations / moved, rate, "o", color=colour, label=way if not k else None)
            if way == "fast" and name not in ("conv4_3", "conv5_2", "conv5_3"):  # as those before them
                axes.annotate(
                    name, (operations / moved, rate), fontsize=7, xytext=(3, 3), textcoords="offset points"
                )
    axes.set_yticks([20, 50, 100, 200, 400], ["20", "50", "100", "200", "400"], minor=False)
    axes.yaxis.set_minor_formatter("")
    axes.set(
        xlabel="operations of a direct convolution a byte (inputs, outputs, weights)",
        ylabel="GFLOP/s of a direct convolution",
        title="FCN-32s, 500 x 500, forward: convolutions and the machine's roof",
    )
    axes.legend()
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _measure(way: str, setting: Setting) -> dict[str, float] | None:
    return workers.run_worker("benchmarks.bench_layers", way, setting)


def main() -> None:
    """Parse the command line; measure, print and write the table, or be a worker."""
    parser = measure.parser(__doc__)
    parser.set_defaults(settings=[Setting(1, "cpu")])
    options: Any = parser.parse_args()
    if options.worker:
        os.environ["CAFFE_GP_OPTIMIZE"] = "0" if options.worker == "plain" else "1"
        run = run_machine if options.worker == "machine" else run_net
        print(json.dumps(run(options.settings[0])))
        return
    result = report.begin("layers", options)
    result["figures"] = measure.in_turn(WAYS, options, _measure)
    report.write(result, options.out, markdown)


if __name__ == "__main__":
    main()
