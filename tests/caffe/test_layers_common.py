"""Linear, affine, eltwise, routing, reduction, normalisation layers against float64 formulas written here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.errors import NetError
from tests.caffe.layer_harness import (
    TEST,
    TRAIN,
    Run,
    assert_close,
    check_layer,
    make_blob,
    make_layer,
    numeric_gradient,
)

SHAPE = (2, 3, 4, 5)


def values(*shape, seed=0):
    return np.asarray(np.random.RandomState(seed).randn(*shape), np.float32)


def rejects(message, text, inputs, **options):
    with pytest.raises(NetError, match=message):
        Run(text, inputs, **options)


# ---- InnerProduct, Embed


@pytest.mark.parametrize("shape", [SHAPE, (3, 7, 2), (4, 3, 2, 1, 2)])
@pytest.mark.parametrize("axis", [1, 0, 2, -1])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("bias", [True, False])
def test_inner_product(shape, axis, transpose, bias):
    start = axis % len(shape)
    inputs = int(np.prod(shape[start:]))
    weight = values(inputs, 6, seed=1) if transpose else values(6, inputs, seed=1)

    def formula(x, w, *b):
        y = x.reshape(-1, inputs) @ (w if transpose else w.T)
        return (y + b[0] if b else y).reshape(shape[:start] + (6,))

    text = (
        f'type: "InnerProduct" inner_product_param {{ num_output: 6 axis: {axis} '
        f"transpose: {str(transpose).lower()} bias_term: {str(bias).lower()} }}"
    )
    check_layer(text, [values(*shape)], formula, params=[weight] + [values(6, seed=2)] * bias)


def test_inner_product_fills_and_keeps_given_blobs():
    text = (
        'type: "InnerProduct" inner_product_param { num_output: 2 weight_filler { value: 3 } '
        "bias_filler { value: -1 } }"
    )
    run = Run(text, [np.ones((1, 4))])
    assert run.data[0].tolist() == [[11, 11]]
    run.layer.setup(run.bottom, run.top)
    assert len(run.layer.blobs) == 2


def test_inner_product_refuses_no_outputs_and_a_new_input_size():
    rejects("num_output >= 1", 'type: "InnerProduct"', [np.ones(SHAPE)])
    run = Run('type: "InnerProduct" inner_product_param { num_output: 2 }', [np.ones(SHAPE)])
    run.bottom[0].reshape(2, 3, 5, 5)
    with pytest.raises(NetError, match="take 60 values.*has 75"):
        run.forward()


def test_parameter_gradients_add_up_and_obey_param_propagate_down():
    run = Run('type: "InnerProduct" inner_product_param { num_output: 2 }', [np.ones((3, 4))])
    dy = np.ones((3, 2))
    run.backward([dy])
    run.backward([dy])
    assert (run.layer.blobs[0].diff == 6).all() and (run.layer.blobs[1].diff == 6).all()
    run.layer.param_propagate_down = [False, True]
    run.backward([dy])
    assert (run.layer.blobs[0].diff == 6).all() and (run.layer.blobs[1].diff == 9).all()


@pytest.mark.parametrize("bias", [True, False])
def test_embed(bias):
    index = np.array([[0, 4], [2, 2], [1, 0]], np.float32)

    def formula(x, table, *b):
        rows = table[np.rint(x).astype(int)]
        return rows + b[0] if b else rows

    text = f'type: "Embed" embed_param {{ num_output: 3 input_dim: 5 bias_term: {str(bias).lower()} }}'
    params = [values(5, 3)] + [values(3, seed=1)] * bias
    run = check_layer(text, [index], formula, params=params, propagate=[False])
    with pytest.raises(NetError, match="cannot propagate"):
        run.backward([np.ones((3, 2, 3))], [True])
    assert not run.layer.allow_force_backward(0)


def test_embed_errors():
    rejects("num_output and input_dim", 'type: "Embed" embed_param { num_output: 3 }', [np.ones(2)])
    for wrong in (-1, 5):
        rejects(f"found index {wrong}", 'type: "Embed" embed_param { num_output: 3 input_dim: 5 }', [[wrong]])


# ---- Bias, Scale

EXTENTS = [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (1, -1), (0, -1), (-1, 1), (1, 0), (0, 4), (-2, 2)]


def spread(operand, axis):
    """The operand in a shape that broadcasts against SHAPE from ``axis`` on."""
    start = axis % 4 if operand.ndim else 0
    return operand.reshape((1,) * start + operand.shape + (1,) * (4 - start - operand.ndim))


def extent_shape(axis, num_axes):
    start = axis % 4
    return SHAPE[start:] if num_axes == -1 else SHAPE[start : start + num_axes]


@pytest.mark.parametrize(("axis", "num_axes"), EXTENTS)
def test_learned_bias_and_scale(axis, num_axes):
    extent = f"axis: {axis} num_axes: {num_axes}"
    shape = extent_shape(axis, num_axes)
    first, second = values(*shape, seed=1), values(*shape, seed=2)
    x = [values(*SHAPE)]
    check_layer(
        f'type: "Bias" bias_param {{ {extent} }}',
        x,
        lambda x, b: x + spread(b, axis),
        params=[first],
        in_place=True,
    )
    check_layer(
        f'type: "Scale" scale_param {{ {extent} }}',
        x,
        lambda x, s: x * spread(s, axis),
        params=[first],
        in_place=True,
    )
    check_layer(
        f'type: "Scale" scale_param {{ {extent} bias_term: true }}',
        x,
        lambda x, s, b: x * spread(s, axis) + spread(b, axis),
        params=[first, second],
        in_place=True,
    )


@pytest.mark.parametrize(
    ("axis", "shape"),
    [(0, (2,)), (1, (3,)), (1, (3, 4)), (0, SHAPE), (-1, (5,)), (0, ()), (2, (4, 5)), (0, (2, 3))],
)
def test_bias_and_scale_by_a_second_bottom(axis, shape):
    inputs = [values(*SHAPE), values(*shape, seed=1)]
    check_layer(
        f'type: "Bias" bias_param {{ axis: {axis} }}', inputs, lambda x, b: x + spread(b, axis), in_place=True
    )
    check_layer(
        f'type: "Scale" scale_param {{ axis: {axis} }}',
        inputs,
        lambda x, s: x * spread(s, axis),
        in_place=True,
    )
    check_layer(
        f'type: "Scale" scale_param {{ axis: {axis} bias_term: true }}',
        inputs,
        lambda x, s, b: x * spread(s, axis) + spread(b, axis),
        params=[values(*shape, seed=2)],
        in_place=True,
    )


def test_bias_and_scale_defaults():
    x = values(*SHAPE)
    assert (Run('type: "Bias"', [x]).data[0] == x).all()
    run = Run('type: "Scale" scale_param { bias_term: true bias_filler { value: 2 } }', [x])
    assert_close(run.data[0], x + 2)
    assert [blob.shape for blob in run.layer.blobs] == [(3,), (3,)]


def test_scale_overwrites_its_gradient_for_a_batch_of_one():
    # BVLC: with nothing before the scale's axes the product is summed straight into the diff
    for shape, twice in (((1, 3, 4, 5), 20), ((2, 3, 4, 5), 80)):
        run = Run('type: "Scale"', [np.ones(shape)])
        for _ in range(2):
            run.backward([np.ones(shape)])
        assert run.layer.blobs[0].diff.tolist() == [twice] * 3


def test_bias_and_scale_errors():
    x = values(*SHAPE)
    for kind, param in (("Bias", "bias_param"), ("Scale", "scale_param")):
        rejects("num_axes must be", f'type: "{kind}" {param} {{ num_axes: -2 }}', [x])
        rejects("reaches past", f'type: "{kind}" {param} {{ axis: 3 num_axes: 2 }}', [x])
        rejects("out of range", f'type: "{kind}" {param} {{ axis: 4 }}', [x])
        rejects("does not fit", f'type: "{kind}"', [x, values(4)])
        rejects("does not fit", f'type: "{kind}" {param} {{ axis: 3 }}', [x, values(5, 1)])


# ---- Eltwise


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("", lambda *xs: sum(xs)),
        ("coeff", lambda *xs: sum((i - 0.5) * x for i, x in enumerate(xs))),
        ("operation: PROD", lambda *xs: np.prod(xs, axis=0)),
        ("operation: PROD stable_prod_grad: false", lambda *xs: np.prod(xs, axis=0)),
        ("operation: MAX", lambda *xs: np.max(xs, axis=0)),
    ],
)
def test_eltwise(count, text, formula):
    if text == "coeff":
        text = " ".join(f"coeff: {i - 0.5}" for i in range(count))
    inputs = [values(*SHAPE, seed=i) for i in range(count)]
    check_layer(f'type: "Eltwise" eltwise_param {{ {text} }}', inputs, formula)


def test_eltwise_max_ties():
    # between the first two to the second, later ones must be strictly greater
    run = Run('type: "Eltwise" eltwise_param { operation: MAX }', [[[1.0, 5]], [[1.0, 3]], [[1.0, 5]]])
    assert [diff.tolist() for diff in run.backward([[[7, 8]]])] == [[[0, 8]], [[7, 0]], [[0, 0]]]


def test_eltwise_stable_product_gradient_at_zero():
    inputs = [[[0.0, 2]], [[3.0, 4]]]
    run = Run('type: "Eltwise" eltwise_param { operation: PROD }', inputs)
    assert run.backward([[[1, 1]]])[0].tolist() == [[3, 4]]
    unstable = Run('type: "Eltwise" eltwise_param { operation: PROD stable_prod_grad: false }', inputs)
    assert np.isnan(unstable.backward([[[1, 1]]])[0][0, 0])


def test_eltwise_errors():
    x = values(*SHAPE)
    rejects("expected one coeff", 'type: "Eltwise" eltwise_param { coeff: 1 }', [x, x])
    rejects("only for SUM", 'type: "Eltwise" eltwise_param { operation: PROD coeff: 1 coeff: 1 }', [x, x])
    rejects("bottom 1 has shape", 'type: "Eltwise"', [x, values(2, 3, 4, 1)])
    rejects("at least 2 bottom", 'type: "Eltwise"', [x])
    rejects("in place", 'type: "Eltwise"', [x, x], in_place=True)


# ---- routing


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -3])
def test_concat(axis):
    inputs = []
    for i in range(3):
        shape = list(SHAPE)
        shape[axis] += i
        inputs.append(values(*shape, seed=i))
    check_layer(
        f'type: "Concat" concat_param {{ axis: {axis} }}', inputs, lambda *xs: np.concatenate(xs, axis)
    )


def test_concat_of_one_bottom_shares_memory():
    run = Run('type: "Concat"', [values(*SHAPE)])
    run.bottom[0].data[0, 0, 0, 0] = 7
    assert run.top[0].data[0, 0, 0, 0] == 7
    dy = values(*SHAPE, seed=1)
    assert (run.backward([dy])[0] == dy).all()


def test_concat_does_not_tie_the_diffs_of_its_blobs_together():
    run = Run('type: "Concat" concat_param { axis: 0 }', [values(2, 3), values(1, 3)])
    run.backward([np.ones((3, 3))])
    run.bottom[0].diff[...] = 5
    assert (run.top[0].diff == 1).all()


def test_concat_old_field_and_errors():
    x = values(*SHAPE)
    assert Run('type: "Concat" concat_param { concat_dim: 0 }', [x, x]).top[0].shape == (4, 3, 4, 5)
    rejects("both axis and concat_dim", 'type: "Concat" concat_param { concat_dim: 0 axis: 0 }', [x, x])
    rejects("out of range", 'type: "Concat" concat_param { concat_dim: 4 }', [x, x])
    rejects("out of range", 'type: "Concat" concat_param { axis: 4 }', [x, x])
    rejects("in all axes but 1", 'type: "Concat"', [x, values(2, 3, 4, 4)])
    rejects("in all axes but 1", 'type: "Concat"', [x, values(2, 3, 4)])


@pytest.mark.parametrize(
    ("text", "cuts", "axis"),
    [
        ("", [1, 2], 1),
        ("axis: 0", [1], 0),
        ("axis: 2 slice_point: 1", [1], 2),
        ("axis: -1 slice_point: 1 slice_point: 4", [1, 4], 3),
        ("slice_dim: 1 slice_point: 2", [2], 1),
        ("axis: 3", [1, 2, 3, 4], 3),
    ],
)
def test_slice(text, cuts, axis):
    check_layer(
        f'type: "Slice" slice_param {{ {text} }}',
        [values(*SHAPE)],
        lambda x: np.split(x, cuts, axis),
        num_top=len(cuts) + 1,
    )


def test_slice_memory():
    run = Run('type: "Slice"', [values(*SHAPE)])  # one top: shared
    assert np.shares_memory(run.top[0].data, run.bottom[0].data)
    parts = Run('type: "Slice" slice_param { axis: 0 }', [values(*SHAPE)], num_top=2)
    parts.top[0].data[...] = 9
    assert (parts.bottom[0].data != 9).all()


def test_slice_errors():
    x = values(*SHAPE)
    rejects("both axis and slice_dim", 'type: "Slice" slice_param { slice_dim: 0 axis: 0 }', [x])
    rejects("evenly", 'type: "Slice"', [x], num_top=2)
    two_points = 'type: "Slice" slice_param { slice_point: 1 slice_point: 2 }'
    rejects("need 1 slice_point", two_points, [x], num_top=2)
    for points in ("slice_point: 0", "slice_point: 3", "slice_point: 9"):
        rejects("must increase", f'type: "Slice" slice_param {{ {points} }}', [x], num_top=2)
    rejects("out of range", 'type: "Slice" slice_param { slice_dim: 4 }', [x])


@pytest.mark.parametrize("count", [1, 2, 4])
def test_split(count):
    run = check_layer('type: "Split"', [values(*SHAPE)], lambda x: [x] * count, num_top=count)
    run.bottom[0].data[...] = 3
    assert all((blob.data == 3).all() for blob in run.top)
    run.backward([np.ones(SHAPE)] * count)
    run.bottom[0].diff[...] = 9
    assert all((blob.diff == 1).all() for blob in run.top)


def test_split_of_unwritten_diffs_is_zero():
    run = Run('type: "Split"', [values(*SHAPE)], num_top=2)
    run.bottom[0].diff[...] = 4
    run.layer.backward(run.top, [True], run.bottom)
    assert (run.bottom[0].diff == 0).all()
    rejects("in place", 'type: "Split"', [values(2)], in_place=True)


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("", (2, 60)),
        ("axis: 2", (2, 3, 20)),
        ("axis: 0 end_axis: 1", (6, 4, 5)),
        ("axis: 0", (120,)),
        ("axis: 1 end_axis: -2", (2, 12, 5)),
        ("axis: 3", SHAPE),
        ("axis: 2 end_axis: 1", (2, 3, 1, 4, 5)),
    ],
)
def test_flatten(text, shape):
    run = check_layer(
        f'type: "Flatten" flatten_param {{ {text} }}', [values(*SHAPE)], lambda x: x.reshape(shape)
    )
    run.bottom[0].data[...] = 3
    assert (run.top[0].data == 3).all()


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("shape { dim: 0 dim: -1 }", (2, 60)),
        ("shape { dim: -1 }", (120,)),
        ("shape { dim: 0 dim: 0 dim: 20 }", (2, 3, 20)),
        ("shape { dim: 10 dim: 2 } axis: 2", (2, 3, 10, 2)),
        ("shape { dim: 2 dim: -1 } axis: -3 num_axes: 1", (2, 3, 2, 2, 5)),
        ("shape { dim: 1 dim: 1 } axis: 1 num_axes: 0", (2, 1, 1, 3, 4, 5)),
        ("shape { dim: 1 } axis: -1 num_axes: 0", (2, 3, 4, 5, 1)),
        ("shape { dim: -1 dim: 3 } axis: 0 num_axes: 2", (2, 3, 4, 5)),
    ],
)
def test_reshape(text, shape):
    run = check_layer(
        f'type: "Reshape" reshape_param {{ {text} }}', [values(*SHAPE)], lambda x: x.reshape(shape)
    )
    run.bottom[0].data[...] = 3
    run.top[0].diff[...] = 4
    assert (run.top[0].data == 3).all() and (run.bottom[0].diff == 4).all()


def test_flatten_and_reshape_errors():
    x = values(*SHAPE)
    rejects("behind end_axis", 'type: "Flatten" flatten_param { axis: 3 end_axis: 1 }', [x])
    rejects("in place", 'type: "Flatten"', [x], in_place=True)
    rejects("in place", 'type: "Reshape"', [x], in_place=True)
    for text, message in (
        ("shape { dim: -1 dim: -1 }", "more than one -1"),
        ("shape { dim: 7 dim: -1 }", "cannot be divided"),
        ("shape { dim: 7 }", "holds 7 values"),
        ("shape { dim: 1 dim: 0 } axis: 3", "no axis 4 to copy"),
        ("axis: 5", "out of range"),
        ("axis: -6", "out of range"),
        ("axis: 2 num_axes: 3", "out of range"),
        ("num_axes: -2", "out of range"),
    ):
        rejects(message, f'type: "Reshape" reshape_param {{ {text} }}', [x])


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("tiles", [1, 3])
def test_tile(axis, tiles):
    check_layer(
        f'type: "Tile" tile_param {{ axis: {axis} tiles: {tiles} }}',
        [values(*SHAPE)],
        lambda x: np.concatenate([x] * tiles, axis),
    )
    rejects("tiles >= 1", 'type: "Tile"', [values(2, 3)])


def test_batch_reindex():
    index = np.array([1, 0, 1, 1, 0], np.float32)
    run = check_layer(
        'type: "BatchReindex"',
        [values(*SHAPE), index],
        lambda x, i: x[np.rint(i).astype(int)],
        propagate=[True, False],
    )
    assert run.layer.allow_force_backward(0) and not run.layer.allow_force_backward(1)
    with pytest.raises(NetError, match="indices"):
        run.backward([np.ones((5, 3, 4, 5))], [True, True])
    for wrong in ([0, 2], [-1, 0]):
        rejects("indices must be in 0 to 1", 'type: "BatchReindex"', [values(2, 3), wrong])
    rejects("1-D", 'type: "BatchReindex"', [values(2, 3), [[0]]])


def test_filter_keeps_selected_items():
    selector = np.array([0, 1, -2, 0, 0.5], np.float32)

    def formula(a, b, s):
        kept = np.abs(s) > 1e-3
        return [a[kept], b[kept]]

    run = check_layer(
        'bottom: "a" bottom: "b" bottom: "s" type: "Filter"',
        [values(5, 3), values(5, 2, 2, seed=1), selector],
        formula,
        num_top=2,
        propagate=[True, True, False],
    )
    assert [run.layer.allow_force_backward(i) for i in range(3)] == [True, True, False]
    with pytest.raises(NetError, match="selector"):
        run.backward([np.ones((3, 3)), np.ones((3, 2, 2))], [True, True, True])
    run.bottom[2].data[...] = 0  # nothing selected: empty tops, zero diffs
    run.forward()
    assert run.top[0].shape == (0, 3)
    assert not run.backward([np.ones((0, 3)), np.ones((0, 2, 2))], [True, True, False])[0].any()


def test_filter_makes_room_for_all_at_first_and_checks():
    layer = make_layer('type: "Filter"')
    bottom, top = [make_blob(values(4, 3)), make_blob(np.zeros(4))], [Blob()]
    layer.setup(bottom, top)
    layer.reshape(bottom, top)
    assert top[0].shape == (4, 3)
    layer.reshape(bottom, top)
    assert top[0].shape == (0, 3)
    rejects("need 2 top", 'type: "Filter"', [values(2), values(2), values(2)])
    rejects("selector of shape", 'type: "Filter"', [values(2, 3), values(2, 2)])
    rejects("batch size", 'type: "Filter"', [values(2, 3), values(3)])


def test_silence_zeroes_diffs_and_never_data():
    run = Run('type: "Silence"', [values(2, 3), values(4)], num_top=0)
    before = run.bottom[0].data.copy()
    for blob in run.bottom:
        blob.diff[...] = 3
    diffs = run.backward([], [True, False])
    assert not diffs[0].any() and (diffs[1] == 3).all()
    assert (run.bottom[0].data == before).all()


def test_parameter_shares_its_blob():
    run = Run('type: "Parameter" parameter_param { shape { dim: 2 dim: 3 } }', [])
    assert run.top[0].shape == (2, 3) and not run.data[0].any()
    run.layer.blobs[0].data[...] = 5
    run.top[0].diff[...] = 2
    assert (run.top[0].data == 5).all() and (run.layer.blobs[0].diff == 2).all()


# ---- Reduction, ArgMax


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("coeff", [1, -2.5])
@pytest.mark.parametrize(
    ("operation", "inner"),
    [
        ("SUM", lambda x: x.sum(-1)),
        ("ASUM", lambda x: np.abs(x).sum(-1)),
        ("MEAN", lambda x: x.mean(-1)),
        ("SUMSQ", lambda x: (x**2).sum(-1)),
    ],
)
def test_reduction(axis, coeff, operation, inner):
    start = axis % 4
    check_layer(
        f'type: "Reduction" reduction_param {{ operation: {operation} axis: {axis} coeff: {coeff} }}',
        [values(*SHAPE)],
        lambda x: coeff * inner(x.reshape(SHAPE[:start] + (-1,))),
    )


def caffe_order(column):
    """Indices by descending (value, index): Caffe sorts pairs with std::greater."""
    return sorted(range(len(column)), key=lambda i: (column[i], i), reverse=True)


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("out_max_val", [False, True])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("axis", [None, 1, -1, 0])
def test_argmax(k, out_max_val, ties, axis):
    x = values(4, 5, 3, 6)
    if ties:
        x = np.rint(x)
    text = f"top_k: {k} out_max_val: {str(out_max_val).lower()}" + ("" if axis is None else f" axis: {axis}")
    run = Run(f'type: "ArgMax" argmax_param {{ {text} }}', [x])
    if axis is None:
        rows = x.reshape(4, -1)
        order = np.array([caffe_order(row)[:k] for row in rows])
        best = np.take_along_axis(rows, order, 1)
        expected = np.stack([order, best] if out_max_val else [order], 1)[..., None]
    else:
        order = np.apply_along_axis(lambda column: caffe_order(column)[:k], axis, x)
        expected = np.take_along_axis(x, order, axis) if out_max_val else order
    assert run.data[0].shape == expected.shape
    assert (run.data[0] == expected).all()
    with pytest.raises(NetError, match="no gradient"):
        run.backward([np.ones(expected.shape)])
    assert not run.layer.allow_force_backward(0)


def test_argmax_shapes_and_errors():
    assert Run('type: "ArgMax"', [values(4, 5)]).top[0].shape == (4, 1, 1)
    assert Run('type: "ArgMax"', [values(4, 5, 2, 2, 2)]).top[0].shape == (4, 1, 1, 1, 1)
    for text in ("top_k: 0", "top_k: 6", "axis: 0 top_k: 5"):
        rejects("top_k must be in", f'type: "ArgMax" argmax_param {{ {text} }}', [values(4, 5)])


# ---- Softmax, BatchNorm, MVN


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("axis", [1, 0, 2, -1])
def test_softmax(axis):
    text = f'type: "Softmax" softmax_param {{ axis: {axis} }}'
    check_layer(text, [values(*SHAPE)], lambda x: softmax(x, axis), in_place=True)


def test_softmax_of_large_scores_and_of_a_constant_diff():
    run = Run('type: "Softmax"', [[[1000.0, 1000, -1000]]])
    assert run.data[0].tolist() == [[0.5, 0.5, 0]]
    run = Run('type: "Softmax"', [values(2, 21, 6, 7)])
    assert np.abs(run.backward([np.ones((2, 21, 6, 7))])[0]).max() < 1e-7


def axes_but_channel(x):
    return (0, *range(2, x.ndim))


def channel(v, x):
    return np.reshape(v, (1, -1) + (1,) * (x.ndim - 2))


@pytest.mark.parametrize("shape", [SHAPE, (6, 3), (2, 3, 2, 2, 2)])
def test_batch_norm_with_batch_statistics(shape):
    def formula(x):
        mean, var = x.mean(axes_but_channel(x), keepdims=True), x.var(axes_but_channel(x), keepdims=True)
        return (x - mean) / np.sqrt(var + 1e-2)

    text = 'type: "BatchNorm" batch_norm_param { eps: 1e-2 }'
    x = values(*shape) * 3 + 1
    for in_place in (False, True):
        for channels_last in (False, True):
            run = Run(text, [x], in_place=in_place, channels_last=channels_last)
            assert_close(run.data[0], formula(x.astype(np.float64)))
            dy = values(*shape, seed=1)
            found = run.backward([dy])[0]
            assert_close(found, numeric_gradient(lambda v, dy=dy: float((formula(v) * dy).sum()), x), 1e-4)


@pytest.mark.parametrize("fraction", [0.999, 0.5])
def test_batch_norm_moving_sums(fraction):
    text = f'type: "BatchNorm" batch_norm_param {{ moving_average_fraction: {fraction} }}'
    run = Run(text, [values(*SHAPE)])  # the first forward pass is part of it
    mean = var = weight = 0.0
    for step in range(3):
        x = values(*SHAPE, seed=step) * (step + 1) + step
        if step == 0:
            x = values(*SHAPE)
        else:
            run.bottom[0].data[...] = x
            run.forward()
        m = x.size / 3
        mean = fraction * mean + x.astype(float).mean((0, 2, 3))
        var = fraction * var + m / (m - 1) * x.astype(float).var((0, 2, 3))
        weight = fraction * weight + 1
    for blob, expected in zip(run.layer.blobs, (mean, var, [weight]), strict=True):
        assert_close(blob.data, expected)


def test_batch_norm_of_one_sample_does_not_divide_by_zero():
    run = Run('type: "BatchNorm"', [[[2.0, 3.0]]])
    assert run.data[0].tolist() == [[0, 0]]
    assert run.layer.blobs[1].data.tolist() == [0, 0]


@pytest.mark.parametrize("weight", [1.0, 999.98, 0.0])
def test_batch_norm_with_global_statistics(weight):
    mean, var = values(3, seed=1), np.abs(values(3, seed=2)) + 0.1
    factor = 0 if weight == 0 else 1 / weight

    def formula(x, *_):
        return (x - channel(mean * factor, x)) / np.sqrt(channel(var * factor, x) + 1e-5)

    x, dy = values(*SHAPE), values(*SHAPE, seed=3)
    for phase, text in (
        (TEST, 'type: "BatchNorm"'),
        (TRAIN, 'type: "BatchNorm" batch_norm_param { use_global_stats: true }'),
    ):
        for in_place in (False, True):
            run = Run(text, [x], phase=phase, params=[mean, var, [weight]], in_place=in_place)
            assert_close(run.data[0], formula(x.astype(np.float64)))
            assert_close(run.backward([dy])[0], dy / np.sqrt(channel(var * factor, x) + 1e-5))
            assert [float(v) for v in run.layer.blobs[2].data] == [np.float32(weight)]


def test_batch_norm_at_test_may_use_batch_statistics():
    x = values(*SHAPE)
    run = Run('type: "BatchNorm" batch_norm_param { use_global_stats: false }', [x], phase=TEST)
    assert np.abs(run.data[0].mean((0, 2, 3))).max() < 1e-6


def test_batch_norm_keeps_solvers_away():
    run = Run('type: "BatchNorm"', [values(*SHAPE)])
    assert [param.lr_mult for param in run.layer.layer_param.param] == [0, 0, 0]
    rejects("expected lr_mult: 0", 'type: "BatchNorm" param { lr_mult: 1 }', [values(*SHAPE)])
    rejects("channel axis", 'type: "BatchNorm"', [values(3)])
    run.bottom[0].reshape(2, 4, 4, 5)
    with pytest.raises(NetError, match="expected 3 channels"):
        run.forward()


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("variance", [True, False])
def test_mvn_forward_and_backward(across, variance):
    axes = (1, 2, 3) if across else (2, 3)
    eps = 1e-3
    x, dy = values(*SHAPE).astype(np.float64), values(*SHAPE, seed=1)
    centred = x - x.mean(axes, keepdims=True)
    divisor = np.sqrt((centred**2).mean(axes, keepdims=True)) + eps if variance else 1.0
    y = centred / divisor
    text = (
        f'type: "MVN" mvn_param {{ across_channels: {str(across).lower()} '
        f"normalize_variance: {str(variance).lower()} eps: {eps} }}"
    )
    # Caffe's gradient treats std + eps as if it were sqrt(var + eps) of a unit-variance output
    expected = dy - dy.mean(axes, keepdims=True)
    if variance:
        expected = (expected - y * (dy * y).mean(axes, keepdims=True)) / divisor
    for channels_last in (False, True):
        run = Run(text, [x], channels_last=channels_last)
        assert_close(run.data[0], y)
        assert_close(run.backward([dy])[0], expected)


def test_mvn_top_has_four_axes():
    assert Run('type: "MVN"', [values(2, 3)]).top[0].shape == (2, 3, 1, 1)


# ---- memory layout: big activations must not be copied to NCHW


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ('type: "ReLU"', 1),
        ('type: "Dropout"', 1),
        ('type: "Softmax"', 1),
        ('type: "BatchNorm"', 1),
        ('type: "Scale" scale_param { bias_term: true }', 1),
        ('type: "Bias"', 1),
        ('type: "Eltwise"', 2),
        ('type: "Eltwise" eltwise_param { operation: MAX }', 2),
        ('type: "Concat"', 2),
        ('type: "Split"', 1),
    ],
)
def test_channels_last_stays_channels_last(text, count):
    run = Run(text, [values(2, 4, 6, 7, seed=i) for i in range(count)], channels_last=True)
    assert run.top[0].data_tensor.is_contiguous(memory_format=torch.channels_last)
    dy = make_blob(values(*run.top[0].shape), channels_last=True)
    run.top[0].diff_tensor = dy.data_tensor
    run.layer.backward(run.top, [True] * count, run.bottom)
    for blob in run.bottom:
        assert blob.diff_tensor.is_contiguous(memory_format=torch.channels_last)
