"""DenseImageData on images and label maps made here, against numpy and OpenCV."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
from PIL import Image

from caffe_gp import proto
from caffe_gp.caffe import mode
from caffe_gp.caffe.net import Net
from caffe_gp.errors import DataError, NetError

HEIGHT, WIDTH = 6, 8


@pytest.fixture
def pairs(tmp_path):
    """Three images with label maps, their pixels (3, H, W, 3) BGR and labels (3, H, W), and the folder."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    labels = rng.integers(0, 12, (3, HEIGHT, WIDTH), dtype=np.uint8)
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"im{i}.png"), pixels[i])
        cv2.imwrite(str(tmp_path / f"lab{i}.png"), labels[i])
    (tmp_path / "list.txt").write_text("".join(f"/im{i}.png  /lab{i}.png\n" for i in range(3)))
    return tmp_path, pixels, labels


def dense(folder, fields: str = "", transform: str = "", phase: int = 0, batch: int = 1) -> Net:
    text = (
        'layer { name: "d" type: "DenseImageData" top: "data" top: "label" dense_image_data_param { '
        f'source: "{folder}/list.txt" root_folder: "{folder}" batch_size: {batch} {fields} }} '
        f"transform_param {{ {transform} }} }}"
    )
    return Net.from_param(proto.parse_net_param(text), phase)


def batch_of(net: Net) -> tuple[np.ndarray, np.ndarray]:
    net.forward()
    return net.blobs["data"].data.copy(), net.blobs["label"].data.copy()


@pytest.mark.parametrize("phase", [0, 1])
def test_images_and_labels_in_order_and_again(pairs, phase):
    folder, pixels, labels = pairs
    net = dense(folder, phase=phase, batch=2)
    assert net.blobs["data"].shape == (2, 3, HEIGHT, WIDTH)
    assert net.blobs["label"].shape == (2, 1, HEIGHT, WIDTH)
    for chosen in ([0, 1], [2, 0], [1, 2]):
        data, label = batch_of(net)
        np.testing.assert_array_equal(data, pixels[chosen].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(label[:, 0], labels[chosen])


def test_mean_and_scale_are_the_image_s_alone(pairs):
    folder, pixels, labels = pairs
    data, label = batch_of(dense(folder, transform="mean_value: 1 mean_value: 2 mean_value: 3 scale: 0.5"))
    expected = (pixels[0].astype(float) - [1, 2, 3]) / 2
    np.testing.assert_allclose(data[0], expected.transpose(2, 0, 1))
    np.testing.assert_array_equal(label[0, 0], labels[0])


def test_both_are_resized_labels_to_the_nearest(pairs):
    folder, pixels, labels = pairs
    data, label = batch_of(dense(folder, "new_height: 9 new_width: 5", batch=3))
    for i in range(3):
        expected = cv2.resize(pixels[i], (5, 9)).transpose(2, 0, 1)
        np.testing.assert_array_equal(data[i], expected)
        rows, columns = np.arange(9) * HEIGHT // 9, np.arange(5) * WIDTH // 5
        np.testing.assert_array_equal(label[i, 0], labels[i][rows][:, columns])


def test_grey_images(pairs):
    folder, _, _ = pairs
    data, _ = batch_of(dense(folder, "is_color: false"))
    expected = cv2.imread(str(folder / "im0.png"), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(data[0], expected[np.newaxis])


@pytest.mark.parametrize("phase", [0, 1])
def test_crops_and_mirrors_hit_both(pairs, phase):
    """Every sample is a part of its image, and the same part of its labels; all places are drawn."""
    folder, pixels, labels = pairs
    mode.set_random_seed(3)
    net = dense(folder, "crop_height: 4 crop_width: 5 mirror: true", phase=phase, batch=3)
    assert net.blobs["data"].shape == (3, 3, 4, 5)
    seen = set()
    for _ in range(60):
        data, label = batch_of(net)
        for i in range(3):
            found = [
                (top, left, step)
                for top in range(3)
                for left in range(4)
                for step in (1, -1)
                if np.array_equal(
                    data[i], pixels[i, top : top + 4, left : left + 5][:, ::step].transpose(2, 0, 1)
                )
            ]
            assert len(found) == 1
            top, left, step = found[0]
            np.testing.assert_array_equal(label[i, 0], labels[i, top : top + 4, left : left + 5][:, ::step])
            seen.add(found[0])
    assert len(seen) == 3 * 4 * 2


def test_the_seed_repeats_the_draws_and_the_order(pairs):
    folder, pixels, _ = pairs
    fields = "crop_height: 2 crop_width: 2 mirror: true shuffle: true"

    def run() -> list[np.ndarray]:
        mode.set_random_seed(5)
        net = dense(folder, fields, batch=2)
        return [batch_of(net)[0] for _ in range(6)]

    first, second = run(), run()
    assert all(np.array_equal(one, other) for one, other in zip(first, second))
    mode.set_random_seed(6)
    net = dense(folder, fields, batch=2)
    assert any(not np.array_equal(batch_of(net)[0], one) for one in first)


def test_a_batch_of_one_takes_every_image_s_size(pairs):
    folder, _, _ = pairs
    larger = np.full((10, 12, 3), 7, np.uint8)
    cv2.imwrite(str(folder / "im1.png"), larger)
    cv2.imwrite(str(folder / "lab1.png"), larger[:, :, 0])
    net = dense(folder)
    shapes = []
    for _ in range(3):
        data, label = batch_of(net)
        assert data.shape[2:] == label.shape[2:]
        shapes.append(data.shape[2:])
    assert shapes == [(6, 8), (10, 12), (6, 8)]
    with pytest.raises(DataError, match=r"list.txt:2: /im1.png has shape \(3, 10, 12\).*batch_size 1"):
        dense(folder, batch=2).forward()


def test_an_indexed_picture_s_labels_are_its_indices(pairs):
    folder, _, labels = pairs
    picture = Image.fromarray(labels[0])
    picture.putpalette([200, 10, 30] * 256)  # one colour for all: only the indices tell
    picture.save(folder / "lab0.png")
    np.testing.assert_array_equal(batch_of(dense(folder))[1][0, 0], labels[0])


@pytest.mark.parametrize(
    "fields, transform, message",
    [
        ("crop_height: 3", "", "crop_height and crop_width must be set together, found 3 and 0"),
        ("new_width: 3", "", "new_height and new_width must be set together, found 0 and 3"),
        ("", "mirror: true", "would miss the labels"),
        ("", "crop_size: 3", "would miss the labels"),
        ('mean_file: "x"', "", "mean_file belongs into transform_param"),
        ("label_divide_factor: 2", "", "label_divide_factor 2, labels smaller than their images, is not"),
        ("crop_height: 7 crop_width: 2", "", "im0.png of 6x8 is smaller than the crop 7x2"),
        ("crop_height: 4294967295 crop_width: 4294967295", "", "smaller than the crop"),
        ("rand_skip: 4294967295", "", "rand_skip"),
        ("", "mean_value: 1 mean_value: 2", "mean_value must be given once or 3 times"),
        ("new_height: 4000000000 new_width: 4000000000", "", "an image resized to"),
        ("new_height: 70000 new_width: 70000", "", "an image resized to 70000 x 70000 needs"),
    ],
)
def test_refused(pairs, fields, transform, message):
    with pytest.raises((NetError, DataError), match=message) as caught:
        dense(pairs[0], fields, transform).forward()
    assert "layer 'd' (DenseImageData)" in str(caught.value)


@pytest.mark.parametrize("batch", [0, 2**31, 2**32 - 1])
def test_batches_that_are_none_or_too_large(pairs, batch):
    with pytest.raises(NetError, match="batch_size|elements|bytes|limit"):
        dense(pairs[0], batch=batch)


@pytest.mark.parametrize(
    "line, message",
    [
        ("/im0.png", "list.txt:1: expected 'image labels', two paths without blanks, found '/im0.png'"),
        ("/im0.png /lab0.png 3", "two paths without blanks"),
        ("/gone.png /lab0.png", "list.txt:1: could not load '/gone.png': there is no such file"),
        ("/im0.png /gone.png", "list.txt:1: could not load '/gone.png': there is no such file"),
        ("/im0.png /im0.png", "list.txt:1: could not load .*expected label indices .*found mode RGB"),
        ("/im0.png /list.txt", "list.txt:1: could not load .*a text file, not an image"),
        ("/im0.png /small.png", r"/im0.png has size \(6, 8\), its label map /small.png \(2, 2\)"),
        ("/im0.png /a\0b", "list.txt:1: could not load '/a.*b': there is no such file"),
        ("/im0.png /pipe", "could not load"),
    ],
)
def test_lines_that_do_not_do(pairs, line, message):
    folder = pairs[0]
    os.mkfifo(folder / "pipe")
    cv2.imwrite(str(folder / "small.png"), np.zeros((2, 2), np.uint8))
    (folder / "list.txt").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        dense(folder).forward()


@pytest.mark.parametrize("content, message", [("", "is empty"), ("\n \n", "is empty")])
def test_lists_that_are_none(pairs, content, message):
    (pairs[0] / "list.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        dense(pairs[0])
    with pytest.raises(DataError, match="cannot open the list"):
        dense(pairs[0] / "nowhere")


def test_camvid(shared_data, tmp_path):
    """Real images: labels 0..11, and the loss that SegNet trains with takes them."""
    folder = shared_data / "camvid"
    images = sorted((folder / "test").glob("*"))[:2]
    if not images:
        pytest.skip("CamVid's folders are not as expected here")
    (tmp_path / "list.txt").write_text(
        "".join(f"test/{path.name} testannot/{path.stem}.png\n" for path in images)
    )
    text = (
        'layer { name: "d" type: "DenseImageData" top: "data" top: "label" dense_image_data_param { '
        f'source: "{tmp_path}/list.txt" root_folder: "{folder}/" batch_size: 2 }} }}'
    )
    net = Net.from_param(proto.parse_net_param(text), 0)
    data, label = batch_of(net)
    assert data.shape == (2, 3, 360, 480) and label.shape == (2, 1, 360, 480)
    assert set(np.unique(label)) <= set(range(12)) and len(np.unique(label)) > 6
