"""Convolution, pooling and their kin against formulas written as loops in float64."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from caffe_gp.caffe import fast
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.few_patches import FewPatches
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.pooling import pooled_sizes
from caffe_gp.errors import NetError
from caffe_gp.proto import messages as pb
from tests.caffe.layer_harness import Run, assert_close, check_layer, make_blob, make_layer

RNG = np.random.RandomState(3)


def convolve(x, weight, bias, stride, pad, dilation, group):
    """Caffe's convolution, one output at a time."""
    n, c, h, w = x.shape
    out, per_group, kh, kw = weight.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    oh = (h + 2 * pad - dilation * (kh - 1) - 1) // stride + 1
    ow = (w + 2 * pad - dilation * (kw - 1) - 1) // stride + 1
    y = np.zeros((n, out, oh, ow))
    for o in range(out):
        first = o // (out // group) * per_group
        for i, j in itertools.product(range(oh), range(ow)):
            rows = i * stride + dilation * np.arange(kh)
            columns = j * stride + dilation * np.arange(kw)
            patch = padded[:, first : first + per_group][:, :, rows][:, :, :, columns]
            y[:, o, i, j] = (patch * weight[o]).sum((1, 2, 3)) + (0 if bias is None else bias[o])
    return y


def deconvolve(x, weight, bias, stride, pad, group):
    """The transpose: every input spreads its kernel over the output."""
    n, c, h, w = x.shape
    _, per_group, kh, kw = weight.shape
    y = np.zeros((n, per_group * group, stride * (h - 1) + kh, stride * (w - 1) + kw))
    for i, (a, b) in itertools.product(range(c), itertools.product(range(h), range(w))):
        first = i // (c // group) * per_group
        place = y[:, first : first + per_group, a * stride : a * stride + kh, b * stride : b * stride + kw]
        place += x[:, i, a, b][:, None, None, None] * weight[i]
    y = y[:, :, pad : y.shape[2] - pad, pad : y.shape[3] - pad]
    return y if bias is None else y + bias[:, None, None]


@pytest.mark.parametrize(
    "channels, out, kernel, stride, pad, dilation, group, size",
    [
        (3, 4, 3, 1, 1, 1, 1, (5, 6)),
        (4, 6, 3, 2, 0, 1, 2, (7, 5)),
        (2, 2, 1, 3, 2, 1, 2, (4, 4)),
        (3, 5, 1, 1, 0, 1, 1, (4, 3)),
        (3, 2, 1, 1, 0, 1, 1, (1, 1)),
        (2, 3, 3, 1, 4, 3, 1, (6, 5)),
        (4, 2, 3, 1, 4, 1, 2, (3, 4)),  # outputs that see no image
        (3, 20, 3, 1, 0, 1, 1, (3, 4)),  # more weights than patches: the matrix product
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_convolution(channels, out, kernel, stride, pad, dilation, group, size, bias):
    x = RNG.randn(2, channels, *size)
    params = [RNG.randn(out, channels // group, kernel, kernel)] + ([RNG.randn(out)] if bias else [])
    text = f"""type: "Convolution" convolution_param {{ num_output: {out} kernel_size: {kernel}
        stride: {stride} pad: {pad} dilation: {dilation} group: {group} bias_term: {str(bias).lower()} }}"""
    check_layer(
        text, [x], lambda v, w, b=None: convolve(v, w, b, stride, pad, dilation, group), params=params
    )


@pytest.mark.parametrize(
    "shape, kernel, stride, pad, ways",
    [
        ((3, 2, 9, 11), (5, 3), (1, 1), (0, 0), (FewPatches, FewPatches)),
        ((3, 2, 9, 11), (2, 5), (2, 1), (1, 2), (FewPatches, FewPatches)),
        ((40, 4, 20, 19), (5, 3), (1, 2), (0, 2), (None, FewPatches)),  # many images
        ((1, 3, 120, 130), (7, 7), (2, 2), (3, 3), (None, FewPatches)),  # or large
        ((40, 5, 20, 19), (5, 3), (1, 2), (0, 2), (None, None)),
        ((40, 3, 20, 19), (5, 3), (2, 2), (5, 2), (None, None)),  # much padding
    ],
)
def test_convolutions_of_few_patches_come_out_as_without_the_fast_path(
    monkeypatch, shape, kernel, stride, pad, ways
):
    text = f"""type: "Convolution" convolution_param {{ num_output: 4
        kernel_h: {kernel[0]} kernel_w: {kernel[1]} stride_h: {stride[0]} stride_w: {stride[1]}
        pad_h: {pad[0]} pad_w: {pad[1]} }}"""
    x, params = RNG.randn(*shape), [RNG.randn(4, shape[1], *kernel), RNG.randn(4)]

    def found(optimize: str) -> list[np.ndarray]:
        monkeypatch.setenv(fast.VARIABLE, optimize)
        run = Run(text, [x], params=params, phase=pb.TEST)
        for way, backward in zip(ways, (False, True), strict=True):
            expected = type(None) if way is None or optimize == "0" else way
            assert type(run.layer._way(run.bottom[0], run.top[0], backward=backward)) is expected
        dy = np.random.RandomState(0).randn(*run.top[0].shape)
        return [*run.data, *run.backward([dy]), *(blob.diff.copy() for blob in run.layer.blobs)]

    for quick, plain in zip(found("1"), found("0"), strict=True):
        assert_close(quick, plain)


@pytest.mark.parametrize("spatial", [(6,), (4, 3, 5)])
def test_convolution_over_one_and_three_axes(spatial):
    x, weight = RNG.randn(2, 2, *spatial), RNG.randn(3, 2, *[2] * len(spatial))

    def formula(v, w):
        out = tuple(n - 1 for n in spatial)
        y = np.zeros((2, 3, *out))
        for offset in itertools.product(range(2), repeat=len(spatial)):
            window = v[(slice(None), slice(None), *(slice(o, o + n) for o, n in zip(offset, out)))]
            y += np.einsum("nc...,oc->no...", window, w[(slice(None), slice(None), *offset)])
        return y

    check_layer(
        'type: "Convolution" convolution_param { num_output: 3 kernel_size: 2 bias_term: false }',
        [x],
        formula,
        params=[weight],
    )


@pytest.mark.parametrize(
    "stride, pad, group, channels, out", [(1, 0, 1, 2, 3), (2, 1, 1, 3, 2), (3, 2, 2, 4, 2)]
)
def test_deconvolution(stride, pad, group, channels, out):
    x = RNG.randn(2, channels, 3, 4)
    params = [RNG.randn(channels, out // group, 4, 4), RNG.randn(out)]
    text = f"""type: "Deconvolution" convolution_param {{ num_output: {out} kernel_size: 4
        stride: {stride} pad: {pad} group: {group} }}"""
    check_layer(text, [x], lambda v, w, b: deconvolve(v, w, b, stride, pad, group), params=params)


def test_diagonal_deconvolution_notices_an_edit_of_its_weights():
    weight = np.zeros((3, 3, 4, 4))
    weight[range(3), range(3)] = RNG.randn(4, 4)
    x = RNG.randn(1, 3, 3, 3)
    text = (
        'type: "Deconvolution" convolution_param { num_output: 3 kernel_size: 4 stride: 2 bias_term: false }'
    )
    run = check_layer(text, [x], lambda v, w: deconvolve(v, w, None, 2, 0, 1), params=[weight])
    weight[0, 2, 1, 1] = 0.5
    run.layer.blobs[0].data[0, 2, 1, 1] = 0.5
    run.forward()
    assert_close(run.data[0], deconvolve(x, weight, None, 2, 0, 1))


@pytest.mark.parametrize("channels_last", [False, True])
def test_gradient_of_a_1x1_kernel_with_a_stride_stays_within_its_memory(channels_last):
    """torch's own wrote behind it: the process died, or weights of others changed."""
    random = np.random.RandomState(0)
    for _ in range(60):
        x = random.randn(2, 4, 10, 12)
        run = Run(
            "type: 'Convolution' convolution_param { num_output: 6 kernel_size: 1 stride: 2 }",
            [x],
            channels_last=channels_last,
        )
        diff = random.randn(*run.top[0].shape)
        run.backward([diff])
        expected = np.einsum("nohw,nchw->oc", diff, x[:, :, ::2, ::2])
        assert_close(run.layer.blobs[0].diff[..., 0, 0], expected)


def test_convolution_backward_is_the_adjoint_of_forward():
    run = Run(
        'type: "Convolution" convolution_param { num_output: 40 kernel_size: 5 stride: 2 pad: 2 '
        "bias_term: false }",
        [RNG.randn(1, 9, 33, 31)],
        params=[RNG.randn(40, 9, 5, 5)],
    )
    x, y = run.bottom[0].data.astype(np.float64), run.data[0].astype(np.float64)
    dy = RNG.randn(*y.shape)
    (dx,) = run.backward([dy])
    assert (y * dy).sum() == pytest.approx((x * dx).sum(), rel=1e-4)


@pytest.mark.parametrize(
    "text, message",
    [
        ("num_output: 0 kernel_size: 3", "num_output"),
        ("num_output: 4", "kernel_size"),
        ("num_output: 4 kernel_size: 0", "nonzero"),
        ("num_output: 4 kernel_size: 3 stride: 0", "stride"),
        ("num_output: 4 kernel_size: 3 group: 2", "does not divide"),
        ("num_output: 4 kernel_size: 3 group: 3", "multiples of group"),
        ("num_output: 4 kernel_size: 9", "does not fit"),
        ("num_output: 4 kernel_size: 3 kernel_h: 2 kernel_w: 2", "not both"),
        ("num_output: 4 kernel_size: [1, 2, 3]", "spatial dimension"),
    ],
)
def test_convolution_refuses(text, message):
    with pytest.raises(NetError, match=message):
        Run(f'type: "Convolution" convolution_param {{ {text} }}', [np.zeros((1, 3, 5, 5))])


# ---- pooling


def caffe_windows(size, kernel, stride, pad):
    """(start, end, counted elements) of each window of one axis, from Caffe's loops."""
    out = int(math.ceil((size + 2 * pad - kernel) / stride)) + 1
    if pad and (out - 1) * stride >= size + pad:
        out -= 1
    for i in range(out):
        start = i * stride - pad
        end = min(start + kernel, size + pad)
        yield max(start, 0), min(end, size), end - start


def pool(x, kernel, stride, pad, average):
    rows, columns = (list(caffe_windows(n, kernel, stride, pad)) for n in x.shape[2:])
    y = np.zeros((*x.shape[:2], len(rows), len(columns)))
    for (i, (a, b, n)), (j, (c, d, m)) in itertools.product(enumerate(rows), enumerate(columns)):
        window = x[:, :, a:b, c:d]
        y[:, :, i, j] = window.sum((2, 3)) / (n * m) if average else window.max((2, 3))
    return y


GEOMETRIES = [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), (3, 3, 2), (5, 2, 3), (4, 3, 1), (1, 1, 0)]


@pytest.mark.parametrize("kernel, stride, pad", GEOMETRIES)
@pytest.mark.parametrize("size", [(7, 6), (8, 5), (5, 5)])
@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_pooling(kernel, stride, pad, size, method):
    x = RNG.permutation(2 * 3 * size[0] * size[1]).reshape(2, 3, *size) / 10.0  # no ties
    text = f"""type: "Pooling" pooling_param {{ pool: {method} kernel_size: {kernel} stride: {stride}
        pad: {pad} }}"""
    check_layer(text, [x], lambda v: pool(v, kernel, stride, pad, method == "AVE"))


@pytest.mark.parametrize("size", range(1, 40))
def test_pooled_sizes(size):
    for kernel, stride, pad in GEOMETRIES:
        if size + 2 * pad >= kernel:
            windows = len(list(caffe_windows(size, kernel, stride, pad)))
            square = pooled_sizes(*[(n, n) for n in (size, kernel, stride, pad)], floor=False)
            assert square == (windows, windows)


def test_a_pad_on_one_axis_clips_the_last_window_of_both():
    """BVLC Caffe's numbers: 6 x 9, kernel 1 x 3, stride 2."""
    assert pooled_sizes((6, 9), (1, 3), (2, 2), (0, 0), False) == (4, 4)
    assert pooled_sizes((6, 9), (1, 3), (2, 2), (0, 1), False) == (3, 5)


def test_sizes_of_the_papers_nets():
    """FCN-32s at 500 and 375 (2 x 2 windows round up), DeepLab at 513 (3 x 3, pad 1)."""
    sizes = [698]
    for _ in range(5):
        sizes += pooled_sizes((sizes[-1],) * 2, (2, 2), (2, 2), (0, 0), False)[:1]
    assert sizes == [698, 349, 175, 88, 44, 22]
    sizes = [513]
    for stride in (2, 2, 2, 1, 1):
        sizes += pooled_sizes((sizes[-1],) * 2, (3, 3), (stride, stride), (1, 1), False)[:1]
    assert sizes == [513, 257, 129, 65, 65, 65]


def test_first_of_equal_maxima_takes_the_diff():
    run = Run(
        'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 }', [np.zeros((1, 1, 4, 4))], num_top=2
    )
    assert run.data[1].tolist() == [[[[0, 2], [8, 10]]]]
    (dx,) = run.backward([np.ones((1, 1, 2, 2)), np.zeros((1, 1, 2, 2))])
    assert dx[0, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


def test_global_pooling_follows_the_bottom():
    run = Run('type: "Pooling" pooling_param { pool: AVE global_pooling: true }', [RNG.randn(2, 3, 4, 5)])
    assert_close(run.data[0][..., 0, 0], run.bottom[0].data.astype(np.float64).mean((2, 3)))
    run.bottom[0].reshape(2, 3, 7, 2)
    run.bottom[0].data[...] = 3
    run.forward()
    assert (run.data[0] == 3).all()


def test_floor_mode():
    run = Run(
        'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }',
        [RNG.randn(1, 1, 5, 5)],
    )
    assert run.top[0].shape == (1, 1, 2, 2)


def test_stochastic_pooling():
    x = np.abs(RNG.randn(1, 1, 4, 4))
    text = 'type: "Pooling" pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }'
    windows = x.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(2, 2, 4)
    test = Run(text, [x], phase=1)
    assert_close(test.data[0][0, 0], (windows**2).sum(-1) / windows.sum(-1))
    (dx,) = test.backward([np.full((1, 1, 2, 2), 5.0)])
    mean = ((windows**2).sum(-1) / windows.sum(-1))[..., None]
    share = 5 * (2 * windows - mean) / windows.sum(-1, keepdims=True)
    assert_close(dx[0, 0], share.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(4, 4))
    train = Run(text, [x], phase=0)
    drawn = np.zeros((2, 2))
    for _ in range(2000):
        train.forward()
        drawn += train.data[0][0, 0] / 2000
    np.testing.assert_allclose(drawn, (windows**2).sum(-1) / windows.sum(-1), rtol=0.1)
    (dx,) = train.backward([np.full((1, 1, 2, 2), 5.0)])
    assert sorted(dx.ravel().tolist()) == [0] * 12 + [5] * 4
    assert (train.bottom[0].data[dx > 0].sum()) == pytest.approx(train.data[0].sum(), rel=1e-6)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "zero"),
        ("kernel_size: 2 pad: 2", "smaller than the kernel"),
        ("kernel_size: 2 global_pooling: true", "Global_pooling"),
        ("kernel_size: 2 pool: STOCHASTIC pad: 1", "Padding implemented only"),
        ("kernel_size: 2 stride: 2 stride_h: 1 stride_w: 1", "not both"),
    ],
)
def test_pooling_refuses(text, message):
    with pytest.raises(NetError, match=message):
        Run(f'type: "Pooling" pooling_param {{ {text} }}', [np.zeros((1, 3, 5, 5))])


def test_spp_lists_the_bins_of_every_level():
    x = RNG.permutation(2 * 9 * 8).reshape(1, 2, 9, 8) / 10.0

    def formula(v):
        parts = []
        for bins in (1, 2, 4):
            kh, kw = -(-9 // bins), -(-8 // bins)
            ph, pw = (kh * bins - 9 + 1) // 2, (kw * bins - 8 + 1) // 2
            for c, i, j in itertools.product(range(2), range(bins), range(bins)):
                a, b = i * kh - ph, j * kw - pw
                parts.append(v[0, c, max(a, 0) : a + kh, max(b, 0) : b + kw].max())
        return np.array([parts])

    check_layer('type: "SPP" spp_param { pyramid_height: 3 }', [x], formula)


# ---- the rest


def across(x, n, alpha, beta, k):
    square = np.pad(x**2, ((0, 0), (n // 2, n // 2), (0, 0), (0, 0)))
    total = sum(square[:, i : i + x.shape[1]] for i in range(n))
    return x * (k + alpha / n * total) ** -beta


def within(x, n, alpha, beta):
    half = n // 2
    square = np.pad(x**2, ((0, 0), (0, 0), (half, half), (half, half)))
    h, w = x.shape[2:]
    total = sum(square[:, :, i : i + h, j : j + w] for i in range(n) for j in range(n))
    return x * (1 + alpha * total / n**2) ** -beta


def test_lrn():
    x = RNG.randn(2, 7, 4, 5)
    check_layer(
        'type: "LRN" lrn_param { local_size: 5 alpha: 0.9 beta: 0.75 k: 2 }',
        [x],
        lambda v: across(v, 5, 0.9, 0.75, 2),
    )
    check_layer(
        'type: "LRN" lrn_param { local_size: 3 alpha: 0.9 beta: 0.6 norm_region: WITHIN_CHANNEL k: 7 }',
        [x],
        lambda v: within(v, 3, 0.9, 0.6),
    )
    with pytest.raises(NetError, match="odd"):
        Run('type: "LRN" lrn_param { local_size: 4 }', [x])


def test_crop():
    x, like = RNG.randn(2, 3, 7, 8), np.zeros((1, 1, 4, 5))
    run = check_layer(
        'type: "Crop" crop_param { axis: 2 offset: 3 }',
        [x, like],
        lambda v, _: v[:, :, 3:7, 3:8],
        propagate=[True, False],
    )
    assert not run.bottom[1].diff.any()
    check_layer(
        'type: "Crop" crop_param { axis: 2 offset: 1 offset: 2 }',
        [x, like],
        lambda v, _: v[:, :, 1:5, 2:7],
        propagate=[True, False],
    )
    check_layer(
        'type: "Crop" crop_param { axis: 1 }',
        [x, np.zeros((2, 2, 7, 3))],
        lambda v, _: v[:, :2, :, :3],
        propagate=[True, False],
    )
    with pytest.raises(NetError, match="out-of-bounds"):
        Run('type: "Crop" crop_param { offset: 4 }', [x, like])
    with pytest.raises(NetError, match="number of offset values"):
        Run('type: "Crop" crop_param { axis: 1 offset: 0 offset: 0 }', [x, like])


def resize(x, oh, ow):
    """Bilinear with aligned corners, as a product with two interpolation matrices."""

    def matrix(n, out):
        m = np.zeros((out, n))
        for i in range(out):
            at = i * (n - 1) / (out - 1) if out > 1 else 0
            low = min(int(at), n - 1)
            high = min(low + 1, n - 1)
            m[i, low] += 1 - (at - low)
            m[i, high] += at - low
        return m

    return np.einsum("ah,bw,nchw->ncab", matrix(x.shape[2], oh), matrix(x.shape[3], ow), x)


@pytest.mark.parametrize(
    "text, size",
    [
        ("zoom_factor: 3", (16, 19)),
        ("shrink_factor: 2", (3, 4)),
        ("shrink_factor: 2 zoom_factor: 3", (7, 10)),
        ("height: 9 width: 4", (9, 4)),
        ("height: 6 width: 7", (6, 7)),
        ("height: 1 width: 1", (1, 1)),
    ],
)
def test_interp(text, size):
    check_layer(
        f'type: "Interp" interp_param {{ {text} }}', [RNG.randn(2, 3, 6, 7)], lambda v: resize(v, *size)
    )


def test_interp_crops_by_negative_pads_and_gives_deeplabs_sizes():
    check_layer(
        'type: "Interp" interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -2 }',
        [RNG.randn(1, 2, 6, 7)],
        lambda v: resize(v[:, :, 1:-2, 1:-2], 5, 7),
    )
    for text, size, expected in (
        ("shrink_factor: 4 zoom_factor: 3", 513, 385),
        ("shrink_factor: 3 zoom_factor: 4", 49, 65),
        ("zoom_factor: 8", 65, 513),
        ("shrink_factor: 2", 513, 257),
    ):
        layer, bottom, top = (
            make_layer(f'type: "Interp" interp_param {{ {text} }}'),
            Blob((1, 1, size, size)),
            Blob(),
        )
        layer.setup([bottom], [top])
        layer.reshape([bottom], [top])
        assert top.shape[2:] == (expected, expected)
    with pytest.raises(NetError, match="non-pos"):
        Run('type: "Interp" interp_param { zoom_factor: 2 pad_beg: 1 }', [np.zeros((1, 1, 3, 3))])
    with pytest.raises(NetError, match="needs"):
        Run('type: "Interp"', [np.zeros((1, 1, 3, 3))])


def test_im2col():
    x = RNG.randn(2, 3, 5, 6)

    def formula(v):
        padded = np.pad(v, ((0, 0), (0, 0), (1, 1), (1, 1)))
        y = np.zeros((2, 3 * 9, 3, 3))
        for c, a, b in itertools.product(range(3), range(3), range(3)):
            y[:, c * 9 + a * 3 + b] = padded[:, c, a : a + 5 : 2, b : b + 6 : 2]
        return y

    check_layer('type: "Im2col" convolution_param { kernel_size: 3 stride: 2 pad: 1 }', [x], formula)


@pytest.mark.parametrize("spatial, kernel", [((7,), 3), ((4, 5, 3), 2)])
def test_im2col_over_one_and_three_axes(spatial, kernel):
    x = RNG.randn(2, 3, *spatial)

    def formula(v):
        out = tuple((n - kernel) // 2 + 1 for n in spatial)
        offsets = itertools.product(range(kernel), repeat=len(spatial))
        windows = [v[(..., *(slice(o, o + 2 * n - 1, 2) for o, n in zip(at, out)))] for at in offsets]
        return np.stack(windows, 2).reshape(2, -1, *out)

    check_layer(f'type: "Im2col" convolution_param {{ kernel_size: {kernel} stride: 2 }}', [x], formula)


# ---- fillers


@pytest.mark.parametrize(
    "text, check",
    [
        ("type: 'constant' value: 2.5", lambda v: (v == 2.5).all()),
        (
            "type: 'uniform' min: -1 max: 3",
            lambda v: v.min() >= -1 and v.max() <= 3 and abs(v.mean() - 1) < 0.1,
        ),
        ("type: 'gaussian' mean: 1 std: 2", lambda v: abs(v.mean() - 1) < 0.1 and abs(v.std() - 2) < 0.1),
        ("type: 'gaussian' std: 1 sparse: 6", lambda v: abs((v != 0).mean() - 6 / 60) < 0.03),
        (
            "type: 'positive_unitball'",
            lambda v: v.min() >= 0 and np.allclose(v.reshape(60, -1).sum(1), 1, atol=1e-5),
        ),
        ("type: 'xavier'", lambda v: abs(v.std() * math.sqrt(3) - math.sqrt(3 / 75)) < 0.01),
        ("type: 'msra' variance_norm: FAN_OUT", lambda v: abs(v.std() - math.sqrt(2 / (60 * 25))) < 0.005),
        (
            "type: 'msra' variance_norm: AVERAGE",
            lambda v: abs(v.std() - math.sqrt(2 / ((75 + 1500) / 2))) < 0.005,
        ),
    ],
)
def test_fillers(text, check):
    from google.protobuf import text_format

    blob, param = Blob((60, 3, 5, 5)), pb.FillerParameter()
    text_format.Parse(text, param)
    fill(blob, param)
    assert check(blob.data)


@pytest.mark.parametrize("side", [3, 4, 16, 64])
def test_bilinear_filler(side):
    blob = make_blob(np.zeros((2, 1, side, side)))
    fill(blob, pb.FillerParameter(type="bilinear"))
    f = math.ceil(side / 2)
    c = (side - 1) / (2.0 * f)
    line = np.array([1 - abs(i / f - c) for i in range(side)])
    assert_close(blob.data[1, 0], np.outer(line, line))


def test_filler_refuses():
    with pytest.raises(NetError, match="unknown filler"):
        fill(Blob((2, 2)), pb.FillerParameter(type="magic"))
    with pytest.raises(NetError, match="square kernel"):
        fill(Blob((2, 2, 3, 4)), pb.FillerParameter(type="bilinear"))


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
def test_a_stride_beyond_the_input(kind):
    """There is one step, whose length says nothing; torch crashes with huge ones where images are several."""
    values = [RNG.randn(2, 3, *((5, 4) if kind == "Convolution" else (1, 1)))]
    text = f'type: "{kind}" convolution_param {{ num_output: 2 kernel_size: 3 %s }}'
    plain, far = (Run(text % f"stride: {stride}", values) for stride in (3, 2147483647))
    for blob, other in zip(plain.layer.blobs, far.layer.blobs):
        blob.data[...] = other.data[...] = RNG.randn(*blob.shape)
    plain.forward(), far.forward()
    assert plain.top[0].shape == far.top[0].shape
    assert_close(far.data[0], plain.data[0])
    dy = RNG.randn(*plain.top[0].shape)
    assert_close(far.backward([dy])[0], plain.backward([dy])[0])
