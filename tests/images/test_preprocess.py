"""From image files to input blobs and back, against the same sums written out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.images.placing import BILINEAR, Line, nearest, place_labels, place_maps
from caffe_gp.images.preprocess import Preprocess
from caffe_gp.images.reading import image_size

pytestmark = pytest.mark.engine


@pytest.fixture()
def picture(tmp_path):
    pixels = np.random.RandomState(0).randint(0, 256, size=(20, 30, 3)).astype(np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).save(path)
    return path, pixels


def test_native_size_bgr_and_fcn_s_mean(picture):
    path, rgb = picture
    canvas = Preprocess().load(path)
    mean = np.array((104.00698793, 116.66876762, 122.67891434))
    expected = (rgb[:, :, ::-1].astype(np.float64) - mean).transpose(2, 0, 1)
    assert canvas.data.dtype == np.float32 and canvas.data.flags.c_contiguous
    np.testing.assert_allclose(canvas.data, expected, atol=1e-4)
    np.testing.assert_array_equal(canvas.image, rgb[:, :, ::-1])
    assert canvas.valid == (20, 30) and image_size(path) == (30, 20)


def test_rgb_order_and_scale_keep_the_mean_with_its_colour(picture):
    path, rgb = picture
    canvas = Preprocess(mean=(1.0, 2.0, 3.0), scale=0.5, channel_order="rgb").load(path)
    expected = ((rgb.astype(np.float64) - (3, 2, 1)) * 0.5).transpose(2, 0, 1)
    np.testing.assert_allclose(canvas.data, expected, atol=1e-5)


def test_grey_nets(picture):
    path, _ = picture
    canvas = Preprocess(mean=(0.0,), scale=1 / 256, channels=1, resize=(28, 28)).load(path)
    grey = np.asarray(Image.open(path).convert("L").resize((28, 28), BILINEAR), dtype=np.float64)
    np.testing.assert_allclose(canvas.data[0], grey / 256, atol=1e-6)
    assert canvas.data.shape == (1, 28, 28)


def test_padding_is_the_mean_colour_at_the_bottom_and_right(picture):
    path, _ = picture
    plain = Preprocess().load(path).data
    canvas = Preprocess(pad_to=(50, 45)).load(path)
    assert canvas.data.shape == (3, 45, 50)
    np.testing.assert_array_equal(canvas.data[:, :20, :30], plain)
    assert not canvas.data[:, 20:].any() and not canvas.data[:, :, 30:].any()
    with pytest.raises(DataError, match="30 x 20, more than the canvas of 25 x 25"):
        Preprocess(pad_to=(25, 25)).load(path)


def test_longer_side(picture):
    path, _ = picture
    canvas = Preprocess(mean=(128.0,), resize=60, pad_to=(60, 60)).load(path)
    assert canvas.valid == (40, 60) and canvas.data.shape == (3, 60, 60)


def test_labels_go_to_the_canvas_and_back(picture):
    path, _ = picture
    labels = np.random.RandomState(1).randint(0, 21, size=(20, 30)).astype(np.uint8)
    for preprocess in (Preprocess(), Preprocess(pad_to=(64, 48)), Preprocess(resize=60, pad_to=(64, 64))):
        canvas = preprocess.load(path)
        laid_out = preprocess.labels_to_canvas(labels, canvas)
        assert laid_out.shape == canvas.data.shape[1:]
        height, width = canvas.valid
        assert (laid_out[height:] == 255).all() and (laid_out[:, width:] == 255).all()
        np.testing.assert_array_equal(preprocess.labels_to_image(laid_out, canvas), labels)
    # A label map of lower resolution than the canvas is spread over it first.
    canvas = Preprocess(pad_to=(60, 40)).load(path)
    coarse = np.array([[1, 2], [3, 4]], dtype=np.uint8)
    assert (Preprocess(pad_to=(60, 40)).labels_to_image(coarse, canvas) == 1).all()
    with pytest.raises(DataError, match="labels of size"):
        Preprocess().labels_to_canvas(labels[:5], canvas)


def test_labels_lie_where_the_net_s_coordinates_say():
    labels = np.arange(20, dtype=np.uint8).reshape(4, 5)
    inner = place_labels(labels, (8, 9), (Line(1, -2), Line(1, -3)))
    np.testing.assert_array_equal(inner[2:6, 3:8], labels)
    assert np.count_nonzero(inner == 255) == inner.size - labels.size
    outer = place_labels(labels, (2, 3), (Line(1, 1), Line(1, 2)))  # scores larger than the image
    np.testing.assert_array_equal(outer, labels[1:3, 2:5])
    # Every second pixel has a score: the last pixel is nearest to the last of them, and stays labelled.
    coarse = place_labels(labels, (8, 10), (Line(0.5, 0), Line(0.5, 0)))
    np.testing.assert_array_equal(coarse[::2, ::2], labels)
    assert 255 not in coarse
    far = place_labels(labels, (8, 10), (Line(0.5, 0), Line(0.5, -2)))
    assert (far[:, 0] == 255).all() and (far[:, 1:] != 255).all()
    stretched = place_labels(labels, (8, 10), None)
    np.testing.assert_array_equal(stretched, labels.repeat(2, 0).repeat(2, 1))


def test_score_maps_lie_where_the_net_s_coordinates_say():
    maps = np.random.RandomState(0).standard_normal((2, 4, 5)).astype(np.float32)
    placed = place_maps(maps, (8, 9), (Line(1, -2), Line(1, -3)))
    np.testing.assert_array_equal(placed[:, 2:6, 3:8], maps)
    np.testing.assert_array_equal(placed[:, 0, 3:8], maps[:, 0])
    twice = place_maps(maps, (7, 9), (Line(0.5, 0), Line(0.5, 0)))
    np.testing.assert_array_equal(twice[:, ::2, ::2], maps)
    np.testing.assert_allclose(twice[:, 0, 1::2], (maps[:, 0, :-1] + maps[:, 0, 1:]) / 2, rtol=1e-6)


def test_nearest_takes_the_pixel_under_the_centre():
    labels = np.arange(4, dtype=np.int32).reshape(2, 2)
    np.testing.assert_array_equal(nearest(labels, (4, 4)), np.kron(labels, np.ones((2, 2), dtype=np.int32)))


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_other_pixel_formats_are_read_as_colours(tmp_path, mode):
    path = tmp_path / ("x.tif" if mode == "CMYK" else "x.png")
    Image.new("RGB", (7, 5), (10, 200, 30)).convert(mode).save(path)
    assert Preprocess().load(path).data.shape == (3, 5, 7)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mean": (1.0, 2.0, 3.0), "scale": 0.5, "channel_order": "rgb", "pad_to": (40, 25)},
        {"mean": (3.0,), "channels": 1},
        {"mean": (3.0,), "resize": (16, 12), "scale": 1 / 256},
    ],
    ids=["plain", "rgb", "grey net", "stretched"],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_images_in_memory_are_fed_like_files(tmp_path, options, mode):
    random, paths, images = np.random.RandomState(1), [], []
    for i in range(3):
        shape = (20, 30, 3) if mode == "RGB" else (20, 30)
        images.append(random.randint(0, 256, shape).astype(np.uint8))
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(images[-1]).save(paths[-1])
    preprocess = Preprocess(**options)
    found = preprocess.batch(np.stack(images).reshape(3, 20, 30, -1))
    np.testing.assert_array_equal(found, np.stack([preprocess.load(path).data for path in paths]))
    assert found.dtype == np.float32 and found.flags.c_contiguous


def test_a_mean_image_is_subtracted_from_images_of_its_size():
    mean = np.random.RandomState(0).uniform(0, 255, (3, 4, 5)).astype(np.float32)
    feed = Preprocess(mean=(1.0, 2.0, 3.0), mean_image=mean, scale=0.5, pad_to=(6, 6))
    pixels = np.random.RandomState(1).randint(0, 256, (1, 4, 5, 3)).astype(np.uint8)
    data = feed.batch(pixels)[0]
    blue_first = pixels[0, :, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    np.testing.assert_allclose(data[:, :4, :5], (blue_first - mean) / 2, rtol=1e-6)
    assert not data[:, 4:].any() and not data[:, :, 5:].any()
    np.testing.assert_array_equal(feed.picture(data[:, :4, :5]), pixels[0, :, :, ::-1])
    other = feed.batch(np.ascontiguousarray(pixels.transpose(0, 2, 1, 3)))[0]
    expected = (blue_first.transpose(0, 2, 1) - np.reshape([1, 2, 3], (3, 1, 1))) / 2
    np.testing.assert_allclose(other[:, :5, :4], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [{"mean": (1.0, 2.0, 3.0), "scale": 0.5, "channel_order": "rgb"}, {}, {"mean": (3.0,), "channels": 1}],
)
def test_the_net_s_view_as_a_picture(options):
    rgb = np.random.RandomState(1).randint(0, 256, (1, 8, 9, 3)).astype(np.uint8)
    preprocess = Preprocess(**options)
    grey = np.repeat(np.asarray(Image.fromarray(rgb[0]).convert("L"))[..., None], 3, axis=2)
    found = preprocess.picture(preprocess.batch(rgb)[0])
    np.testing.assert_array_equal(found, grey if preprocess.channels == 1 else rgb[0, :, :, ::-1])
    assert (preprocess.picture(preprocess.batch(rgb)[0] + 1e6) == 255).all()


def test_arrays_that_are_no_images():
    for wrong in (np.zeros((2, 5, 7), np.uint8), np.zeros((2, 5, 7, 4), np.uint8), np.zeros((2, 5, 7, 3))):
        with pytest.raises(DataError, match="expected .N, h, w, 1 or 3., uint8"):
            Preprocess().batch(wrong)
    with pytest.raises(DataError, match="list: expected .N, h, w, 1 or 3., uint8"):
        Preprocess().batch([np.zeros((5, 7, 3), np.uint8)])
    with pytest.raises(DataError, match="7 x 5, more than the canvas of 6 x 6"):
        Preprocess(pad_to=(6, 6)).batch(np.zeros((1, 5, 7, 3), np.uint8))


def test_bad_images(tmp_path, picture):
    path, _ = picture
    with pytest.raises(DataError, match="no such image"):
        Preprocess().load(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(DataError, match="this is a text file, not an image"):
        Preprocess().load(tmp_path / "text.png")
    (tmp_path / "half.png").write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match="not a readable image"):
        Preprocess().load(tmp_path / "half.png")
    with pytest.raises(DataError, match="this is a folder, not an image"):
        Preprocess().load(tmp_path)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"channel_order": "gbr"}, "channel order"),
        ({"channels": 4}, "1 or 3 channels"),
        ({"mean": (1.0, 2.0)}, "mean must be"),
        ({"scale": 0.0}, "scale"),
        ({"mean": (float("nan"),)}, "finite"),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(CaffeGPError, match=message):
        Preprocess(**options)


def test_maps_that_are_none(tmp_path, picture):
    preprocess = Preprocess()
    canvas = preprocess.load(picture[0])
    size = canvas.data.shape[1:]
    for wrong in (np.zeros((1, *size), int), np.zeros(size), np.zeros(size, bool), [[0]]):
        with pytest.raises(DataError, match="label map: expected"):
            preprocess.labels_to_image(wrong, canvas)
        with pytest.raises(DataError, match="ground truth: expected"):
            preprocess.labels_to_canvas(wrong, canvas)
    with pytest.raises(DataError, match="score maps: expected 3 axes"):
        preprocess.scores_to_image(np.zeros(size, np.float32), canvas)
    with pytest.raises(DataError, match="what the net sees: expected the shape"):
        preprocess.picture(np.zeros((1, *size), np.float32))
    small = np.arange(4).reshape(2, 2)  # int64, which Pillow does not know
    assert set(np.unique(preprocess.labels_to_image(small, canvas))) == {0, 1, 2, 3}
