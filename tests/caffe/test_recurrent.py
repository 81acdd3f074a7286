"""RNN, LSTM and LSTMUnit against float64 loops written from the formulas, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.caffe.net import Net
from caffe_gp.errors import NetError
from caffe_gp.proto import messages as pb
from tests.caffe.layer_harness import Run, assert_close, check_layer

FILLERS = 'weight_filler { type: "gaussian" std: 0.5 } bias_filler { type: "uniform" min: -1 max: 1 }'
T, N, X, D, S = 4, 3, 5, 2, 3
CONT = np.array([[0, 0, 1], [1, 1, 1], [1, 0, 1], [1, 1, 0]], np.float64)  # stream 2 goes on from before


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def unit(c_prev, gates, cont):
    """The formulas of an LSTM step: gates i, f, o, g side by side."""
    i, f, o, g = np.split(gates, 4, axis=-1)
    c = cont[..., None] * sigmoid(f) * c_prev + sigmoid(i) * np.tanh(g)
    return c, sigmoid(o) * np.tanh(c)


def lstm(x, cont, static, w_x, b, w_static, w_h, h=0.0, c=0.0):
    """Outputs and the final state."""
    n = w_h.shape[1]
    h, c = np.zeros((x.shape[1], n)) + h, np.zeros((x.shape[1], n)) + c
    outputs = []
    for x_t, cont_t in zip(x, cont):
        gates = x_t.reshape(len(x_t), -1) @ w_x.T + b + (cont_t[:, None] * h) @ w_h.T
        if static is not None:
            gates = gates + static @ w_static.T
        c, h = unit(c, gates, cont_t)
        outputs.append(h)
    return np.array(outputs), h, c


def rnn(x, cont, static, w_x, b, w_static, w_h, w_o, b_o, h=0.0):
    h = np.zeros((x.shape[1], len(b))) + h
    outputs = []
    for x_t, cont_t in zip(x, cont):
        total = x_t.reshape(len(x_t), -1) @ w_x.T + b + (cont_t[:, None] * h) @ w_h.T
        if static is not None:
            total = total + static @ w_static.T
        h = np.tanh(total)
        outputs.append(np.tanh(h @ w_o.T + b_o))
    return np.array(outputs), h


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_lstm_unit(rng):
    check_layer(
        'type: "LSTMUnit"',
        [rng.normal(size=(1, N, D)), rng.normal(size=(1, N, 4 * D)), CONT[:1]],
        lambda c, gates, cont: list(unit(c, gates, cont)),
        num_top=2,
        propagate=[True, True, False],
    )


def test_lstm_unit_refuses(rng):
    zeros = [np.zeros((1, N, D)), np.zeros((1, N, 3 * D)), np.zeros((1, N))]
    with pytest.raises(NetError, match="4n"):
        Run('type: "LSTMUnit"', zeros, num_top=2)
    zeros[1] = np.zeros((1, N, 4 * D))
    with pytest.raises(NetError, match="sequence indicators"):
        Run('type: "LSTMUnit"', zeros, num_top=2).backward([zeros[0], zeros[0]], [True, True, True])


@pytest.mark.parametrize("inner", [(X,), (2, 3), ()])
def test_lstm(rng, inner):
    size = int(np.prod(inner))
    params = [rng.normal(size=s) for s in ((4 * D, size), (4 * D,), (4 * D, D))]
    check_layer(
        f'type: "LSTM" recurrent_param {{ num_output: {D} }}',
        [rng.normal(size=(T, N, *inner)), CONT],
        lambda x, cont, w, b, h: lstm(x, cont, None, w, b, None, h)[0],
        params=params,
        propagate=[True, False],
    )


def test_lstm_with_static_input(rng):
    params = [rng.normal(size=s) for s in ((4 * D, X), (4 * D,), (4 * D, S), (4 * D, D))]
    check_layer(
        f'type: "LSTM" recurrent_param {{ num_output: {D} }}',
        [rng.normal(size=(T, N, X)), CONT, rng.normal(size=(N, S))],
        lambda x, cont, s, w, b, ws, h: lstm(x, cont, s, w, b, ws, h)[0],
        params=params,
        propagate=[True, False, True],
    )


def test_rnn(rng):
    params = [rng.normal(size=s) for s in ((D, X), (D,), (D, D), (D, D), (D,))]
    check_layer(
        f'type: "RNN" recurrent_param {{ num_output: {D} }}',
        [rng.normal(size=(T, N, X)), CONT],
        lambda x, cont, w, b, h, o, bo: rnn(x, cont, None, w, b, None, h, o, bo)[0],
        params=params,
        propagate=[True, False],
    )


def test_rnn_with_static_input(rng):
    params = [rng.normal(size=s) for s in ((D, X), (D,), (D, S), (D, D), (D, D), (D,))]
    check_layer(
        f'type: "RNN" recurrent_param {{ num_output: {D} }}',
        [rng.normal(size=(T, N, X)), CONT, rng.normal(size=(N, S))],
        lambda x, cont, s, w, b, ws, h, o, bo: rnn(x, cont, s, w, b, ws, h, o, bo)[0],
        params=params,
        propagate=[True, False, True],
    )


@pytest.mark.parametrize("kind, count", [("LSTM", 3), ("RNN", 5)])
def test_a_sequence_may_be_cut_into_several_forwards(rng, kind, count):
    """The state goes on from one forward to the next; cont 0 starts afresh."""
    x, cont = rng.normal(size=(3 * T, N, X)), np.ones((3 * T, N))
    cont[0], cont[6, 1] = 0, 0
    run = Run(f'type: "{kind}" recurrent_param {{ num_output: {D} {FILLERS} }}', [x[:T], cont[:T]])
    params = [blob.data.astype(np.float64) for blob in run.layer.blobs]
    assert len(params) == count
    model = (
        (lambda: lstm(x, cont, None, *params[:2], None, *params[2:]))
        if kind == "LSTM"
        else (lambda: rnn(x, cont, None, *params[:2], None, *params[2:]))
    )
    expected = model()[0]
    for start in (0, T, 2 * T):
        run.bottom[0].data[...], run.bottom[1].data[...] = x[start : start + T], cont[start : start + T]
        if start:
            run.forward()
        assert_close(run.data[0], expected[start : start + T])


def test_lstm_exposed_state(rng):
    x, h, c = rng.normal(size=(T, N, X)), rng.normal(size=(1, N, D)), rng.normal(size=(1, N, D))
    run = Run(
        f'type: "LSTM" recurrent_param {{ num_output: {D} expose_hidden: true {FILLERS} }}',
        [x, CONT, h, c],
        num_top=3,
    )
    w, b, w_h = (blob.data.astype(np.float64) for blob in run.layer.blobs)
    outputs, h_end, c_end = lstm(x, CONT, None, w, b, None, w_h, h[0], c[0])
    assert_close(run.data[0], outputs)
    assert_close(run.data[1], h_end[None])
    assert_close(run.data[2], c_end[None])
    run.forward()  # nothing is kept: the same bottoms give the same tops
    assert_close(run.data[0], outputs)


def test_rnn_exposed_state_with_static_input(rng):
    x, s, h = rng.normal(size=(T, N, X)), rng.normal(size=(N, S)), rng.normal(size=(1, N, D))
    run = Run(
        f'type: "RNN" recurrent_param {{ num_output: {D} expose_hidden: true {FILLERS} }}',
        [x, CONT, s, h],
        num_top=2,
    )
    w, b, w_s, *rest = (blob.data.astype(np.float64) for blob in run.layer.blobs)
    outputs, h_end = rnn(x, CONT, s, w, b, w_s, *rest, h=h[0])
    assert_close(run.data[0], outputs)
    assert_close(run.data[1], h_end[None])


def test_parameter_gradients_accumulate(rng):
    run = Run(
        f'type: "LSTM" recurrent_param {{ num_output: {D} {FILLERS} }}', [rng.normal(size=(T, N, X)), CONT]
    )
    run.backward([np.ones((T, N, D))], [True, False])
    once = [blob.diff.copy() for blob in run.layer.blobs]
    run.backward([np.ones((T, N, D))], [True, False])
    for blob, diff in zip(run.layer.blobs, once):
        assert_close(blob.diff, 2 * diff)
        assert diff.any()


def test_blob_shapes_are_those_of_bvlc_files():
    static = [np.zeros((T, N, X)), np.zeros((T, N)), np.zeros((N, S))]
    lstm_run = Run(f'type: "LSTM" recurrent_param {{ num_output: {D} }}', static)
    assert [b.shape for b in lstm_run.layer.blobs] == [(8, X), (8,), (8, S), (8, D)]
    rnn_run = Run(f'type: "RNN" recurrent_param {{ num_output: {D} }}', static)
    assert [b.shape for b in rnn_run.layer.blobs] == [(D, X), (D,), (D, S), (D, D), (D, D), (D,)]


@pytest.mark.parametrize(
    "text, shapes, message",
    [
        ("num_output: 0", [(T, N, X), (T, N)], "num_output must be positive"),
        ("num_output: 2", [(T, N, X), (T, N + 1)], "continuation marks"),
        ("num_output: 2", [(T,), (T, N)], "time and stream"),
        ("num_output: 2", [(T, N, X), (T, N), (N + 1, S)], "static input"),
        ("num_output: 2 expose_hidden: true", [(T, N, X), (T, N), (1, N, 2)], "at least 4 bottom"),
    ],
)
def test_lstm_refuses(text, shapes, message):
    with pytest.raises(NetError, match=message):
        Run(
            f'type: "LSTM" recurrent_param {{ {text} }}',
            [np.zeros(s) for s in shapes],
            num_top=3 if "expose" in text else 1,
        )


def test_in_a_net_with_a_loss_and_a_changed_number_of_streams(rng):
    text = (
        'layer { name: "i" type: "Input" top: "x" top: "cont" '
        "input_param { shape { dim: 4 dim: 3 dim: 5 } shape { dim: 4 dim: 3 } } } "
        f'layer {{ name: "l" type: "LSTM" bottom: "x" bottom: "cont" top: "h" '
        f"recurrent_param {{ num_output: 2 {FILLERS} }} }} "
        'layer { name: "s" type: "Reduction" bottom: "h" top: "sum" loss_weight: 1 '
        "reduction_param { operation: SUMSQ } }"
    )
    net = Net.from_param(proto.parse_net_param("force_backward: true " + text), pb.TRAIN)
    for streams in (3, 5, 2):
        x = rng.normal(size=(4, streams, 5)).astype(np.float32)
        net.blobs["x"].reshape(4, streams, 5)
        net.blobs["cont"].reshape(4, streams)
        net.blobs["x"].data[...] = x
        net.blobs["cont"].data[...] = [[0]] + 3 * [[1]]
        net.forward()
        net.backward()
        params = [blob.data.astype(np.float64) for blob in net.params["l"]]

        def loss(values, cont=net.blobs["cont"].data, params=params):
            return (lstm(values, cont, None, params[0], params[1], None, params[2])[0] ** 2).sum()

        assert net.blobs["sum"].data == pytest.approx(loss(x.astype(np.float64)), rel=1e-5)
        at = x.astype(np.float64)
        step = np.zeros_like(at)
        step[1, streams - 1, 2] = 1e-6
        slope = (loss(at + step) - loss(at - step)) / 2e-6
        assert net.blobs["x"].diff[1, streams - 1, 2] == pytest.approx(slope, rel=1e-3, abs=1e-6)
