"""Data layers against hand-worked values, numpy and OpenCV on files made here, and real MNIST."""

from __future__ import annotations

import gzip
import os

import cv2
import h5py
import lmdb
import numpy as np
import pytest
import scipy.io
from PIL import Image

from caffe_gp import proto
from caffe_gp.caffe import memory, mode
from caffe_gp.caffe.net import Net
from caffe_gp.errors import DataError, NetError
from caffe_gp.images import reading
from caffe_gp.proto import messages as pb


def net_of(text: str, phase: int = 1) -> Net:
    return Net.from_param(proto.parse_net_param(text), phase)


@pytest.fixture
def images(tmp_path):
    """Three PNGs of random BGR pixels, 6x8, and their pixels."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    for i, image in enumerate(pixels):
        cv2.imwrite(str(tmp_path / f"im {i}.png"), image)
    (tmp_path / "list.txt").write_text("".join(f"im {i}.png {i + 5}\n" for i in range(3)))
    return tmp_path, pixels


# ---- Input, DummyData, MemoryData


def test_input_takes_one_shape_for_all_tops_or_one_each():
    net = net_of(
        'layer { name: "i" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 dim: 3 } } }'
    )
    assert [net.blobs[n].shape for n in "ab"] == [(2, 3), (2, 3)]
    net = net_of(
        'layer { name: "i" type: "Input" top: "a" top: "b" '
        "input_param { shape { dim: 2 } shape { dim: 4 dim: 1 } } }"
    )
    assert [net.blobs[n].shape for n in "ab"] == [(2,), (4, 1)]
    with pytest.raises(NetError, match="'i'.*found 2"):
        net_of(
            'layer { name: "i" type: "Input" top: "a" top: "b" top: "c" '
            "input_param { shape { dim: 2 } shape { dim: 4 } } }"
        )


def test_dummy_data_refills_random_tops_only():
    net = net_of(
        'layer { name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param { '
        'shape { dim: 5 dim: 4 } data_filler { type: "constant" value: 3 } '
        'data_filler { type: "uniform" min: 1 max: 2 } } }'
    )
    assert (net.blobs["a"].data == 3).all()  # filled when the net is built
    first = net.blobs["b"].data.copy()
    assert first.min() >= 1 and first.max() <= 2
    net.blobs["a"].data[...] = 7
    net.forward()
    assert (net.blobs["a"].data == 7).all()  # constants are not filled again
    assert (net.blobs["b"].data != first).any()


def test_dummy_data_legacy_dimensions():
    net = net_of(
        'layer { name: "d" type: "DummyData" top: "a" top: "b" '
        "dummy_data_param { num: 2 channels: 3 channels: 4 height: 5 width: 6 } }"
    )
    assert [net.blobs[n].shape for n in "ab"] == [(2, 3, 5, 6), (2, 4, 5, 6)]
    assert (net.blobs["a"].data == 0).all()
    with pytest.raises(NetError, match="found both"):
        net_of('layer { name: "d" type: "DummyData" top: "a" dummy_data_param { num: 2 shape { dim: 1 } } }')


MEMORY = (
    'layer { name: "m" type: "MemoryData" top: "data" top: "label" '
    "memory_data_param { batch_size: 2 channels: 1 height: 2 width: 3 } }"
)


def test_memory_data_walks_the_arrays_round_and_round():
    net = net_of(MEMORY)
    data = np.arange(36, dtype=np.float32).reshape(6, 1, 2, 3)
    labels = np.arange(6, dtype=np.float32)
    net.set_input_arrays(data, labels)
    for rows in ([0, 1], [2, 3], [4, 5], [0, 1]):
        net.forward()
        assert np.array_equal(net.blobs["data"].data, data[rows])
        assert net.blobs["label"].shape == (2, 1, 1, 1)
        assert np.array_equal(net.blobs["label"].data.ravel(), labels[rows])
    net.blobs["data"].data[...] = -1
    assert data.min() == 0  # the caller's array is not written
    data += 100  # but it is referenced: edits show
    net.forward()
    assert np.array_equal(net.blobs["data"].data, data[[2, 3]])


@pytest.mark.parametrize(
    "data, labels, message",
    [
        (np.zeros((4, 1, 2, 3)), np.zeros(4, np.float32), "float32"),
        (np.zeros((4, 2, 2, 3), np.float32), np.zeros(4, np.float32), r"\(n, 1, 2, 3\)"),
        (np.zeros((3, 1, 2, 3), np.float32), np.zeros(3, np.float32), "multiple of batch size"),
        (np.zeros((4, 1, 2, 3), np.float32), np.zeros(3, np.float32), "same first dimension"),
        (np.zeros((4, 1, 3, 2), np.float32).transpose(0, 1, 3, 2), np.zeros(4, np.float32), "contiguous"),
    ],
)
def test_memory_data_refuses(data, labels, message):
    with pytest.raises(NetError, match=message):
        net_of(MEMORY).set_input_arrays(data, labels)


def test_memory_data_needs_arrays():
    with pytest.raises(NetError, match="set_input_arrays"):
        net_of(MEMORY).forward()


# ---- ImageData and the transformer


def image_net(folder, extra="", transform="", phase=1, batch=2):
    return net_of(
        f'layer {{ name: "im" type: "ImageData" top: "data" top: "label" image_data_param {{ '
        f'source: "{folder}/list.txt" root_folder: "{folder}/" batch_size: {batch} {extra} }} '
        f"transform_param {{ {transform} }} }}",
        phase,
    )


def test_image_data_in_order_with_paths_that_hold_spaces(images):
    folder, pixels = images
    net = image_net(folder)
    assert net.blobs["data"].shape == (2, 3, 6, 8)  # before any forward
    for rows in ([0, 1], [2, 0], [1, 2]):
        net.forward()
        assert np.array_equal(net.blobs["data"].data, pixels[rows].transpose(0, 3, 1, 2))
        assert net.blobs["label"].data.tolist() == [r + 5 for r in rows]


def test_image_data_resize_grey_mean_scale(images):
    folder, pixels = images
    net = image_net(folder, "new_height: 5 new_width: 9 is_color: false", "mean_value: 100 scale: 0.5")
    net.forward()
    grey = cv2.imread(str(folder / "im 0.png"), cv2.IMREAD_GRAYSCALE)
    expected = (cv2.resize(grey, (9, 5)).astype(np.float64) - 100) * 0.5
    np.testing.assert_allclose(net.blobs["data"].data[0, 0], expected, rtol=1e-6)


def test_centre_crop_and_channel_means_at_test(images):
    folder, pixels = images
    net = image_net(folder, "", "crop_size: 3 mean_value: 1 mean_value: 2 mean_value: 3")
    net.forward()
    expected = pixels[0, 1:4, 2:5].astype(np.float64) - [1, 2, 3]  # (6 - 3) // 2 and (8 - 3) // 2
    np.testing.assert_allclose(net.blobs["data"].data[0], expected.transpose(2, 0, 1))


def test_mean_file_has_the_uncropped_size(images):
    folder, pixels = images
    mean = np.random.default_rng(1).random((1, 3, 6, 8)).astype(np.float32)
    blob = pb.BlobProto(num=1, channels=3, height=6, width=8)
    blob.data.extend(mean.ravel().tolist())
    (folder / "mean.binaryproto").write_bytes(blob.SerializeToString())
    net = image_net(folder, "", f'crop_size: 4 mean_file: "{folder}/mean.binaryproto"')
    net.forward()
    expected = pixels[0].transpose(2, 0, 1)[:, 1:5, 2:6] - mean[0, :, 1:5, 2:6]
    np.testing.assert_allclose(net.blobs["data"].data[0], expected, rtol=1e-6)
    with pytest.raises(DataError, match="mean"):
        image_net(folder, "new_height: 7 new_width: 7", f'mean_file: "{folder}/mean.binaryproto"').forward()


def test_train_crops_and_mirrors_at_random_and_repeats_with_the_seed(images):
    folder, pixels = images

    def batches(seed):
        mode.set_random_seed(seed)
        net = image_net(folder, "", "crop_size: 3 mirror: true", phase=0, batch=3)
        out = []
        for _ in range(20):
            net.forward()
            out.append(net.blobs["data"].data.copy())
        return np.concatenate(out), np.tile(np.arange(3), 20)

    crops, which = batches(7)
    places = set()
    for crop, i in zip(crops, which):
        found = [
            (y, x, flip)
            for y in range(4)
            for x in range(6)
            for flip in (1, -1)
            if np.array_equal(crop, pixels[i, y : y + 3, x : x + 3][:, ::flip].transpose(2, 0, 1))
        ]
        assert len(found) == 1  # every one is a crop of the right image, maybe mirrored
        places.add(found[0])
    assert {p[2] for p in places} == {1, -1} and len({p[:2] for p in places}) > 12
    assert np.array_equal(batches(7)[0], crops)
    assert not np.array_equal(batches(8)[0], crops)


def test_shuffle_is_a_new_permutation_each_time_around(tmp_path):
    for i in range(10):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((2, 2, 3), i, np.uint8))
    (tmp_path / "list.txt").write_text("".join(f"{i}.png {i}\n" for i in range(10)))

    def epochs(seed):
        mode.set_random_seed(seed)
        net = image_net(tmp_path, "shuffle: true", batch=5)
        labels = []
        for _ in range(6):
            net.forward()
            assert np.array_equal(net.blobs["data"].data[:, 0, 0, 0], net.blobs["label"].data)
            labels += net.blobs["label"].data.astype(int).tolist()
        return [labels[k : k + 10] for k in (0, 10, 20)]

    first = epochs(3)
    assert all(sorted(epoch) == list(range(10)) for epoch in first)
    assert first[0] != first[1] and first[0] != list(range(10))
    assert epochs(3) == first


def test_images_of_different_sizes_need_batches_of_one(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 5, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((6, 3, 3), np.uint8))
    (tmp_path / "list.txt").write_text("a.png 0\nb.png 1\n")
    net = image_net(tmp_path, batch=1)
    net.forward()
    assert net.blobs["data"].shape == (1, 3, 4, 5)
    net.forward()
    assert net.blobs["data"].shape == (1, 3, 6, 3)
    with pytest.raises(DataError, match=r"list.txt:2.*b.png.*\(3, 6, 3\)"):
        image_net(tmp_path, batch=2).forward()


def test_lists_of_windows(images):
    folder, pixels = images
    (folder / "list.txt").write_bytes(b"\xef\xbb\xbfim 1.png 5\r\nim 0.png 6\r\n")
    net = image_net(folder)
    net.forward()
    assert np.array_equal(net.blobs["data"].data, pixels[[1, 0]].transpose(0, 3, 1, 2))
    assert net.blobs["label"].data.tolist() == [5, 6]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_image_data_reads_what_the_tools_read(tmp_path, orientation):
    """Turned as the orientation says, 16 bits as 8; alpha is dropped, where the tools put it on white."""
    y, x = np.mgrid[:6, :8]
    rgb = np.dstack([x * 20, y * 30, 255 - x * 9 - y * 9]).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(rgb).save(tmp_path / "turned.jpg", quality=100, subsampling=0, exif=exif)
    cv2.imwrite(str(tmp_path / "deep.png"), rgb[:, :, 0].astype(np.uint16) * 257)
    for name in ("turned.jpg", "deep.png"):
        (tmp_path / "list.txt").write_text(f"{name} 0\n")
        net = image_net(tmp_path, batch=1)
        net.forward()
        expected = np.asarray(reading.read_image(tmp_path / name)).astype(int)
        found = net.blobs["data"].data[0, ::-1].transpose(1, 2, 0)
        assert found.shape == expected.shape and abs(found - expected).max() <= 2
    Image.fromarray(np.dstack([rgb, rgb[:, :, 0]]), "RGBA").save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png 0\n")
    net = image_net(tmp_path, batch=1)
    net.forward()
    assert np.array_equal(net.blobs["data"].data[0, ::-1].transpose(1, 2, 0), rgb)


@pytest.mark.parametrize(
    "content, message",
    [
        ("im 0.png 5\nim 1.png five\n", r"list.txt:2.*integer label"),
        ("gone.png 1\n", r"list.txt:1.*gone.png.*no such file"),
        ("list.txt 1\n", r"list.txt:1.*not a readable image"),
        ("\n\n", "list.txt is empty"),
    ],
)
def test_bad_lists_name_file_and_line(images, content, message):
    folder, _ = images
    (folder / "list.txt").write_text(content)
    with pytest.raises(DataError, match=message):
        image_net(folder)


def test_a_missing_list_and_a_crop_too_large(images):
    folder, _ = images
    with pytest.raises(DataError, match="smaller than crop_size 7"):
        image_net(folder, "", "crop_size: 7")
    with pytest.raises(NetError, match="new_height and new_width"):
        image_net(folder, "new_height: 3")
    (folder / "list.txt").unlink()
    with pytest.raises(DataError, match="list.txt"):
        image_net(folder)


# ---- ImageSegData


def test_image_seg_data_pads_with_the_mean_and_the_ignore_label(images):
    folder, pixels = images
    labels = np.random.default_rng(2).integers(0, 21, (6, 8), dtype=np.uint8)
    cv2.imwrite(str(folder / "l.png"), labels)
    cv2.imwrite(str(folder / "x.png"), pixels[0])
    (folder / "seg.txt").write_text("/x.png /l.png\n")

    def seg_net(kind, crop):
        return net_of(
            'layer { name: "d" type: "ImageSegData" top: "data" top: "label" top: "data_dim" '
            "image_data_param { "
            f'source: "{folder}/seg.txt" root_folder: "{folder}" batch_size: 1 label_type: {kind} }} '
            f"transform_param {{ crop_size: {crop} mean_value: 10.5 mean_value: 20 mean_value: 30 }} }}"
        )

    net = seg_net("PIXEL", 9)
    net.forward()
    data, label = net.blobs["data"].data, net.blobs["label"].data
    assert data.shape == (1, 3, 9, 9) and label.shape == (1, 1, 9, 9)
    expected = pixels[0].transpose(2, 0, 1) - np.array([10.5, 20, 30])[:, None, None]
    np.testing.assert_allclose(data[0, :, :6, :8], expected)
    assert not data[0, :, 6:].any() and not data[0, :, :, 8:].any()
    assert np.array_equal(label[0, 0, :6, :8], labels)
    assert (label[0, 0, 6:] == 255).all() and (label[0, 0, :, 8:] == 255).all()
    assert net.blobs["data_dim"].data.tolist() == [[[[6, 8]]]]

    net = seg_net("PIXEL", 4)  # centre crop: rows 1..4, columns 2..5
    net.forward()
    assert np.array_equal(net.blobs["label"].data[0, 0], labels[1:5, 2:6])
    assert net.blobs["data_dim"].data.tolist() == [[[[4, 4]]]]

    net = seg_net("NONE", 9)
    net.forward()
    assert (net.blobs["label"].data == 255).all()
    with pytest.raises(DataError, match=r"seg.txt:1.*PIXEL"):
        seg_net("IMAGE", 9)


# ---- HDF5


@pytest.fixture
def hdf5(tmp_path):
    rng = np.random.default_rng(3)
    arrays = []
    for name, rows in (("a.h5", 5), ("b.h5", 4)):
        data, label = rng.random((rows, 2, 3)), rng.integers(0, 9, (rows, 1))
        with h5py.File(tmp_path / name, "w") as file:
            file["data"], file["label"] = data, label
        arrays.append((data.astype(np.float32), label))
    (tmp_path / "list.txt").write_text(f"{tmp_path}/a.h5\n{tmp_path}/b.h5\n")
    return tmp_path, arrays


def hdf5_net(folder, extra="", batch=4):
    return net_of(
        f'layer {{ name: "h" type: "HDF5Data" top: "data" top: "label" '
        f'hdf5_data_param {{ source: "{folder}/list.txt" batch_size: {batch} {extra} }} }}'
    )


def test_hdf5_batches_run_across_files(hdf5):
    folder, arrays = hdf5
    data = np.concatenate([a[0] for a in arrays])
    labels = np.concatenate([a[1] for a in arrays])
    net = hdf5_net(folder)
    assert net.blobs["data"].shape == (4, 2, 3) and net.blobs["label"].shape == (4, 1)
    for start in (0, 4, 8, 12):
        net.forward()
        rows = np.arange(start, start + 4) % 9
        assert np.array_equal(net.blobs["data"].data, data[rows])
        assert np.array_equal(net.blobs["label"].data, labels[rows])


def test_hdf5_shuffle_keeps_rows_together(hdf5):
    folder, arrays = hdf5
    rows = {a[0][i].tobytes(): a[1][i, 0] for a in arrays for i in range(len(a[0]))}
    net = hdf5_net(folder, "shuffle: true", batch=9)
    orders = []
    for _ in range(3):
        net.forward()
        keys = [row.tobytes() for row in net.blobs["data"].data]
        assert set(keys) == set(rows)
        assert [rows[k] for k in keys] == net.blobs["label"].data[:, 0].tolist()
        orders.append(keys)
    assert orders[0] != orders[1] or orders[1] != orders[2]


def test_hdf5_errors(hdf5):
    folder, _ = hdf5
    with h5py.File(folder / "b.h5", "w") as file:
        file["data"] = np.zeros((4, 2, 3))
    with pytest.raises(DataError, match=r"list.txt:2.*b.h5.*no data set 'label'.*data"):
        net = hdf5_net(folder)
        net.forward()
        net.forward()
    (folder / "a.h5").write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"list.txt:1.*a.h5"):
        hdf5_net(folder)
    (folder / "list.txt").write_text(f"{folder}/none.h5\n")
    with pytest.raises(DataError, match="none.h5"):
        hdf5_net(folder)


def test_hdf5_output_appends_and_reads_back(tmp_path):
    net = net_of(
        'layer { name: "i" type: "Input" top: "x" top: "y" '
        "input_param { shape { dim: 2 dim: 3 dim: 4 } shape { dim: 2 } } } "
        f'layer {{ name: "o" type: "HDF5Output" bottom: "x" bottom: "y" '
        f'hdf5_output_param {{ file_name: "{tmp_path}/out.h5" }} }}'
    )
    rng = np.random.default_rng(4)
    x, y = rng.random((4, 3, 4)).astype(np.float32), np.arange(4, dtype=np.float32)
    for rows in ([0, 1], [2, 3]):
        net.blobs["x"].data[...], net.blobs["y"].data[...] = x[rows], y[rows]
        net.forward()
    with h5py.File(tmp_path / "out.h5", "r") as file:
        assert np.array_equal(file["data"][()], x[..., None])  # four axes, as in BVLC
        assert np.array_equal(file["label"][()], y.reshape(4, 1, 1, 1))
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5"]


# ---- Data (LMDB)


def write_lmdb(path, datums):
    with lmdb.open(str(path), map_size=1 << 26) as environment, environment.begin(write=True) as transaction:
        for i, datum in enumerate(datums):
            transaction.put(b"%08d" % i, datum.SerializeToString())


def data_net(path, transform="", batch=2, phase=1, tops='top: "data" top: "label"', backend="LMDB"):
    return net_of(
        f'layer {{ name: "d" type: "Data" {tops} '
        f'data_param {{ source: "{path}" batch_size: {batch} backend: {backend} }} '
        f"transform_param {{ {transform} }} }}",
        phase,
    )


def test_lmdb_of_raw_float_and_encoded_records(tmp_path):
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (3, 4, 5), dtype=np.uint8)  # C, H, W
    raw = pb.Datum(channels=3, height=4, width=5, data=pixels.tobytes(), label=3)
    floats = pb.Datum(channels=3, height=4, width=5, label=4)
    floats.float_data.extend((pixels / 7).ravel().tolist())
    png = cv2.imencode(".png", pixels.transpose(1, 2, 0))[1].tobytes()
    encoded = pb.Datum(data=png, encoded=True, label=5)
    write_lmdb(tmp_path / "db", [raw, floats, encoded])
    net = data_net(tmp_path / "db", "scale: 0.5 mean_value: 8", batch=3)
    net.forward()
    for image, values in zip(net.blobs["data"].data, (pixels, pixels / 7, pixels)):
        np.testing.assert_allclose(image, (values - 8.0) * 0.5, rtol=1e-5, atol=1e-5)
    assert net.blobs["label"].data.tolist() == [3, 4, 5]
    net.forward()  # wraps around
    assert net.blobs["label"].data.tolist() == [3, 4, 5]
    # A second net on the same database in the same process.
    other = data_net(tmp_path / "db", "crop_size: 2", batch=2, tops='top: "data"')
    other.forward()
    np.testing.assert_allclose(other.blobs["data"].data[0], pixels[:, 1:3, 1:3])


def test_lmdb_force_gray(tmp_path):
    pixels = np.random.default_rng(6).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    png = cv2.imencode(".png", pixels)[1].tobytes()
    write_lmdb(tmp_path / "db", [pb.Datum(data=png, encoded=True)])
    net = data_net(tmp_path / "db", "force_gray: true", batch=1)
    net.forward()
    assert net.blobs["data"].shape == (1, 1, 4, 5)
    assert np.array_equal(net.blobs["data"].data[0, 0], cv2.imdecode(np.frombuffer(png, np.uint8), 0))


@pytest.mark.parametrize(
    "sizes", [{"height": -2, "width": -2}, {"channels": 2**31 - 1, "height": 2**31 - 1, "width": 2**31 - 1}]
)
def test_lmdb_sizes_that_are_none(tmp_path, sizes):
    write_lmdb(tmp_path / "db", [pb.Datum(**{"channels": 1, "height": 2, "width": 2, **sizes}, data=b"1234")])
    with pytest.raises(DataError, match="says shape .* and holds 4 values"):
        net_of(
            f'layer {{ name: "d" type: "Data" top: "d" data_param {{ source: "{tmp_path}/db" batch_size: 1 '
            "backend: LMDB } }"
        )


def test_lmdb_errors(tmp_path):
    write_lmdb(tmp_path / "short", [pb.Datum(channels=1, height=2, width=2, data=b"abc")])
    with pytest.raises(DataError, match=r"00000000.*\(1, 2, 2\).*3 values"):
        data_net(tmp_path / "short")
    write_lmdb(tmp_path / "empty", [])
    with pytest.raises(DataError, match="empty"):
        data_net(tmp_path / "empty")
    with pytest.raises(DataError, match="backend: LMDB"):
        data_net(tmp_path / "short", backend="LEVELDB")
    with pytest.raises(DataError, match="nowhere"):
        data_net(tmp_path / "nowhere")
    (tmp_path / "file").write_bytes(b"not a database")
    with pytest.raises(DataError, match="file"):
        data_net(tmp_path / "file")


def test_mnist_through_lmdb(shared_data, tmp_path):
    """The first 100 MNIST test digits, raw bytes, as Caffe's LeNet reads them (scale 1/256)."""
    folder = shared_data / "mnist"
    images = next(folder.glob("t10k-images*"))
    labels = next(folder.glob("t10k-labels*"))
    pixels = np.frombuffer(gzip.open(images).read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)[:100]
    digits = np.frombuffer(gzip.open(labels).read(), np.uint8, offset=8)[:100]
    write_lmdb(
        tmp_path / "db",
        [
            pb.Datum(channels=1, height=28, width=28, data=image.tobytes(), label=int(digit))
            for image, digit in zip(pixels, digits)
        ],
    )
    net = data_net(tmp_path / "db", "scale: 0.00390625", batch=50)
    net.forward()
    net.forward()
    assert net.blobs["label"].data.astype(int).tolist() == digits[50:].tolist()
    assert np.array_equal(net.blobs["data"].data * 256, pixels[50:])
    assert digits[:5].tolist() == [7, 2, 1, 0, 4]  # known start of the MNIST test set


# ---- WindowData


def window_net(folder, text, transform="crop_size: 4", extra="", batch=4):
    (folder / "windows.txt").write_text(text)
    return net_of(
        f'layer {{ name: "w" type: "WindowData" top: "data" top: "label" '
        f'window_data_param {{ source: "{folder}/windows.txt" root_folder: "{folder}/" '
        f"batch_size: {batch} {extra} }} transform_param {{ {transform} }} }}",
        0,
    )


def test_window_data_samples_background_then_foreground(images):
    folder, pixels = images
    cv2.imwrite(str(folder / "x.png"), pixels[0])
    net = window_net(
        folder,
        "# 0\nx.png\n3\n6\n8\n3\n7 0.9 2 1 5 4\n3 0.1 0 0 3 3\n2 0.45 0 0 1 1\n",
        "crop_size: 4 mean_value: 10",
        "fg_threshold: 0.5 bg_threshold: 0.4 fg_fraction: 0.25",
    )
    net.forward()
    assert net.blobs["label"].data.tolist() == [0, 0, 0, 7]
    data = net.blobs["data"].data
    image = pixels[0].transpose(2, 0, 1).astype(np.float64)
    for i in range(3):
        np.testing.assert_allclose(data[i], image[:, 0:4, 0:4] - 10)  # a 4x4 window is not resampled
    np.testing.assert_allclose(data[3], image[:, 1:5, 2:6] - 10)


def test_window_data_context_outside_the_image_is_zero(images):
    folder, pixels = images
    cv2.imwrite(str(folder / "x.png"), np.full((8, 8, 3), 50, np.uint8))
    # Box 0..3 in both axes, crop 8 with context 2: half 2, centre 2, scale 8/4: the region is -2..6, 9 wide.
    # Two of nine pixels lie outside: round(2 * 8/9) = 2 warped ones; round(7 * 8/9) = 6 are image.
    net = window_net(
        folder,
        "# 0\nx.png\n3\n8\n8\n1\n1 1.0 0 0 3 3\n",
        "crop_size: 8 mean_value: 20",
        "context_pad: 2 fg_fraction: 1.0",
        batch=1,
    )
    net.forward()
    expected = np.zeros((3, 8, 8))
    expected[:, 2:, 2:] = 30
    np.testing.assert_allclose(net.blobs["data"].data[0], expected)


@pytest.mark.parametrize(
    "text, message",
    [
        ("0\nx.png\n", r"windows.txt:1.*'# image_index'"),
        ("# 0\nx.png\n3\n6\n8\n2\n7 0.9 2 1 5 4\n", "expected class index, found the end"),
        ("# 0\nx.png\n3\n6\n8\n1\n7 high 2 1 5 4\n", r"windows.txt:7.*overlap.*'high'"),
        ("# 0\nx.png\n3\n6\n8\n1\n0 0.9 2 1 5 4\n", r"windows.txt:7.*class 0"),
        ("# 0\nx.png\n3\n6\n8\n1\n1 0.9 2 1 5 4\n", "no background window"),
    ],
)
def test_window_file_errors(images, text, message):
    with pytest.raises(DataError, match=message):
        window_net(images[0], text)


# ---- MatWrite


def test_mat_write_names_and_dimensions(tmp_path):
    (tmp_path / "ids.txt").write_text("one.jpg x\ntwo.jpg y\n")
    (tmp_path / "out").mkdir()
    net = net_of(
        'layer { name: "i" type: "Input" top: "x" '
        "input_param { shape { dim: 1 dim: 2 dim: 3 dim: 4 } } } "
        f'layer {{ name: "m" type: "MatWrite" bottom: "x" mat_write_param {{ '
        f'prefix: "{tmp_path}/out/s_" source: "{tmp_path}/ids.txt" strip: 4 }} }}'
    )
    values = np.random.default_rng(8).random((2, 2, 3, 4)).astype(np.float32)
    for value in values:
        net.blobs["x"].data[...] = value
        net.forward()
    for name, value in zip(("one", "two"), values):
        data = scipy.io.loadmat(tmp_path / "out" / f"s_{name}_blob_0.mat")["data"]
        assert data.dtype == np.float32
        assert np.array_equal(data.reshape(4, 3, 2), value.transpose(2, 1, 0))  # W, H, C (N = 1 is dropped)
    with pytest.raises(DataError, match="ids.txt names only 2"):
        net.forward()


def test_mat_write_period_without_source(tmp_path):
    net = net_of(
        'layer { name: "i" type: "Input" top: "x" input_param { shape { dim: 2 } } } '
        'layer { name: "m" type: "MatWrite" bottom: "x" '
        f'mat_write_param {{ prefix: "{tmp_path}/" period: 2 }} }}'
    )
    for _ in range(4):
        net.forward()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["iter_0_blob_0.mat", "iter_2_blob_0.mat"]


@pytest.mark.parametrize("name", ["../outside/x", "link/x"])
def test_mat_write_stays_in_the_folder_of_its_prefix(tmp_path, name):
    for folder in ("out", "outside"):
        (tmp_path / folder).mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "list.txt").write_text(f"{name}\n")
    text = (
        'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 1 dim: 2 } } }\n'
        'layer { name: "m" type: "MatWrite" bottom: "d" mat_write_param { '
        f'prefix: "{tmp_path}/out/" source: "{tmp_path}/list.txt" }} }}\n'
    )
    (tmp_path / "net.prototxt").write_text(text)
    net = Net(str(tmp_path / "net.prototxt"), pb.TEST)
    with pytest.raises(DataError, match="it leads out of the folder of prefix"):
        net.forward()
    assert not list((tmp_path / "outside").iterdir())


def test_hdf5_output_replaces_no_device(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "net.prototxt").write_text(
        'layer { name: "d" type: "DummyData" top: "d" top: "l" dummy_data_param { shape { dim: 1 dim: 1 } '
        'shape { dim: 1 dim: 1 } } }\nlayer { name: "h" type: "HDF5Output" bottom: "d" bottom: "l" '
        f'hdf5_output_param {{ file_name: "{tmp_path}/pipe" }} }}\n'
    )
    net = Net(str(tmp_path / "net.prototxt"), pb.TEST)
    with pytest.raises(DataError, match="no regular file"):
        net.forward()
    assert (tmp_path / "pipe").is_fifo()


def test_an_image_is_not_resized_to_what_memory_does_not_hold(images):
    folder, _ = images
    with pytest.raises(NetError, match="an image resized to 4000000000 x 4000000000 needs"):
        image_net(folder, "new_height: 4000000000 new_width: 4000000000")
    with memory.shapes_only(), pytest.raises(DataError, match="cannot be resized to 4000000000 x 4000000000"):
        image_net(folder, "new_height: 4000000000 new_width: 4000000000")
