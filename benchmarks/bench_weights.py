"""Loading a caffemodel the size of FCN-32s: time and peak memory, against protobuf's own parser.

    python -m benchmarks.bench_weights [WAY ...] [--megabytes 545] [--rounds 2]

Writes a caffemodel of that size to a temporary folder, then loads it in fresh processes, one a
measurement, from the page cache: ``read_weights`` plus ``copy_to`` into preallocated float32 arrays (their
pages already touched, as a net's are), and the same through google.protobuf's ``ParseFromString``.
Peak memory is the process's VmHWM minus what it held before (interpreter, numpy, protobuf), so it
counts the destination arrays.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from typing import Dict, List

import numpy as np

from caffe_gp import proto
from caffe_gp.proto import messages as pb

from . import measure, report, workers
from .measure import Setting

Arrays = Dict[str, List[np.ndarray]]  # of a net: layer name -> its parameters
# VGG-16 as FCN-32s: (layer, output channels, input channels, kernel)
LAYERS = [
    ("conv1_1", 64, 3, 3),
    ("conv1_2", 64, 64, 3),
    ("conv2_1", 128, 64, 3),
    ("conv2_2", 128, 128, 3),
    ("conv3_1", 256, 128, 3),
    ("conv3_2", 256, 256, 3),
    ("conv3_3", 256, 256, 3),
    ("conv4_1", 512, 256, 3),
    ("conv4_2", 512, 512, 3),
    ("conv4_3", 512, 512, 3),
    ("conv5_1", 512, 512, 3),
    ("conv5_2", 512, 512, 3),
    ("conv5_3", 512, 512, 3),
    ("fc6", 4096, 512, 7),
    ("fc7", 4096, 4096, 1),
    ("score_fr", 21, 4096, 1),
    ("upscore", 21, 21, 64),
]


def shapes(megabytes: float) -> list[tuple[str, list[tuple[int, ...]]]]:
    """[(layer name, blob shapes)] of FCN-32s, fc6's inputs scaled so that the file has about that size."""
    result: list[tuple[str, list[tuple[int, ...]]]] = []
    fixed = sum(o * i * k * k + o for name, o, i, k in LAYERS if name != "fc6")
    fc6_inputs = max(1, int((megabytes * 1e6 / 4 - fixed) / (4096 * 49)))
    for name, outputs, inputs, kernel in LAYERS:
        inputs = fc6_inputs if name == "fc6" else inputs
        result.append((name, [(outputs, inputs, kernel, kernel), (outputs,)]))
    return result


def write_model(path: str, megabytes: float) -> None:
    """A caffemodel with random values."""
    rng = np.random.RandomState(0)
    net = pb.NetParameter(name="bench")
    arrays = {}
    for name, blob_shapes in shapes(megabytes):
        net.layer.add(name=name, type="Convolution")
        arrays[name] = [rng.standard_normal(size=shape).astype(np.float32) for shape in blob_shapes]
    proto.write_caffemodel(path, net, arrays)


def destination(megabytes: float) -> Arrays:
    """Arrays for the weights, every page touched."""
    return {
        name: [np.full(shape, 1, np.float32) for shape in blob_shapes]
        for name, blob_shapes in shapes(megabytes)
    }


def load_ours(path: str, arrays: Arrays) -> None:
    """Scan and copy."""
    with proto.read_weights(path) as weights:
        for name, blobs in weights:
            for blob, array in zip(blobs, arrays[name]):
                assert blob is not None
                blob.copy_to(array)


def load_protobuf(path: str, arrays: Arrays) -> None:
    """Parse the whole message, then copy; the peer."""
    net = pb.NetParameter()
    with open(path, "rb") as stream:
        net.ParseFromString(stream.read())
    for layer in net.layer:
        for blob, array in zip(layer.blobs, arrays[layer.name]):
            array[...] = np.array(blob.data, dtype=np.float32).reshape(array.shape)


READERS = {"caffe_gp": load_ours, "protobuf": load_protobuf}


def work(how: str, path: str, megabytes: float, setting: Setting) -> dict[str, float]:
    """In a process of its own: load once; seconds, peak bytes over the file's and a checksum."""
    before = workers.memory_bytes("VmRSS")
    arrays = destination(megabytes)
    seconds = setting.seconds(lambda: READERS[how](path, arrays))
    peak = workers.memory_bytes("VmHWM") - before
    total = float(sum(array.sum(dtype=np.float64) for blobs in arrays.values() for array in blobs))
    return {"seconds": seconds, "peak_over_file": peak / os.path.getsize(path), "sum": total}


def markdown(result: dict) -> str:
    """One line a reader."""
    explanation = (
        "each reader in a process of its own, which also holds the arrays it fills; "
        "the fastest of the rounds."
    )
    title = "Reading a caffemodel of FCN-32s's size from the page cache into float32 arrays"
    return report.page(result, title, explanation, _table)


def _table(ways: dict[str, dict[str, float]]) -> list[str]:
    rows = [[way, f"{best['seconds']:.2f}", f"{best['peak_over_file']:.2f}"] for way, best in ways.items()]
    return report.table(["reader", "seconds", "peak memory / file"], rows)


def main() -> None:
    """Write the model, measure both readers, print and write the table."""
    parser = measure.parser(__doc__)
    parser.add_argument("--megabytes", type=float, default=545, help="file size (default %(default)s)")
    parser.add_argument("--path", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        found = work(options.worker, options.path, options.megabytes, options.settings[0])
        print(json.dumps(found))
        return
    result = report.begin("weights", options)
    sums = set()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "bench.caffemodel")
        write_model(path, options.megabytes)
        arguments = ["--path", path, "--megabytes", str(options.megabytes)]

        def figures(way: str, setting: Setting) -> dict | None:
            found = workers.run_worker("benchmarks.bench_weights", way, setting, *arguments)
            if found:
                sums.add(found.pop("sum"))
            return found

        result["figures"] = measure.in_turn(READERS, options, figures)
    if len(sums) > 1:
        raise SystemExit("the two readers disagree")
    report.write(result, options.out, markdown)


if __name__ == "__main__":
    main()
