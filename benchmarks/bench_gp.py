"""Guided perturbations of FCN-32s at 500 x 500 on the CPU: six ways to run them, in turn, in one run.

    python -m benchmarks.bench_gp [WAY ...] [--rounds 2] [--settings 1-cpu 2-wall] [--size 500]

embedded                caffe_gp on the embedded Caffe
autograd                the same layers in plain PyTorch with autograd on the input
autograd-channels-last  the same with weights and input in the channels-last memory format
bvlc-probe              caffe_gp on BVLC Caffe (the probe: no weight gradients)
bvlc-naive              BVLC Caffe as its users run it: ``force_backward: true``, full backward and forward
opencv                  OpenCV's dnn module, which has a forward pass only

All of them read one prototxt and one caffemodel of random weights. Every worker is a process of its own that
measures and exits. Reported: the fastest round of each figure, and the peak memory of the process after GP at
``data``. Ways whose Caffe or OpenCV is not here are missing, and said to be.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Callable

from conformance import opencv

from . import fcn32s, measure, report, workers
from .measure import Setting

BLOBS = ("data", "pool2", "pool3", "pool4")
PAPER = {"data": 0.33 / 0.12, "pool2": 0.27 / 0.12, "pool3": 0.24 / 0.12, "pool4": 0.22 / 0.12}
READERS = {"data": "conv1_1", "pool2": "conv3_1", "pool3": "conv4_1", "pool4": "conv5_1"}
EPS = 0.55
SWEEP = [0.1 * k for k in range(1, 22)]
# The file system of BVLC Caffe has this folder too.
FOLDER = Path(".cache/bench_gp")
PROTOTXT, BACKWARD, CAFFEMODEL = (
    FOLDER / name for name in ("fcn32s.prototxt", "fcn32s-backward.prototxt", "fcn32s.caffemodel")
)
# Of the label map after the forward pass, every so many pixels: all ways must find the same.
STRIDE = 25


def run_caffe_gp(engine: str, size: int, setting: Setting) -> dict[str, Any]:
    """Forward, then GP at each blob, through the project's own interface; on the embedded Caffe a sweep."""
    from caffe_gp.engines import load_net
    from caffe_gp.gp import GuidedPerturbation

    loaded = load_net(str(PROTOTXT), str(CAFFEMODEL), engine=engine)
    net, image = loaded.net, fcn32s.image(size)
    net.blobs[loaded.data].data[...] = image
    found: dict[str, Any] = {"forward": setting.fastest(net.forward), "labels": _labels(net)}
    methods = {blob: GuidedPerturbation(loaded, blob=blob) for blob in BLOBS}
    for blob in BLOBS:
        found[blob] = setting.fastest(partial(methods[blob], image, EPS))
        found.setdefault("peak_gb", workers.peak_gb())
    if engine == "torch":
        found["sweep"] = setting.seconds(partial(methods["data"], image, SWEEP))
    return found


def run_bvlc_naive(size: int, setting: Setting) -> dict[str, Any]:
    """pycaffe calls as the authors' demo makes them, with one-hot labels, from the paper's text."""
    import caffe
    import numpy as np

    net = caffe.Net(str(BACKWARD), str(CAFFEMODEL), caffe.TEST)
    image = fcn32s.image(size)
    net.blobs["data"].data[...] = image
    found: dict[str, Any] = {"forward": setting.fastest(net.forward), "labels": _labels(net)}

    def perturb(blob: str) -> None:
        net.blobs["data"].data[...] = image
        net.forward()
        prob = net.blobs["prob"]
        prob.diff[...] = np.arange(fcn32s.CLASSES)[:, None, None] == prob.data[0].argmax(0)
        net.backward(end=READERS[blob])
        net.blobs[blob].data[...] += EPS * np.sign(net.blobs[blob].diff)
        net.forward(start=READERS[blob])
        net.blobs["prob"].data[0].argmax(0)

    for blob in BLOBS:
        found[blob] = setting.fastest(partial(perturb, blob))
        found.setdefault("peak_gb", workers.peak_gb())
    return found


def run_autograd(size: int, setting: Setting, channels_last: bool) -> dict[str, Any]:
    """A torch module with the same weights; only the perturbed blob requires a gradient."""
    import torch
    import torch.nn.functional as F

    from caffe_gp import proto

    memory = torch.channels_last if channels_last else torch.contiguous_format

    def tensor(array: Any) -> torch.Tensor:
        found = torch.from_numpy(array)
        return found.to(memory_format=memory) if found.ndim == 4 else found

    with proto.read_weights(str(CAFFEMODEL)) as file:
        weights = {name: [tensor(blob.array()) for blob in blobs if blob] for name, blobs in file}
    image = tensor(fcn32s.image(size))
    stages = ["data", *(f"pool{i}" for i in range(1, 6)), "prob"]

    def piece(start: str, x: torch.Tensor) -> torch.Tensor:
        i = stages.index(start)
        if i < 5:
            for k in range(1, fcn32s.STAGES[i][1] + 1):
                w, b = weights[f"conv{i + 1}_{k}"]
                x = F.relu(F.conv2d(x, w, b, padding=100 if (i, k) == (0, 1) else 1))
            return F.max_pool2d(x, 2, 2, ceil_mode=True)
        for name in ("fc6", "fc7"):
            w, b = weights[name]
            x = F.relu(F.conv2d(x, w, b))
        w, b = weights["score_fr"]
        x = F.conv_transpose2d(F.conv2d(x, w, b), weights["upscore"][0], stride=32)
        return x[:, :, 19 : 19 + size, 19 : 19 + size].softmax(1)

    def run(x: torch.Tensor, start: str, stop: str = "prob") -> torch.Tensor:
        for name in stages[stages.index(start) : stages.index(stop)]:
            x = piece(name, x)
        return x

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return run(image, "data").argmax(1)

    def perturb(blob: str) -> None:
        with torch.no_grad():
            x = run(image, "data", blob).detach()
        x.requires_grad_(True)
        y = run(x, blob)
        y.max(1).values.sum().backward()
        assert x.grad is not None
        with torch.no_grad():
            run(x + EPS * x.grad.sign(), blob).argmax(1)
        x.grad = None
        x.requires_grad_(False)

    labels = forward()[0, ::STRIDE, ::STRIDE].flatten().tolist()
    found: dict[str, Any] = {"forward": setting.fastest(forward), "labels": labels}
    for blob in BLOBS:
        found[blob] = setting.fastest(partial(perturb, blob))
        found.setdefault("peak_gb", workers.peak_gb())
    return found


def run_opencv(size: int, setting: Setting) -> dict[str, Any]:
    """A forward pass of the same files; the softmax's labels as well, as the others find them."""
    import cv2

    cv2.setNumThreads(setting.threads)
    dnn: Any = cv2.dnn  # of OpenCV 4; the one that mypy sees has no such reader
    net = dnn.readNetFromCaffe(str(PROTOTXT), str(CAFFEMODEL))
    image = fcn32s.image(size)

    def forward() -> Any:
        net.setInput(image)
        return net.forward()

    labels = forward()[0].argmax(0)[::STRIDE, ::STRIDE].ravel().tolist()
    return {"forward": setting.fastest(forward), "labels": labels, "peak_gb": workers.peak_gb()}


def _labels(net: Any) -> list[int]:
    return net.blobs["prob"].data[0].argmax(0)[::STRIDE, ::STRIDE].ravel().tolist()


WAYS: dict[str, Callable[..., dict[str, Any]]] = {
    "embedded": partial(run_caffe_gp, "torch"),
    "autograd": partial(run_autograd, channels_last=False),
    "autograd-channels-last": partial(run_autograd, channels_last=True),
    "bvlc-probe": partial(run_caffe_gp, "bvlc"),
    "bvlc-naive": run_bvlc_naive,
    "opencv": run_opencv,
}


def write_files(size: int) -> str:
    """Write the prototxts and the caffemodel that all ways read; the caffemodel's name."""
    import caffe_gp.caffe as caffe
    from caffe_gp import proto

    FOLDER.mkdir(parents=True, exist_ok=True)
    PROTOTXT.write_text(fcn32s.prototxt(size))
    BACKWARD.write_text(fcn32s.prototxt(size, force_backward=True))
    text = proto.parse_net_param(fcn32s.prototxt(64))  # weights do not depend on size
    net = caffe.Net.from_param(text, caffe.TEST)
    fcn32s.fill(net)
    arrays = {name: [blob.data for blob in blobs] for name, blobs in net.params.items()}
    proto.write_caffemodel(str(CAFFEMODEL), text, arrays)
    return str(CAFFEMODEL)


def markdown(result: dict) -> str:
    """Seconds, and what they are times the way's own forward pass."""
    explanation = (
        "one image, random weights, seconds. Each figure is the fastest of the rounds, which went through "
        "the ways in turn. In brackets: divided by the same way's own forward pass. Sweep: 21 values of eps "
        "at `data`. Peak memory: the process's, after GP at `data`. Unlike: the share of labels after the "
        "forward pass that are not the first way's."
    )
    return report.page(result, "Guided perturbations of FCN-32s on the CPU", explanation, _table)


def _table(ways: dict[str, dict[str, float]]) -> list[str]:
    head = ["way", "forward", *(f"GP at {blob}" for blob in BLOBS), "sweep", "peak GB", "unlike"]
    rows = []
    for way, best in ways.items():
        cells = [f"{best[b]:.2f} ({best[b] / best['forward']:.2f})" if b in best else "-" for b in BLOBS]
        sweep = f"{best['sweep']:.1f} ({best['sweep'] / best['forward']:.1f})" if "sweep" in best else "-"
        peak, unlike = report.number(best.get("peak_gb"), ".2f"), report.number(best.get("unlike"), ".4f")
        rows.append([way, f"{best['forward']:.2f}", *cells, sweep, peak, unlike])
    paper = [f"{PAPER[blob]:.2f}" for blob in BLOBS]
    return report.table(head, [*rows, ["*paper, Titan X (ratio)*", "", *paper, "", "", ""]])


def main() -> None:
    """Parse the command line; measure, print and write the table."""
    parser = measure.parser(__doc__)
    parser.add_argument("--size", type=int, default=500, help="of the image (default 500)")
    options = parser.parse_args()
    if options.worker == "files":
        print(json.dumps(write_files(options.size)))
        return
    if options.worker:
        print(json.dumps(WAYS[options.worker](size=options.size, setting=options.settings[0])))
        return
    opencv.make()
    result = report.begin("gp", options)
    labels: list[int] = []  # the first way's

    size = ["--size", str(options.size)]

    def figures(way: str, setting: Setting) -> dict | None:
        found = workers.run_worker("benchmarks.bench_gp", way, setting, *size)
        if found:
            own = found.pop("labels")
            if not labels:
                labels.extend(own)
            found["unlike"] = sum(a != b for a, b in zip(own, labels)) / len(labels)
        return found

    workers.run_worker("benchmarks.bench_gp", "files", options.settings[0], *size)
    try:
        result["figures"] = measure.in_turn(WAYS, options, figures)
    finally:
        CAFFEMODEL.unlink()
    result["missing"] = [text for text in map(workers.why_missing, WAYS) if text]
    report.write(result, options.out, markdown)


if __name__ == "__main__":
    main()
