"""What the page shows against the method called as a script would: the same numbers, for one pass each."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp.errors import DataError, UsageError
from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.explore import net as net_module
from caffe_gp.explore.look import Method
from caffe_gp.explore.net import SHARES, SharedNet
from caffe_gp.gp import GuidedPerturbation
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.models import zoo
from caffe_gp.models.load import load_model
from tests.explore.conftest import EXAMPLES

INPUT = Method("data", "onehot", 1)


def by_hand(method, eps, number=35):
    model = load_model("digits")
    canvas = model.preprocess.load(EXAMPLES / f"scene_{number}.png")
    gp = GuidedPerturbation(
        model.net, blob=method.blob, encoding=method.encoding, iterations=method.iterations
    )
    return gp(canvas.data[None], eps, keep_scores=True)


@pytest.mark.parametrize(
    "method", [INPUT, Method("pool3", "onehot", 1), Method("data", "top2", 1), Method("data", "onehot", 3)]
)
def test_a_look_is_what_a_script_gets(net, scene, method):
    look = net.look(scene(net), method, 2.0)
    expected = by_hand(method, 2.0)
    np.testing.assert_array_equal(look.maps()[0], expected.base_labels[0])
    np.testing.assert_array_equal(look.maps()[1], expected.labels[0])
    np.testing.assert_allclose(
        look.confidence(), [expected.base_confidence.mean(), expected.confidence.mean()], rtol=1e-6
    )


def test_a_moved_eps_costs_one_pass(net, scene):
    look = net.look(scene(net), INPUT)
    assert look.eps == zoo.get("digits").eps
    moved = net.at(look, -1.5)
    assert moved.found.passes == {"forward": 0, "backward": 0, "forward_perturbed": 1}
    np.testing.assert_array_equal(moved.maps()[1], by_hand(INPUT, -1.5).labels[0])
    assert moved.base is look.base and look.eps == 4.0  # the look before is what it was


def test_users_do_not_disturb_each_other(net, scene):
    """Two people at different blobs, pictures and sizes take turns on the one net."""
    method = Method("pool3", "onehot", 1)
    first, second = net.look(scene(net), method, 0.5), net.look(scene(net, 33), INPUT, 4.0)
    for eps in (0.25, 1.0):
        first, second = net.at(first, eps), net.at(second, 2 * eps)
        assert first.found.passes["forward"] == 1  # the other one's picture was in the net
        assert second.found.passes["forward"] == 0
        np.testing.assert_array_equal(first.maps()[1], by_hand(method, eps).labels[0])
        np.testing.assert_array_equal(second.maps()[1], by_hand(INPUT, 2 * eps, 33).labels[0])
    again = net.at(net.at(first, 0.3), 0.5)
    assert again.found.passes["forward"] == 0  # nobody came between
    np.testing.assert_array_equal(again.maps()[1], by_hand(method, 0.5).labels[0])


@pytest.mark.parametrize("keeps", [True, False])
def test_the_curve_and_a_pixel_s_scores(net, scene, monkeypatch, keeps):
    if not keeps:
        monkeypatch.setattr(net_module, "MAX_SCORES", 0)
    look = net.click(net.look(scene(net), INPUT), 0.5, 0.25)
    assert look.curve.eps.tolist() == [share * 4.0 for share in SHARES]
    assert (look.curve.scores is None) != keeps
    assert (look.pixel.row, look.pixel.column) == (24, 48)
    for k, eps in enumerate(look.curve.eps.tolist()):
        expected = by_hand(INPUT, eps)
        assert look.curve.confidence[k] == pytest.approx(expected.confidence.mean(), rel=1e-6)
        np.testing.assert_allclose(look.pixel_scores[k], expected.scores[0, :, 24, 48], rtol=1e-5, atol=1e-5)
    assert np.isin(look.pixel_scores[6].argmax(), look.maps()[0][24, 48])


def test_areas_are_shares_of_the_picture(net, scene):
    look = net.look(scene(net), INPUT, 4.0)
    before, after = look.maps()
    for area in look.areas():
        assert area.before == (before == area.label).mean() and area.after == (after == area.label).mean()
    assert sum(area.after for area in look.areas()) == pytest.approx(1)


def test_another_method_forgets_the_curve_and_another_eps_does_not(net, scene):
    look = net.click(net.look(scene(net), INPUT), 0.5, 0.5)
    assert net.at(look, 1.0).curve is look.curve
    other = net.look(look, Method("data", "onehot", 2), 1.0)
    assert other.curve is None and other.pixel == look.pixel and other.base is look.base
    assert net.look(look, Method("data", "uniform", 1), 1.0).base is not look.base


def test_a_step_for_an_inner_blob_is_chosen_on_the_picture(scene):
    net = SharedNet(NetSettings.of_model("digits"))  # one that nobody has chosen on before
    look = net.look(scene(net), Method("pool4", "onehot", 1))
    gap = (look.confidence()[1] - look.confidence()[0]) / (1 - look.confidence()[0])
    assert "chosen without labels on scene_35.png" in look.note and 0.2 < gap < 0.3
    assert net.look(scene(net, 33), Method("pool4", "onehot", 1)).usual == look.usual


def test_a_large_picture_is_fed_as_run_does_with_resize(net, photo):
    path = photo("camera.jpg", 2000, 1500)
    look = net.read(path, "camera.jpg")
    assert look.size == (2000, 1500) and look.canvas.image.shape == (480, 640, 3)
    feed = Preprocess(mean=zoo.get("digits").feed.mean, resize=512)
    np.testing.assert_array_equal(look.canvas.data, feed.load(path).data)


@pytest.mark.parametrize("width, height", [(1, 1), (40, 24)])
def test_a_small_picture(net, photo, width, height):
    look = net.look(net.read(photo("small.png", width, height), "small.png"), INPUT)
    assert look.maps()[0].shape == (height, width) and look.size == (width, height)


def test_messages_name_the_picture_and_no_path(net, tmp_path):
    bad = tmp_path / "notes.png"
    bad.write_text("no picture")
    with pytest.raises(DataError, match="^notes.png: ") as error:
        net.read(bad, "notes.png")
    assert str(tmp_path) not in str(error.value)


def test_a_classifier(photo):
    net = SharedNet(NetSettings.of_model("lenet"))
    look = net.click(net.look(net.read(photo("seven.png", 28, 28), "seven.png"), INPUT), 0.5, 0.5)
    assert look.whole and look.perturbed().shape == (28, 28, 3)
    assert sum(area.before for area in look.areas()) == pytest.approx(1, abs=1e-5)
    assert look.pixel_scores.shape == (len(SHARES), 10)
    assert look.curve.confidence[6] == pytest.approx(max(area.before for area in look.areas()))


@pytest.mark.parametrize(
    "given", [("pool9", "onehot", 1), ("data", "ground-truth", 1), ("data", "onehot", 99)]
)
def test_only_what_the_page_offers(net, given):
    with pytest.raises(UsageError):
        net.method(*given)


def test_blobs_are_those_that_lead_to_the_scores(net):
    assert net.blobs[:2] == ["data", "conv1_1"] and {"pool4", "fc7", "score_fr"} <= set(net.blobs)
    assert not {"score", "prob"} & set(net.blobs)


@pytest.mark.parametrize("number", [35, 33, 38, 20, 29, 25])
def test_the_examples_are_test_scenes(number):
    pytest.importorskip("sklearn")
    from caffe_gp.datasets.digit_scenes import DigitScenes
    from caffe_gp.images.reading import read_image

    image, labels = DigitScenes("test").scene(number)
    path = EXAMPLES / f"scene_{number}.png"
    np.testing.assert_array_equal(np.asarray(read_image(path))[..., ::-1], image)
    np.testing.assert_array_equal(read_label_png(EXAMPLES / f"scene_{number}_labels.png"), labels)
