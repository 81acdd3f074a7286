"""The dense CRF against pydensecrf, on real photographs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from caffe_gp.crf import PRESETS, CRFSettings, DenseCRF, MeanField
from caffe_gp.evaluation.confusion import ConfusionMatrix
from caffe_gp.images.placing import BILINEAR

pydensecrf = pytest.importorskip("pydensecrf.densecrf")

pytestmark = pytest.mark.engine

NORMALIZATIONS = {
    "after": pydensecrf.NORMALIZE_AFTER,
    "symmetric": pydensecrf.NORMALIZE_SYMMETRIC,
    "none": pydensecrf.NO_NORMALIZATION,
}


def by_pydensecrf(image: np.ndarray, scores: np.ndarray, settings: CRFSettings) -> np.ndarray:
    classes, height, width = scores.shape
    crf = pydensecrf.DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(-scores.reshape(classes, -1), np.float32))
    options = {"kernel": pydensecrf.DIAG_KERNEL, "normalization": NORMALIZATIONS[settings.normalization]}
    crf.addPairwiseGaussian(sxy=settings.pos_xy_std, compat=settings.pos_w, **options)
    crf.addPairwiseBilateral(
        sxy=settings.bi_xy_std,
        srgb=settings.bi_rgb_std,
        rgbim=np.ascontiguousarray(image),
        compat=settings.bi_w,
        **options,
    )
    return np.array(crf.inference(settings.max_iter)).reshape(scores.shape)


def net_like_scores(shared_data, name: str, classes: int = 21) -> np.ndarray:
    """Scores as a net of stride 16 makes them: the ground truth, shrunk, with noise, and blown up again."""
    path = shared_data / "voc2012" / "VOCdevkit" / "VOC2012" / "SegmentationClass" / f"{name}.png"
    labels = np.asarray(Image.open(path))
    height, width = labels.shape
    rng = np.random.RandomState(0)
    coarse = (height // 16 + 1, width // 16 + 1)
    places = [np.linspace(0, size - 1, n).astype(int) for size, n in zip(labels.shape, coarse)]
    small = labels[np.ix_(*places)].astype(np.int64)
    small[small == 255] = 0
    scores = rng.randn(classes, *coarse).astype(np.float32)
    np.put_along_axis(scores, small[None], 4 + rng.randn(1, *coarse).astype(np.float32), axis=0)
    planes = [Image.fromarray(plane).resize((width, height), BILINEAR) for plane in scores]
    return np.stack([np.asarray(plane) for plane in planes])


@pytest.mark.parametrize("preset", sorted(PRESETS))
@pytest.mark.parametrize("name", ("2007_000033", "2007_000129"))
def test_labels_are_those_of_pydensecrf(photo, shared_data, preset: str, name: str) -> None:
    image, scores = photo(name), net_like_scores(shared_data, name)
    ours = DenseCRF(image, PRESETS[preset]).probabilities(scores)
    theirs = by_pydensecrf(image, scores, PRESETS[preset])
    assert (ours.argmax(0) == theirs.argmax(0)).mean() >= 0.995
    assert np.abs(ours - theirs).mean() < 1e-3


@pytest.mark.parametrize("normalization", sorted(NORMALIZATIONS))
def test_normalizations(photo, shared_data, normalization: str) -> None:
    image, scores = photo("2007_000346"), net_like_scores(shared_data, "2007_000346")
    weight = 0.01 if normalization == "none" else 3  # unnormalised sums run into the thousands
    settings = CRFSettings(weight, 30, 20, weight, 3, max_iter=5, normalization=normalization)
    ours = DenseCRF(image, settings).probabilities(scores)
    theirs = by_pydensecrf(image, scores, settings)
    assert (ours.argmax(0) == theirs.argmax(0)).mean() >= 0.995
    assert (ours.argmax(0) != scores.argmax(0)).any()


@pytest.mark.parametrize("iterations", (1, 3, 10))
def test_mean_field_with_crfrnn_start_weights_is_a_potts_crf(photo, shared_data, iterations: int) -> None:
    """CRF-RNN before training is a dense CRF: diagonal weights and C = -I."""
    name = "2007_000452"
    image, scores = photo(name), net_like_scores(shared_data, name)
    unit = np.eye(len(scores), dtype=np.float32)
    blob = image.transpose(2, 0, 1)[None].astype(np.float32)
    meanfield = MeanField(iterations, theta_alpha=160, theta_beta=3, theta_gamma=3)
    q = meanfield.forward(scores[None], scores[None], blob, 3 * unit, 5 * unit, -unit)[0]
    probabilities = np.exp(q - q.max(0)) / np.exp(q - q.max(0)).sum(0)
    settings = CRFSettings(5, 160, 3, 3, 3, max_iter=iterations)
    theirs = by_pydensecrf(image, scores, settings)
    assert (probabilities.argmax(0) == theirs.argmax(0)).mean() >= 0.995
    np.testing.assert_allclose(probabilities, DenseCRF(image, settings).probabilities(scores), atol=1e-5)


def test_does_to_published_labels_what_the_published_crf_did(shared_data) -> None:
    """A DeepLab's own label maps before and after its CRF, 25 images. Its scores were not published, so the
    CRF starts from the labels alone: it must take most of the way."""
    folder = shared_data / "voc2012_deeplab_fig"
    names = sorted(path.stem for path in (folder / "gt").glob("*.png"))
    matrices = {kind: ConfusionMatrix(21) for kind in ("res_none", "res_crf", "ours")}
    same = {"res_none": 0, "ours": 0}
    pixels = 0
    for name in names:
        maps = {kind: np.array(Image.open(folder / kind / f"{name}.png")) for kind in ("res_none", "res_crf")}
        before = maps["res_none"]
        scores = np.zeros((21, *before.shape), np.float32)
        np.put_along_axis(scores, before[None].astype(np.int64), 2, axis=0)
        image = np.array(Image.open(folder / "img" / f"{name}.jpg").convert("RGB"))
        maps["ours"] = DenseCRF(image, PRESETS["deeplab-mat"]).labels(scores).astype(np.uint8)
        truth = np.array(Image.open(folder / "gt" / f"{name}.png"))
        for kind, labels in maps.items():
            matrices[kind].update(truth, labels)
        for kind in same:
            same[kind] += int((maps[kind] == maps["res_crf"]).sum())
        pixels += before.size
    share = {kind: count / pixels for kind, count in same.items()}
    mean_iu = {kind: matrix.measures()["mean_iu"] for kind, matrix in matrices.items()}
    print(f"{len(names)} images, share of the published CRF's labels {share}, mean IU {mean_iu}")
    assert len(names) == 25
    assert share["ours"] > 0.97 > 0.94 > share["res_none"]
    assert mean_iu["ours"] > (mean_iu["res_none"] + mean_iu["res_crf"]) / 2


def test_scores_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"scores have shape \(L, 4, 5\), found \(2, 5, 4\)"):
        DenseCRF(np.zeros((4, 5, 3), np.uint8), PRESETS["deeplab"]).labels(np.zeros((2, 5, 4)))
    with pytest.raises(ValueError, match="an image has shape"):
        DenseCRF(np.zeros(4, np.uint8), PRESETS["deeplab"])
