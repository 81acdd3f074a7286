"""Training by any solver file: plain data layers, tests, snapshots, seeds, curves; BVLC Caffe's losses."""

from __future__ import annotations

import json
import os
import re
import signal

import h5py
import numpy as np
import pytest

from caffe_gp import engines, proto
from caffe_gp.errors import CaffeGPError, DataError, PrototxtError, WeightsError
from caffe_gp.training import snapshots, trainer
from caffe_gp.training.recipe import read_recipe
from conformance import record_training

pytestmark = pytest.mark.engine

NET = """
layer { name: "data" type: "HDF5Data" top: "data" top: "label" include { phase: TRAIN }
        hdf5_data_param { source: "FOLDER/train.txt" batch_size: 8 } }
layer { name: "data" type: "HDF5Data" top: "data" top: "label" include { phase: TEST }
        hdf5_data_param { source: "FOLDER/test.txt" batch_size: 10 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
        include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" loss_weight: 2 }
"""
SOLVER = """
net: "FOLDER/net.prototxt" base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 max_iter: 60 random_seed: 4
test_iter: 3 test_interval: 20 snapshot: 25 snapshot_prefix: "FOLDER/out/tiny"
"""


def points(random, number):
    """Three clouds in the plane: data (N, 2) and labels (N,)."""
    labels = np.arange(number) % 3
    angle = 2 * np.pi * labels / 3
    data = np.column_stack([np.cos(angle), np.sin(angle)]) * 2 + random.normal(0, 0.5, (number, 2))
    return data.astype(np.float32), labels.astype(np.float32)


@pytest.fixture
def solver(tmp_path):
    """A solver file of a small net that reads HDF5 files."""
    random = np.random.RandomState(0)
    for part, number in (("train", 48), ("test", 30)):
        data, labels = points(random, number)
        with h5py.File(tmp_path / f"{part}.h5", "w") as file:
            file["data"], file["label"] = data, labels
        (tmp_path / f"{part}.txt").write_text(f"{tmp_path / part}.h5\n")
    (tmp_path / "net.prototxt").write_text(NET.replace("FOLDER", str(tmp_path)))
    path = tmp_path / "solver.prototxt"
    path.write_text(SOLVER.replace("FOLDER", str(tmp_path)))
    return path


def train(solver, **options):
    recipe = read_recipe(
        solver, **{name: options.pop(name) for name in ("iterations", "seed", "out") if name in options}
    )
    return trainer.train(recipe, source=solver, engine=engines.resolve(), **{"quiet": True, **options})


def test_a_net_with_plain_data_layers(solver, tmp_path):
    run = train(solver)
    assert [i for i, _ in run.tests] == [0, 20, 40, 60]
    assert run.tests[-1][1]["accuracy"] > 0.9 > run.tests[0][1]["accuracy"]
    assert [i for i, _ in run.loss] == [20, 40, 60] and run.loss[-1][1] < run.loss[0][1] / 2
    names = {path.name for path in (tmp_path / "out").iterdir()}
    states = {f"tiny_iter_{i}.{kind}" for i in (25, 50, 60) for kind in ("solverstate", "caffemodel")}
    assert names == states | {
        f"tiny_{rest}" for rest in ("log.json", "solver.prototxt", "curves.png", "curves.pdf")
    }
    saved = json.loads((tmp_path / "out/tiny_log.json").read_text())
    assert saved["tests"][-1][1] == run.tests[-1][1] and saved["seconds"] == run.seconds


def test_tests_and_losses_are_caffes(solver, tmp_path):
    """By hand from the weights: the loss with its weight, the accuracy over the whole test set."""
    run = train(solver, iterations=1)
    weights, bias = run.params()["ip"]
    data, labels = (h5py.File(tmp_path / "test.h5", "r")[name][()] for name in ("data", "label"))
    scores = data @ weights.T + bias
    exact = np.log(np.exp(scores).sum(1)) - scores[np.arange(30), labels.astype(int)]
    assert run.tests[-1][1]["loss"] == pytest.approx(
        exact.mean(), rel=1e-4
    )  # blobs hold it without its weight
    assert run.tests[-1][1]["accuracy"] == pytest.approx((scores.argmax(1) == labels).mean())


def test_goes_on_from_the_newest_snapshot_or_the_one_named(solver, tmp_path):
    whole = train(solver)
    for name in ("tiny_iter_60.solverstate", "tiny_iter_60.caffemodel", "tiny_iter_50.caffemodel"):
        (tmp_path / "out" / name).unlink()
    # Half a snapshot, and another training's, do not count.
    (tmp_path / "out/tinyer_iter_99.solverstate").write_bytes(b"")
    (tmp_path / "out/tinyer_iter_99.caffemodel").write_bytes(b"")
    newest = snapshots.newest(tmp_path / "out/tiny")
    assert newest.name == "tiny_iter_25.solverstate"
    again = train(solver)
    # HDF5 files are read from their beginning again, so the losses after it differ; those before are kept.
    assert again.loss[0] == whole.loss[0] and [i for i, _ in again.loss] == [20, 40, 60]
    assert [i for i, _ in again.tests] == [0, 20, 40, 60]
    third = train(solver, snapshot=newest, iterations=30)
    assert third.loss[-1][0] == 30
    with pytest.raises(DataError, match="no such snapshot"):
        train(solver, snapshot=tmp_path / "out/tiny_iter_7.solverstate")


def test_a_snapshot_beyond_the_end_is_refused(solver):
    train(solver)
    with pytest.raises(DataError, match="60 iterations are done, only 30 are asked for"):
        train(solver, iterations=30)


def test_a_damaged_log_is_named(solver, tmp_path):
    train(solver)
    for damage in ("{", "[]", '{"loss": 3}'):
        (tmp_path / "out/tiny_log.json").write_text(damage)
        with pytest.raises(DataError, match="tiny_log.json: damaged"):
            train(solver, iterations=70)
    (tmp_path / "out/tiny_log.json").unlink()
    assert [i for i, _ in train(solver, iterations=70).loss] == [70]


# ---- a training that diverges


def edit(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_a_diverged_training_stops_at_once_and_goes_on_from_a_good_snapshot(solver, tmp_path):
    with h5py.File(tmp_path / "train.h5", "a") as file:
        file["label"][...] = np.arange(48) // 3 % 3  # nothing that can be learned
    edit(solver, "snapshot: 25", "snapshot: 1")
    train(solver, iterations=3)
    edit(solver, "base_lr: 0.1", "base_lr: 1e38")
    with pytest.raises(
        CaffeGPError, match="Lower base_lr below 1e.38.* resumes from .*tiny_iter_3.solverstate"
    ) as told:
        train(solver)
    # Some iterations pass before the loss is nan: their snapshots are of no use either.
    assert "removed" in str(told.value)
    assert [snapshots.iteration_of(path) for path in snapshots.all_of(tmp_path / "out/tiny")] == [1, 2, 3]
    edit(solver, "base_lr: 1e38", "base_lr: 0.1")
    edit(solver, "snapshot: 1", "snapshot: 25")
    again = train(solver)
    assert [i for i, _ in again.loss] == [3, 20, 40, 60]
    assert all(np.isfinite(loss) for _, loss in again.loss)


def test_a_training_that_diverges_from_the_start(solver, tmp_path):
    edit(solver, "base_lr: 0.1", "base_lr: 1e38")
    with pytest.raises(CaffeGPError, match="then begins anew"):
        train(solver)
    assert snapshots.all_of(tmp_path / "out/tiny") == []
    edit(solver, "base_lr: 1e38", "base_lr: 0.1")
    assert train(solver).loss[-1][1] < 1


def test_nan_in_the_data_is_not_blamed_on_base_lr(solver, tmp_path):
    with h5py.File(tmp_path / "train.h5", "a") as file:
        file["data"][3, 1] = np.nan
    with pytest.raises(CaffeGPError, match="iteration 1: the loss is nan before anything was learned.*data"):
        train(solver)


def test_snapshots_full_of_nan_are_not_resumed_from(solver, tmp_path, caplog):
    """They may be there from BVLC Caffe's own tool, which trains on."""
    run = train(solver)
    net = proto.read_net_param(str(tmp_path / "net.prototxt"))
    spoilt = {"ip": [np.full((3, 2), np.nan), np.zeros(3)]}
    proto.write_caffemodel(run.snapshot(60), net, spoilt)
    with pytest.raises(DataError, match="iter_60.*nan or infinite.*good one is .*iter_50.solverstate"):
        train(solver, snapshot=tmp_path / "out/tiny_iter_60.solverstate")
    again = train(solver, quiet=False)
    assert "tiny_iter_60.solverstate: of no use" in caplog.text
    assert [i for i, _ in again.loss] == [20, 40, 60]
    # Finite, yet no loss can be computed with them: the file is named, and left where it is.
    proto.write_caffemodel(run.snapshot(60), net, {"ip": [np.full((3, 2), 3e38), np.zeros(3)]})
    with pytest.raises(CaffeGPError, match="iteration 61.*first iteration after .*tiny_iter_60.solverstate"):
        train(solver, iterations=70)


# ---- files in each other's place


def test_snapshot_and_weights_in_each_other_s_place(solver, tmp_path):
    state = tmp_path / "out/tiny_iter_25.solverstate"
    train(solver, iterations=25)
    weights = state.with_suffix(".caffemodel")
    with pytest.raises(DataError, match="this is a caffemodel, not .*resume, pass '.*iter_25.solverstate'"):
        train(solver, snapshot=weights)
    with pytest.raises(WeightsError, match="this is a solver state.* in '.*tiny_iter_25.caffemodel'"):
        train(solver, weights=state, out=tmp_path / "other")


def test_net_and_solver_in_each_other_s_place(solver, tmp_path):
    with pytest.raises(PrototxtError, match="net.prototxt: this is a net's prototxt, not a solver"):
        train(tmp_path / "net.prototxt")
    edit(solver, "net.prototxt", "solver.prototxt")
    with pytest.raises(PrototxtError, match="solver.prototxt: this is a solver prototxt, not a net"):
        train(solver)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ('lr_policy: "fixed"', "", r"solver.prototxt: lr_policy is not set; known: fixed, step"),
        ('"fixed"', '"Fixed"', r"solver.prototxt: lr_policy: .*'Fixed'; did you mean fixed\?"),
        ("max_iter: 60", "", "solver.prototxt: max_iter is not set, so nothing would be trained"),
        ("max_iter: 60", 'max_iter: 60 type: "adam"', r"Unknown solver type: adam; did you mean Adam"),
    ],
)
def test_messages_name_the_user_s_solver(solver, tmp_path, old, new, message):
    edit(solver, old, new)
    with pytest.raises(PrototxtError, match=message) as told:
        train(solver)
    assert str(solver) in str(told.value) and not (tmp_path / "out").exists()


def test_a_net_without_a_loss_is_refused(solver, tmp_path):
    edit(tmp_path / "net.prototxt", "loss_weight: 2", "loss_weight: 0")
    with pytest.raises(DataError, match="net.prototxt: no layer has a loss, so nothing would be learned"):
        train(solver)


def test_tests_need_an_interval(solver):
    solver.write_text(solver.read_text().replace("test_interval: 20", ""))
    with pytest.raises(DataError, match="no test_interval"):
        train(solver)


def test_weights_to_start_from(solver, tmp_path):
    first = train(solver, out=tmp_path / "first")
    start = train(solver, out=tmp_path / "second", weights=first.snapshot(60), iterations=1)
    assert start.tests[0][1] == first.tests[-1][1]


def test_seeds(solver, tmp_path):
    runs = [train(solver, out=tmp_path / str(i), seed=seed, iterations=3) for i, seed in enumerate((4, 4, 5))]
    plain = train(solver, out=tmp_path / "plain", iterations=3)
    found = [run.params()["ip"][0] for run in (*runs, plain)]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[3])
    assert not np.allclose(found[0], found[2])


def test_options_reach_python_layers(project_root, tmp_path):
    solver = project_root / "prototxt/lenet/solver.prototxt"
    net = project_root / "prototxt/lenet/train.prototxt"
    recipe = read_recipe(solver, net=net, seed=7, data="folder:x")
    texts = [json.loads(layer.python_param.param_str) for layer in recipe.net_param.layer[:2]]
    assert recipe.random_seed == 7 and not recipe.HasField("net")
    assert texts[0]["seed"] == 7 and "seed" not in texts[1]
    assert [text["data"] for text in texts] == ["folder:x"] * 2
    assert [text["batch"] for text in texts] == [64, 100]
    (tmp_path / "solver.prototxt").write_text(
        f'train_net: "{net}" test_net: "{net}" test_iter: 1 lr_policy: "fixed" max_iter: 1'
    )
    recipe = read_recipe(tmp_path / "solver.prototxt", data="folder:y")
    for found in (recipe.train_net_param, *recipe.test_net_param):
        assert json.loads(found.layer[0].python_param.param_str)["data"] == "folder:y"
    assert not recipe.test_net and len(recipe.test_net_param) == 1
    with pytest.raises(DataError, match="no Python layer of the net has colour"):
        read_recipe(solver, net=net, colour="red")


def test_interrupted_and_resumed(solver, tmp_path, monkeypatch):
    """Ctrl-C in the middle of an iteration: the iteration is finished and kept."""
    caffe = engines.load_caffe(engines.resolve())
    kind = caffe.SGDSolver
    step = kind.step

    def pressed(self, iterations):
        if self.iter == 9:
            os.kill(os.getpid(), signal.SIGINT)
        step(self, iterations)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "step", pressed)
        with pytest.raises(KeyboardInterrupt):
            train(solver)
    assert snapshots.newest(tmp_path / "out/tiny").name == "tiny_iter_10.solverstate"
    assert [i for i, _ in train(solver).tests] == [0, 20, 40, 60]


def test_snapshots_in_hdf5(solver):
    solver.write_text(solver.read_text() + "snapshot_format: HDF5\n")
    run = train(solver, iterations=50)
    newest = snapshots.newest(run.beside("x").with_name("tiny"))
    assert (
        newest.name == "tiny_iter_50.solverstate.h5" and run.snapshot(50).name == "tiny_iter_50.caffemodel.h5"
    )
    assert run.params()["ip"][0].shape == (3, 2)
    assert train(solver, iterations=50).loss == run.loss


def test_wrong_weights_are_refused(solver, tmp_path):
    if engines.resolve() == "bvlc":
        pytest.skip("BVLC Caffe aborts")
    net = proto.read_net_param(str(tmp_path / "net.prototxt"))
    proto.write_caffemodel(str(tmp_path / "w.caffemodel"), net, {"ip": [np.zeros((4, 2))]})
    with pytest.raises(WeightsError, match="ip"):
        train(solver, weights=tmp_path / "w.caffemodel")


# ---- LeNet on real digits


def test_lenet_trains_as_on_bvlc_caffe(shared_data, tmp_path, monkeypatch):
    """The committed recipe from released weights, 12 iterations."""
    if engines.resolve() == "bvlc":
        pytest.skip("this compares the embedded Caffe with a recording")
    monkeypatch.setenv("CAFFE_GP_DATA", str(shared_data))
    found = record_training.numbers("torch", shared_data, tmp_path)
    golden = json.loads(record_training.GOLDEN.read_text())
    _assert_same_training(found, golden["recorded"])


def test_the_recorded_training_is_stable():
    """From weights moved by a rounding error's size, BVLC Caffe's own training stays within the limits."""
    golden = json.loads(record_training.GOLDEN.read_text())
    assert golden["moved"] != golden["recorded"]
    _assert_same_training(golden["moved"], golden["recorded"])


def _assert_same_training(found, expected):
    assert [i for i, _ in found["loss"]] == [i for i, _ in expected["loss"]] == list(range(1, 13))
    losses = [[loss for _, loss in numbers["loss"]] for numbers in (found, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3, abs=1e-5)
    for (_, mine), (_, theirs) in zip(found["tests"], expected["tests"]):
        assert mine["accuracy"] == pytest.approx(theirs["accuracy"], abs=2e-4)  # one image of 5000
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-3)
    assert {name: pytest.approx(values, rel=1e-5) for name, values in expected["sums"].items()} == found[
        "sums"
    ]


def test_the_picture_shows_what_was_logged(solver, tmp_path):
    """Two axes: the losses, and the accuracy after the first iteration."""
    from caffe_gp.training import curves

    run = train(solver)
    left, right = curves.draw(run.loss, run.tests).axes
    assert [line.get_label() for line in left.lines] == ["training", "test loss"]
    assert np.array_equal(left.lines[0].get_xydata(), run.loss)
    assert right.lines[0].get_xydata()[:, 1].tolist() == [values["accuracy"] for _, values in run.tests[1:]]
    assert len(curves.draw(run.loss).axes) == 1
    assert re.match(rb"\x89PNG", (tmp_path / "out/tiny_curves.png").read_bytes())
