"""DeepLab: parameter counts, sizes of every blob, names, sharing among the three scales, gradients."""

from __future__ import annotations

import gc
from collections import Counter

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.errors import NetError
from caffe_gp.models import zoo
from caffe_gp.surgery.prepare import prepare
from tests.models import nets_of_the_zoo as nets

torch = pytest.importorskip("torch")
F = torch.nn.functional

# Counts of the released files, from their descriptions by hand; shared parameters once.
PARAMETERS = {
    "deeplab-vgg16": 37_877_652,
    "deeplab-coco-largefov": 20_505_429,
    "deeplab-resnet101": 44_153_980,
}
SCALES = ("", "_res05", "_res075")
# Residual blocks of ResNet-101, in order.
BLOCKS = [
    *("2a", "2b", "2c"),
    *("3a", "3b1", "3b2", "3b3"),
    *("4a", *(f"4b{i}" for i in range(1, 23))),
    *("5a", "5b", "5c"),
]


def address(blob):
    return blob.data.__array_interface__["data"][0]


def owner_of(name):
    """The full-size layer whose parameters a layer of any scale uses."""
    return name.replace("_res075", "").replace("_res05", "")


@pytest.mark.parametrize("name, expected", PARAMETERS.items())
def test_parameter_count(name, expected):
    net = nets.load(zoo.get(name).net(), 65, 65)
    unique = {address(blob): blob.count for blobs in net.params.values() for blob in blobs}
    assert sum(unique.values()) == expected == zoo.get(name).parameters
    del net
    gc.collect()


@pytest.fixture(scope="module")
def narrow():
    """Nets with few channels, by name; each built once."""
    built = {}

    def get(name):
        if name not in built:
            built[name] = nets.load(nets.narrow(name, channels=3))
        return built[name]

    return get


# ---- VGG-16

POOLS = ("pool1", "pool2", "pool3", "pool4", "pool5")


def test_sizes_of_vgg16(narrow):
    net = narrow("deeplab-vgg16")
    nets.reshape(net, 513, 513)
    assert nets.sizes(net, "conv1_2", *POOLS) == [513, 257, 129, 65, 65, 65]
    for branch in "1234":
        assert nets.sizes(net, f"fc6_{branch}", f"fc7_{branch}", f"fc8_voc12_{branch}") == [65] * 3
    assert nets.sizes(net, "fc8_voc12", "fc8_interp") == [65, 513]


def test_sizes_of_coco_largefov(narrow):
    net = narrow("deeplab-coco-largefov")
    nets.reshape(net, 513, 513)
    found = nets.sizes(net, "conv1_2", *POOLS, "pool5a", "fc6", "fc7", "fc8_voc12", "fc8_interp")
    assert found == [513, 257, 129, 65, 65, 65, 65, 65, 65, 65, 513]


def test_layers_of_vgg16_with_weights(narrow):
    trunk = [f"conv{stage}_{i}" for stage, n in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, n + 1)]
    heads = [f"{layer}_{branch}" for branch in (1, 2, 3, 4) for layer in ("fc6", "fc7", "fc8_voc12")]
    assert list(narrow("deeplab-vgg16").params) == trunk + heads
    assert list(narrow("deeplab-coco-largefov").params) == [*trunk, "fc6", "fc7", "fc8_voc12"]


def test_windows_of_vgg16():
    layers = {layer.name: layer for layer in zoo.get("deeplab-vgg16").net().layer}
    for name in POOLS:
        pool = layers[name].pooling_param
        assert (pool.kernel_size, pool.pad, pool.stride) == (3, 1, 1 if name in ("pool4", "pool5") else 2)
    expected = {"conv4_3": (1, 1), "conv5_1": (2, 2), "conv5_3": (2, 2), "fc7_1": (0, 1)}
    expected.update(fc6_1=(6, 6), fc6_2=(12, 12), fc6_3=(18, 18), fc6_4=(24, 24))
    assert {name: window(layers[name]) for name in expected} == expected
    largefov = {layer.name: layer for layer in zoo.get("deeplab-coco-largefov").net().layer}
    assert window(largefov["fc6"]) == (12, 12) and window(largefov["conv5_2"]) == (2, 2)


def window(layer):
    """(pad, dilation) of a convolution."""
    param = layer.convolution_param
    return (list(param.pad) or [0])[0], (list(param.dilation) or [1])[0]


# ---- ResNet-101

# Sizes of an image of 513 x 513 by scale: image, conv1, pool1, res2 and res3 to res5.
RESNET_SIZES = {
    "": (513, 257, 129, 129, 65),
    "_res05": (257, 129, 65, 65, 33),
    "_res075": (385, 193, 97, 97, 49),
}


@pytest.mark.parametrize("scale", SCALES)
def test_sizes_of_resnet101(narrow, scale):
    net = narrow("deeplab-resnet101")
    nets.reshape(net, 513, 513)
    image, conv1, pool1, res2, deeper = RESNET_SIZES[scale]
    assert nets.sizes(net, f"data{scale}", f"conv1{scale}", f"pool1{scale}") == [image, conv1, pool1]
    for block in BLOCKS:
        blobs = [f"res{block}_branch2{part}{scale}" for part in "abc"] + [f"res{block}{scale}"]
        if block.endswith("a"):
            blobs.append(f"res{block}_branch1{scale}")
        size = res2 if block.startswith("2") else deeper
        assert nets.sizes(net, *blobs) == [size] * len(blobs), block
    heads = [f"fc1_voc12{scale}_c{i}" for i in range(4)] + [f"fc1_voc12{scale}"]
    assert nets.sizes(net, *heads) == [deeper] * 5


def test_sizes_of_resnet101_where_the_scales_meet(narrow):
    """Interp: 513 -> 257 and 385, 33 and 49 -> 65, 65 -> 513."""
    net = narrow("deeplab-resnet101")
    nets.reshape(net, 513, 513)
    assert nets.sizes(net, "data_res05", "data_res075") == [257, 385]
    found = nets.sizes(net, "fc1_voc12_res05_interp", "fc1_voc12_res075_interp", "fc_fusion", "fc1_interp")
    assert found == [65, 65, 65, 513]


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("height, width", [(33, 33), (65, 97), (321, 481)])
def test_scores_have_the_images_size(narrow, name, height, width):
    net = narrow(name)
    nets.reshape(net, height, width)
    assert tuple(net.blobs[zoo.get(name).score].shape[2:]) == (height, width)


def test_scales_do_not_meet_at_other_sizes():
    with pytest.raises(NetError, match="fc_fusion"):
        nets.load(nets.narrow("deeplab-resnet101", channels=3), 49, 49)


def test_kinds_of_layers():
    """As many of each kind as in the released net, whose further layers are its data and its result."""
    kinds = Counter(layer.type for layer in zoo.get("deeplab-resnet101").net().layer)
    assert kinds == {
        "Input": 1,
        "Convolution": 324,
        "BatchNorm": 312,
        "Scale": 312,
        "ReLU": 300,
        "Eltwise": 103,
        "Interp": 5,
        "Pooling": 3,
    }


def test_order_of_layers():
    """The small images, each scale from conv1 to res5c, the classifiers, and where they meet."""
    names = [layer.name for layer in zoo.get("deeplab-resnet101").net().layer]
    expected = ["input", "data_res05", "data_res075"]
    for scale in SCALES:
        expected += [f"{name}{scale}" for name in ("conv1", "bn_conv1", "scale_conv1", "conv1_relu", "pool1")]
        for block in BLOCKS:
            for part in ("1", "2a", "2b", "2c") if block.endswith("a") else ("2a", "2b", "2c"):
                branch = f"{block}_branch{part}"
                expected += [f"res{branch}{scale}", f"bn{branch}{scale}", f"scale{branch}{scale}"]
                if part in ("2a", "2b"):
                    expected.append(f"res{branch}_relu{scale}")
            expected += [f"res{block}{scale}", f"res{block}_relu{scale}"]
    for scale in SCALES:
        expected += [f"fc1_voc12{scale}_c{i}" for i in range(4)] + [f"fc1_voc12{scale}"]
    expected += ["fc1_voc12_res05_interp", "fc1_voc12_res075_interp", "fc_fusion", "fc1_interp"]
    assert names == expected


def test_wiring_of_resnet101():
    layers = {layer.name: layer for layer in zoo.get("deeplab-resnet101").net().layer}
    for scale in SCALES:
        before = f"pool1{scale}"
        for block in BLOCKS:
            first = block.endswith("a")
            shortcut = f"res{block}_branch1{scale}" if first else before
            assert list(layers[f"res{block}{scale}"].bottom) == [shortcut, f"res{block}_branch2c{scale}"]
            assert list(layers[f"res{block}_branch2a{scale}"].bottom) == [before]
            before = f"res{block}{scale}"
    assert list(layers["fc_fusion"].bottom) == [
        "fc1_voc12",
        "fc1_voc12_res075_interp",
        "fc1_voc12_res05_interp",
    ]
    expected = {"res2b_branch2b": (1, 1), "res3b3_branch2b": (1, 1), "res4b22_branch2b": (2, 2)}
    expected.update(res4a_branch2b=(2, 2), res5a_branch2b=(4, 4), res5c_branch2b_res075=(4, 4))
    expected.update({f"fc1_voc12_res05_c{i}": (6 * (i + 1),) * 2 for i in range(4)})
    assert {name: window(layers[name]) for name in expected} == expected
    strided = [n for n, layer in layers.items() if list(layer.convolution_param.stride) == [2]]
    ends = ("conv1", "res3a_branch1", "res3a_branch2a")
    assert strided == [f"{end}{scale}" for scale in SCALES for end in ends]


def test_parameter_names():
    layers = {layer.name: layer for layer in zoo.get("deeplab-resnet101").net().layer}
    names = {name: [spec.name for spec in layer.param] for name, layer in layers.items() if layer.param}
    for name, found in names.items():
        if name.startswith("fc1_voc12"):
            end = name[-2:]
            assert found == [f"fc1_voc12_{end}_w", f"fc1_voc12_{end}_b"]
        else:
            assert found == [f"{owner_of(name)}_{i}" for i in range(len(found))]
    fixed = [layer for layer in layers.values() if layer.type in ("BatchNorm", "Scale")]
    assert not any(spec.lr_mult for layer in fixed for spec in layer.param)
    assert all(layer.batch_norm_param.use_global_stats for layer in fixed if layer.type == "BatchNorm")


def test_scales_share_their_parameters(narrow):
    net = narrow("deeplab-resnet101")
    branches = [name for name in net.params if "_res0" in name]
    assert len(branches) == 2 * len([name for name in net.params if "_res0" not in name]) == 2 * 316
    for name in branches:
        for blob, owner in zip(net.params[name], net.params[owner_of(name)]):
            assert address(blob) == address(owner), name
    net.params["conv1_res075"][0].data[...] = 7
    assert (net.params["conv1"][0].data == 7).all() and (net.params["conv1_res05"][0].data == 7).all()


def random_weights(net, seed):
    """{full-size layer: arrays} that keep values near 1 through 100 layers; BatchNorm's factor is 4."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, blobs in net.params.items():
        shapes = [blob.data.shape for blob in blobs]
        if "_res0" in name or name == "probe":
            continue
        if name.startswith("bn"):
            arrays[name] = [rng.normal(0, 0.4, shapes[0]), rng.uniform(2, 6, shapes[1]), np.full(1, 4.0)]
        elif name.startswith("scale"):
            arrays[name] = [rng.uniform(0.4, 0.8, shapes[0]), rng.normal(0, 0.1, shapes[1])]
        else:
            arrays[name] = [rng.normal(0, np.sqrt(2 / np.prod(shapes[0][1:])), shapes[0])]
            arrays[name] += [rng.normal(0, 0.1, shape) for shape in shapes[1:]]
    return {name: [np.asarray(a, np.float32) for a in blobs] for name, blobs in arrays.items()}


def test_weights_file_with_a_copy_for_every_scale(tmp_path):
    """As Caffe writes it: each layer with its own blobs, the shared ones three times."""
    param = nets.narrow("deeplab-resnet101", channels=3)
    net = nets.load(param, 33, 33)
    owners = random_weights(net, 0)
    path = tmp_path / "resnet.caffemodel"
    proto.write_caffemodel(str(path), param, {name: owners[owner_of(name)] for name in net.params})
    with proto.read_weights(str(path)) as stored:
        assert len([name for name, blobs in stored if blobs]) == 3 * 316
    net.copy_from(str(path))
    for name, blobs in net.params.items():
        for blob, expected in zip(blobs, owners[owner_of(name)]):
            np.testing.assert_array_equal(blob.data, expected)
    # ... and what the net itself saves is the same again.
    again = tmp_path / "again.caffemodel"
    net.save(str(again))
    with proto.read_weights(str(again)) as stored:
        copies = {name: [blob.array().copy() for blob in blobs] for name, blobs in stored if blobs}
    assert copies.keys() == net.params.keys()
    for name, blobs in copies.items():
        for blob, expected in zip(blobs, owners[owner_of(name)]):
            np.testing.assert_array_equal(blob.reshape(expected.shape), expected)


# ---- scores and gradients against autograd in float64


def reference(param, weights, data, scale_with_gradient=None):
    """Blobs of the net by name, in float64 with autograd; ``data`` is the image as a tensor.

    With ``scale_with_gradient`` the other scales see a copy of the image that has no gradient.
    """
    blobs = {}
    for layer in param.layer:
        bottoms = [blobs[name] for name in layer.bottom]
        if "data" in layer.bottom and scale_with_gradient is not None:
            own = {"conv1": "", "data_res05": "_res05", "data_res075": "_res075"}[layer.name]
            if own != scale_with_gradient:
                bottoms = [bottoms[0].detach()]
        blobs[layer.top[0]] = compute(layer, bottoms, weights.get(owner_of(layer.name)), data)
    return blobs


def compute(layer, bottoms, arrays, data):
    arrays = [torch.tensor(array, dtype=torch.float64) for array in arrays or ()]
    channels = [array.reshape(1, -1, 1, 1) for array in arrays]
    if layer.type == "Input":
        return data
    x = bottoms[0]
    if layer.type == "Convolution":
        pad, dilation = window(layer)
        bias = arrays[1] if len(arrays) > 1 else None
        stride = (list(layer.convolution_param.stride) or [1])[0]
        return F.conv2d(x, arrays[0], bias, stride, pad, dilation)
    if layer.type == "BatchNorm":
        mean, variance, factor = channels
        return (x - mean / factor) / torch.sqrt(variance / factor + 1e-5)
    if layer.type == "Scale":
        return x * channels[0] + channels[1]
    if layer.type == "ReLU":
        return torch.relu(x)
    if layer.type == "Pooling":
        pool = layer.pooling_param
        return F.max_pool2d(x, pool.kernel_size, pool.stride, pool.pad, ceil_mode=True)
    if layer.type == "Interp":
        factors = layer.interp_param
        size = [(n - 1) // factors.shrink_factor * factors.zoom_factor + 1 for n in x.shape[2:]]
        return F.interpolate(x, size, mode="bilinear", align_corners=True)
    assert layer.type == "Eltwise"
    stacked = torch.stack(bottoms)
    return stacked.amax(0) if layer.name == "fc_fusion" else stacked.sum(0)


def test_gradient_comes_from_all_three_scales():
    """As GP computes it, on the prepared net; each scale alone, and their sum."""
    param = nets.narrow("deeplab-resnet101", channels=3)
    shape = param.layer[0].input_param.shape[0]
    shape.dim[2], shape.dim[3] = 65, 97
    net = nets.load(prepare(param, score="fc1_interp").net)
    weights = random_weights(net, 1)
    for name, arrays in weights.items():
        for blob, array in zip(net.params[name], arrays):
            blob.data[...] = array
    rng = np.random.default_rng(2)
    image = rng.uniform(-2, 2, (1, 3, 65, 97)).astype(np.float32)
    direction = rng.normal(size=net.blobs["fc1_interp"].data.shape).astype(np.float32)

    net.blobs["data"].data[...] = image
    net.forward()
    net.blobs["fc1_interp"].diff[...] = direction
    net.backward(start="fc1_interp")

    parts = {}
    for scale in SCALES:
        data = torch.tensor(image, dtype=torch.float64, requires_grad=True)
        blobs = reference(param, weights, data, scale)
        (gradient,) = torch.autograd.grad(
            blobs["fc1_interp"], data, torch.tensor(direction, dtype=torch.float64)
        )
        parts[scale] = gradient.numpy()
    for blob in ("data_res05", "data_res075", "res5c", "res5c_res05", "res5c_res075", "fc1_interp"):
        expected = blobs[blob].detach().numpy()
        assert np.abs(net.blobs[blob].data - expected).max() < 1e-4 * np.abs(expected).max(), blob
    total = sum(parts.values())
    size = np.linalg.norm(total)
    assert all(np.linalg.norm(part) > 0.05 * size for part in parts.values())
    assert np.linalg.norm(net.blobs["data"].diff - total) < 1e-4 * size
