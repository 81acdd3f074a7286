"""The step on a device: bit for bit what numpy computes, with nothing but results on the host.

The same code runs here on tensors of the CPU; on a machine with a GPU there as well.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the embedded Caffe needs torch")

from caffe_gp.caffe import device_array, mode  # noqa: E402
from caffe_gp.caffe.blob import Blob  # noqa: E402
from caffe_gp.caffe.device_array import DeviceArray  # noqa: E402
from caffe_gp.errors import OutOfMemoryError  # noqa: E402
from caffe_gp.gp import GuidedPerturbation, encodings  # noqa: E402
from conformance import gp_nets as nets  # noqa: E402

SHAPE = (2, 3, 40, 52)
METHODS: list[dict[str, Any]] = [
    {},
    {"iterations": 3},
    {"encoding": "random-onehot", "iterations": 2},
    {"encoding": "uniform"},
    {"encoding": "top2"},
    {"encoding": "top2", "inject": "softmax-output"},
    {"encoding": "soft"},
    {"encoding": "ground-truth"},
    {"encoding": "thresholded-onehot", "threshold": 0.2, "iterations": 2},
    {"encoding": "entropy", "iterations": 2},
    {"encoding": lambda y: y**2},
    {"encoding": lambda z, y: z * y, "iterations": 2},
    {"step": "gradient", "iterations": 2},
    {"step": lambda diff: diff * 3, "iterations": 2},
    {"blob": "pool3", "iterations": 2},
]


def method_name(method: dict[str, Any]) -> str:
    """For a test's name, the same in every process: functions have addresses."""
    return ", ".join(f"{name} {'function' if callable(value) else value}" for name, value in method.items())


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Switch to arrays that stay where the layers compute."""
    return lambda: monkeypatch.setattr(device_array, "_on_cpu_too", True)


def images(shape: tuple[int, ...] = SHAPE, seed: int = 3) -> np.ndarray:
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def fcn(tmp_path: Any) -> Any:
    return nets.load(tmp_path, nets.input_layer(SHAPE) + nets.fcn("8s"))


def same(one: Any, other: Any) -> None:
    """Every array of two results, as numpy's."""
    for name, mine in vars(one).items():
        theirs = getattr(other, name)
        if isinstance(theirs, np.ndarray):
            assert isinstance(mine, np.ndarray) and mine.dtype == theirs.dtype, name
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
        else:
            assert mine == theirs or name == "seconds", name


@pytest.mark.parametrize("method", METHODS, ids=method_name)
def test_the_bits_are_numpy_s(tmp_path, on_device, method):
    loaded = fcn(tmp_path)
    gp = GuidedPerturbation(loaded, **method)
    shape = loaded.net.blobs[loaded.score].shape
    random = np.random.RandomState(1)
    given = {f"keep_{what}": True for what in ("probabilities", "scores", "blob", "diff")}
    labels = random.randint(0, shape[1], (SHAPE[0], *shape[2:]))
    labels[:, :5] = 255
    if method.get("encoding") == "ground-truth":
        given["labels"] = labels
    masks = [None, random.uniform(size=labels.shape) < 0.7]
    seen: list[list[np.ndarray]] = []

    def results() -> list[Any]:
        seen.append([])

        def watch(k: int, y: np.ndarray) -> None:
            assert isinstance(y, np.ndarray)
            seen[-1].append(y.copy())

        found = [gp(images(), [0.3, -0.3, 2], valid=one, on_probabilities=watch, **given) for one in masks]
        found.append(gp(images(), 0.5, **given))
        if "labels" not in given:
            found.append(gp.more(found[0], images(), [1.0, 3.0]))
        return found

    expected = results()
    on_device()
    for one, other in zip(results(), expected):
        same(one, other)
    for one, other in zip(*seen):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("encoding", [name for name in encodings.ENCODINGS if name != "entropy"])
@pytest.mark.parametrize("shape", [(1, 21, 1, 2), (3, 60, 5, 7), (1, 2, 33, 1), (2, 300, 4, 4)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_formula(on_device, encoding, shape, layout):
    on_device()
    random = np.random.RandomState(0)
    y = encodings.softmax((3 * random.standard_normal(shape)).astype(np.float32))
    y[:, :2] = y[:, :2].max(axis=1, keepdims=True)  # equal ones
    truth = random.randint(0, shape[1], (shape[0], *shape[2:]))
    truth[..., 0] = 255
    options = {"truth": truth, "seeds": [[1, 2, k] for k in range(shape[0])]}
    if encoding == "thresholded-onehot":
        options["threshold"] = float(np.median(y.max(axis=1)))
    there = DeviceArray(torch.from_numpy(y.copy()).contiguous(memory_format=layout))
    for inject in encodings.INJECTIONS:
        expected = encodings.signal_of(encoding, inject, y, lambda: y, **options)
        found = encodings.signal_of(encoding, inject, there, lambda: y, **options)
        assert isinstance(found, DeviceArray) and found.dtype == np.float32
        np.testing.assert_array_equal(np.asarray(found), expected)
    for one, other in zip(encodings.most_confident(there), encodings.most_confident(y)):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(np.asarray(one), other)
    np.testing.assert_array_equal(np.asarray(there), y)


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.uint64, np.int64])
def test_labels_of_every_kind(on_device, kind):
    on_device()
    y = encodings.softmax(images((1, 5, 6, 7)))
    truth = np.random.RandomState(0).randint(0, 5, (1, 6, 14)).astype(kind)[:, :, ::2]
    truth.flags.writeable = False
    there = DeviceArray(torch.from_numpy(y))
    found = encodings.label_distribution("ground-truth", there, truth=truth)
    np.testing.assert_array_equal(
        np.asarray(found), encodings.label_distribution("ground-truth", y, truth=truth)
    )


def test_nan_goes_the_way_of_numpy(on_device):
    on_device()
    for shape in ((1, 3, 4, 4), (1, 3, 40, 40)):
        y = images(shape)
        y[0, 1, 2, 2] = np.nan
        found = encodings.most_confident(DeviceArray(torch.from_numpy(y)))
        for one, other in zip(found, encodings.most_confident(y)):
            np.testing.assert_array_equal(np.asarray(one), other)


def test_only_results_come_to_the_host(tmp_path, on_device, monkeypatch):
    """A gigabyte a second is what probabilities would take, pass after pass."""
    on_device()
    loaded = fcn(tmp_path)
    gp = GuidedPerturbation(loaded, iterations=2)
    gp(images(), [0.3, 1.0])
    copied: list[int] = []
    to_numpy = DeviceArray.__array__

    def counted(self: DeviceArray, *args: Any, **options: Any) -> np.ndarray:
        copied.append(self.size * self.dtype.itemsize)
        return to_numpy(self, *args, **options)

    def refused(*_: Any) -> Any:
        raise AssertionError("a blob was copied to the host")

    monkeypatch.setattr(DeviceArray, "__array__", counted)
    for name in ("read_data", "read_diff", "data", "diff"):
        replaced = property(refused) if name in ("data", "diff") else refused
        monkeypatch.setattr(Blob, name, replaced)
    gp(images(), [0.3, 1.0])
    scores = loaded.net.blobs[loaded.score].shape
    labels_and_confidence = 5 * SHAPE[0] * scores[2] * scores[3]
    one_pixel = 4 * scores[1]
    signs = int(np.prod(SHAPE))
    assert sum(copied) == 3 * labels_and_confidence + 2 * signs + 5 * one_pixel


def test_passes_return_views_to_everybody_else(tmp_path, on_device):
    on_device()
    net = fcn(tmp_path).net
    assert set(net.forward()) == set(net.outputs)
    with net.only_diffs("data"):
        assert net.forward() == {} and net.backward() == {}


def test_what_numpy_has_and_this_has_not_is_an_error():
    y = DeviceArray(torch.ones(2, 3, 4, 4))
    for call in (np.exp, np.median, np.stack, lambda one: np.add.reduce(one), lambda one: one**2):
        with pytest.raises(TypeError):
            call(y)
    with pytest.raises(TypeError):
        np.add(y, y, out=np.ones((2, 3, 4, 4), np.float32))
    assert repr(y) == "<DeviceArray float32 (2, 3, 4, 4) on cpu>"
    kept = np.array(y)
    kept += 1
    assert (np.asarray(y) == 1).all() and len(y) == 2 and np.asarray(y, np.float64).dtype == np.float64


def test_a_full_device_says_what_helps(monkeypatch):
    def full(*_: Any) -> Any:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setitem(device_array._UFUNCS, np.multiply, full)
    y = DeviceArray(torch.ones(1, 3, 4, 4))
    with pytest.raises(OutOfMemoryError, match="smaller images or a smaller batch.*2 GiB"):
        y * y


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.parametrize("method", METHODS, ids=method_name)
def test_on_a_gpu(tmp_path, method, monkeypatch):
    """Against numpy's path on the same GPU, where sums of a convolution may come in any order."""
    try:
        loaded = nets.load(tmp_path, nets.input_layer(SHAPE) + nets.fcn("8s"), device="cuda")
        gp = GuidedPerturbation(loaded, **method)
        labels = np.zeros((SHAPE[0], *loaded.net.blobs[loaded.score].shape[2:]), int)
        given = {"labels": labels} if method.get("encoding") == "ground-truth" else {}
        found = gp(images(), [0.3, -0.3], **given)
        monkeypatch.setattr(device_array, "is_wanted", lambda: False)
        expected = gp(images(), [0.3, -0.3], **given)
        assert (found.labels == expected.labels).mean() > 0.999
        assert (found.perturbation == expected.perturbation).mean() > 0.999
        np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-4)
    finally:
        mode.set_mode_cpu()
