"""docs/migration.md: every example and command runs as it is printed, on the files that it names."""

from __future__ import annotations

import re
import shlex
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe_gp.caffe as caffe
from caffe_gp.caffe.layers import layer_type_list
from caffe_gp.cli.main import main
from caffe_gp.proto import messages as pb
from conformance.folders import ROOT

cv2 = pytest.importorskip("cv2")
PAGE = (ROOT / "docs/migration.md").read_text(encoding="utf-8")
BEGINNING, *_rest = re.split(r"^#{2,3} ", PAGE, flags=re.M)
SECTIONS = dict(text.split("\n", 1) for text in _rest)

ENET = "caffemodels/enet_cityscapes_wanggao/caffe-app/caffe-enet/model"
# Files of the page that lie elsewhere than in released/*/ under their own name.
FILES = {
    "photo.jpg": "voc2012/VOCdevkit/VOC2012/JPEGImages/2007_000323.jpg",
    "street.png": "caffemodels/enet_timosaemann/example_image/munich_000000_000019_leftImg8bit.png",
    "hed_deploy.prototxt": "released_prototxts/s9xie+hed/examples__hed__deploy.prototxt",
    "googlenet_deploy.prototxt": "released_prototxts/BVLC+caffe/models__bvlc_googlenet__deploy.prototxt",
    "lenet.prototxt": "caffemodels/lenet_ethereon/examples/mnist/lenet.prototxt",
    "lenet.caffemodel": "caffemodels/lenet_ethereon/examples/mnist/lenet_iter_10000.caffemodel",
    "enet_deploy_final.prototxt": f"{ENET}/enet_deploy_final.prototxt",
    "cityscapes_weights.caffemodel": f"{ENET}/cityscapes_weights.caffemodel",
}
# An encoder and a decoder, with SegNet's layers.
SEGNET = """
input: "data" input_shape { dim: 1 dim: 3 dim: 64 dim: 96 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }
layer { name: "conv1_bn" type: "BN" bottom: "conv1" top: "conv1" bn_param { bn_mode: INFERENCE } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" top: "pool1_mask"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "upsample1" type: "Upsample" bottom: "pool1" bottom: "pool1_mask" top: "up"
        upsample_param { scale: 2 } }
layer { name: "classes" type: "Convolution" bottom: "up" top: "classes"
        convolution_param { num_output: 11 kernel_size: 3 pad: 1 } }
layer { name: "prob" type: "Softmax" bottom: "classes" top: "prob" }
"""


def random_weights(prototxt: Path, path: Path) -> None:
    """A caffemodel that keeps values about the same from layer to layer."""
    net, random = caffe.Net(str(prototxt), caffe.TEST), np.random.RandomState(0)
    for blobs in net.params.values():
        for blob in blobs:
            scale = np.sqrt(2 / np.prod(blob.shape[1:])) if len(blob.shape) > 1 else 0.1
            blob.data[...] = random.standard_normal(blob.data.shape) * scale
    net.save(str(path))


def half_precision(caffemodel: Path, path: Path) -> None:
    """The same file with its values as raw bytes of 16-bit numbers, as NVIDIA Caffe writes them."""
    net = pb.NetParameter.FromString(caffemodel.read_bytes())
    for blob in [blob for layer in net.layer for blob in layer.blobs]:
        blob.raw_data = struct.pack(f"<{len(blob.data)}e", *blob.data)
        blob.raw_data_type = pb.FLOAT16
        blob.ClearField("data")
    path.write_bytes(net.SerializeToString())


@pytest.fixture
def files(shared_data, tmp_path, monkeypatch):
    """A folder, where the work is done, with every file that the page names."""
    found = [path for path in (shared_data / "released").glob("*/*") if path.suffix != ".md"]
    links = {path.name: path for path in found} | {name: shared_data / FILES[name] for name in FILES}
    for name, path in links.items():
        (tmp_path / name).symlink_to(path.resolve())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(heading: str) -> dict[str, Any]:
    """The names that are there after the page's beginning and the code of a section."""
    names: dict[str, Any] = {}
    for text in (BEGINNING, SECTIONS[heading]):
        [code] = re.findall(r"```python\n(.*?)```", text, re.S)
        exec(compile(code, f"docs/migration.md: {heading}", "exec"), names)
    return names


def test_face_detector(files):
    found = run("Face detector of SSD's family")["found"]
    assert found.shape[1] == 7 and found[:, 2].max() > 0.9


def test_ultra_light(files):
    names = run("Ultra-Light face detector")
    assert names["boxes"].shape == (1, 4420, 4)
    np.testing.assert_allclose(names["scores"].sum(2), 1, rtol=1e-5)
    assert names["scores"][0, :, 1].max() > 0.9


def test_yolo_face(files):
    grids = run("YOLO face")["grids"]
    assert sorted(grid.shape for grid in grids.values()) == [(1, 18, 9, 11), (1, 18, 18, 22), (1, 18, 36, 44)]
    assert all(np.isfinite(grid).all() and grid.std() > 0 for grid in grids.values())


def test_mtcnn(files):
    """The face that libfacedetection finds is found: eyes above the nose, that above the mouth."""
    names = run("MTCNN")
    height, width = names["photo"].shape[:2]
    found = run("Face detector of SSD's family")["found"]
    box = found[0, 3:] * [width, height, width, height]
    assert names["scores"].max() > 0.99 and names["face"] > 0.99
    assert np.abs([names["left"] - box[0], names["top"] - box[1]]).max() < 30
    (x, y) = names["points"]
    assert x[0] < x[1] and x[3] < x[4] and y[:2].max() < y[2] < y[3:].min()


def test_landmarks(files):
    names = run("Landmarks")
    for points, count in ((names["landmarks"], 68), (names["five"], 5)):
        assert points.shape == (count, 2) and np.isfinite(points).all() and points.std() > 0


def test_edges(files):
    random_weights(files / "hed_deploy.prototxt", files / "hed_pretrained_bsds.caffemodel")
    names = run("Edges")
    assert names["edges"].shape == (120, 160) and 0 <= names["edges"].min() < names["edges"].max() <= 1
    assert names["gradient"].shape == (1, 3, 120, 160) and names["gradient"].any()
    # Uphill is uphill: a small step along the gradient makes more of what it is the gradient of.
    net, before = names["net"], names["net"].blobs["sigmoid-fuse"].data.sum(dtype=np.float64)
    step = names["gradient"] / np.abs(names["gradient"]).max()
    after = net.forward(data=names["x"] + 0.1 * step)["sigmoid-fuse"].sum(dtype=np.float64)
    assert after > before


def test_deep_dream(files):
    random_weights(files / "googlenet_deploy.prototxt", files / "bvlc_googlenet.caffemodel")
    names = run("Deep Dream")
    assert names["dream"].shape == (224, 224, 3)
    assert names["strength"] == sorted(names["strength"]) and len(set(names["strength"])) == 4


def test_enet(files, capsys):
    [command] = re.findall(r"^    caffe_gp (.*)$", SECTIONS["ENet"], re.M)
    assert main(shlex.split(command)) == 0
    assert (files / "out/results.json").exists()


def test_inspect(files, capsys):
    [command] = re.findall(r"^    caffe_gp (.*)$", BEGINNING, re.M)
    assert main(shlex.split(command.replace("deploy.prototxt", "scale2.0x_model.prototxt"))) == 0
    assert "Axpy" in capsys.readouterr().out


def test_segnet(files):
    (files / "segnet_inference.prototxt").write_text(SEGNET)
    random_weights(files / "segnet_inference.prototxt", files / "segnet.caffemodel")
    names = run("SegNet")
    assert names["before"].shape == names["after"].shape == (1, 64, 96)
    assert len(np.unique(names["before"])) > 1


def test_waifu2x(files):
    """About the picture itself, twice as large."""
    names = run("waifu2x")
    small = names["photo"][100:190, 100:190, ::-1] / 255
    inner = cv2.resize(small[13:-13, 13:-13], (128, 128), interpolation=cv2.INTER_CUBIC)
    assert names["larger"].shape == inner.shape
    assert np.abs(names["larger"] - inner).mean() < 0.03


def test_half_precision(files):
    half_precision(files / "lenet.caffemodel", files / "half.caffemodel")
    net = run("Half precision")["net"]
    exact = caffe.Net("lenet.prototxt", "lenet.caffemodel", caffe.TEST)
    for name, blobs in exact.params.items():
        for ours, blob in zip(net.params[name], blobs):
            np.testing.assert_array_equal(ours.data, blob.data.astype(np.float16).astype(np.float32))
    saved = pb.NetParameter.FromString((files / "float.caffemodel").read_bytes())
    blobs = [blob for layer in saved.layer for blob in layer.blobs]
    assert blobs and all(blob.data and not blob.raw_data for blob in blobs)


def test_every_example_is_tested():
    source = Path(__file__).read_text(encoding="utf-8")
    for heading, text in SECTIONS.items():
        if "```" in text:
            assert f'run("{heading}")' in source
        elif "\n    caffe_gp" in text:
            assert f'SECTIONS["{heading}"]' in source


def rows(heading: str) -> list[list[str]]:
    lines = [line for line in SECTIONS[heading].splitlines() if line.startswith("| ")]
    return [line.strip("| ").split(" | ") for line in lines[1:]]


@pytest.mark.parametrize("row", rows("Nets that were not at hand"), ids=lambda row: row[0].split(",")[0])
def test_layers_of_nets_that_were_not_at_hand(row):
    assert set(row[1].split(", ")) <= set(layer_type_list())


def test_what_opencv_5_says(tmp_path):
    """As it is quoted."""
    if int(cv2.__version__.split(".")[0]) < 5:
        pytest.skip("this is OpenCV 4, which has the importer")
    quoted = [cell for row in rows("What was said to you") for cell in re.findall("`([^`]+)`", row[0])]
    (tmp_path / "net.prototxt").write_text(SEGNET)
    (tmp_path / "net.caffemodel").write_bytes(b"")
    said = []
    with pytest.raises(AttributeError) as missing:
        cv2.dnn.readNetFromCaffe(str(tmp_path / "net.prototxt"))  # type: ignore[attr-defined]
    said.append(str(missing.value))
    with pytest.raises(cv2.error) as removed:
        cv2.dnn.readNet(str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel"))
    said.append(str(removed.value))
    assert quoted[0] == said[0] and quoted[1] in said[1]
