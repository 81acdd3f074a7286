"""How each layer type is written in PyTorch: one table, type -> function."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Sequence

import numpy as np
import torch

from caffe_gp.export import modules
from caffe_gp.export.names import called, literal
from caffe_gp.proto import messages as pb
from caffe_gp.proto.batch_norm import SMALLEST_EPS, STATISTICS, has_scale_and_bias
from caffe_gp.proto.set_fields import set_fields

Shape = Sequence[int]


class NotMapped(Exception):
    """Why a layer has no counterpart."""


@dataclass
class Site:
    """A layer where it stands in a built net.

    param    its description
    layer    the embedded Caffe's, set up: what it found no fault with is not checked again here
    bottoms, tops   shapes
    blobs    its parameters
    compute  what it makes of its bottoms' shapes, for layers that need no more
    """

    param: Any
    layer: Any
    bottoms: list[Shape]
    tops: list[Shape]
    blobs: list[torch.Tensor]
    compute: Callable[[], torch.Tensor]

    def axis(self, axis: int) -> int:
        """Counted from the front."""
        return axis % len(self.bottoms[0])


@dataclass
class Written:
    """A layer in PyTorch.

    call     source of its tops: {0}, {1} ... stand for its bottoms, {m} for its module
    module   source that makes its module; '' where it needs none
    state    the module's parameters, by their names in it
    helper   class of ``modules`` that the module is of
    fixes    axes of the net's input along which it is right for the exported size only
    """

    call: str
    module: str = ""
    state: dict[str, torch.Tensor] = field(default_factory=dict)
    helper: type | None = None
    fixes: tuple[int, ...] = ()


WRITERS: dict[str, Callable[[Site], Written]] = {}
Writer = Callable[[Site], Written]


def _writes(*types: str) -> Callable[[Writer], Writer]:
    def add(function: Writer) -> Writer:
        WRITERS.update(dict.fromkeys(types, function))
        return function

    return add


def write(site: Site) -> Written:
    """The layer in PyTorch. Raises NotMapped."""
    writer = WRITERS.get(site.param.type)
    if writer is None:
        raise NotMapped("this type has no counterpart")
    return writer(site)


def _own(helper: type, *values: Any, state: dict[str, torch.Tensor] | None = None, **named: Any) -> Written:
    """A module of one of our classes, of one bottom."""
    return Written("{m}({0})", called(helper.__name__, *values, **named), state or {}, helper)


def _module(name: str, *values: Any, state: dict[str, torch.Tensor] | None = None, **named: Any) -> Written:
    """A module of torch.nn of one bottom."""
    return Written("{m}({0})", called(f"nn.{name}", *values, **named), state or {})


# ---- filters


@_writes("Convolution", "ConvolutionDepthwise", "DepthwiseConvolution", "Deconvolution")
def _convolution(site: Site) -> Written:
    layer, weight = site.layer, site.blobs[0]
    if layer.axis != 1 or layer.dims not in (1, 2, 3):
        raise NotMapped(f"axis {layer.axis} and {layer.dims} spatial axes; expected axis 1, and 1 to 3")
    channels, outputs = site.bottoms[0][1], site.tops[0][1]
    transposed = site.param.type == "Deconvolution"
    groups = (outputs if transposed else channels) // weight.shape[1]
    if transposed and groups == 1 and channels == outputs > 1 and _is_diagonal(weight):
        # Upsampling of each channel alone: C times less to compute, and the other weights are zeros.
        diagonal = torch.arange(channels)
        weight, groups = weight[diagonal, diagonal].unsqueeze(1), channels
    named: dict[str, Any] = {}
    for name, values, usual in (
        ("stride", layer.stride, 1),
        ("padding", layer.pad, 0),
        ("dilation", layer.dilation, 1),
    ):
        if any(value != usual for value in values):
            named[name] = tuple(values)
    if groups != 1:
        named["groups"] = groups
    state = {"weight": weight}
    if len(site.blobs) > 1:
        state["bias"] = site.blobs[1]
    else:
        named["bias"] = False
    kind = f"Conv{'Transpose' if transposed else ''}{layer.dims}d"
    made = _module(kind, channels, outputs, tuple(layer.kernel), state=state, **named)
    made.call = ", ".join(f"{{m}}({{{i}}})" for i in range(len(site.bottoms)))
    return made


def _is_diagonal(weight: torch.Tensor) -> bool:
    used = weight.flatten(2).ne(0).any(2)
    return not bool((used & ~torch.eye(len(used), dtype=torch.bool)).any())


@_writes("InnerProduct")
def _inner_product(site: Site) -> Written:
    param = site.param.inner_product_param
    axis = site.axis(param.axis)
    weight = site.blobs[0].t() if param.transpose else site.blobs[0]
    state = {"weight": weight}
    if param.bias_term:
        state["bias"] = site.blobs[1]
    named = {} if param.bias_term else {"bias": False}
    made = _module("Linear", weight.shape[1], weight.shape[0], state=state, **named)
    if len(site.bottoms[0]) != axis + 1:
        made.call = f"{{m}}({{0}}.flatten({axis}))"
    return made


@_writes("Embed")
def _embed(site: Site) -> Written:
    table = site.blobs[0] + site.blobs[1] if len(site.blobs) > 1 else site.blobs[0]
    made = _module("Embedding", *table.shape, state={"weight": table})
    made.call = "{m}({0}.long())"
    return made


@_writes("Pooling")
def _pooling(site: Site) -> Written:
    param = site.param.pooling_param
    average = param.pool == pb.PoolingParameter.AVE
    if param.pool == pb.PoolingParameter.STOCHASTIC:
        raise NotMapped("STOCHASTIC pooling")
    if param.global_pooling and len(site.tops) == 1:
        return _module("AdaptiveAvgPool2d" if average else "AdaptiveMaxPool2d", 1)
    kernel, stride, pad, _ = map(tuple, site.layer.geometry)
    rounds_down = param.round_mode == pb.PoolingParameter.FLOOR
    if any(2 * p > k for p, k in zip(pad, kernel)):
        raise NotMapped(f"pad {pad} is more than half of the kernel {kernel}, which PyTorch does not take")
    outside = [
        (out - 1) * s - p >= n for out, s, p, n in zip(site.tops[0][2:], stride, pad, site.bottoms[0][2:])
    ]
    if any(outside):
        raise NotMapped("its last windows lie outside of the image")
    named: dict[str, Any] = {"padding": pad} if any(pad) else {}
    if not rounds_down:
        named["ceil_mode"] = True
    if len(site.tops) > 1:
        made = _own(modules.MaxPoolWithMask, kernel, stride, **named)
    else:
        made = _module("AvgPool2d" if average else "MaxPool2d", kernel, stride, **named)
    if any(s > k for s, k in zip(stride, kernel)):
        made.fixes = (2, 3)  # of other sizes the last windows may lie outside
    return made


@_writes("Upsample")
def _upsample(site: Site) -> Written:
    param = site.param.upsample_param
    if len(site.bottoms) == 1:
        times = tuple(top // bottom for top, bottom in zip(site.tops[0][2:], site.bottoms[0][2:]))
        return _module("Upsample", scale_factor=times, mode="nearest")
    size = (param.upsample_h, param.upsample_w) if param.HasField("upsample_h") else None
    scale = (param.scale_h, param.scale_w) if param.HasField("scale_h") else (param.scale, param.scale)
    made = _own(modules.Unpool, size, scale, (int(param.pad_out_h), int(param.pad_out_w)))
    made.call = "{m}({0}, {1})"
    return made


@_writes("Unpooling", "UnPooling")
def _unpooling(site: Site) -> Written:
    param = site.param.unpooling_param
    if len(site.bottoms) == 1 or param.unpool != pb.UnpoolingParameter.MAX:
        raise NotMapped("AVE, TILE or no mask; expected MAX and a mask")
    made = _own(modules.Unpool, tuple(site.tops[0][2:]), None, None)
    channels, more = site.bottoms[0][1], site.bottoms[1][1]
    made.call = "{m}({0}, {1})" if channels == more else f"{{m}}({{0}}, {{1}}[:, :{channels}])"
    return made


@_writes("Interp")
def _interp(site: Site) -> Written:
    param = site.param.interp_param
    given = set_fields(param)
    shrink, zoom = given.get("shrink_factor"), given.get("zoom_factor")
    size = (param.height, param.width) if shrink is None and zoom is None else None
    return _own(modules.Interp, size, shrink, zoom, (-param.pad_beg, -param.pad_end))


# ---- functions of one number


@_writes("ReLU")
def _relu(site: Site) -> Written:
    slope = site.param.relu_param.negative_slope
    return _module("LeakyReLU", slope) if slope else _module("ReLU")


@_writes("PReLU")
def _prelu(site: Site) -> Written:
    slopes = site.blobs[0].reshape(-1)
    return _module("PReLU", len(slopes), state={"weight": slopes})


@_writes("ReLU6")
def _relu6(site: Site) -> Written:
    slope = site.param.relu6_param.negative_slope
    return Written(f"F.leaky_relu({{0}}, {literal(slope)}).clamp(max=6)") if slope else _module("ReLU6")


@_writes("ELU")
def _elu(site: Site) -> Written:
    return _module("ELU", site.param.elu_param.alpha)


@_writes("Dropout")
def _dropout(site: Site) -> Written:
    if site.param.dropout_param.sample_weights_test:
        raise NotMapped("sample_weights_test: it draws random numbers")
    ratio = site.param.dropout_param.dropout_ratio
    return _module("Dropout", ratio) if 0 <= ratio <= 1 else Written("{0}")


for _type, _name in {
    "Sigmoid": "Sigmoid",
    "TanH": "Tanh",
    "BNLL": "Softplus",
    "Mish": "Mish",
}.items():
    WRITERS[_type] = lambda site, name=_name: _module(name)  # type: ignore[misc]


@_writes("AbsVal")
def _abs(site: Site) -> Written:
    return Written("{0}.abs()")


@_writes("Swish")
def _swish(site: Site) -> Written:
    beta = site.param.swish_param.beta
    return _module("SiLU") if beta == 1 else Written(f"{{0}} * torch.sigmoid({literal(beta)} * {{0}})")


@_writes("Clip")
def _clip(site: Site) -> Written:
    param = site.param.clip_param
    # One after the other: should min exceed max, min wins.
    return Written(f"{{0}}.clamp(max={literal(param.max)}).clamp(min={literal(param.min)})")


@_writes("Threshold")
def _threshold(site: Site) -> Written:
    return Written(f"({{0}} > {literal(site.param.threshold_param.threshold)}).to({{0}}.dtype)")


def _line(scale: float, shift: float) -> str:
    """scale x + shift."""
    text = "{0}" if scale == 1 else f"{{0}} * {literal(scale)}"
    return text if shift == 0 else f"({text} + {literal(shift)})"


@_writes("Power")
def _power(site: Site) -> Written:
    param = site.param.power_param
    if float(np.float32(param.power * param.scale)) == 0:
        base = torch.full((), param.shift)
        constant = base.pow(param.power).item() if param.power else 1.0
        return Written(f"torch.full_like({{0}}, {literal(constant)})")
    line = _line(param.scale, param.shift)
    return Written(line if param.power == 1 else f"({line}).pow({literal(param.power)})")


def _log_of(base: float) -> float:
    return 1.0 if base == -1 else float(np.log(base))


@_writes("Exp")
def _exp(site: Site) -> Written:
    param = site.param.exp_param
    log_base = _log_of(param.base)
    return Written(f"torch.exp({_line(log_base * param.scale, log_base * param.shift)})")


@_writes("Log")
def _log(site: Site) -> Written:
    param = site.param.log_param
    text = f"torch.log({_line(param.scale, param.shift)})"
    return Written(text if param.base == -1 else f"{text} * {literal(1 / _log_of(param.base))}")


# ---- several bottoms or tops


@_writes("Eltwise")
def _eltwise(site: Site) -> Written:
    param, count = site.param.eltwise_param, len(site.bottoms)
    names = [f"{{{i}}}" for i in range(count)]
    if param.operation == pb.EltwiseParameter.PROD:
        return Written(" * ".join(names))
    if param.operation == pb.EltwiseParameter.SUM:
        coeffs = list(param.coeff) or [1.0] * count
        terms = [name if c == 1 else f"{literal(c)} * {name}" for name, c in zip(names, coeffs) if c]
        return Written(" + ".join(terms) or "torch.zeros_like({0})")
    text = names[0]
    for name in names[1:]:
        text = f"torch.maximum({text}, {name})"
    return Written(text)


@_writes("Concat")
def _concat(site: Site) -> Written:
    param = site.param.concat_param
    axis = param.concat_dim if param.HasField("concat_dim") else site.axis(param.axis)
    if len(site.bottoms) == 1:
        return Written("{0}")
    return Written(f"torch.cat([{', '.join(f'{{{i}}}' for i in range(len(site.bottoms)))}], {axis})")


@_writes("Slice")
def _slice(site: Site) -> Written:
    param = site.param.slice_param
    axis = param.slice_dim if param.HasField("slice_dim") else site.axis(param.axis)
    if len(site.tops) == 1:
        return Written("{0}")
    parts = [top[axis] for top in site.tops]
    fixes = () if axis == 1 else (0,) if axis == 0 else (2, 3)
    return Written(f"{{0}}.split({parts}, {axis})", fixes=fixes)


@_writes("Split")
def _split(site: Site) -> Written:
    return Written(", ".join(["{0}"] * len(site.tops)))


@_writes("Crop")
def _crop(site: Site) -> Written:
    param, rank = site.param.crop_param, len(site.bottoms[0])
    axis = site.axis(param.axis)
    offsets = list(param.offset) or [0]
    offsets = offsets * (rank - axis) if len(offsets) == 1 else offsets
    window = [":"] * axis + [
        f"{offset}:{offset} + {{1}}.shape[{i}]" if offset else f":{{1}}.shape[{i}]"
        for i, offset in enumerate(offsets, axis)
    ]
    return Written(f"{{0}}[{', '.join(window)}]" if axis < rank else "{0}")


@_writes("CropCenter")
def _crop_center(site: Site) -> Written:
    cuts = site.param.crop_center_param.crop_size
    window = [f"{cut}:{{0}}.shape[{i}] - {cut}" if cut else ":" for i, cut in enumerate(cuts)]
    return Written(f"{{0}}[{', '.join(window)}]")


@_writes("Tile")
def _tile(site: Site) -> Written:
    param = site.param.tile_param
    times = [1] * len(site.bottoms[0])
    times[site.axis(param.axis)] = param.tiles
    return Written(f"{{0}}.repeat({', '.join(map(str, times))})")


# ---- shapes


@_writes("Flatten")
def _flatten(site: Site) -> Written:
    param = site.param.flatten_param
    start, end = site.axis(param.axis), site.axis(param.end_axis)
    return Written(f"{{0}}.unsqueeze({start})" if end < start else f"{{0}}.flatten({start}, {end})")


@_writes("Reshape")
def _reshape(site: Site) -> Written:
    param, rank = site.param.reshape_param, len(site.bottoms[0])
    start = param.axis if param.axis >= 0 else rank + param.axis + 1
    end = rank if param.num_axes == -1 else start + param.num_axes
    dims = [str(d) if d else f"{{0}}.shape[{start + i}]" for i, d in enumerate(param.shape.dim)]
    before = [f"{{0}}.shape[{i}]" for i in range(start)]
    after = [f"{{0}}.shape[{i}]" for i in range(end, rank)]
    return Written(f"{{0}}.reshape(({', '.join([*before, *dims, *after])}{',' * bool(site.tops[0])}))")


@_writes("Permute")
def _permute(site: Site) -> Written:
    order = list(site.param.permute_param.order)
    order += [i for i in range(len(site.bottoms[0])) if i not in order]
    return Written(f"{{0}}.permute({', '.join(map(str, order))})")


@_writes("ShuffleChannel")
def _shuffle_channel(site: Site) -> Written:
    return _own(modules.ShuffleChannel, site.param.shuffle_channel_param.group)


@_writes("Reorg")
def _reorg(site: Site) -> Written:
    param = site.param.reorg_param
    return _own(modules.Reorg, param.stride, param.reverse)


# ---- factors, sums and statistics


def _view(site: Site, axis: int, rank: int) -> tuple[int, ...]:
    """Start of the operand's axes, and how many of the bottom's lie behind."""
    start = site.axis(axis) if rank else 0
    return start, len(site.bottoms[0]) - start - rank


def _repeated(site: Site, axis: int, operand: torch.Tensor) -> torch.Tensor:
    start, behind = _view(site, axis, operand.dim())
    return operand.reshape((1,) * start + tuple(operand.shape) + (1,) * behind)


def _indexed(site: Site, axis: int) -> str:
    """Source of bottom 1 with axes of size 1 where bottom 0 has more."""
    rank = len(site.bottoms[1])
    start, behind = _view(site, axis, rank)
    if not start and not behind:
        return "{1}"
    return f"{{1}}[{', '.join(['None'] * start + [':'] * rank + ['None'] * behind)}]"


@_writes("Scale")
def _scale(site: Site) -> Written:
    param = site.param.scale_param
    if len(site.bottoms) > 1:
        product = f"{{0}} * {_indexed(site, param.axis)}"
        if not param.bias_term:
            return Written(product)
        bias = _repeated(site, param.axis, site.blobs[-1])
        made = _own(modules.Bias, tuple(bias.shape), state={"bias": bias})
        made.call = f"{{m}}({product})"
        return made
    state = {"weight": _repeated(site, param.axis, site.blobs[0])}
    if param.bias_term:
        state["bias"] = _repeated(site, param.axis, site.blobs[1])
    return _own(modules.Scale, tuple(state["weight"].shape), param.bias_term, state=state)


@_writes("Bias")
def _bias(site: Site) -> Written:
    param = site.param.bias_param
    if len(site.bottoms) > 1:
        return Written(f"{{0}} + {_indexed(site, param.axis)}")
    bias = _repeated(site, param.axis, site.blobs[0])
    return _own(modules.Bias, tuple(bias.shape), state={"bias": bias})


@_writes("Axpy")
def _axpy(site: Site) -> Written:
    return Written("{0} * {1} + {2}" if len(site.bottoms[0]) == 4 else "{0}[:, :, None, None] * {1} + {2}")


@_writes("Parameter")
def _parameter(site: Site) -> Written:
    value = site.blobs[0]
    made = _own(modules.Constant, tuple(value.shape), state={"value": value})
    made.call = "{m}()"
    return made


@_writes("PriorBox")
def _prior_box(site: Site) -> Written:
    boxes = site.compute().clone()
    made = _own(modules.Constant, tuple(boxes.shape), state={"value": boxes})
    made.call, made.fixes = "{m}()", (2, 3)
    return made


@_writes("Normalize")
def _normalize(site: Site) -> Written:
    param, scale = site.param.norm_param, site.blobs[0]
    rank = len(site.bottoms[0])
    scale = scale.reshape(1, -1, *(1,) * (rank - 2)) if scale.dim() else scale
    axes = tuple(range(1, rank)) if param.across_spatial else (1,)
    return _own(modules.Normalize, tuple(scale.shape), axes, param.eps, state={"weight": scale})


def _normalised(site: Site, eps: float, state: dict[str, torch.Tensor], **named: Any) -> Written:
    """A BatchNorm of torch.nn."""
    rank, channels = len(site.bottoms[0]), site.bottoms[0][1]
    if rank not in (2, 3, 4, 5):
        raise NotMapped(f"a bottom of {rank} axes; expected 2 to 5")
    if "running_mean" in state:
        state["num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    kind = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}[rank]
    return _module(kind, channels, eps=eps, state=state, **named)


@_writes("BatchNorm")
def _batch_norm(site: Site) -> Written:
    param = site.param.batch_norm_param
    has_own = has_scale_and_bias(param)
    if param.HasField("use_global_stats") and not param.use_global_stats and not has_own:
        return _own(modules.BatchStatistics, param.eps)
    divisor = site.blobs[2].reshape(())
    factor = 1 / divisor if divisor else divisor
    mean, variance = (blob.reshape(-1) * factor for blob in site.blobs[:2])
    state = {"running_mean": mean, "running_var": variance}
    if not has_own:
        return _normalised(site, param.eps, state, affine=False)
    state["weight"], state["bias"] = (blob.reshape(-1) for blob in site.blobs[STATISTICS:])
    return _normalised(site, max(param.eps, SMALLEST_EPS), state)


@_writes("BN")
def _bn(site: Site) -> Written:
    param, (scale, shift, *statistics) = site.param.bn_param, site.blobs
    if len(site.tops) > 1:
        raise NotMapped("tops with the statistics of the batch")
    if statistics:
        mean, variance = (blob.reshape(-1) for blob in statistics)
        state = {"running_mean": mean, "running_var": variance}
        return _normalised(site, param.eps, {**state, "weight": scale.reshape(-1), "bias": shift.reshape(-1)})
    state = {"weight": scale, "bias": shift}
    made = _own(modules.Scale, tuple(scale.shape), True, state=state)
    if param.bn_mode != pb.BNParameter.INFERENCE:
        raise NotMapped("bn_mode: LEARN, which normalises by the statistics of the batch")
    return made


@_writes("LRN")
def _lrn(site: Site) -> Written:
    param = site.param.lrn_param
    size, alpha = param.local_size, param.alpha
    if param.norm_region != pb.LRNParameter.ACROSS_CHANNELS:
        return _own(modules.WithinChannelLRN, size, alpha, param.beta)
    widest = 2 * site.bottoms[0][1] + 1  # beyond are zeros only
    if size > widest:
        size, alpha = widest, alpha * widest / size
    return _module("LocalResponseNorm", size, alpha, param.beta, param.k)


@_writes("MVN")
def _mvn(site: Site) -> Written:
    param = site.param.mvn_param
    if len(site.bottoms[0]) != 4:
        raise NotMapped(f"a bottom of {len(site.bottoms[0])} axes; expected 4")
    axes = (1, 2, 3) if param.across_channels else (2, 3)
    return _own(modules.MVN, axes, param.normalize_variance, param.eps)


@_writes("Softmax")
def _softmax(site: Site) -> Written:
    return _module("Softmax", dim=site.axis(site.param.softmax_param.axis))


@_writes("Reduction")
def _reduction(site: Site) -> Written:
    param, names = site.param.reduction_param, pb.ReductionParameter
    values = f"{{0}}.flatten({site.axis(param.axis)})"
    text = {
        names.SUM: f"{values}.sum(-1)",
        names.MEAN: f"{values}.mean(-1)",
        names.ASUM: f"{values}.abs().sum(-1)",
        names.SUMSQ: f"{values}.square().sum(-1)",
    }[param.operation]
    return Written(text if param.coeff == 1 else f"{text} * {literal(param.coeff)}")


@_writes("ArgMax")
def _argmax(site: Site) -> Written:
    param, rank = site.param.argmax_param, len(site.bottoms[0])
    if param.top_k != 1 or (param.out_max_val and not param.HasField("axis")):
        raise NotMapped("top_k or out_max_val; expected the index of the largest value only")
    if param.HasField("axis"):
        values, axis = "{0}", site.axis(param.axis)
    else:
        values, axis = "{0}.flatten(1)", 1
    if param.out_max_val:
        return Written(f"{values}.amax({axis}, keepdim=True)")
    # Of equal values the last, as in Caffe.
    size = f"{values}.shape[{axis}]"
    text = f"({size} - 1 - {values}.flip({axis}).argmax({axis}, keepdim=True)).to({{0}}.dtype)"
    if not param.HasField("axis"):
        text += f".reshape(-1{', 1' * (max(rank, 3) - 1)})"
    return Written(text)
