"""Runs of PyTorch modules by their names, beside the Caffe nets that they were exported from; refusals."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="this is about torch's modules")
safetensors_torch = pytest.importorskip("safetensors.torch", reason="exports are safetensors files")
from torch import nn  # noqa: E402

from caffe_gp.datasets import classification, segmentation  # noqa: E402
from caffe_gp.datasets.digit_scenes import DigitScenes  # noqa: E402
from caffe_gp.engines.user_code import load_module  # noqa: E402
from caffe_gp.errors import CaffeGPError, NetError, UsageError, WeightsError  # noqa: E402
from caffe_gp.evaluation.classification import Classification  # noqa: E402
from caffe_gp.evaluation.classification import evaluate as classify  # noqa: E402
from caffe_gp.evaluation.images import ImageRun, run  # noqa: E402
from caffe_gp.evaluation.segmentation import Evaluation, evaluate  # noqa: E402
from caffe_gp.evaluation.settings import NetSettings  # noqa: E402
from caffe_gp.export import export_net  # noqa: E402
from caffe_gp.images.label_maps import save_label_png  # noqa: E402
from caffe_gp.images.preprocess import Preprocess  # noqa: E402
from caffe_gp.models import weights, zoo  # noqa: E402
from conformance.folders import SHARED_DATA  # noqa: E402
from tests.evaluation import tiny_run  # noqa: E402

NETS = '''"""Modules of a user."""
import torch
from torch import nn
import torch.nn.functional as F

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x):
        return {"out": self.head(torch.relu(self.norm(self.first(x)))), "aux": x}

def make():
    torch.manual_seed(0)
    return Small()

def grey():
    torch.manual_seed(0)
    return nn.Conv2d(1, 4, 3, padding=1)

class Dropping(Small):
    def forward(self, x):
        return F.dropout(super().forward(x)["out"])

made = make()
unseeded = Small
number = 3

def broken():
    raise ValueError("no such file: backbone.pt")

def wants(depth, width=2):
    return make()

def fails():
    net = make()
    net.head = nn.Linear(7, 4)
    return net
'''
TORCHVISION = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with the user's file nets_of_mine.py."""
    (tmp_path / "nets_of_mine.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("nets_of_mine", None)


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """A folder of the digits net, LeNet and the CamVid net as PyTorch files, exported_NAME.py."""
    folder = tmp_path_factory.mktemp("exports")
    for name in ("digits", "lenet", "camvid"):
        model = zoo.get(name)
        size = None if name == "lenet" else (64, 80)
        target = folder / f"exported_{name}.py"
        export_net(model.prototxt(), weights.require(name), torch_file=target, ends=[model.score], size=size)
    return folder


def of_export(folder: Path, name: str) -> dict:
    """The options of a run of it, fed as the Caffe net is."""
    feed = zoo.get(name).feed_options()
    return {"module": f"exported_{name}:Net", "weights": str(folder / f"exported_{name}.safetensors"), **feed}


def label_maps(out: Path) -> dict:
    return {
        str(path.relative_to(out)): np.asarray(Image.open(path))
        for path in sorted(out.rglob("labels/*/*.png"))
    }


def scores(out: Path) -> dict:
    """The summary, to six digits."""
    return json.loads(
        json.dumps(json.loads((out / "results.json").read_text())["summary"]),
        parse_float=lambda text: float(f"{float(text):.6g}"),
    )


# ---- the same net, as Caffe's and as PyTorch's


def test_the_digits_net_exported(exports, tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="the scenes' digits are scikit-learn's")
    monkeypatch.chdir(exports)
    (tmp_path / "images").mkdir()
    scenes = DigitScenes("test")
    for index in range(3):
        image, labels = scenes.scene(index)
        Image.fromarray(image[:, :, ::-1]).save(tmp_path / "images" / f"{index}.png")
        save_label_png(tmp_path / "labels" / f"{index}.png", labels)
    common = {
        "images": tmp_path / "images",
        "labels": str(tmp_path / "labels"),
        "eps": [1, 4],
        "save": "labels",
    }
    caffe = run(ImageRun.of_model("digits", out=tmp_path / "caffe", quiet=True, **common))
    ours = run(ImageRun(out=tmp_path / "module", quiet=True, **of_export(exports, "digits"), **common))
    found, expected = label_maps(tmp_path / "module"), label_maps(tmp_path / "caffe")
    assert list(found) == list(expected) and len(found) == 9
    for name, labels in expected.items():
        np.testing.assert_array_equal(found[name], labels, err_msg=name)
    assert (ours.changed[1] > 0).all()
    np.testing.assert_array_equal(ours.after, caffe.after)
    np.testing.assert_allclose(ours.confidence, caffe.confidence, rtol=1e-5)


def test_the_camvid_net_exported_with_two_workers(exports, shared_data, tmp_path, monkeypatch):
    monkeypatch.chdir(exports)
    data = segmentation.get("camvid-test", SHARED_DATA).available().first(2)
    common = {"data": data, "eps": 0.5, "resize": (240, 180), "quiet": True}
    caffe = evaluate(Evaluation.of_model("camvid", out=tmp_path / "caffe", **common))
    options = {**of_export(exports, "camvid"), **common}
    ours = evaluate(Evaluation(out=tmp_path / "module", workers=2, threads=1, **options))
    assert np.abs(ours.after - caffe.after).sum() <= 1e-4 * caffe.after.sum()
    assert ours.changed.sum() > 1000
    about = ours.origin["model"]
    assert about["module"] == "exported_camvid:Net" and about["module_class"] == "exported_camvid.Net"
    assert about["module_file"] == str(exports / "exported_camvid.py") and len(about["weights_sha256"]) == 64


def test_lenet_exported_classifies_alike(exports, shared_data, tmp_path, monkeypatch):
    """Neighbours are found by what goes into the last layer, as in the Caffe net."""
    monkeypatch.chdir(exports)
    train, test = (classification.get(name, SHARED_DATA) for name in ("mnist-train", "mnist-test"))
    common = {"train": train.first(400), "test": test.first(60), "eps": 0.1, "quiet": True}
    caffe = classify(Classification.of_model("lenet", out=tmp_path / "caffe", **common))
    ours = classify(Classification(out=tmp_path / "module", **of_export(exports, "lenet"), **common))
    assert [one.features for one in ours.variants] == ["input of ip2"]
    np.testing.assert_array_equal(ours.base, caffe.base)
    np.testing.assert_array_equal(ours.neighbours["input of ip2"], caffe.neighbours["ip1"])
    (found,), (expected,) = ours.labels.values(), caffe.labels.values()
    np.testing.assert_array_equal(found, expected)
    assert ours.accuracy() > 0.9


# ---- how it is fed


def test_torchvision_s_way_of_feeding():
    """Against the arithmetic of ToTensor and Normalize in torch."""
    pixels = np.random.RandomState(0).randint(0, 256, (1, 5, 7, 3)).astype(np.uint8)
    feed = Preprocess(**TORCHVISION, channel_order="rgb")
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
    mean, std = (torch.tensor(TORCHVISION[name])[None, :, None, None] for name in ("mean", "std"))
    found = feed.batch(pixels)
    np.testing.assert_array_equal(found, x.sub(mean).div(std).numpy())
    np.testing.assert_array_equal(feed.picture(found[0])[:, :, ::-1], pixels[0])
    bgr = Preprocess(**TORCHVISION, channel_order="bgr").batch(pixels)
    np.testing.assert_array_equal(bgr, found[:, ::-1])
    assert feed.grey_level == pytest.approx(1 / 255 / 0.226, rel=1e-3)
    assert "std" in feed.describe() and "std" not in Preprocess().describe()  # older runs can be resumed


@pytest.mark.parametrize(
    "given, words",
    [
        ({"std": (0.2, 0.2)}, "std must be 1 value above 0, or 3"),
        ({"std": (0.0,)}, "std must be 1 value above 0"),
        ({"std": (0.2,), "scale": 0.5}, "neither a scale nor a mean image"),
        ({"mean": (123.675,), "std": (58.395,)}, "of values 0..1 .divide them by 255."),
    ],
)
def test_std_that_makes_no_sense(given, words):
    with pytest.raises(UsageError, match=words):
        Preprocess(**{"mean": (0.5,), **given})


def test_a_caffe_net_takes_std_too(tmp_path):
    tiny_run.make_net(tmp_path)
    files = str(tmp_path / "net.prototxt"), str(tmp_path / "net.caffemodel")
    source = NetSettings(*files, eps=1, **TORCHVISION).source()
    assert source.preprocess.channel_order == "rgb" and "over std 0.229" in " ".join(source.changes)


# ---- runs


def settings(data, out, **more) -> Evaluation:
    given = {"module": "nets_of_mine:make", **TORCHVISION, "eps": 0.5, "quiet": True, "threads": 1, **more}
    return Evaluation(data=data, out=out, **given)


def test_workers_resumption_and_what_the_key_holds(here):
    data = tiny_run.make_data(here, 6)
    alone = evaluate(settings(data, here / "alone", eps=[0.1, 0.5]))
    shared = evaluate(settings(data, here / "shared", eps=[0.1, 0.5], workers=2))
    np.testing.assert_array_equal(shared.after, alone.after)
    key = json.loads((here / "alone" / "key.json").read_text())
    assert key["module"] == "nets_of_mine:make" and key["module_class"] == "nets_of_mine.Small"
    assert key["weights_sha256"] is None and len(key["state_sha256"]) == len(key["module_file_sha256"]) == 64
    assert "torch" in key["engine_version"] and key["std"] == list(TORCHVISION["std"])
    (here / "nets_of_mine.py").write_text(NETS + "\n# changed\n")
    with pytest.raises(CaffeGPError, match="has module_file_sha256 = "):
        evaluate(settings(data, here / "alone", eps=[0.1, 0.5]))


def test_eps_is_chosen_and_an_inner_blob_is_perturbed(here):
    data = tiny_run.make_data(here, 3)
    run = evaluate(settings(data, here / "out", eps="auto", blob="first", score="out"))
    assert run.eps_choice is not None and run.origin["method"]["blob"] == "first"
    assert run.confidence[1].mean() > run.confidence[0].mean()


def test_grey_images_where_colour_does_not_fit(here):
    data = tiny_run.make_data(here, 2)
    options = {"module": "nets_of_mine:grey", "mean": 0, "scale": 1 / 255, "std": None}
    source = settings(data, here / "out", **options).source()
    assert source.preprocess.channels == 1 and "grey, pixels 0..255" in " ".join(source.changes)


def test_weights_of_both_kinds(here):
    data = tiny_run.make_data(here, 2)
    net = load_module("nets_of_mine:make").module
    with torch.no_grad():
        for one in net.parameters():
            one.mul_(1.5)
    torch.save({"epoch": 3, "state_dict": net.state_dict()}, here / "w.pt")
    safetensors_torch.save_file(net.state_dict(), here / "w.safetensors")
    options = {"module": "nets_of_mine:unseeded"}  # what is made does not count
    runs = []
    for name in ("w.pt", "w.safetensors"):
        out = here / f"of_{name}"
        runs.append(evaluate(settings(data, out, weights=str(here / name), **options)).after)
    np.testing.assert_array_equal(*runs)
    assert (runs[0] != evaluate(settings(data, here / "made")).after).any()


# ---- refusals


@pytest.mark.parametrize(
    "name, words",
    [
        ("nets_of_mine", "expected package.module:factory"),
        (
            "nets_of_mine.py",
            "expected package.module:factory; for a file nets_of_mine.py: --module nets_of_mine:",
        ),
        ("nets_of_mine:", "expected package.module:factory"),
        (
            "nowhere_at_all:make",
            "no Python module 'nowhere_at_all', neither installed nor in the current folder",
        ),
        ("nets_of_mine.deeper:make", "no Python module 'nets_of_mine.deeper'"),
        ("nets_of_mine:mak", "'nets_of_mine' has no 'mak'; did you mean make"),
        ("nets_of_mine:number", "expected a torch.nn.Module or a function that returns one, found int"),
        ("nets_of_mine:wants", "is called without arguments, and needs depth"),
        (
            "nets_of_mine:broken",
            r"calling it fails: ValueError: no such file: backbone.pt \(.*nets_of_mine.py:\d+\)",
        ),
        ("json:dumps", "and needs obj"),
        ("os:getcwd", "it returns str, expected a torch.nn.Module"),
    ],
)
def test_names_that_lead_to_no_module(here, name, words):
    with pytest.raises(CaffeGPError, match=words):
        load_module(name)


def test_a_file_that_an_installed_module_hides(here):
    (here / "safetensors.py").write_text("import nowhere")
    with pytest.raises(UsageError, match="'safetensors' is .*, and there is .*safetensors.py too"):
        load_module("safetensors:make")


def test_code_that_fails(here):
    (here / "half_a_file.py").write_text("import torch\nimport not_installed_at_all\n")
    with pytest.raises(NetError, match="importing it fails: ModuleNotFoundError: .*half_a_file.py:2"):
        load_module("half_a_file:make")
    data = tiny_run.make_data(here, 1)
    with pytest.raises(NetError, match="fails on images of 1 x 3 x 24 x 30: RuntimeError: .*--resize W,H"):
        settings(data, here / "out", module="nets_of_mine:fails").source()
    with pytest.raises(NetError, match="other scores for the same images .* random in evaluation mode"):
        settings(data, here / "out", module="nets_of_mine:Dropping").source()
    with pytest.raises(NetError, match="made other parameters when called again"):
        evaluate(settings(data, here / "out", module="nets_of_mine:unseeded", workers=2))
    assert isinstance(load_module("nets_of_mine:made").module, nn.Module)


class Harmful:
    def __reduce__(self):
        return Path.touch, (Path("hit"),)


def test_weights_that_do_not_fit_or_are_none(here):
    state = load_module("nets_of_mine:make").module.state_dict()
    less = {key: value for key, value in state.items() if not key.startswith("head")}
    more = {**state, "classifier.weight": torch.zeros(2)}
    other = {**state, "head.weight": torch.zeros(21, 6, 3, 3)}
    for name, content, words in (
        ("less.pt", less, r"lacks 2 of 9 keys \(head.weight, head.bias\); --allow-missing-weights"),
        ("more.pt", more, r"the module has no 1 of 10 keys \(classifier.weight\)"),
        ("other.pt", other, r"head.weight is \(21, 6, 3, 3\), expected \(4, 6, 3, 3\)"),
        ("pickle.pt", {"a": Harmful()}, "holds an object of .*not tensors alone"),
    ):
        torch.save(content, here / name)
        with pytest.raises(WeightsError, match=words) as error:
            load_module("nets_of_mine:make", name)
        assert str(error.value).startswith(name)
    assert not (here / "hit").exists()
    assert load_module("nets_of_mine:make", "less.pt", allow_missing_weights=True).missing == (
        "head.weight",
        "head.bias",
    )
    (here / "page.pt").write_text("<html>not found</html>")
    (here / "short.safetensors").write_bytes(b'\x40\0\0\0\0\0\0\0{"a":')
    for name, words in (("page.pt", "web page"), ("short.safetensors", "damaged"), ("none.pt", "none.pt: ")):
        with pytest.raises(WeightsError, match=words):
            load_module("nets_of_mine:make", name)


@pytest.mark.parametrize(
    "more, words",
    [
        ({"mean": None, "std": None}, "say how it is fed"),
        ({"std": None}, "say how it is fed"),
        ({"scale": 1.0}, "say how it is fed"),
        ({"prototxt": "net.prototxt"}, "--prototxt is of Caffe's nets"),
        ({"stages": ["deploy"]}, "--stage is of Caffe's nets"),
        ({"engine": "bvlc"}, "--engine bvlc runs Caffe's nets"),
        ({"blob": "frist"}, "no inner module of that name; did you mean first"),
        ({"score": "ou"}, "gives out, aux: say with score= which one"),
        ({"module": None, "weights": "w.pt"}, "are of a module"),
        ({"module": None}, "prototxt is missing"),
    ],
)
def test_options_that_do_not_go_together(here, more, words):
    with pytest.raises(CaffeGPError, match=words):
        settings(tiny_run.make_data(here, 1), here / "out", **more).source()
