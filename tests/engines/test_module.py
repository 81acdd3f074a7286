"""Modules of torch under guided perturbations, against the embedded Caffe and against finite differences."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="wrap_module is about torch's modules")
from torch import nn  # noqa: E402

from caffe_gp import engines  # noqa: E402
from caffe_gp.engines.module import wrap_module  # noqa: E402
from caffe_gp.errors import CaffeGPError, NetError, UsageError, ZeroGradientError  # noqa: E402
from caffe_gp.gp import GuidedPerturbation, NeighbourPerturbation  # noqa: E402


class Small(nn.Module):
    """Two ways that meet, a layer in place, scores at half size."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.side = nn.Conv2d(3, 8, 1, stride=2)
        self.head = nn.Conv2d(8, 5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(self.relu(self.first(x))) + self.side(x)))


class Given(nn.Module):
    """Something made of the scores of another module."""

    def __init__(self, inner: nn.Module, make) -> None:
        super().__init__()
        self.inner, self.make = inner, make

    def forward(self, x):
        return self.make(self.inner(x))


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return Small()


def images(n: int = 2) -> np.ndarray:
    return np.random.RandomState(1).normal(size=(n, 3, 12, 10)).astype(np.float32)


@pytest.mark.parametrize("blob", ["data", "first", "body", "body.1"])
def test_the_diff_is_the_derivative_of_the_confidence(module, blob):
    wrapped = wrap_module(module, images(), blob=None if blob == "data" else blob)
    gp = GuidedPerturbation(wrapped, blob=blob)
    result = gp(images(), [0.0, 1e-3], keep_diff=True, keep_blob=True, keep_probabilities=True)
    labels = result.base_labels[:, None].astype(np.int64)

    def confidence(y):
        return np.take_along_axis(y.astype(np.float64), labels, 1).sum()

    np.testing.assert_array_equal(result.probabilities[0], result.base_probabilities)
    rise = confidence(result.probabilities[1]) - confidence(result.base_probabilities)
    assert rise == pytest.approx(1e-3 * np.abs(result.diff).sum(), rel=0.05)


def test_it_does_what_autograd_by_hand_does(module):
    x = torch.from_numpy(images()).requires_grad_()
    module.eval()
    y = torch.softmax(module(x), 1)
    y.max(1).values.sum().backward()
    with torch.no_grad():
        expected = torch.softmax(module(x + 0.1 * x.grad.sign()), 1).max(1)
    module.zero_grad()
    result = GuidedPerturbation(wrap_module(module, images()))(images(), 0.1)
    np.testing.assert_array_equal(result.labels, expected.indices.numpy())
    np.testing.assert_allclose(result.confidence, expected.values.numpy(), atol=1e-5)
    assert all(one.grad is None and one.requires_grad for one in module.parameters())


def test_several_steps_other_sizes_and_encodings(module):
    gp = GuidedPerturbation(wrap_module(module, images(), blob="body"), blob="body", iterations=3)
    result = gp(images(), [0.05, 0.1])
    assert np.abs(result.perturbation).max() == 3
    other = np.random.RandomState(2).normal(size=(1, 3, 20, 16)).astype(np.float32)
    assert gp(other, 0.1).labels.shape == (1, 10, 8)
    np.testing.assert_array_equal(gp(images(), [0.05, 0.1]).labels, result.labels)
    entropy = GuidedPerturbation(wrap_module(module, images()), encoding="entropy", step="gradient")
    assert entropy(images(), 0.1).passes == {"forward": 1, "backward": 1, "forward_perturbed": 1}


def test_a_batch_gives_what_each_image_gives_alone(module):
    gp = GuidedPerturbation(wrap_module(module, images(), blob="first"), blob="first")
    together = gp(images(), 0.2)
    for i in range(2):
        np.testing.assert_array_equal(gp(images()[i : i + 1], 0.2).labels[0], together.labels[i])


@pytest.mark.parametrize(
    "make, score",
    [
        (lambda z: {"out": z, "aux": z[:, :1]}, None),
        (lambda z: {"logits": z}, None),
        (lambda z: {"mask": z}, None),
        (lambda z: {"a": z, "b": z}, "b"),
        (lambda z: (z, z[:, :1]), 0),
        (lambda z: [z], None),
        (lambda z: torch.softmax(z, 1), "inner.head"),
        (lambda z: [[z]], lambda output: output[0][0]),
    ],
)
def test_scores_are_found_in_what_a_module_gives(module, make, score):
    expected = GuidedPerturbation(wrap_module(module, images()))(images(), 0.1)
    found = GuidedPerturbation(wrap_module(Given(module, make), images(), score=score))(images(), 0.1)
    np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize(
    "make, more, message",
    [
        (lambda z: {"a": z, "b": z}, {}, "gives a, b: say with score= which one"),
        (lambda z: (z, z), {}, "gives 2 things: say with score="),
        (lambda z: (z, z), {"score": 2}, "0 to 1; found 2"),
        (lambda z: "scores", {}, "gives str, expected a float32 tensor"),
        (lambda z: z.double(), {}, "gives torch.float64, expected a float32 tensor"),
        (lambda z: z.sum(), {}, "expected .N, classes. or"),
        (lambda z: torch.softmax(z, 1), {}, "are probabilities, which sum to 1"),
        (lambda z: z, {"blob": "inner.bod"}, "no inner module of that name; did you mean inner.body"),
        (lambda z: z, {"score": "inner.hed"}, "no inner module of that name; did you mean inner.head"),
        (lambda z: z, {"blob": ""}, "no inner module of that name"),
    ],
)
def test_what_cannot_be_wrapped(module, make, more, message):
    with pytest.raises(CaffeGPError, match=message):
        wrap_module(Given(module, make), images(), **more)


def test_other_refusals(module):
    with pytest.raises(UsageError, match="call module.float.. first"):
        wrap_module(Small().half(), images())
    with pytest.raises(UsageError, match="takes a torch.nn.Module, found function"):
        wrap_module(lambda x: x, images())
    with pytest.raises(CaffeGPError, match="expected images .N, C, H, W. of floats"):
        wrap_module(module, np.zeros((2, 3, 4, 4), np.uint8))

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Conv2d(3, 3, 1)

        def forward(self, x):
            return self.inner(self.inner(x))

    with pytest.raises(NetError, match="'inner' runs 2 times in a pass"):
        wrap_module(Twice(), images(), blob="inner")
    with pytest.raises(ZeroGradientError):
        GuidedPerturbation(wrap_module(Given(module, torch.detach), images()))(images(), 0.1)


def test_a_classifier(module):
    pooled = nn.Sequential(module, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    wrapped = wrap_module(pooled, images())
    result = GuidedPerturbation(wrapped)(images(), 0.5)
    assert result.labels.shape == (2,) and (result.confidence > result.base_confidence).all()
    method = NeighbourPerturbation(wrapped, features=["score"])
    base, _ = method.look(images())
    np.testing.assert_array_equal(base, result.base_labels)
    assert set(np.unique(method.toward(base))) <= {-1, 0, 1}


def test_a_caffe_net_and_the_same_net_as_a_module(tmp_path):
    """Convolutions, pooling and ReLUs with the weights of the caffemodel."""
    text = """input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 16 }
layer { name: "c1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 6 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }
layer { name: "r1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "p1" type: "Pooling" bottom: "c1" top: "p1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "c2" type: "Convolution" bottom: "p1" top: "c2"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "msra" } } }"""
    (tmp_path / "net.prototxt").write_text(text)
    loaded = engines.load_net(tmp_path / "net.prototxt", engine="torch", score="c2")
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3, padding=1)
    )
    for index, name in ((0, "c1"), (3, "c2")):
        weight, bias = loaded.net.params[name]
        module[index].weight.data = torch.from_numpy(weight.data.copy())
        module[index].bias.data = torch.from_numpy(bias.data.copy())
    x = np.random.RandomState(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    wrapped = wrap_module(module, x, blob="2")
    for ours, theirs in (("data", "data"), ("2", "p1")):
        found = GuidedPerturbation(wrapped, blob=ours)(x, 0.2)
        expected = GuidedPerturbation(loaded, blob=theirs)(x, 0.2)
        assert (found.perturbation != expected.perturbation).mean() < 1e-3
        np.testing.assert_array_equal(found.labels, expected.labels)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "fcn_resnet50", "deeplabv3_mobilenet_v3_large"])
def test_torchvision_s_nets(name):
    models = pytest.importorskip("torchvision.models", reason="torchvision is not installed")
    make = getattr(models, name, None) or getattr(models.segmentation, name)
    torch.manual_seed(0)
    x = torch.randn(1, 3, 64, 64)
    options = {"weights_backbone": None} if hasattr(models.segmentation, name) else {}
    module = make(weights=None, **options)
    # Without statistics of its batch normalisation a new net gives every class the same.
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None  # the mean of all passes: of this one
    with torch.no_grad():
        module.train()(torch.randn(8, 3, 64, 64))
    wrapped = wrap_module(module.eval(), x, channels_last=True)
    result = GuidedPerturbation(wrapped)(x.numpy(), 0.05)
    assert result.confidence.mean() > result.base_confidence.mean()


def test_features_are_what_goes_into_the_last_layer_or_what_is_named(module):
    pooled = nn.Sequential(module, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3), nn.Softplus())
    wrapped = wrap_module(pooled, images())
    assert wrapped.features == ("input of 3",) and wrapped.net.outputs == ["score"]
    _, found = NeighbourPerturbation(wrapped).look(images())
    with torch.no_grad():
        expected = pooled[:3](torch.from_numpy(images())).numpy()
    np.testing.assert_allclose(found["input of 3"], expected, atol=1e-6)
    named = wrap_module(pooled, images(), blob="0.relu", features=["0.first", "0.relu"])
    method = NeighbourPerturbation(named, blob="0.relu")
    _, found = method.look(images())
    # What the layer gave, though a ReLU in place follows.
    np.testing.assert_allclose(np.maximum(found["0.first"], 0), found["0.relu"], atol=1e-6)
    assert found["0.first"].min() < 0 and np.abs(method.toward(np.array([0, 1]))).max() == 1
    assert wrap_module(module, images()).features == ()  # it labels pixels
    with pytest.raises(UsageError, match="features='0.fist': the module has no inner module of that name"):
        wrap_module(pooled, images(), features=["0.fist"])


def test_what_is_random_fails_or_is_pickled(module):
    with pytest.raises(NetError, match="other scores for the same images when asked again, by up to"):
        wrap_module(Given(module, lambda z: nn.functional.dropout(z)), images())
    with pytest.raises(NetError, match="fails on images of 2 x 3 x 12 x 10: RuntimeError: .*py:"):
        wrap_module(Given(module, lambda z: z.reshape(7, 7)), images())
    wrapped = wrap_module(module, images())
    assert repr(wrapped) == "<WrappedModule Small: data (2, 3, 12, 10) -> score (2, 5, 6, 5); cpu>"
    for one in (wrapped, GuidedPerturbation(wrapped)):
        with pytest.raises(UsageError, match="have each process open its own"):
            pickle.dumps(one)
