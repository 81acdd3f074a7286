"""Our Python layers for the layers of segmentation and classification forks, on CAFFE_GP_ENGINE's engine."""

from __future__ import annotations

import json
from typing import Any, Mapping, Sequence

import numpy as np
import pytest

from caffe_gp import engines, proto
from caffe_gp.proto import messages as pb
from conformance.gp_nets import ENGINE
from tests import forks_formulas as formulas

pytestmark = pytest.mark.engine

RNG = np.random.RandomState(0)
TRAIN, TEST = 0, 1


@pytest.fixture(scope="module")
def caffe():
    return engines.load_caffe(ENGINE)


class Run:
    """A net of one of our Python layers, after a forward; every input gets a diff."""

    def __init__(
        self,
        caffe: Any,
        folder: Any,
        layer: str,
        inputs: Sequence[np.ndarray],
        parameters: Mapping[str, Any] = {},
        blobs: Sequence[np.ndarray] = (),
        in_place: bool = False,
        phase: int = TEST,
    ) -> None:
        net = pb.NetParameter(force_backward=True)
        names = [f"x{i}" for i in range(len(inputs))]
        for name, array in zip(names, inputs):
            net.layer.add(name=name, type="Input", top=[name], input_param={"shape": [{"dim": array.shape}]})
        self._top = names[0] if in_place else "top"
        python_param = {
            "module": "caffe_gp.python_layers.builtin",
            "layer": layer,
            "param_str": json.dumps(parameters),
        }
        net.layer.add(name="layer", type="Python", bottom=names, top=[self._top], python_param=python_param)
        path = str(folder / "net.prototxt")
        proto.write_text(net, path)
        self.net = caffe.Net(path, phase)
        for blob, array in zip(self.net.params["layer"] if blobs else (), blobs):
            assert blob.data.shape == array.shape
            blob.data[...] = array
        self.forward(*inputs)

    def forward(self, *inputs: np.ndarray) -> None:
        for i, array in enumerate(inputs):
            self.net.blobs[f"x{i}"].reshape(*array.shape)
            self.net.blobs[f"x{i}"].data[...] = array
        self.net.forward()

    @property
    def data(self) -> np.ndarray:
        return self.net.blobs[self._top].data.copy()

    def backward(self, dy: np.ndarray) -> list[np.ndarray]:
        """The inputs' diffs."""
        self.net.blobs[self._top].diff[...] = dy
        self.net.backward()
        return [blob.diff.copy() for name, blob in self.net.blobs.items() if name.startswith("x")]

    @property
    def blobs(self) -> Any:
        return self.net.params["layer"]


def close(found: np.ndarray, expected: Any, tolerance: float = 1e-5) -> None:
    expected = np.asarray(expected, np.float64)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-3)


@pytest.fixture
def run(caffe, tmp_path):
    return lambda *args, **options: Run(caffe, tmp_path, *args, **options)


@pytest.mark.parametrize("factors", [(2, 3), (2, 3, 1, 1)])
def test_axpy(run, factors):
    a, x, y, dy = RNG.randn(*factors), *RNG.randn(3, 2, 3, 4, 5)
    found = run("AxpyLayer", [a, x, y])
    close(found.data, formulas.axpy(a, x, y))
    diffs = found.backward(dy)
    close(diffs[0], (dy * x).sum((2, 3)).reshape(factors))
    close(diffs[1], dy * a.reshape(2, 3, 1, 1))
    close(diffs[2], dy)
    found.forward(a[:1], x[:1, :, :2], y[:1, :, :2])
    close(found.data, formulas.axpy(a[:1], x[:1, :, :2], y[:1, :, :2]))


@pytest.mark.parametrize("group", [1, 2, 3, 6])
def test_shuffle_channel(run, group):
    x, dy = RNG.randn(2, 2, 6, 3, 4)
    found = run("ShuffleChannelLayer", [x], {"group": group} if group > 1 else {})
    close(found.data, formulas.shuffled(x, group))
    close(found.backward(dy)[0], formulas.shuffled(dy, 6 // group))


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("slope", [0, 0.25])
def test_relu6(run, slope, in_place):
    x, dy = RNG.uniform(-4, 12, (2, 3, 4, 5)), RNG.randn(2, 3, 4, 5)
    x[0, 0, 0, :3] = 0, 6, -1e-3
    found = run("ReLU6Layer", [x], {"negative_slope": slope} if slope else {}, in_place=in_place)
    close(found.data, formulas.relu6(x, slope))
    close(found.backward(dy)[0], dy * (x < 6) * np.where(x > 0, 1, slope))


@pytest.mark.parametrize("in_place", [False, True])
def test_mish(run, in_place):
    x, dy = RNG.randn(2, 3, 4, 5) * 4, RNG.randn(2, 3, 4, 5)
    x[0, 0, 0, :3] = 0, -200, 200
    found = run("MishLayer", [x], in_place=in_place)
    close(found.data, formulas.mish(x))
    step = 1e-6
    slope = (formulas.mish(x + step) - formulas.mish(x - step)) / (2 * step)
    close(found.backward(dy)[0], dy * slope, 1e-4)


def test_crop_center(run):
    x, dy = RNG.randn(2, 4, 7, 8), RNG.randn(2, 2, 3, 8)
    found = run("CropCenterLayer", [x], {"crop_size": [0, 1, 2, 0]})
    close(found.data, x[:, 1:3, 2:5])
    close(found.backward(dy)[0], np.pad(dy, ((0, 0), (1, 1), (2, 2), (0, 0))))


@pytest.mark.parametrize(
    "layer, parameters, height, width",
    [
        ("UpsampleLayer", {}, 6, 8),
        ("UpsampleLayer", {"scale": 3}, 9, 12),
        ("UpsampleLayer", {"scale": 2, "pad_out_w": True}, 6, 7),
        ("UpsampleLayer", {"upsample_h": 5, "upsample_w": 9}, 5, 9),
        ("UnpoolingLayer", {"kernel_size": 2, "stride": 2, "unpool_h": 5, "unpool_w": 9}, 5, 9),
    ],
)
@pytest.mark.parametrize("places", [2, 40])
def test_unpooling_by_a_mask(run, layer, parameters, height, width, places):
    """Few places: values meet, and the last of them counts."""
    x, dy = RNG.randn(2, 3, 3, 4), RNG.randn(2, 3, height, width)
    mask = RNG.randint(0, min(places, height * width), (2, 3, 3, 4)).astype(np.float64)
    found = run(layer, [x, mask], parameters)
    close(found.data, formulas.from_mask(x, mask, height, width))
    close(found.backward(dy)[0], formulas.at_mask(dy, mask))


def test_further_channels_of_a_mask_do_not_count(run):
    x, mask = RNG.randn(2, 3, 3, 4), RNG.randint(0, 45, (2, 5, 3, 4)).astype(np.float64)
    parameters = {"kernel_size": 2, "unpool_h": 5, "unpool_w": 9}
    found = run("UnpoolingLayer", [x, mask], parameters)
    close(found.data, formulas.from_mask(x, mask[:, :3], 5, 9))
    dy = RNG.randn(2, 3, 5, 9)
    close(found.backward(dy)[0], formulas.at_mask(dy, mask[:, :3]))


@pytest.mark.parametrize("scale", [None, 1, 2, 3])
def test_upsample_of_one_bottom(run, scale):
    x = RNG.randn(2, 3, 4, 5)
    found = run("UpsampleLayer", [x], {"scale": scale} if scale else {})
    close(found.data, formulas.repeated(x, scale or 1))
    dy = RNG.randn(*found.data.shape)
    s = scale or 1
    close(found.backward(dy)[0], dy.reshape(2, 3, 4, s, 5, s).sum((3, 5)))


@pytest.mark.parametrize("method", ["MAX", "AVE", "TILE"])
@pytest.mark.parametrize("kernel, stride, size", formulas.GEOMETRIES)
def test_unpooling_without_a_mask(run, method, kernel, stride, size):
    x, dy = RNG.randn(2, 3, 3, 4), RNG.randn(2, 3, *size)
    parameters = {"unpool": ["MAX", "AVE", "TILE"].index(method)}
    for name, values in (("kernel", kernel), ("stride", stride), ("unpool", size)):
        parameters.update({f"{name}_h": values[0], f"{name}_w": values[1]})
    found = run("UnpoolingLayer", [x], parameters)
    if method == "MAX":
        close(found.data, formulas.at_beginnings(x, stride, size))
        close(found.backward(dy)[0], formulas.from_beginnings(dy, stride, x.shape))
    else:
        close(found.data, formulas.spread(x, kernel, stride, size, method))
        close(found.backward(dy)[0], formulas.means(dy, kernel, stride, x.shape))


SCALE, SHIFT, MEAN = RNG.randn(3, 1, 2, 1, 1)
VARIANCE = RNG.uniform(0.5, 4, (1, 2, 1, 1))
SEGNETS = {"keeps_statistics": False, "fillers": [{}, {}]}
PSPNETS = {"keeps_statistics": True, "fillers": [{}, {}]}


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_segnet_s_bn(run, phase, in_place):
    x, dy = RNG.randn(2, 3, 2, 4, 5)
    hat = formulas.normalised(x, 1e-9)
    inverse = 1 / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-9)
    found = run("BNLayer", [x], SEGNETS, blobs=[SCALE, SHIFT], in_place=in_place, phase=phase)
    close(found.data, hat * SCALE + SHIFT)
    close(found.backward(dy)[0], formulas.through_statistics(dy * SCALE, hat, inverse), 1e-4)
    close(found.blobs[0].diff.ravel(), (dy * hat).sum((0, 2, 3)), 1e-4)
    found.forward(x)
    found.backward(dy)
    close(found.blobs[1].diff.ravel(), dy.sum((0, 2, 3)))  # overwritten


@pytest.mark.parametrize("in_place", [False, True])
def test_segnet_s_bn_of_inference(run, in_place):
    x, dy = RNG.randn(2, 3, 2, 4, 5)
    found = run("BNLayer", [x], {**SEGNETS, "bn_mode": 1}, blobs=[SCALE, SHIFT], in_place=in_place)
    close(found.data, x * SCALE + SHIFT)
    close(found.backward(dy)[0], dy * SCALE)
    close(found.blobs[0].diff.ravel(), (dy * x).sum((0, 2, 3)), 1e-4)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_pspnet_s_bn(run, phase, frozen):
    """At TEST without frozen the backward is that of the batch's statistics, as in the fork."""
    x, dy = RNG.randn(2, 3, 2, 4, 5)
    params = [SCALE, SHIFT, MEAN, VARIANCE]
    found = run("BNLayer", [x], {**PSPNETS, "frozen": frozen, "momentum": 0.75}, blobs=params, phase=phase)
    inverse = 1 / np.sqrt(VARIANCE + 1e-5)
    hat = (x - MEAN) * inverse
    if phase == TRAIN and not frozen:
        inverse = 1 / np.sqrt(x.var((0, 2, 3), keepdims=True) + 1e-5)
        hat = formulas.normalised(x, 1e-5)
        moved = 0.75 * MEAN + 0.25 * x.mean((0, 2, 3), keepdims=True)
        close(found.blobs[2].data, moved)
    else:
        close(found.blobs[2].data, MEAN)
    close(found.data, hat * SCALE + SHIFT)
    expected = formulas.through_statistics(dy * SCALE, hat, inverse)
    close(found.backward(dy)[0], dy * SCALE * inverse if frozen else expected, 1e-4)
    once = found.blobs[0].diff.copy()
    close(once.ravel(), (dy * hat).sum((0, 2, 3)), 1e-4)


def test_bn_s_fillers_and_what_it_learns(run):
    x = RNG.randn(3, 2, 4, 5)
    fillers = [{"value": 2.0}, {"type": "constant", "value": 3.0}]
    found = run("BNLayer", [x], {**PSPNETS, "fillers": fillers, "frozen": True, "learn": False})
    assert [float(blob.data.max()) for blob in found.blobs] == [2, 3, 0, 1]
    found.backward(x)
    assert not any(blob.diff.any() for blob in found.blobs)
    found = run("BNLayer", [x], SEGNETS)
    assert len(found.blobs) == 2 and not found.data.any()


# ---- a whole net of them

NET = """
layer { name: "input" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 16 dim: 20 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }
layer { name: "bn1" type: "BN" bottom: "conv1" top: "conv1" bn_param { scale: 1 bn_mode: INFERENCE } }
layer { name: "relu1" type: "ReLU6" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" top: "mask1"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "dw" type: "ConvolutionDepthwise" bottom: "pool1" top: "dw"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1 bias_term: false } }
layer { name: "bn2" type: "BN" bottom: "dw" top: "bn2" bn_param { frozen: true momentum: 0.95 } }
layer { name: "mish" type: "Mish" bottom: "bn2" top: "bn2" }
layer { name: "shuffle" type: "ShuffleChannel" bottom: "bn2" top: "shuffle"
        shuffle_channel_param { group: 4 } }
layer { name: "squeeze" type: "Pooling" bottom: "shuffle" top: "squeeze"
        pooling_param { pool: AVE global_pooling: true } }
layer { name: "gate" type: "Sigmoid" bottom: "squeeze" top: "gate" }
layer { name: "short" type: "Convolution" bottom: "pool1" top: "short"
        convolution_param { num_output: 8 kernel_size: 1 } }
layer { name: "axpy" type: "Axpy" bottom: "gate" bottom: "shuffle" bottom: "short" top: "axpy" }
layer { name: "pool2" type: "Pooling" bottom: "axpy" top: "pool2" top: "mask2"
        pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "up2" type: "Unpooling" bottom: "pool2" bottom: "mask2" top: "up2"
        unpooling_param { kernel_size: 2 stride: 2 unpool_h: 8 unpool_w: 10 } }
layer { name: "wide" type: "Upsample" bottom: "pool2" top: "wide" upsample_param { scale: 2 } }
layer { name: "tile" type: "UnPooling" bottom: "pool2" top: "tile"
        unpooling_param { unpool: AVE kernel_size: 2 stride: 2 unpool_h: 8 unpool_w: 10 } }
layer { name: "sum" type: "Eltwise" bottom: "up2" bottom: "wide" bottom: "tile" top: "sum" }
layer { name: "up1" type: "Upsample" bottom: "sum" bottom: "mask1" top: "up1" upsample_param { scale: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "up1" top: "conv2"
        convolution_param { num_output: 5 kernel_size: 3 pad: 3 } }
layer { name: "score" type: "CropCenter" bottom: "conv2" top: "score"
        crop_center_param { crop_size: 0 crop_size: 0 crop_size: 2 crop_size: 2 } }
"""


def random_weights() -> dict[str, list[np.ndarray]]:
    rng = np.random.RandomState(3)
    channels = (1, 8, 1, 1)
    arrays = {
        "conv1": [rng.randn(8, 3, 3, 3) * 0.02, rng.randn(8)],
        "bn1": [rng.uniform(0.5, 2, channels), rng.randn(*channels)],
        "dw": [rng.randn(8, 1, 3, 3) * 0.5],
        "bn2": [
            rng.randn(*channels),
            rng.randn(*channels),
            rng.randn(*channels),
            rng.uniform(1, 2, channels),
        ],
        "short": [rng.randn(8, 8, 1, 1) * 0.5, rng.randn(8)],
        "conv2": [rng.randn(5, 8, 3, 3) * 0.3, rng.randn(5)],
    }
    return {name: [array.astype(np.float32) for array in blobs] for name, blobs in arrays.items()}


class ByHand:
    """The net above in float64, by the formulas; ``maxima``: where each pooling found its maxima."""

    def __init__(self, weights: Mapping[str, Sequence[np.ndarray]]) -> None:
        self._weights = {name: [np.float64(blob) for blob in blobs] for name, blobs in weights.items()}

    def __call__(self, image: np.ndarray) -> np.ndarray:
        w = self._weights
        conv1 = formulas.relu6(convolved(image, *w["conv1"], pad=1) * w["bn1"][0] + w["bn1"][1])
        pool1, mask1 = pooled(conv1)
        dw = depthwise(pool1, w["dw"][0])
        slope, bias, mean, variance = w["bn2"]
        shuffled = formulas.shuffled(formulas.mish((dw - mean) / np.sqrt(variance + 1e-5) * slope + bias), 4)
        gate = 1 / (1 + np.exp(-shuffled.mean((2, 3))))
        axpy = formulas.axpy(gate, shuffled, convolved(pool1, *w["short"]))
        pool2, mask2 = pooled(axpy)
        total = formulas.from_mask(pool2, mask2, 8, 10) + formulas.repeated(pool2, 2)
        total += formulas.spread(pool2, (2, 2), (2, 2), (8, 10), "AVE")
        up1 = formulas.from_mask(total, mask1, 16, 20)
        return convolved(up1, *w["conv2"], pad=3)[:, :, 2:-2, 2:-2]


def convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, pad: int = 0) -> np.ndarray:
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    kernel = weight.shape[2]
    height, width = (n - kernel + 1 for n in x.shape[2:])
    y = np.zeros((len(x), len(weight), height, width)) + bias[:, None, None]
    for i in range(kernel):
        for j in range(kernel):
            y += np.einsum("nchw,oc->nohw", x[:, :, i : i + height, j : j + width], weight[:, :, i, j])
    return y


def depthwise(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    planes = [convolved(x[:, c : c + 1], weight[c : c + 1], np.zeros(1), 1) for c in range(len(weight))]
    return np.concatenate(planes, 1)


def pooled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maxima of 2 x 2, and their places h * W + w."""
    n, c, h, w = x.shape
    blocks = (
        x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5).reshape(n, c, h // 2, w // 2, 4)
    )
    at = blocks.argmax(-1)
    rows, columns = np.arange(h // 2)[:, None] * 2 + at // 2, np.arange(w // 2) * 2 + at % 2
    return blocks.max(-1), rows * w + columns


@pytest.fixture
def net_files(tmp_path):
    net = proto.parse_net_param(NET)
    proto.write_text(net, str(tmp_path / "net.prototxt"))
    proto.write_caffemodel(str(tmp_path / "net.caffemodel"), net, random_weights())
    return str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")


def test_a_net_of_them_follows_the_formulas_forward_and_back(net_files):
    """The scores, and the slope of a sum of them along random directions of the image."""
    net = engines.load_net(*net_files, engine=ENGINE, score="score")
    image = np.random.RandomState(1).randn(2, 3, 16, 20) * 40
    image = np.float64(np.float32(image))
    net.net.blobs["data"].data[...] = image
    net.net.forward()
    by_hand = ByHand(random_weights())
    close(np.array(net.net.blobs["score"].data), by_hand(image))
    signal = np.random.RandomState(2).randn(2, 5, 16, 20)
    from caffe_gp.gp.passes import TruncatedPass

    net.net.blobs["score"].diff[...] = signal
    TruncatedPass(net.net, "data", "score").backward()
    diff = np.array(net.net.blobs["data"].diff, np.float64)
    for seed in range(6):
        direction = np.random.RandomState(10 + seed).randn(*image.shape)
        step = 1e-6
        up, down = by_hand(image + step * direction), by_hand(image - step * direction)
        slope = ((up - down) * signal).sum() / (2 * step)
        assert abs((diff * direction).sum() - slope) <= 1e-3 * np.linalg.norm(diff)


@pytest.mark.skipif(ENGINE == "torch", reason="what takes the forks' layers' place on BVLC Caffe")
def test_their_weights_arrive(net_files):
    net = engines.load_net(*net_files, engine=ENGINE, score="score")
    for name, arrays in random_weights().items():
        for blob, array in zip(net.net.params[name], arrays):
            np.testing.assert_array_equal(blob.data, array)
