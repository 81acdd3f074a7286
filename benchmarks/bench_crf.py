"""Mean-field inference of a dense CRF, forward and backward, against pydensecrf2.

    python -m benchmarks.bench_crf [--images 3] [--repeat 5]

CRF-RNN's kernels and size: 500 x 500 pixels, 21 classes, 10 iterations, real photographs from
CAFFE_GP_SHARED_DATA, label scores around their ground truth. Both sides build their lattices in the time
measured, normalise after filtering and start from the same scores; the sides take turns and the fastest of
``--repeat`` counts. Required: forward <= 1.0 x pydensecrf2, backward <= 1.5 x forward.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Callable

import numpy as np
from PIL import Image

from caffe_gp.crf import PRESETS, MeanField, Permutohedral, bilateral_features
from caffe_gp.files import atomic
from caffe_gp.provenance import cpu_name

from .folders import RESULTS, SHARED_DATA

SIZE, CLASSES = 500, 21
SETTINGS = PRESETS["crfrnn"]
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


def seconds(work: Callable[[], object]) -> float:
    """Wall time."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(image: np.ndarray, scores: np.ndarray, repeat: int) -> dict[str, float]:
    """The fastest of ``repeat`` turns of each, and the share of equal labels."""
    blob, unary = image.transpose(2, 0, 1)[None].astype(np.float32), scores[None]
    diff = np.random.RandomState(1).randn(*unary.shape).astype(np.float32)
    # In turn in one process, as a net calls it: a new image, that is a new bilateral lattice, every time.
    meanfield = MeanField(SETTINGS.max_iter, SETTINGS.bi_xy_std, SETTINGS.bi_rgb_std, SETTINGS.pos_xy_std)
    inputs = unary, unary, blob, SETTINGS.pos_w * UNIT, SETTINGS.bi_w * UNIT, -UNIT
    labels = meanfield.forward(*inputs)[0].argmax(0)
    row = {"agree": float((labels.ravel() == by_pydensecrf(image, scores).argmax(0)).mean())}
    features = bilateral_features(blob[0], SETTINGS.bi_xy_std, SETTINGS.bi_rgb_std)
    row["vertices"] = Permutohedral(features).vertices
    turns: dict[str, list[float]] = {}
    for _ in range(repeat):
        for name, work in (
            ("pydensecrf2", lambda: by_pydensecrf(image, scores)),
            ("forward", lambda: meanfield.forward(*inputs, learn=False)),
            ("backward", lambda: meanfield.backward(diff)),
            ("forward, learning", lambda: meanfield.forward(*inputs)),
            ("backward, learning", lambda: meanfield.backward(diff)),
        ):
            turns.setdefault(name, []).append(seconds(work))
    row.update({name: min(times) for name, times in turns.items()})
    return row


def table(rows: dict[str, dict[str, float]], options: argparse.Namespace) -> str:
    """Markdown: one line an image, and what was to be reached."""
    columns = ("pydensecrf2", "forward", "backward", "forward, learning", "backward, learning")
    lines = [
        "# Mean-field inference: the lattice against pydensecrf2",
        "",
        f"`python -m benchmarks.bench_crf`: {SIZE} x {SIZE} pixels, {CLASSES} classes, CRF-RNN's kernels,",
        f"{SETTINGS.max_iter} iterations, lattices built within the time; seconds, the fastest of",
        f"{options.repeat} turns. {cpu_name()}, {os.cpu_count()} cores; pydensecrf2 is single-threaded.",
        "`learning`: with the diffs of the three matrices.",
        "",
        f"| VOC image | lattice points | {' | '.join(columns)} | equal labels |",
        "|---|---:|" + "---:|" * (len(columns) + 1),
    ]
    for name, row in rows.items():
        times = " | ".join(f"{row[column]:.2f}" for column in columns)
        lines.append(f"| {name} | {row['vertices']:,.0f} | {times} | {100 * row['agree']:.3f} % |")
    forward = max(row["forward"] / row["pydensecrf2"] for row in rows.values())
    backward = max(row["backward"] / row["forward"] for row in rows.values())
    learning = max(row["backward, learning"] / row["forward, learning"] for row in rows.values())
    worst = min(row["agree"] for row in rows.values())
    lines.append("")
    slower = max(backward, learning)
    for text, good in (
        (f"forward / pydensecrf2 at most {forward:.2f} (<= 1.0)", forward <= 1),
        (f"backward / forward at most {backward:.2f}, learning {learning:.2f} (<= 1.5)", slower <= 1.5),
        (f"equal labels at least {100 * worst:.3f} % (>= 99.5 %)", worst >= 0.995),
    ):
        lines.append(f"- {'reached' if good else 'NOT reached'}: {text}")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, write ``results/crf.md``."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=3, help="number of photographs (default 3)")
    parser.add_argument("--repeat", type=int, default=5, help="turns of each side; the fastest counts")
    options = parser.parse_args()
    voc = SHARED_DATA / "voc2012" / "VOCdevkit" / "VOC2012"
    if not voc.is_dir():
        print("skipped: it needs real photographs; set CAFFE_GP_SHARED_DATA to the folder of the test data")
        return
    names = sorted(path.stem for path in (voc / "SegmentationClass").glob("*.png"))
    rows = {}
    for name in names[:: max(1, len(names) // options.images)][: options.images]:
        rows[name] = measure(*load(voc, name), options.repeat)
        print(name, {key: round(value, 3) for key, value in rows[name].items()}, flush=True)
    text = table(rows, options)
    print(text)
    atomic.write_text(RESULTS / "crf.md", text)


if __name__ == "__main__":
    main()
