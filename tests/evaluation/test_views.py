"""Views averaged, corrupted images and adapted normalisation in evaluations: beside computations by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from caffe_gp.errors import DataError, UsageError
from caffe_gp.evaluation.confusion import confusion
from caffe_gp.evaluation.results import read_run, table
from caffe_gp.evaluation.segmentation import evaluate
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.images.corruptions import Corruption
from caffe_gp.images.placing import bilinear
from caffe_gp.images.preprocess import Preprocess
from tests.evaluation import tiny_run

pytestmark = pytest.mark.engine
EPS = [0.5]


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A folder with a net, and images."""
    folder = tmp_path_factory.mktemp("views")
    tiny_run.make_net(folder)
    return folder, tiny_run.make_data(folder, 3)


def probabilities(gp, data):
    """(before, after) of a canvas, (C, H, W) each."""
    result = gp(data[np.newaxis], EPS[0], keep_probabilities=True)
    return np.stack([result.base_probabilities[0], result.probabilities[0]])


def pixels_of(data, item):
    return np.asarray(Image.open(data.image(item)).convert("RGB"))


def check(run, expected, data):
    """The confusion matrices of a run are those of the expected probabilities, (2, C, H, W) each."""
    for i, item in enumerate(data.ids):
        for found, y in zip((run.base[i], run.at(EPS[0])[i]), expected[item]):
            assert np.array_equal(found, confusion(data.truth(item), y.argmax(axis=0), tiny_run.CLASSES))


def test_flip_is_the_mean_with_the_mirrored_image(net, tmp_path):
    folder, data = net
    run = evaluate(tiny_run.settings(folder, data, tmp_path / "run", eps=EPS, average=("flip",)))
    gp, feed = GuidedPerturbation(tiny_run.load(folder)), Preprocess()
    expected = {}
    for item in data.ids:
        plain = probabilities(gp, feed.load(data.image(item)).data)
        picture = Image.fromarray(pixels_of(data, item)[:, ::-1].copy())
        mirrored = probabilities(gp, feed.canvas(picture, item).data)
        expected[item] = (plain + mirrored[..., ::-1]) / 2
    check(run, expected, data)
    assert run.confidence[0, 0] == pytest.approx(expected[data.ids[0]][0].max(axis=0).mean(), abs=1e-6)
    assert run.passes == (2, 6) and "2 for the base, 6 for one eps" in table(run)
    assert run.origin["method"]["average"] == ["flip"]


@pytest.mark.parametrize("scale, pad_to", [(0.5, None), (1.5, None), (0.5, (40, 40))])
def test_a_scale_is_the_mean_with_the_resized_image(net, tmp_path, scale, pad_to):
    folder, data = net
    options = {"eps": EPS, "average": (f"{scale:g}",), "pad_to": pad_to}
    run = evaluate(tiny_run.settings(folder, data, tmp_path / "run", **options))
    gp, feed = GuidedPerturbation(tiny_run.load(folder)), Preprocess(pad_to=pad_to)
    expected = {}
    for item in data.ids:
        height, width = pixels_of(data, item).shape[:2]
        plain = probabilities(gp, feed.load(data.image(item)).data)[..., :height, :width]
        small = round(width * scale), round(height * scale)
        scaled = Preprocess(resize=small, pad_to=pad_to).load(data.image(item)).data
        other = probabilities(gp, scaled)[..., : small[1], : small[0]]
        expected[item] = (plain + np.stack([bilinear(y, (height, width)) for y in other])) / 2
    check(run, expected, data)


def test_views_go_with_switching_crf_and_ground_truth(net, tmp_path):
    folder, data = net
    more = {"average": ("flip", "0.5"), "eps": EPS, "switch": True, "crf": "deeplab"}
    run = evaluate(tiny_run.settings(folder, data, tmp_path / "run", **more))
    assert run.after_crf is not None and run.passes == (3, 9)
    assert run.at(EPS[0], switched=True).sum() == run.base.sum()
    told = evaluate(
        tiny_run.settings(folder, data, tmp_path / "told", **{**more, "encoding": "ground-truth"})
    )
    assert told.gain(EPS[0]).gain > run.gain(EPS[0]).gain


def test_corrupted_images_are_those_of_corrupted_files(net, tmp_path):
    folder, data = net
    run = evaluate(tiny_run.settings(folder, data, tmp_path / "run", corrupt="jpeg:5"))
    (tmp_path / "images").mkdir()
    for item in data.ids:
        corrupted = Corruption.named("jpeg:5").of(pixels_of(data, item))
        Image.fromarray(corrupted).save(tmp_path / "images" / f"{item}.png")
    other = type(data)("tiny", data.classes, data.ids, tmp_path / "images", data.labels)
    same = evaluate(tiny_run.settings(folder, other, tmp_path / "same"))
    assert np.array_equal(run.base, same.base) and np.array_equal(run.after, same.after)
    plain = evaluate(tiny_run.settings(folder, data, tmp_path / "plain"))
    assert not np.array_equal(run.base, plain.base)


@pytest.mark.parametrize(
    "first, then",
    [
        ({}, {"average": ("flip",)}),
        ({"average": ("flip",)}, {"average": ("0.5",)}),
        ({}, {"corrupt": "jpeg:1"}),
        ({"corrupt": "jpeg:1"}, {"corrupt": "jpeg:2"}),
    ],
)
def test_a_run_is_not_resumed_with_other_ones(net, tmp_path, first, then):
    folder, data = net
    evaluate(tiny_run.settings(folder, data, tmp_path, **first))
    before = read_run(tmp_path).base
    with pytest.raises(DataError, match=next(iter(then))):
        evaluate(tiny_run.settings(folder, data, tmp_path, **then))
    assert np.array_equal(evaluate(tiny_run.settings(folder, data, tmp_path, **first)).base, before)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"average": ("flop",)}, "a view is 'flip' or a scale of 0.1 to 4 other than 1, found 'flop'"),
        ({"average": ("1",)}, "other than 1"),
        ({"average": ("nan",)}, "found 'nan'"),
        ({"average": "flip"}, r"a sequence of views, like \('flip',\)"),
        ({"average": ("0.5", "0.50")}, "every view once"),
        ({"corrupt": "jpeg:9"}, "strengths are 1 to 5"),
        ({"adapt": "bn"}, "needs a net with BatchNorm layers, and this one has none"),
        ({"adapt": "bm"}, "adapt is one of bn, tent"),
        ({"adapt": "tent", "batch_size": 2}, "one image at a time"),
        ({"tent_steps": 5}, "for adapt 'tent'"),
    ],
)
def test_what_makes_no_sense_is_refused(net, tmp_path, options, message):
    folder, data = net
    with pytest.raises(UsageError, match=message):
        evaluate(tiny_run.settings(folder, data, tmp_path / "run", **options))
