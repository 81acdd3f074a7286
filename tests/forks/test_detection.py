"""The detection layers beside OpenCV 4, over random parameters and shapes."""

from __future__ import annotations

import numpy as np
import pytest

from tests.forks.harness import agrees, both, close, net_of

SEEDS = range(6)
ROUNDING = 1e-6


@pytest.mark.parametrize("seed", SEEDS)
def test_permute(opencv, seed):
    rng = np.random.RandomState(seed)
    axes = rng.randint(2, 5)
    order = rng.permutation(axes)
    text = "".join(f"order: {axis} " for axis in order)
    agrees(opencv, f'type: "Permute" permute_param {{ {text}}}', rng.randn(*rng.randint(1, 6, axes)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("whole", ["true", "false"])
def test_normalize(opencv, seed, whole):
    """OpenCV has one scale for whole images, one a channel for single positions, and nothing else."""
    rng = np.random.RandomState(seed)
    shape = rng.randint(1, 7, 4)
    scale = rng.randn() if whole == "true" else rng.randn(shape[1])
    text = f"across_spatial: {whole} channel_shared: {whole}"
    x = 10 * rng.randn(*shape)
    agrees(opencv, f'type: "Normalize" norm_param {{ {text} }}', x, tolerance=ROUNDING, params=[scale])


@pytest.mark.parametrize("seed", SEEDS)
def test_reorg(opencv, seed):
    """OpenCV's importer reads no stride: it is 2."""
    rng = np.random.RandomState(seed)
    n, c, h, w = rng.randint(1, 4, 4)
    agrees(opencv, 'type: "Reorg" reorg_param { stride: 2 }', rng.randn(n, 4 * c, 2 * h, 2 * w))


def regions(rng, count, images, size):
    """Some of them over the border."""
    corners = np.sort(rng.rand(count, 2, 2) * (size + 30) - 10, 1).reshape(count, 4)
    return np.concatenate([rng.randint(images, size=(count, 1)), corners], 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_roi_pooling(opencv, seed):
    rng = np.random.RandomState(seed)
    scale, (down, across) = rng.choice([0.0625, 0.25, 0.5]), rng.randint(1, 8, 2)
    x = rng.randn(rng.randint(1, 4), rng.randint(1, 5), 20, 16)
    text = f"pooled_h: {down} pooled_w: {across} spatial_scale: {scale}"
    rois = regions(rng, 15, len(x), 16 / scale)
    agrees(opencv, f'type: "ROIPooling" roi_pooling_param {{ {text} }}', x, rois)


@pytest.mark.parametrize("seed", SEEDS)
def test_psroi_pooling(opencv, seed):
    rng = np.random.RandomState(seed)
    scale, dim, group = rng.choice([0.0625, 0.25, 0.5]), rng.randint(1, 5), rng.randint(1, 5)
    x = rng.randn(rng.randint(1, 4), dim * group**2, 20, 16)
    text = f"spatial_scale: {scale} output_dim: {dim} group_size: {group}"
    rois = regions(rng, 15, len(x), 16 / scale)
    text = f'type: "PSROIPooling" psroi_pooling_param {{ {text} }}'
    agrees(opencv, text, x, rois, tolerance=ROUNDING)


# ---- PriorBox: OpenCV's clip is true unless given, and it wants a variance.


def prior_box(rest):
    return f'type: "PriorBox" prior_box_param {{ variance: 0.1 {rest} }}'


def boxes(opencv, rest, rng):
    feature, image = rng.randint(1, 7, 2), rng.randint(20, 200, 2)
    bottoms = np.zeros((1, 2, *feature)), np.zeros((1, 3, *image))
    return agrees(opencv, prior_box(rest), *bottoms, tolerance=ROUNDING)


@pytest.mark.parametrize("seed", range(12))
def test_prior_box(opencv, seed):
    rng = np.random.RandomState(seed)
    low = rng.randint(5, 60, rng.randint(1, 4))
    rest = "".join(f"min_size: {m} " for m in low) + f"clip: {str(rng.rand() < 0.5).lower()} "
    if rng.rand() < 0.5:
        rest += "".join(f"max_size: {m + rng.randint(1, 40)} " for m in low)
    rest += "".join(f"aspect_ratio: {r} " for r in rng.choice([1, 2, 3, 0.5, 1.5], rng.randint(4)))
    rest += f"flip: {str(rng.rand() < 0.5).lower()} "
    if rng.rand() < 0.5:
        rest += f"step: {rng.randint(4, 20)} " if rng.rand() < 0.5 else "step_h: 7 step_w: 9.5 "
    if rng.rand() < 0.5:
        rest += f"offset: {rng.choice([0, 0.25, 0.5])} "
    boxes(opencv, rest, rng)


@pytest.mark.parametrize("seed", range(8))
def test_prior_box_with_the_fields_that_only_opencv_has(opencv, seed):
    """Sizes with what is behind the point, clipped unless that is turned off."""
    rng = np.random.RandomState(seed)
    places = rng.randint(1, 3)
    rest = "".join(f"offset_h: {rng.rand():.3f} offset_w: {rng.rand():.3f} " for _ in range(places))
    sizes = rng.rand(rng.randint(1, 4), 2) * 50 + 1
    if rng.rand() < 0.5:
        rest += "".join(f"width: {w:.4f} height: {h:.4f} " for w, h in sizes)
    else:
        rest += "".join(f"min_size: {m:.4f} max_size: {m + more:.4f} " for m, more in sizes)
        rest += "aspect_ratio: 2 aspect_ratio: 3 "
    rest += rng.choice(["", "clip: false", "clip: true"])
    boxes(opencv, rest, rng)


def test_sizes_that_are_no_integers_are_the_one_difference(opencv):
    rng = np.random.RandomState(0)
    with pytest.raises(AssertionError):
        boxes(opencv, "min_size: 51.7 clip: false", rng)


# ---- DetectionOutput: OpenCV fills up with rows of zeros, up to keep_top_k, and reads no eta.


def detection_net(rest, suppression, shapes):
    text = f"detection_output_param {{ {rest} nms_param {{ {suppression} }} }}"
    return net_of(f'type: "DetectionOutput" {text}', shapes)


@pytest.mark.parametrize("seed", range(16))
def test_detection_output(opencv, seed):
    rng = np.random.RandomState(seed)
    images, priors, classes = rng.randint(1, 4), rng.randint(1, 80), rng.randint(2, 6)
    share, background = bool(rng.rand() < 0.6), rng.randint(classes)
    code = rng.choice(["CORNER", "CENTER_SIZE"])
    corner = rng.rand(priors, 2) * 0.8
    prior = np.concatenate([corner, corner + 0.05 + 0.3 * rng.rand(priors, 2)], 1)
    variance = np.broadcast_to([0.1, 0.1, 0.2, 0.2], (priors, 4))
    location = rng.randn(images, priors * (1 if share else classes) * 4)
    scores = rng.permutation(images * priors * classes) / (images * priors * classes)
    keep = rng.randint(1, 120)
    rest = (
        f"num_classes: {classes} share_location: {str(share).lower()} background_label_id: {background} "
        f"code_type: {code} keep_top_k: {keep} confidence_threshold: {rng.rand() * 0.6:.3f}"
    )
    suppression = f"nms_threshold: {rng.rand():.3f} top_k: {rng.randint(1, 100)}"
    bottoms = [location, scores.reshape(images, -1), np.stack([prior, variance]).reshape(1, 2, -1)]
    prototxt = detection_net(rest, suppression, [array.shape for array in bottoms])
    inputs = {f"x{i}": array for i, array in enumerate(bottoms)}
    [(ours, theirs)] = both(opencv, prototxt, inputs, ["layer"])["layer"]
    rows = theirs.reshape(-1, 7)
    rows = rows[rows[:, 2] > 0]
    rows = rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))]
    if len(rows):
        close(ours[0, 0], rows, 1e-5)
    else:
        assert (ours[0, 0, :, 1:] == -1).all()
