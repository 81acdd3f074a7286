"""What the options of the method gain and cost, measured together: signal x step x blob.

    python -m benchmarks.option_matrix [--out DIR]

The digits net on its scenes (nothing is downloaded). For every combination eps is chosen on validation scenes
among shares of the blob's standard deviation, both signs, and 0 where no step helps; the gain is measured on
test scenes. docs/options.md says what it means.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from caffe_gp import GuidedPerturbation, LoadedModel, load_model
from caffe_gp.datasets.digit_scenes import DigitScenes
from caffe_gp.evaluation.bootstrap import paired_gain
from caffe_gp.evaluation.confusion import class_iu, confusion
from caffe_gp.files import atomic, json_files
from caffe_gp.gp import ENCODINGS

from .facts import facts
from .folders import RESULTS

BLOBS = ("data", "pool2", "pool4")
SHARES = (-0.2, -0.08, -0.03, -0.01, 0.01, 0.03, 0.08, 0.2)
VALIDATION, TEST, BATCH = 40, 150, 10
THRESHOLD = 0.9
#: Every encoding along the sign; along the gradient itself those whose length means something.
SIGNALS = [*((encoding, "sign") for encoding in ENCODINGS), ("onehot", "gradient"), ("entropy", "gradient")]


class Scenes:
    """Scenes of a split, as the net takes them, with their labels."""

    def __init__(self, split: str, count: int, model: LoadedModel) -> None:
        images, self.truth = DigitScenes(split).batch(range(count))
        self.inputs = model.preprocess.batch(images[..., ::-1])

    def matrices(self, perturb: GuidedPerturbation, eps: list[float]) -> np.ndarray:
        """Confusion matrices (1 + E, N, 11, 11): before, and after each step."""
        truths = perturb.encoding == "ground-truth"
        out = []
        for first in range(0, len(self.truth), BATCH):
            part = slice(first, first + BATCH)
            labels = self.truth[part] if truths else None
            result = perturb(self.inputs[part], eps, labels=labels)
            maps = [result.base_labels, *result.labels]
            out.append(
                [[confusion(t, found, 11) for t, found in zip(self.truth[part], each)] for each in maps]
            )
        return np.concatenate(out, axis=1)


def mean_iu(matrices: np.ndarray) -> float:
    """In percent, of matrices (N, 11, 11)."""
    total = matrices.sum(axis=0)
    return float(100 * np.nanmean(class_iu(total)))


def measured(
    model: LoadedModel, validation: Scenes, test: Scenes, encoding: str, step: str, blob: str
) -> dict[str, Any]:
    """One row."""
    threshold = THRESHOLD if encoding == "thresholded-onehot" else None
    perturb = GuidedPerturbation(model.net, encoding=encoding, step=step, blob=blob, threshold=threshold)
    looked = perturb(
        validation.inputs[:BATCH],
        0.0,
        keep_blob=True,
        labels=validation.truth[:BATCH] if encoding == "ground-truth" else None,
    )
    deviation = float(np.asarray(looked.base_blob).std())
    tried = validation.matrices(perturb, [share * deviation for share in SHARES])
    scores = [mean_iu(matrix) for matrix in tried]
    best = int(np.argmax(scores))
    share = SHARES[best - 1] if best else 0.0
    row = {"encoding": encoding, "step": step, "blob": blob, "share": share, "eps": share * deviation}
    before, after = test.matrices(perturb, [share * deviation])
    gain = paired_gain(before, after).points()
    row.update(base=mean_iu(before), gain=gain["gain"], low=gain["low"], high=gain["high"])
    return {**row, "cost": cost(perturb, test)}


def cost(perturb: GuidedPerturbation, scenes: Scenes) -> float:
    """Processor time of a whole call over that of a plain forward pass: the least of three."""
    inputs, labels = scenes.inputs[:BATCH], scenes.truth[:BATCH]
    given = labels if perturb.encoding == "ground-truth" else None
    calls, forwards = [], []
    for _ in range(3):
        started = time.process_time()
        perturb(inputs, 1.0, labels=given)
        calls.append(time.process_time() - started)
        started = time.process_time()
        perturb.set_images(inputs)
        perturb.net.forward()
        forwards.append(time.process_time() - started)
    return min(calls) / min(forwards)


def table(found: dict[str, Any]) -> str:
    """The rows as a table, the largest gain first."""
    head = ["signal", "step", "blob", "eps / deviation", "eps", "gain", "95 % interval", "time / forward"]
    lines = [f"| {' | '.join(head)} |", "| --- | --- | --- | ---: | ---: | ---: | --- | ---: |"]
    for row in sorted(found["rows"], key=lambda row: -row["gain"]):
        gain = f"{row['gain']:+.2f}"
        interval = f"{row['low']:+.2f} .. {row['high']:+.2f}" if row["share"] else "no step helped"
        cells = [row["encoding"], row["step"], f"`{row['blob']}`", f"{row['share']:g}", f"{row['eps']:.3g}"]
        lines.append(f"| {' | '.join([*cells, gain, interval, format(row['cost'], '.1f')])} |")
    return "\n".join(lines)


def page(found: dict[str, Any]) -> str:
    """option_matrix.md."""
    words = (
        f"`python -m benchmarks.option_matrix`: digits net, {found['validation']} scenes to choose eps on, "
        f"{found['test']} test scenes, base {found['rows'][0]['base']:.2f} mean IU; "
        "[what it means](../../docs/options.md)"
    )
    machine = "; ".join(f"{name}: {value}" for name, value in found["facts"].items())
    return f"# The options of the method, measured together\n\n{words}\n\n{table(found)}\n\n{machine}.\n"


def main() -> None:
    """Measure all combinations, write option_matrix.json and option_matrix.md."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    folder = parser.parse_args().out
    model = load_model("digits")
    validation, test = Scenes("val", VALIDATION, model), Scenes("test", TEST, model)
    rows = []
    for blob in BLOBS:
        for encoding, step in SIGNALS:
            rows.append(measured(model, validation, test, encoding, step, blob))
            print(rows[-1], flush=True)
    found = {"facts": facts(), "validation": VALIDATION, "test": TEST, "rows": rows}
    json_files.write_json(folder / "option_matrix.json", found)
    atomic.write_text(folder / "option_matrix.md", page(found))


if __name__ == "__main__":
    main()
