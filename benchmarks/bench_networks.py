"""The nets that conformance compares, at their real size on the CPU: time, peak memory, and agreement.

    python -m benchmarks.bench_networks [NET ...] [--rounds 2] [--settings 1-cpu 2-wall]

Random weights are those of the comparison of the engines (conformance/networks/nets.py); the image is a
VOC photograph where CAFFE_GP_SHARED_DATA has it, else random waves. Each engine runs in a process of its own
that loads the caffemodel and times the net's forward pass and guided perturbations of one image at the input.
Without the file system of ``make bvlc`` BVLC Caffe's columns are empty.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np

from caffe_gp.images.preprocess import Preprocess
from caffe_gp.models import zoo
from conformance import closeness
from conformance.networks import nets

from . import measure, report, workers
from .folders import ROOT, SHARED_DATA
from .measure import Setting

# Both folders reach the file system of BVLC Caffe; what is written into the second one comes back.
WEIGHTS, OUTPUTS = Path(".cache/bench_networks"), Path(".cache/bvlc-recordings/bench_networks")
# A way is ENGINE:NET.
ENGINES = {"embedded": "torch", "bvlc": "bvlc"}
PHOTOGRAPH = "2007_000033"


def work(way: str, setting: Setting) -> dict[str, float]:
    """Seconds of the forward pass and of GP at ``data``; peak GB.

    Leaves the scores and the label maps before and after in OUTPUTS.
    """
    from caffe_gp.gp import GuidedPerturbation

    engine, _, name = way.partition(":")
    if engine == "files":
        nets.write_weights(name, str(_weights(name)), "torch")
        return {}
    workers.limit_memory()
    size = real_size(name)
    loaded = nets.load(name, ENGINES[engine], str(_weights(name)), size)
    image = _image(name, size)
    loaded.net.blobs[loaded.data].data[...] = image
    found = {"forward": setting.fastest(loaded.net.forward)}
    score = loaded.net.blobs[loaded.score].data.copy()
    gp = partial(GuidedPerturbation(loaded), image, nets.EPS * zoo.get(name).feed.scale)
    found["gp"] = setting.fastest(gp)
    found["peak_gb"] = workers.peak_gb()
    result = gp()
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    np.savez(_output(way), score=score, base=result.base_labels, moved=result.labels)
    return found


def _image(name: str, size: tuple[int, int, int]) -> np.ndarray:
    """A photograph stretched to ``size``: how long a CRF takes depends on what the image shows."""
    path = SHARED_DATA / "voc2012/VOCdevkit/VOC2012/JPEGImages" / f"{PHOTOGRAPH}.jpg"
    feed = zoo.get(name).feed
    if len(feed.mean) != 3 or not path.is_file():
        return nets.images(name, size)
    stretched = Preprocess(feed.mean, feed.scale, feed.channel_order, 3, resize=(size[2], size[1]))
    return stretched.load(path).data[np.newaxis]


def _weights(name: str) -> Path:
    return WEIGHTS / f"{name}.caffemodel"


def _output(way: str) -> Path:
    return OUTPUTS / f"{way.replace(':', '-')}.npz"


def real_size(name: str) -> tuple[int, int, int]:
    """(1, H, W) of the net's own prototxt."""
    (layer,) = (layer for layer in zoo.get(name).net().layer if layer.type == "Input")
    return 1, layer.input_param.shape[0].dim[2], layer.input_param.shape[0].dim[3]


def measure_net(name: str, options: argparse.Namespace, missing: list[str]) -> measure.Figures:
    """The figures of one net, engine by engine; leaves no files.

    An engine whose process needed too much memory is not tried again, and named in ``missing``.
    """
    given_up: set[str] = set()

    def figures(way: str, setting: Setting) -> dict | None:
        if way in given_up:
            return None
        try:
            found = workers.run_worker("benchmarks.bench_networks", way, setting)
        except workers.OutOfMemory as error:
            print(error, file=sys.stderr)
            given_up.add(way)
            missing.append(f"{way}: needs more than {workers.memory_limit_gb()} GB")
            return None
        if found and way.startswith("bvlc") and _output(f"embedded:{name}").exists():
            found.update(_apart(_output(f"embedded:{name}"), _output(way)))
        return found

    ways = [f"{engine}:{name}" for engine in ENGINES]
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    try:
        workers.run_worker("benchmarks.bench_networks", f"files:{name}", options.settings[0])
        return measure.in_turn(ways, argparse.Namespace(**{**vars(options), "ways": []}), figures)
    finally:
        for path in (_weights(name), *map(_output, ways)):
            if path.exists():
                path.unlink()


def _apart(one: Path, other: Path) -> dict[str, float]:
    """max|a - b| / max|b| of the scores; how many labels differ before and after the step."""
    with np.load(str(one)) as ours, np.load(str(other)) as theirs:
        return {
            "apart": closeness.relative_error(ours["score"], theirs["score"]),
            "unlike": closeness.differing(ours["base"], theirs["base"]),
            "unlike_moved": closeness.differing(ours["moved"], theirs["moved"]),
        }


def markdown(result: dict) -> str:
    """One line a net."""
    explanation = (
        "seconds for one photograph, random weights, the fastest of the rounds. GP is the whole guided "
        "perturbation at the input. Peak memory: the process's, weights included. Ratio: of the engines' "
        "GP. Scores: max|a - b| / max|b| between the engines; labels: how many differ before / after the "
        "step, each engine over its own activations (docs/networks.md says why that matters)."
    )
    return report.page(result, "The nets at their real size on the CPU", explanation, _table)


def _table(ways: dict[str, dict[str, float]]) -> list[str]:
    head = ["net", "input", "embedded: forward", "GP", "GB", "BVLC: forward", "GP", "GB", "ratio", "scores"]
    rows = []
    for name in dict.fromkeys(way.partition(":")[2] for way in ways):
        ours, theirs = (ways.get(f"{engine}:{name}", {}) for engine in ENGINES)
        cells = [f"`{name}`", "x".join(map(str, real_size(name)[1:]))]
        cells += [
            report.number(found.get(k)) for found in (ours, theirs) for k in ("forward", "gp", "peak_gb")
        ]
        both = "gp" in ours and "gp" in theirs
        cells.append(f"{ours['gp'] / theirs['gp']:.2f}" if both else "-")
        cells.append(report.number(theirs.get("apart"), ".1e"))
        cells.append(f"{theirs['unlike']:.0f} / {theirs['unlike_moved']:.0f}" if "unlike" in theirs else "-")
        rows.append(cells)
    return report.table([*head, "labels"], rows)


def main() -> None:
    """Parse the command line; measure, print and write the table."""
    options = measure.parser(__doc__).parse_args()
    os.chdir(ROOT)
    if options.worker:
        print(json.dumps(work(options.worker, options.settings[0])))
        return
    result = report.begin("networks", options)
    missing = [text for text in map(workers.why_missing, ENGINES) if text]
    for name in options.ways or nets.SIZES:
        for setting, ways in measure_net(name, options, missing).items():
            result["figures"].setdefault(setting, {}).update(ways)
    result["missing"] = missing
    report.write(result, options.out, markdown)


if __name__ == "__main__":
    main()
