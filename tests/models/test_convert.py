"""Weights in other frameworks' files become caffemodels: every format there and back, and computed with.

The files are written by foreign_files.py from what the formats are documented to be. That the layouts mean
what they are taken for is tested by computing one convolution and one transposed convolution the foreign
framework's way: with PyTorch, or as Keras and MatConvNet define them.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import warnings
import zipfile
import zlib

import numpy as np
import pytest
from scipy.io import savemat

from caffe_gp import proto
from caffe_gp.caffe.torch_files import read_state_dict
from caffe_gp.cli.main import main
from caffe_gp.errors import CaffeGPError, WeightsError
from caffe_gp.models import zoo
from caffe_gp.models.convert import FORMATS, convert_file, fitting_models, guess_format
from caffe_gp.models.convert.archives import open_archive
from caffe_gp.surgery.param_shapes import param_shapes
from tests.models.foreign_files import (
    CLASSES,
    CRF_NAMES,
    ENDINGS,
    WRITERS,
    random_arrays,
    shrunk,
    write_chainer,
    write_torch_2017,
    write_torch_crf,
)

h5py = pytest.importorskip("h5py")
torch = pytest.importorskip("torch")
caffe = pytest.importorskip("caffe_gp.caffe")

CASES = [
    ("keras-crfasrnn", "crfasrnn-coco", {}),
    ("keras-crfasrnn", "crfasrnn-coco", {"whole_model": True}),
    ("torch-crfasrnn", "crfasrnn-coco", {}),
    ("torch-crfasrnn", "crfasrnn-coco", {"_use_new_zipfile_serialization": False}),
    ("torch-fcn", "fcn-32s", {}),
    ("torch-fcn", "fcn-16s", {}),
    ("torch-fcn", "fcn-8s", {"_use_new_zipfile_serialization": False}),
    ("torch-fcn", "fcn-8s-atonce", {}),
    ("chainer-fcn", "fcn-32s", {}),
    ("chainer-fcn", "fcn-16s", {}),
    ("chainer-fcn", "fcn-8s", {}),
    ("chainer-fcn", "fcn-8s-atonce", {}),
    ("matconvnet-fcn", "fcn-8s-coco", {}),
    ("matconvnet-fcn", "fcn-8s-coco", {"endings": ("_filter", "_bias"), "do_compression": True}),
    ("matconvnet-fcn", "fcn-8s-coco", {"wrapped": True}),
]
OF_EACH_FORMAT = [CASES[0], CASES[2], CASES[6], CASES[10], CASES[12]]


@pytest.fixture
def small_zoo(monkeypatch):
    """The zoo's nets with few channels: files of some kB instead of 545 MB."""
    for name, model in list(zoo.MODELS.items()):
        try:
            param_shapes(model.net())
        except CaffeGPError:
            continue
        small = dataclasses.replace(model, net=lambda name=name: SMALL_NETS[name])
        SMALL_NETS.setdefault(name, shrunk(name))
        monkeypatch.setitem(zoo.MODELS, name, small)


SMALL_NETS: dict = {}


def written(tmp_path, format, model, how):
    """(path of a foreign file, the arrays in it) for a model of the small zoo."""
    arrays = random_arrays(zoo.get(model).net())
    path = tmp_path / f"weights.{ENDINGS[format]}"
    WRITERS[format](path, arrays, **how)
    return path, arrays


def arrays_in(caffemodel):
    with proto.read_weights(caffemodel) as weights:
        return weights.as_dict()


def assert_same_bits(found, expected):
    assert set(found) == set(expected)
    for name, blobs in expected.items():
        assert [blob.shape for blob in found[name]] == [blob.shape for blob in blobs], name
        for mine, theirs in zip(found[name], blobs):
            assert mine.tobytes() == theirs.tobytes(), name


@pytest.mark.parametrize("format, model, how", CASES)
def test_round_trip_is_bit_equal(tmp_path, small_zoo, format, model, how):
    source, arrays = written(tmp_path, format, model, how)
    target = tmp_path / "out.caffemodel"
    convert_file(source, target, model)
    assert_same_bits(arrays_in(target), arrays)
    convert_file(source, tmp_path / "again.caffemodel", model, format)
    assert (tmp_path / "again.caffemodel").read_bytes() == target.read_bytes()


def test_pytorch_files_of_2017(tmp_path, small_zoo):
    arrays = random_arrays(zoo.get("fcn-16s").net())
    write_torch_2017(tmp_path / "w.pth", arrays)
    assert_same_bits(converted(tmp_path, tmp_path / "w.pth", "fcn-16s"), arrays)


@pytest.mark.parametrize("format", ["keras-crfasrnn", "torch-crfasrnn"])
def test_the_crf_is_left_out_for_the_net_without_it(tmp_path, small_zoo, format):
    source, arrays = written(tmp_path, format, "crfasrnn-coco", {})
    convert_file(source, tmp_path / "out.caffemodel", "fcn-8s-coco")
    del arrays["inference1"]
    assert_same_bits(arrays_in(tmp_path / "out.caffemodel"), arrays)


@pytest.mark.parametrize("format, model, how", OF_EACH_FORMAT)
def test_the_caffemodel_loads_and_scores_the_same(tmp_path, small_zoo, format, model, how):
    source, arrays = written(tmp_path, format, model, how)
    convert_file(source, tmp_path / "out.caffemodel", model)
    scores = []
    for fill in (True, False):
        param = type(SMALL_NETS[model])()
        param.CopyFrom(zoo.get(model).net())
        shape = param.layer[0].input_param.shape[0]
        shape.dim[2], shape.dim[3] = 33, 32
        net = caffe.Net.from_param(param, caffe.TEST, source=model)
        if fill:
            for name, blobs in arrays.items():
                for i, blob in enumerate(blobs):
                    net.params[name][i].data[...] = blob
        else:
            net.copy_from(str(tmp_path / "out.caffemodel"))
        net.blobs["data"].data[...] = np.random.RandomState(1).uniform(-100, 100, net.blobs["data"].shape)
        net.forward()
        scores.append(np.array(net.blobs[zoo.get(model).score].data))
    # The sums' order depends on where the weights lie in memory.
    np.testing.assert_allclose(*scores, rtol=0, atol=1e-5 * np.ptp(scores[0]))
    assert np.ptp(scores[0]) > 0


# ---- what the arrays mean, computed the foreign framework's way


def keras_conv(image, kernel, bias):
    """Conv2D, 'valid', stride 1: image (h, w, in), kernel (h, w, in, out); correlation."""
    kh, kw, _, out = kernel.shape
    height, width = image.shape[0] - kh + 1, image.shape[1] - kw + 1
    result = np.zeros((height, width, out))
    for y in range(height):
        for x in range(width):
            for o in range(out):
                result[y, x, o] = (image[y : y + kh, x : x + kw] * kernel[..., o]).sum() + bias[o]
    return result


def keras_conv_transpose(image, kernel, bias, stride):
    """Conv2DTranspose, 'valid', kernel (h, w, out, in): the transpose of the matrix that the convolution of
    the (bigger) result with this kernel is. So is vl_nnconvt, whose kernel is the same."""
    kh, kw, out, _ = kernel.shape
    height, width, _ = image.shape
    result = np.zeros(((height - 1) * stride + kh, (width - 1) * stride + kw, out)) + bias
    for y in range(height):
        for x in range(width):
            patch = result[y * stride : y * stride + kh, x * stride : x * stride + kw]
            patch += np.einsum("hwoi,i->hwo", kernel.astype(np.float64), image[y, x])
    return result


def layer_in_caffe(arrays, param, name, image):
    """What the embedded Caffe makes of ``image`` (h, w, channels) in this one layer, without its padding."""
    layer = next(layer for layer in param.layer if layer.name == name)
    net = type(param)(name=name)
    shape = {"dim": [1, image.shape[2], *image.shape[:2]]}
    net.layer.add(name="in", type="Input", top=["in"], input_param={"shape": [shape]})
    one = net.layer.add()
    one.CopyFrom(layer)
    one.convolution_param.ClearField("pad")
    del one.bottom[:], one.top[:]
    one.bottom.append("in")
    one.top.append("out")
    net = caffe.Net.from_param(net, caffe.TEST, source=name)
    for i, blob in enumerate(arrays[name]):
        net.params[name][i].data[...] = blob
    net.blobs["in"].data[...] = image.transpose(2, 0, 1)
    net.forward()
    return np.array(net.blobs["out"].data[0]).transpose(1, 2, 0)


def converted(tmp_path, source, model):
    convert_file(source, tmp_path / "out.caffemodel", model)
    return arrays_in(tmp_path / "out.caffemodel")


def images(seed=2):
    rng = np.random.RandomState(seed)
    return rng.standard_normal((8, 9, 3)), rng.standard_normal((4, 3, CLASSES))


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_keras_layers_compute_what_keras_defines(tmp_path, small_zoo):
    source, _ = written(tmp_path, "keras-crfasrnn", "crfasrnn-coco", {})
    arrays, param = converted(tmp_path, source, "crfasrnn-coco"), zoo.get("crfasrnn-coco").net()
    picture, scores = images()
    with h5py.File(source, "r") as file:
        layer = file["conv1_1/conv1_1"]
        expected = keras_conv(picture, layer["kernel:0"][()], layer["bias:0"][()])
        close(layer_in_caffe(arrays, param, "conv1_1", picture), expected)
        layer = file["score2/score2"]
        expected = keras_conv_transpose(scores, layer["kernel:0"][()], layer["bias:0"][()], 2)
        close(layer_in_caffe(arrays, param, "score2", scores), expected)


def test_matconvnet_layers_compute_what_matconvnet_defines(tmp_path, small_zoo):
    """vl_nnconv correlates (h, w, in, out); its pictures are red, green, blue."""
    from scipy.io import loadmat

    source, _ = written(tmp_path, "matconvnet-fcn", "fcn-8s-coco", {})
    arrays, param = converted(tmp_path, source, "fcn-8s-coco"), zoo.get("fcn-8s-coco").net()
    params = {entry["name"].item(): entry["value"] for entry in loadmat(source)["params"].ravel()}
    rgb, scores = images()
    expected = keras_conv(rgb, params["conv1_1f"], params["conv1_1b"].ravel())
    close(layer_in_caffe(arrays, param, "conv1_1", rgb[:, :, ::-1]), expected)
    expected = keras_conv_transpose(scores, params["score2f"], params["score2b"].ravel(), 2)
    close(layer_in_caffe(arrays, param, "score2", scores), expected)


@pytest.mark.parametrize(
    "format, model, deconv, theirs",
    [
        ("torch-crfasrnn", "crfasrnn-coco", "score2", "upscore2"),
        ("torch-fcn", "fcn-8s", "upscore2", "upscore2"),
        ("chainer-fcn", "fcn-8s", "upscore_pool4", "upscore_pool4"),
    ],
)
def test_torch_and_chainer_layers_compute_what_torch_does(tmp_path, small_zoo, format, model, deconv, theirs):
    """Chainer documents W of Convolution2D and Deconvolution2D with PyTorch's axes."""
    source, _ = written(tmp_path, format, model, {})
    arrays, param = converted(tmp_path, source, model), zoo.get(model).net()
    if format == "chainer-fcn":
        state = {key.replace("/W", ".weight").replace("/b", ".bias"): v for key, v in np.load(source).items()}
    else:
        state = {key: value.numpy() for key, value in torch.load(source, weights_only=True).items()}
    state = {key: torch.tensor(value, dtype=torch.float64) for key, value in state.items()}
    picture, scores = images()
    functions = torch.nn.functional
    for name, key, image in (("conv1_1", "conv1_1", picture), (deconv, theirs, scores)):
        function = functions.conv2d if name == "conv1_1" else functions.conv_transpose2d
        result = function(
            torch.tensor(image.transpose(2, 0, 1)[None]),
            state[f"{key}.weight"],
            state.get(f"{key}.bias"),
            stride=1 if name == "conv1_1" else 2,
        )
        close(layer_in_caffe(arrays, param, name, image), result[0].numpy().transpose(1, 2, 0))


def test_crf_matrices_mean_the_same_in_all_three(tmp_path, small_zoo):
    """One update of the mean field: Caffe and Keras subtract C (S s + B b), the PyTorch port adds it."""
    rng = np.random.RandomState(3)
    unary, s, b = rng.standard_normal((3, CLASSES))
    matrices = rng.standard_normal((3, CLASSES, CLASSES)).astype(np.float32)
    matrices[2] -= 5 * np.eye(CLASSES, dtype=np.float32)
    arrays = random_arrays(zoo.get("crfasrnn-coco").net())
    arrays["inference1"] = [matrix[None, None] for matrix in matrices]
    ours = unary - matrices[2] @ (matrices[0] @ s + matrices[1] @ b)
    path = tmp_path / "w.pth"
    write_torch_crf(path, arrays)
    state = torch.load(path, weights_only=True)
    spatial, bilateral, compatibility = (state[f"crfrnn.{name}"].numpy() for name in CRF_NAMES)
    np.testing.assert_allclose(unary + compatibility @ (spatial @ s + bilateral @ b), ours, rtol=1e-5)
    back = converted(tmp_path, path, "crfasrnn-coco")["inference1"]
    assert [blob.shape for blob in back] == [(1, 1, CLASSES, CLASSES)] * 3
    np.testing.assert_array_equal(np.concatenate(back)[:, 0], matrices)


# ---- what cannot be converted


def test_guessed_formats(tmp_path, small_zoo):
    for format, model, how in CASES:
        source, _ = written(tmp_path, format, model, how)
        with open_archive(source) as archive:
            assert guess_format(archive).name == format
            fits = fitting_models(FORMATS[format], archive)
        expected = {"fcn-8s": ["fcn-8s", "fcn-8s-atonce"], "crfasrnn-coco": ["fcn-8s-coco", "crfasrnn-coco"]}
        # With as many classes FCN-8s of PASCAL-Context is the same net.
        found = [name for name in fits if name != "fcn-8s-context"]
        assert found == expected.get(model.replace("-atonce", ""), [model])


def refused(source, model, *words, format=None, error=WeightsError):
    target = source.parent / "none.caffemodel"
    with pytest.raises(error) as caught:
        convert_file(source, target, model, format)
    assert not target.exists()
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


def test_missing_extra_and_misshapen_arrays_are_named(tmp_path, small_zoo):
    arrays = random_arrays(zoo.get("fcn-8s").net())
    arrays["conv3_1x"] = arrays.pop("conv3_1")
    arrays["fc6"][0] = arrays["fc6"][0][:, :, :3]
    arrays["fc7"][1] = arrays["fc7"][1][None]
    path = tmp_path / "w.npz"
    write_chainer(path, arrays)
    message = refused(path, "fcn-8s", "layer 'conv3_1', blob 0: 'conv3_1/W' is missing (nearest: conv3_1x/W")
    assert "'conv3_1x/b', shape" in message and "belongs to no layer of the net" in message
    expected = param_shapes(zoo.get("fcn-8s").net())["fc6"][0]
    assert f"does not make the expected {expected}" in message and "layer 'fc7', blob 1" in message


@pytest.mark.parametrize("format, model, how", OF_EACH_FORMAT)
def test_another_model_says_which_it_fits(tmp_path, small_zoo, format, model, how):
    source, _ = written(tmp_path, format, model, how)
    refused(source, "fcn-32s", f"It fits {'fcn-8s' if format.endswith('fcn') else 'fcn-8s-coco'}")


def test_matconvnet_has_no_crf(tmp_path, small_zoo):
    source, _ = written(tmp_path, "matconvnet-fcn", "fcn-8s-coco", {})
    refused(source, "crfasrnn-coco", "layer 'inference1', blob 0", "It fits fcn-8s-coco")


def test_a_compatibility_matrix_of_the_wrong_sign(tmp_path, small_zoo):
    arrays = random_arrays(zoo.get("crfasrnn-coco").net())
    arrays["inference1"][2] *= -1
    write_torch_crf(tmp_path / "w.pth", arrays)
    refused(tmp_path / "w.pth", "crfasrnn-coco", "compatibility matrix", "expected a negative one")


def test_chainer_biases_that_caffe_has_not(tmp_path, small_zoo):
    arrays = random_arrays(zoo.get("fcn-8s").net())
    path = tmp_path / "w.npz"
    write_chainer(path, arrays, **{"upscore2/b": np.zeros(CLASSES, np.float32)})
    convert_file(path, tmp_path / "out.caffemodel", "fcn-8s")
    assert_same_bits(arrays_in(tmp_path / "out.caffemodel"), arrays)
    write_chainer(path, arrays, **{"upscore2/b": np.ones(CLASSES, np.float32)})
    refused(path, "fcn-8s", "'upscore2/b' is not zero")


def test_unknown_names(tmp_path, small_zoo):
    source, _ = written(tmp_path, "torch-fcn", "fcn-8s", {})
    refused(source, "fcn-8", "did you mean", error=CaffeGPError)
    refused(source, "fcn-8s", "unknown format", format="torchfcn", error=CaffeGPError)
    refused(source, "fcn-8s", "the format 'chainer-fcn' is", format="chainer-fcn")
    refused(source, "lenet", "no file of these formats holds such a net")


class Evil:
    def __reduce__(self):
        return print, ("this must not run",)


def test_nothing_in_a_file_is_run(tmp_path, small_zoo, capsys):
    path = tmp_path / "w.pth"
    torch.save({"conv1_1.weight": Evil()}, path)
    refused(path, "fcn-8s", "reading it would run code")
    path = tmp_path / "w.npz"
    np.savez(path, **{"conv1_1/W": np.array([Evil()], object)})
    refused(path, "fcn-8s", "Python objects")
    assert "must not run" not in capsys.readouterr().out


def test_files_that_are_something_else(tmp_path, small_zoo):
    path = tmp_path / "w.h5"
    path.write_text("<!DOCTYPE html><html>")
    refused(path, "fcn-8s", "a web page")
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    refused(path, "fcn-8s", "git-LFS pointer")
    path.write_text("")
    refused(path, "fcn-8s", "empty")
    refused(tmp_path / "nowhere.h5", "fcn-8s", "No such file")
    path.write_bytes(b"\x0a\x05hello")
    refused(path, "fcn-8s", "neither")
    with h5py.File(path, "w") as file:
        file["data/conv1/0"] = np.zeros(3)
    refused(path, "fcn-8s", "neither")
    torch.save({"weights": {"conv1_1.weight": torch.zeros(1)}, "epoch": 3}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "fcn-8s", "expected a state dict", "weights, epoch")
    torch.save(torch.nn.Conv2d(1, 1, 1), tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "fcn-8s", "an object of torch.nn.modules.conv.Conv2d", "state_dict() alone")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "w.pth")
    refused(tmp_path / "w.pth", "fcn-8s", "this is no file of the known formats")
    savemat(tmp_path / "w.mat", {"params": np.zeros(3)})
    refused(tmp_path / "w.mat", "fcn-8s", "no array of structures")
    savemat(tmp_path / "w.mat", {"weights": np.zeros(3)})
    refused(tmp_path / "w.mat", "fcn-8s", "without MatConvNet's params")
    (tmp_path / "w.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(128) + b"x" * 600)
    refused(tmp_path / "w.mat", "fcn-8s", "-v7")
    write_chainer(tmp_path / "w.npz", {"score_fr": [np.zeros(4, np.int64)]})
    with open_archive(tmp_path / "w.npz") as archive, pytest.raises(WeightsError, match="int64, not floats"):
        archive.array("score_fr/W")


def test_claims_of_enormous_arrays_are_refused_before_they_are_made(tmp_path, small_zoo):
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"conv1_1"])
        shape = (1 << 12, 1 << 12, 1 << 12)
        data = file.create_dataset("conv1_1/conv1_1/kernel:0", shape, np.float32, chunks=(64, 64, 64))
        data[:64, :64, :64] = 1
    refused(path, "crfasrnn-coco", "'conv1_1/conv1_1/kernel:0': 1048576 stored bytes claim to be")
    path = tmp_path / "w.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", bytes(100 << 20))
    refused(path, "fcn-16s", "unpacks from")
    source, _ = written(tmp_path, "matconvnet-fcn", "fcn-8s-coco", {})
    whole = source.read_bytes()
    position = whole.index(b"params") - 48  # of the variable's tag
    assert whole[position : position + 4] == b"\x0e\0\0\0"
    variable = whole[position : position + 4] + b"\0\xff\xff\xff" + whole[position + 8 :]
    bomb = zlib.compress(variable)
    source.write_bytes(whole[:128] + np.array([15, len(bomb)], "<u4").tobytes() + bomb)
    refused(source, "fcn-8s-coco", "damaged")


@pytest.mark.parametrize("format, model, how", [*OF_EACH_FORMAT, CASES[3]])
def test_truncated_and_damaged_files(tmp_path, small_zoo, format, model, how):
    source, _ = written(tmp_path, format, model, how)
    whole = source.read_bytes()
    # The last bytes of compressed MATLAB files are check sums, without which scipy reads them too.
    for length in (1, 20, 200, len(whole) // 2, len(whole) - 200):
        source.write_bytes(whole[:length])
        with pytest.raises(WeightsError):
            convert_file(source, tmp_path / "none.caffemodel", model)
    rng = np.random.RandomState(0)
    for _ in range(60):  # not everything has a check sum: a changed weight may pass
        damaged = bytearray(whole)
        for position in rng.randint(0, min(len(whole), 3000), 3):
            damaged[position] = rng.randint(256)
        source.write_bytes(bytes(damaged))
        try:
            convert_file(source, tmp_path / "maybe.caffemodel", model)
        except WeightsError as error:
            assert str(source) in str(error)


def test_the_command(tmp_path, small_zoo, capsys):
    (tmp_path / "page.h5").write_text("<html>")
    args = [str(tmp_path / "page.h5"), str(tmp_path / "out.caffemodel"), "--model", "fcn-8s"]
    assert main(["convert", *args]) == 2
    assert "a web page" in capsys.readouterr().err


def test_state_dicts_in_checkpoints(tmp_path):
    """As training scripts save them: beside the epoch, from one or several GPUs."""
    weights = {"conv.weight": torch.rand(2, 3), "conv.bias": torch.rand(2)}
    parallel = {f"module.{key}": value for key, value in weights.items()}
    for content in (
        weights,
        {"state_dict": weights, "epoch": 3},
        {"model": parallel, "optimizer": {"lr": 0.1}},
    ):
        torch.save(content, tmp_path / "w.pth")
        found = read_state_dict(tmp_path / "w.pth")
        assert list(found) == list(weights)
        np.testing.assert_array_equal(found["conv.weight"], weights["conv.weight"].numpy())


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_tensors_that_are_larger_than_what_is_stored(tmp_path, dtype):
    torch.save({"a.weight": torch.ones(1, dtype=dtype).expand(1 << 15, 1 << 15)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="'a.weight' has the shape .32768, 32768., but . bytes are stored"):
        open_archive(tmp_path / "w.pth")
    one = torch.ones(1 << 20, dtype=dtype)
    torch.save({str(i): one for i in range(100)}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="its tensors claim .* at most 67108864"):
        open_archive(tmp_path / "w.pth")


def test_pytorch_files_are_stored_as_they_are(tmp_path):
    """One that has to be unpacked may be a bomb; pipes and devices are not opened."""
    path, packed = tmp_path / "w.pth", tmp_path / "packed.pth"
    torch.save({"a.weight": torch.zeros(5)}, path)
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    with pytest.raises(WeightsError, match="packed.pth: 'w/data.pkl' in it is packed"):
        read_state_dict(packed)
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(WeightsError, match="pipe.pth: not readable .it is a pipe, not a file"):
        read_state_dict(tmp_path / "pipe.pth")


def _shared_tuples(depth):
    """A tuple of twice a tuple of twice ...: some bytes a level, twice as long to hash and print."""
    made = ()
    for _ in range(depth):
        made = (made, made)
    return made


class _WithSharedKey:
    """Written as a dict with a key that takes for ever to hash, without the writer's hashing it."""

    def __reduce__(self):
        return dict, (), None, None, iter([(_shared_tuples(40), 1)])


@pytest.mark.parametrize(
    "held, says",
    [
        (_WithSharedKey(), "more than 10000000 objects in one"),
        ([[] for _ in range(300_000)], "more than 300000 operations"),
        (bytearray(5), "a bytearray of any size"),
    ],
    ids=["shared", "many", "bytearray"],
)
@pytest.mark.parametrize("today", [True, False])
def test_pickles_that_ask_for_more_than_they_hold(tmp_path, held, says, today):
    path = tmp_path / "w.pth"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(held, path, pickle_protocol=2, _use_new_zipfile_serialization=today)
    with pytest.raises(WeightsError, match=says):
        read_state_dict(path)


@pytest.mark.parametrize("tensor", [torch.ones(3, device="meta"), torch.ones(3, dtype=torch.cfloat).conj()])
def test_tensors_without_values_of_their_own(tmp_path, tensor):
    torch.save({"a": tensor}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="'a' has no values of its own"):
        read_state_dict(tmp_path / "w.pth")


def test_members_over_each_other(tmp_path):
    """A table that names the same bytes many times."""
    torch.save({"a": torch.zeros(1000)}, tmp_path / "w.pth")
    with zipfile.ZipFile(tmp_path / "w.pth", "a") as archive:
        entry = archive.getinfo("w/data/0")
        for number in range(1, 40):
            archive.filelist.append(copy.copy(entry))
            archive.filelist[-1].filename = f"w/data/{number}"
        archive._didModify = True
    with pytest.raises(WeightsError, match="members take more bytes than it has"):
        read_state_dict(tmp_path / "w.pth")
