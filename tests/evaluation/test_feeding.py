"""How images are fed: what is given, what the replaced data layer says, what is assumed; and mean files."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.errors import DataError, NetError, UsageError
from caffe_gp.evaluation.feeding import read_mean
from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.images.preprocess import FCN_MEAN
from conformance import gp_nets as nets

SCORE = nets.conv("score", "data", 4, 1)
DATA = 'layer {{ name: "lmdb" type: "Data" top: "data" top: "label" transform_param {{ {} }} }}\n'


@pytest.fixture()
def feed(tmp_path):
    """feed(prototxt's text, settings...) -> (Preprocess, what was said)."""
    nets.plain_net(tmp_path, nets.input_layer((1, 3, 8, 8)) + SCORE).save(str(tmp_path / "w.caffemodel"))

    def call(text, **settings):
        (tmp_path / "net.prototxt").write_text(text)
        files = str(tmp_path / "net.prototxt"), str(tmp_path / "w.caffemodel")
        source = NetSettings(*files, eps=[1.0], **settings).source()
        return source.preprocess, " | ".join(source.changes)

    return call


def test_the_data_layer_says_how_images_are_fed(feed):
    text = DATA.format("mean_value: 10 mean_value: 20 mean_value: 30.5 scale: 0.25 mirror: true crop_size: 8")
    found, said = feed(text + SCORE)
    assert found.mean == (10, 20, 30.5) and found.scale == 0.25
    assert "minus mean 10,20,30.5 (data layer 'lmdb'), times 0.25" in said
    assert "mirror and crop_size 8 of data layer 'lmdb'" in said
    image = np.full((1, 8, 8, 3), (3, 2, 1), np.uint8)  # red, green, blue
    np.testing.assert_array_equal(found.batch(image)[0, :, 0, 0], (np.array([1, 2, 3]) - [10, 20, 30.5]) / 4)
    # No mean is no mean.
    found, said = feed(DATA.format("scale: 0.00390625") + SCORE)
    assert found.mean == (0,) and found.scale == 1 / 256


def test_what_is_given_wins_and_that_is_said(feed):
    found, said = feed(DATA.format("mean_value: 127.5 scale: 0.25") + SCORE, mean=(1.0, 2.0, 3.0))
    assert found.mean == (1, 2, 3) and found.scale == 0.25
    assert "--mean, as given, replaces the mean of data layer 'lmdb': 127.5" in said
    found, said = feed(DATA.format("mean_value: 127.5 scale: 0.25") + SCORE, scale=2.0)
    assert found.mean == (127.5,) and found.scale == 2 and "times 2 (given)" in said
    assert "--scale, as given, replaces the scale of data layer 'lmdb': 0.25" in said


def test_an_assumption_is_said(feed):
    found, said = feed(nets.input_layer((1, 3, 8, 8)) + SCORE)
    assert found.mean == FCN_MEAN and found.scale == 1
    assert "(assumed: FCN's" in said and "nothing says how this net was fed" in said
    assert "assumed" not in feed(nets.input_layer((1, 3, 8, 8)) + SCORE, mean=(0.0,), scale=1.0)[1]


def test_the_mean_of_a_python_data_layer(feed):
    text = (
        'layer { name: "voc" type: "Python" top: "data" top: "label" python_param { module: "m" layer: "L" '
        "param_str: \"{'split': 'val', 'mean': (104.5, 116, 122)}\" } }\n"
    )
    assert feed(text + SCORE)[0].mean == (104.5, 116, 122)


def test_a_mean_file_of_the_data_layer(feed, tmp_path):
    text = DATA.format('mean_file: "gone/mean.binaryproto"') + SCORE
    with pytest.raises(
        DataError, match="gone/mean.binaryproto, which is neither there nor beside the prototxt"
    ):
        feed(text)
    assert feed(text, mean=(5.0,))[0].mean == (5,)
    values = np.random.RandomState(0).uniform(0, 255, (1, 3, 8, 9)).astype(np.float32)
    proto.write_blob(str(tmp_path / "mean.binaryproto"), values)
    found, said = feed(text)
    np.testing.assert_array_equal(found.mean_image, values[0])
    np.testing.assert_allclose(found.mean, values.mean(axis=(0, 2, 3)), rtol=1e-6)
    assert "the mean image of 9 x 8" in said
    assert "mean_image_sha256" in found.describe()


@pytest.mark.parametrize(
    "shape, why",
    [
        ((1, 4, 8, 8), "1 x 4 x 8 x 8, 4 channels; image files have 1 .grey. or 3 .colour."),
        ((1, 3, 8, 8, 8), "1 x 3 x 8 x 8 x 8; an image is N x C x H x W"),
        ((5, 8), "5 x 8; an image is N x C x H x W"),
    ],
)
def test_inputs_that_no_image_file_fills(feed, shape, why):
    scores = 'layer { name: "score" type: "Scale" bottom: "data" top: "score" }\n'
    with pytest.raises(NetError, match=f"net.prototxt: input 'data' of layer 'input' has the shape {why}"):
        feed(nets.input_layer(shape) + scores)


def test_a_net_of_one_size_gets_images_of_it(feed):
    text = (
        nets.input_layer((1, 3, 8, 9))
        + 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "score" '
        "inner_product_param { num_output: 4 } }\n"
    )
    found, said = feed(text)
    assert found.resize == (9, 8)
    assert "images are resized to 9 x 8, the net's own size: layer 'fc' (InnerProduct) takes 216" in said
    found, said = feed(text, pad_to=(9, 8))
    assert found.resize is None and "are resized" not in said
    with pytest.raises(NetError, match="own input is 9 x 8, and layer 'fc'.*images of 20 x 20.*--resize 9,8"):
        feed(text, resize=(20, 20))


def test_mean_files(tmp_path, feed):
    image = np.random.RandomState(0).uniform(0, 255, (3, 8, 9)).astype(np.float32)
    for name, values, shape in (
        ("a.npy", image.astype(np.float64), (3, 8, 9)),
        ("b.npy", image[np.newaxis], (3, 8, 9)),
        ("c.npy", image[:, 0, 0], (3,)),
        ("d.npy", image[:, :1, :1], (3,)),
    ):
        np.save(tmp_path / name, values)
        assert read_mean(str(tmp_path / name)).shape == shape
    np.save(tmp_path / "two.npy", image[:2])
    with pytest.raises(UsageError, match=r"two.npy\) has 2 values, the net's input has 3 channel"):
        feed(nets.input_layer((1, 3, 8, 8)) + SCORE, mean=str(tmp_path / "two.npy"))
    for name, values in (("e.npy", np.zeros((2, 3, 8, 9))), ("f.npy", np.array(["a"]))):
        np.save(tmp_path / name, values)
        with pytest.raises(DataError, match=name):
            read_mean(str(tmp_path / name))
    with pytest.raises(DataError, match="no such mean file"):
        read_mean(str(tmp_path / "none.npy"))
