"""Solvers: update formulas in float64, learning rates, snapshots, and LeNet on real digits."""

from __future__ import annotations

import gzip
import logging
import math
import re
import signal

import numpy as np
import pytest
from google.protobuf import text_format

import caffe_gp.caffe as caffe
from caffe_gp import proto
from caffe_gp.caffe.solver import SOLVERS, Action
from caffe_gp.errors import NetError, PrototxtError, WeightsError
from caffe_gp.proto import messages as pb

# Least squares on fixed arrays: loss = |w x - y|^2 / 2N for one weight vector.
NET = """
layer { name: "data" type: "MemoryData" top: "data" top: "label"
        memory_data_param { batch_size: 4 channels: 3 height: 1 width: 1 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" param { lr_mult: 1 decay_mult: 1 }
        param { lr_mult: 2 decay_mult: 0 } inner_product_param { num_output: 1
        weight_filler { type: "constant" value: 0.5 } bias_filler { type: "constant" value: 0.1 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
RNG = np.random.RandomState(0)
X, Y = RNG.randn(8, 3, 1, 1).astype(np.float32), RNG.randn(8).astype(np.float32)


def param(text: str, net: str = NET):
    message = pb.SolverParameter()
    text_format.Parse(text, message)
    text_format.Parse(net, message.net_param)
    return message


def solver(kind: str, text: str, net: str = NET):
    made = SOLVERS[kind](param(text, net))
    made.net.set_input_arrays(X, Y)
    return made


def gradients(w: np.ndarray, iteration: int) -> np.ndarray:
    """d loss / d (weights, bias) of the batch that MemoryData serves."""
    rows = slice(iteration * 4 % 8, iteration * 4 % 8 + 4)
    x = np.concatenate([X[rows, :, 0, 0], np.ones((4, 1))], 1).astype(np.float64)
    return (x @ w - Y[rows]) @ x / 4


def reference(
    kind: str, steps: int, rate=lambda i: 0.1, decay=0.0, l1=False, clip=-1.0, m=0.9, m2=0.999, delta=1e-8
):
    """The solvers' formulas, from their papers and Caffe's variants of them."""
    w = np.array([0.5, 0.5, 0.5, 0.1])
    multiplier, decays = np.array([1, 1, 1, 2.0]), np.array([1, 1, 1, 0.0]) * decay
    h, u = np.zeros(4), np.zeros(4)
    for i in range(steps):
        g, lr = gradients(w, i), rate(i) * multiplier
        norm = np.sqrt((g**2).sum())
        if 0 <= clip < norm:
            g *= clip / norm
        g = g + decays * (np.sign(w) if l1 else w)
        if kind == "SGD":
            h = m * h + lr * g
            step = h
        elif kind == "Nesterov":
            before, h = h, m * h + lr * g
            step = (1 + m) * h - m * before
        elif kind == "AdaGrad":
            h = h + g**2
            step = lr * g / (np.sqrt(h) + delta)
        elif kind == "RMSProp":
            h = 0.9 * h + 0.1 * g**2
            step = lr * g / (np.sqrt(h) + delta)
        elif kind == "AdaDelta":
            h = m * h + (1 - m) * g**2
            s = g * np.sqrt((u + delta) / (h + delta))
            u = m * u + (1 - m) * s**2
            step = lr * s
        else:
            h, u = m * h + (1 - m) * g, m2 * u + (1 - m2) * g**2
            step = lr * math.sqrt(1 - m2 ** (i + 1)) / (1 - m ** (i + 1)) * h / (np.sqrt(u) + delta)
        w = w - step
    return w


def weights(made) -> np.ndarray:
    return np.concatenate([blob.data.ravel() for blob in made.net.params["ip"]])


MOMENTUM = {"SGD": 0.9, "Nesterov": 0.9, "AdaGrad": 0, "RMSProp": 0, "AdaDelta": 0.95, "Adam": 0.9}


@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize(
    "extra", ["", "weight_decay: 0.1", 'weight_decay: 0.1 regularization_type: "L1"', "clip_gradients: 0.3"]
)
def test_ten_steps_follow_the_formulas(kind, extra):
    delta = 1e-3 if kind == "AdaDelta" else 1e-6
    made = solver(
        kind,
        f'base_lr: 0.1 lr_policy: "fixed" momentum: {MOMENTUM[kind]} momentum2: 0.98 delta: {delta} '
        f"rms_decay: 0.9 {extra}",
    )
    view = made.net.params["ip"][0].data
    made.step(10)
    expected = reference(
        kind,
        10,
        decay=0.1 if "decay" in extra else 0.0,
        l1="L1" in extra,
        clip=0.3 if "clip" in extra else -1.0,
        m=MOMENTUM[kind],
        m2=0.98,
        delta=delta,
    )
    np.testing.assert_allclose(weights(made), expected, rtol=2e-5)
    np.testing.assert_array_equal(view, made.net.params["ip"][0].data)  # parameters keep their memory


POLICIES = {
    'lr_policy: "step" gamma: 0.5 stepsize: 3': lambda i: 0.1 * 0.5 ** (i // 3),
    'lr_policy: "exp" gamma: 0.9': lambda i: 0.1 * 0.9**i,
    'lr_policy: "inv" gamma: 0.2 power: 0.75': lambda i: 0.1 * (1 + 0.2 * i) ** -0.75,
    'lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 7': lambda i: (
        0.1 * 0.5 ** ((i >= 2) + (i >= 7))
    ),
    'lr_policy: "poly" power: 2 max_iter: 12': lambda i: 0.1 * (1 - i / 12) ** 2,
    'lr_policy: "sigmoid" gamma: 0.5 stepsize: 4': lambda i: 0.1 / (1 + math.exp(-0.5 * (i - 4))),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_learning_rates(policy):
    made = solver("SGD", f"base_lr: 0.1 momentum: 0.9 {policy}")
    made.step(10)
    np.testing.assert_allclose(weights(made), reference("SGD", 10, rate=POLICIES[policy]), rtol=2e-5)


def test_iter_size_averages_the_gradients():
    made = solver("SGD", 'base_lr: 0.1 lr_policy: "fixed" iter_size: 2')
    made.step(3)
    w = np.array([0.5, 0.5, 0.5, 0.1])
    for _ in range(3):
        w = w - 0.1 * np.array([1, 1, 1, 2]) * (gradients(w, 0) + gradients(w, 1)) / 2
    np.testing.assert_allclose(weights(made), w, rtol=2e-5)


def test_loss_is_smoothed_over_average_loss():
    made, losses = solver("SGD", 'base_lr: 0 lr_policy: "fixed" average_loss: 3'), []
    for _ in range(5):
        made.step(1)
        losses.append(made.smoothed_loss)
    made = solver("SGD", 'base_lr: 0 lr_policy: "fixed" average_loss: 3')
    made.step(5)
    assert made.smoothed_loss == pytest.approx(np.mean(losses[2:5]), rel=1e-6)


@pytest.mark.parametrize(
    "policy",
    [
        'lr_policy: "poly" power: -1 max_iter: 1',
        'lr_policy: "exp" gamma: 1e30',
    ],
)
def test_a_policy_without_a_rate(policy):
    made = solver("SGD", f"base_lr: 1 {policy}")
    made.iter = 100
    with pytest.raises(NetError, match="has no learning rate at iteration 100"):
        made.lr  # noqa: B018


@pytest.mark.parametrize("momenta", ["momentum: -1", "momentum: 1", "momentum2: 2", "momentum2: -inf"])
def test_adam_without_a_step(momenta):
    with pytest.raises(PrototxtError, match="momentum, momentum2: Adam needs them from 0 to below 1"):
        solver("Adam", f'base_lr: 1 lr_policy: "fixed" {momenta}')


@pytest.mark.parametrize("kind", SOLVERS)
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
def test_resumed_training_equals_uninterrupted_training(tmp_path, kind, form):
    text = (
        f'base_lr: 0.1 lr_policy: "multistep" gamma: 0.5 stepvalue: 3 stepvalue: 9 '
        f"momentum: {MOMENTUM[kind]} "
        f'snapshot_prefix: "{tmp_path}/s" snapshot_format: {form} weight_decay: 0.01'
    )
    whole = solver(kind, text)
    whole.step(12)
    part = solver(kind, text)
    part.step(6)
    part.snapshot()
    suffix = ".h5" if form == "HDF5" else ""
    resumed = solver(kind, text)
    resumed.restore(str(tmp_path / f"s_iter_6.solverstate{suffix}"))
    assert resumed.iter == 6
    resumed.step(6)  # MemoryData starts over, and six batches are three rounds
    np.testing.assert_array_equal(weights(resumed), weights(whole))


def test_snapshots_fall_where_caffe_writes_them(tmp_path):
    text = f'base_lr: 0.1 lr_policy: "fixed" max_iter: 5 snapshot: 2 snapshot_prefix: "{tmp_path}/s"'
    solver("SGD", text).solve()
    assert sorted(p.name for p in tmp_path.glob("*.solverstate")) == [
        "s_iter_2.solverstate",
        "s_iter_4.solverstate",
        "s_iter_5.solverstate",
    ]
    made = solver("SGD", text)
    made.solve(str(tmp_path / "s_iter_4.solverstate"))
    assert made.iter == 5


def test_moved_snapshots_find_their_weights_beside_them(tmp_path):
    made = solver("SGD", f'base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "{tmp_path}/s"')
    made.step(2)
    made.snapshot()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for file in tmp_path.glob("s_iter_2.*"):
        file.rename(folder / file.name)
    other = solver("SGD", 'base_lr: 0.1 lr_policy: "fixed"')
    other.restore(folder / "s_iter_2.solverstate")
    np.testing.assert_array_equal(weights(other), weights(made))


def test_a_state_of_another_solver_type_is_refused(tmp_path):
    made = solver("Adam", f'base_lr: 0.1 lr_policy: "fixed" momentum: 0.9 snapshot_prefix: "{tmp_path}/s"')
    made.step(1)
    made.snapshot()
    with pytest.raises(WeightsError, match="Incorrect length of history"):
        solver("SGD", 'base_lr: 0.1 lr_policy: "fixed"').restore(tmp_path / "s_iter_1.solverstate")


def test_callbacks_and_actions(tmp_path):
    made, seen = (
        solver("SGD", f'base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "{tmp_path}/s"'),
        [],
    )
    made.add_callback(lambda: seen.append("start"), lambda: seen.append("ready"))
    made.set_action_function(lambda: Action.STOP if made.iter == 3 else Action.NONE)
    made.solve()
    assert seen == ["start", "ready"] * 3 and made.iter == 3
    assert (tmp_path / "s_iter_3.solverstate").exists()


@pytest.mark.parametrize(
    "text, error, message",
    [
        ('lr_policy: "magic"', PrototxtError, "Unknown learning rate policy.*magic.*fixed"),
        ('lr_policy: "step"', PrototxtError, "stepsize"),
        ('lr_policy: "fixed" regularization_type: "L3"', PrototxtError, "regularization type: L3"),
        ('lr_policy: "fixed" train_net: "x"', PrototxtError, "must specify a train net"),
        ('lr_policy: "fixed" test_iter: 3', PrototxtError, "test_interval"),
        ('lr_policy: "fixed" test_iter: 0 test_interval: 1', PrototxtError, "test_iter"),
        ('lr_policy: "sigmoid" gamma: 1', PrototxtError, "stepsize"),
        ('lr_policy: "exp" gamma: -1', PrototxtError, "gamma.*-1"),
        ('lr_policy: "fixed" snapshot: 1', PrototxtError, "snapshot is specified but snapshot_prefix is not"),
        ('lr_policy: "fixed" iter_size: 0', PrototxtError, "iter_size"),
    ],
)
def test_refuses(text, error, message):
    with pytest.raises(error, match=message):
        SOLVERS["SGD"](param(f"base_lr: 0.1 {text}"))


def test_refuses_momentum_where_the_rule_has_none():
    for kind in ("AdaGrad", "RMSProp"):
        with pytest.raises(PrototxtError, match=f"momentum: Momentum cannot be used with {kind}"):
            solver(kind, 'base_lr: 0.1 lr_policy: "fixed" momentum: 0.9')


def test_get_solver_reads_the_type_from_the_file(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    path = tmp_path / "solver.prototxt"
    for kind, cls in SOLVERS.items():
        path.write_text(f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" type: "{kind}"')
        assert type(caffe.get_solver(str(path))) is cls
    path.write_text(f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" solver_type: ADAM')
    assert type(caffe.get_solver(str(path))) is caffe.AdamSolver
    path.write_text(f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" type: "Magic"')
    with pytest.raises(PrototxtError, match="Unknown solver type: Magic"):
        caffe.get_solver(str(path))


def test_lenet_learns_real_digits_and_the_test_net_shares_its_weights(shared_data):
    def idx(name, offset, count):
        raw = gzip.open(shared_data / "mnist" / name).read()
        return np.frombuffer(raw, np.uint8, offset=offset)[:count]

    count = 6400
    images = np.ascontiguousarray(
        idx("train-images-idx3-ubyte.gz", 16, count * 784).reshape(-1, 1, 28, 28) / 256, "f"
    )
    labels = idx("train-labels-idx1-ubyte.gz", 8, count).astype("f")
    released = (
        shared_data / "caffemodels" / "cifar10_everpeace" / "examples" / "mnist" / "lenet_train_test.prototxt"
    )
    net = proto.read_net_param(str(released))
    for layer in net.layer:
        if layer.type == "Data":
            layer.type = "MemoryData"
            layer.ClearField("transform_param")
            memory = layer.memory_data_param
            memory.batch_size, memory.channels, memory.height, memory.width = 64, 1, 28, 28
    message = pb.SolverParameter(
        base_lr=0.01,
        lr_policy="inv",
        gamma=1e-4,
        power=0.75,
        momentum=0.9,
        weight_decay=5e-4,
        test_interval=300,
        random_seed=1,
    )
    message.test_iter.append(10)
    message.net_param.CopyFrom(net)
    made = caffe.SGDSolver(message)
    made.net.set_input_arrays(images, labels)
    made.test_nets[0].set_input_arrays(images[:640], labels[:640])
    made.step(301)
    test = made.test_nets[0]
    correct = [float(test.forward()["accuracy"]) for _ in range(10)]
    assert np.mean(correct) > 0.95
    np.testing.assert_array_equal(test.params["conv1"][0].data, made.net.params["conv1"][0].data)


def test_apply_update_counts_the_iteration():
    made = solver("SGD", 'base_lr: 0.1 lr_policy: "step" gamma: 0.5 stepsize: 1')
    assert made.iter == 0 and made.lr == pytest.approx(0.1)
    made.net.forward()
    made.net.backward()
    made.apply_update()
    assert made.iter == 1 and made.lr == pytest.approx(0.05)
    np.testing.assert_allclose(weights(made), reference("SGD", 1, m=0), rtol=2e-5)
    assert isinstance(solver("Adam", 'base_lr: 0.1 lr_policy: "fixed"'), caffe.SGDSolver)


def test_the_rate_of_poly_is_zero_from_max_iter_on():
    made = solver("SGD", 'base_lr: 0.1 lr_policy: "poly" power: 0.9 max_iter: 2')
    made.step(2)
    before = weights(made)
    made.step(2)
    np.testing.assert_array_equal(weights(made), before)


def test_far_sigmoids_do_not_overflow():
    made = solver("SGD", 'base_lr: 0.1 lr_policy: "sigmoid" gamma: 5 stepsize: 1000000')
    assert made.lr == 0
    made.iter = 3000000
    assert made.lr == pytest.approx(0.1)


def test_weights_start_the_training_and_the_test_nets(tmp_path):
    donor = solver("SGD", 'base_lr: 0.1 lr_policy: "fixed"')
    donor.net.params["ip"][0].data[...] = [[1, 2, 3]]
    donor.net.save(tmp_path / "w.caffemodel")
    text = f'base_lr: 0.1 lr_policy: "fixed" test_iter: 1 test_interval: 5 weights: "{tmp_path}/w.caffemodel"'
    made = solver("SGD", text)
    for net in (made.net, made.test_nets[0]):
        np.testing.assert_array_equal(net.params["ip"][0].data, [[1, 2, 3]])


def test_states_merge_as_in_caffe():
    text = NET + 'state { stage: "all" }'
    for stage in ("all", "train", "test"):
        text += (
            f'layer {{ name: "{stage}" type: "DummyData" top: "{stage}" include {{ stage: "{stage}" }} '
            "dummy_data_param { shape { dim: 1 } } }"
        )
    made = SOLVERS["SGD"](
        param(
            'base_lr: 0.1 lr_policy: "fixed" test_iter: 1 test_interval: 5 train_state { stage: "train" } '
            'test_state { stage: "test" }',
            text,
        )
    )
    assert made.net.outputs == ["all", "loss", "train"]
    assert made.test_nets[0].outputs == ["all", "loss", "test"] and made.test_nets[0].phase == caffe.TEST


def test_a_stop_between_test_batches(tmp_path, caplog):
    text = (
        f'base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "{tmp_path}/s" '
        "test_iter: 4 test_interval: 3"
    )
    made, asked = solver("SGD", text), []
    made.test_nets[0].set_input_arrays(X, Y)

    def action():
        asked.append(made.iter)
        if made.iter == 3 and asked.count(3) == 3:  # after iteration 2's update comes the first
            return Action.STOP
        return Action.SNAPSHOT if made.iter == 3 and asked.count(3) == 2 else Action.NONE

    made.set_action_function(action)
    caplog.set_level(logging.INFO, "caffe_gp.caffe")
    made.solve()
    assert made.iter == 3 and "Test interrupted." in caplog.messages
    assert caplog.messages[-1] == "Optimization stopped early."
    assert (tmp_path / "s_iter_3.caffemodel").exists()


def test_log_lines(tmp_path, caplog):
    caplog.set_level(logging.INFO, "caffe_gp.caffe")
    text = f'base_lr: 0.1 lr_policy: "fixed" max_iter: 4 display: 2 snapshot_prefix: "{tmp_path}/s"'
    made = solver(
        "SGD", text + " test_iter: 2 test_interval: 4 test_compute_loss: true snapshot_after_train: false"
    )
    made.test_nets[0].set_input_arrays(X, Y)
    made.solve()
    lines = "\n".join(caplog.messages)
    first = ((X[:4, :, 0, 0] @ np.full(3, 0.5) + 0.1 - Y[:4]) ** 2).sum() / 8
    both = ((X[:, :, 0, 0] @ np.full(3, 0.5) + 0.1 - Y) ** 2).sum() / 16
    assert f"Iteration 0, Testing net (#0)\nTest loss: {both:.4g}"[:-1] in lines
    assert re.search(rf"Iteration 0 \(.* iter/s, .*s/2 iters\), loss = {first:.4f}", lines)
    assert re.search(rf"    Train net output #0: loss = {first:.4f}\d* \(\* 1 = {first:.4f}\d* loss\)", lines)
    assert "Iteration 2, lr = 0.1" in lines and lines.endswith("Optimization Done.")


def test_ctrl_c_stops_after_the_iteration_with_a_snapshot(tmp_path):
    made = solver("SGD", f'base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "{tmp_path}/s"')

    def press():
        if made.iter == 2:
            signal.raise_signal(signal.SIGHUP)
        if made.iter == 4:
            signal.raise_signal(signal.SIGINT)

    made.add_callback(press)
    before = signal.getsignal(signal.SIGINT)
    with caffe.SignalHandler() as requests:
        made.set_action_function(requests)
        made.solve()
    assert made.iter == 5 and signal.getsignal(signal.SIGINT) is before
    found = sorted(path.name for path in tmp_path.glob("*.caffemodel"))
    assert found == ["s_iter_3.caffemodel", "s_iter_5.caffemodel"]
    with pytest.raises(KeyboardInterrupt), caffe.SignalHandler():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_hdf5_states_hold_what_caffe_reads(tmp_path):
    h5py = pytest.importorskip("h5py")
    text = f'base_lr: 0.1 lr_policy: "fixed" snapshot_prefix: "{tmp_path}/s" snapshot_format: HDF5'
    made = solver("SGD", text)
    made.step(3)
    made.snapshot()
    with h5py.File(tmp_path / "s_iter_3.solverstate.h5", "r") as file:
        assert file["iter"].shape == (1,) and file["iter"][0] == 3
        name = file["learned_net"]
        assert h5py.check_dtype(vlen=name.dtype) is None  # Caffe reads strings of fixed length only
        assert name[()] == f"{tmp_path}/s_iter_3.caffemodel.h5".encode()
        assert name.dtype.itemsize == len(name[()]) + 1  # with its closing zero
        assert sorted(file["history"]) == ["0", "1"]
    (tmp_path / "x.solverstate.h5").write_bytes((tmp_path / "s_iter_3.solverstate.h5").read_bytes()[:900])
    with pytest.raises(WeightsError, match="not a readable HDF5 solverstate"):
        made.restore(tmp_path / "x.solverstate.h5")


def test_files_that_are_not_there_are_named_with_the_field(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text('net: "nowhere/net.prototxt" base_lr: 0.1 lr_policy: "fixed"')
    with pytest.raises(PrototxtError, match="solver.prototxt: net: there is no file 'nowhere/net.prototxt'"):
        caffe.SGDSolver(str(path))
    (tmp_path / "net.prototxt").write_text(NET)
    path.write_text(
        f'net: "{tmp_path}/net.prototxt" base_lr: 0.1 lr_policy: "fixed" snapshot: 5 '
        'snapshot_prefix: "no/dir/s"'
    )
    with pytest.raises(PrototxtError, match="Cannot write to snapshot prefix 'no/dir/s'"):
        caffe.SGDSolver(str(path))


def test_init_log_writes_glogs_format(capsys):
    caffe.init_log(0)
    try:
        caffe.log("a line")
    finally:
        caffe.init_log(0, False)
    caffe.log("not shown")
    err = capsys.readouterr().err
    assert re.fullmatch(r"I\d{4} \d\d:\d\d:\d\d\.\d{6} +\d+ test_solver\.py:\d+\] a line\n", err)


def test_debug_info_logs_mean_absolute_values(caplog):
    caplog.set_level(logging.INFO, "caffe_gp.caffe")
    made = solver("SGD", 'base_lr: 0.1 lr_policy: "fixed" display: 2 debug_info: true')
    made.step(2)
    x, g = X[:4, :, 0, 0], gradients(np.array([0.5, 0.5, 0.5, 0.1]), 0)
    top = np.abs(x @ np.full(3, 0.5) + 0.1).mean()
    for line in (
        f"    [Forward] Layer ip, top blob ip data: {top:.4g}",
        "    [Forward] Layer ip, param blob 0 data: 0.5",
        f"    [Backward] Layer ip, param blob 0 diff: {np.abs(g[:3]).mean():.4g}",
        f"    [Backward] Layer ip, param blob 1 diff: {abs(g[3]):.4g}",
        "    [Backward] All net params (data, diff): L1 norm = (1.6, ",
        f"    [Update] Layer ip, param 1 data: 0.1; diff: {0.2 * abs(g[3]):.4g}",
    ):
        assert sum(message.startswith(line[:-1]) for message in caplog.messages) == 1, line
