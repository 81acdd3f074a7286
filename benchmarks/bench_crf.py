"""Mean-field inference of a dense CRF, forward and backward, against pydensecrf2.

    python -m benchmarks.bench_crf [IMAGE ...] [--images 3] [--rounds 2]

CRF-RNN's kernels and size: 500 x 500 pixels, 21 classes, 10 iterations, real photographs from
CAFFE_GP_SHARED_DATA, label scores around their ground truth. Both sides build their lattices in the time
measured, normalise after filtering and start from the same scores; the sides take turns in one
process and the fastest turn counts.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from caffe_gp.crf import PRESETS, MeanField, Permutohedral, bilateral_features

from . import measure, report, workers
from .folders import SHARED_DATA
from .measure import Setting

SIZE, CLASSES = 500, 21
SETTINGS = PRESETS["crfrnn"]
TURNS = 3  # a round
UNIT = np.eye(CLASSES, dtype=np.float32)


def load(voc: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The photograph filled up to 500 x 500 and scores of a class each pixel: (H, W, 3) uint8, (L, H, W)."""
    image = np.array(Image.open(voc / "JPEGImages" / f"{name}.jpg").convert("RGB"))
    labels = np.array(Image.open(voc / "SegmentationClass" / f"{name}.png")).astype(np.int64)
    labels[labels == 255] = 0
    border = [(0, SIZE - length) for length in labels.shape]
    image, labels = np.pad(image, [*border, (0, 0)]), np.pad(labels, border)
    scores = np.random.RandomState(0).randn(CLASSES, SIZE, SIZE).astype(np.float32)
    np.put_along_axis(scores, labels[None], np.take_along_axis(scores, labels[None], 0) + 2, axis=0)
    return image, scores


def by_pydensecrf(image: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Probabilities (L, n) by the peer."""
    import pydensecrf.densecrf as pydensecrf

    crf = pydensecrf.DenseCRF2D(SIZE, SIZE, CLASSES)
    crf.setUnaryEnergy(np.ascontiguousarray(-scores.reshape(CLASSES, -1)))
    options = {"kernel": pydensecrf.DIAG_KERNEL, "normalization": pydensecrf.NORMALIZE_AFTER}
    crf.addPairwiseGaussian(sxy=SETTINGS.pos_xy_std, compat=SETTINGS.pos_w, **options)
    bilateral = {"sxy": SETTINGS.bi_xy_std, "srgb": SETTINGS.bi_rgb_std, "compat": SETTINGS.bi_w}
    crf.addPairwiseBilateral(rgbim=image, **bilateral, **options)
    return np.array(crf.inference(SETTINGS.max_iter))


def work(voc: Path, name: str, setting: Setting) -> dict[str, float]:
    """The fastest of TURNS turns of each side, and the share of labels that differ."""
    image, scores = load(voc, name)
    blob, unary = image.transpose(2, 0, 1)[None].astype(np.float32), scores[None]
    diff = np.random.RandomState(1).randn(*unary.shape).astype(np.float32)
    # In turn in one process, as a net calls it: a new image, that is a new bilateral lattice, every time.
    meanfield = MeanField(SETTINGS.max_iter, SETTINGS.bi_xy_std, SETTINGS.bi_rgb_std, SETTINGS.pos_xy_std)
    inputs = unary, unary, blob, SETTINGS.pos_w * UNIT, SETTINGS.bi_w * UNIT, -UNIT
    labels = meanfield.forward(*inputs)[0].argmax(0)
    row = {"unlike": float((labels.ravel() != by_pydensecrf(image, scores).argmax(0)).mean())}
    features = bilateral_features(blob[0], SETTINGS.bi_xy_std, SETTINGS.bi_rgb_std)
    row["vertices"] = Permutohedral(features).vertices
    for _ in range(TURNS):
        for figure, call in (
            ("pydensecrf2", lambda: by_pydensecrf(image, scores)),
            ("forward", lambda: meanfield.forward(*inputs, learn=False)),
            ("backward", lambda: meanfield.backward(diff)),
            ("forward-learning", lambda: meanfield.forward(*inputs)),
            ("backward-learning", lambda: meanfield.backward(diff)),
        ):
            row[figure] = min(row.get(figure, float("inf")), setting.seconds(call))
    return row


def markdown(result: dict) -> str:
    """One line an image."""
    explanation = (
        f"{SIZE} x {SIZE} pixels, {CLASSES} classes, CRF-RNN's kernels, {SETTINGS.max_iter} iterations, "
        "lattices built within the time; seconds, the fastest of all turns. pydensecrf2 is single-threaded. "
        "`learning`: with the diffs of the three matrices. Unlike: the share of labels that are not "
        "pydensecrf2's."
    )
    return report.page(result, "Mean-field inference: the lattice against pydensecrf2", explanation, _table)


def _table(ways: dict[str, dict[str, float]]) -> list[str]:
    columns = ("pydensecrf2", "forward", "backward", "forward-learning", "backward-learning")
    rows = []
    for name, best in ways.items():
        times = [f"{best[column]:.2f}" for column in columns]
        rows.append([name, f"{best['vertices']:,.0f}", *times, f"{best['unlike']:.5f}"])
    return report.table(["VOC image", "lattice points", *columns, "unlike"], rows)


def main() -> None:
    """Measure, print, write the table."""
    parser = measure.parser(__doc__)
    parser.add_argument("--images", type=int, default=3, help="number of photographs (default 3)")
    options = parser.parse_args()
    voc = SHARED_DATA / "voc2012" / "VOCdevkit" / "VOC2012"
    if not voc.is_dir():
        print("skipped: it needs real photographs; set CAFFE_GP_SHARED_DATA to the folder of the test data")
        return
    if options.worker:
        print(json.dumps(work(voc, options.worker, options.settings[0])))
        return
    result = report.begin("crf", options)
    names = sorted(path.stem for path in (voc / "SegmentationClass").glob("*.png"))
    chosen = names[:: max(1, len(names) // options.images)][: options.images]
    run = partial(workers.run_worker, "benchmarks.bench_crf")
    result["figures"] = measure.in_turn(chosen, options, run)
    report.write(result, options.out, markdown)


if __name__ == "__main__":
    main()
