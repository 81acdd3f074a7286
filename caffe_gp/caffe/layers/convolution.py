"""Convolution, Deconvolution and the depthwise Convolutions of forks, over any number of spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from caffe_gp.caffe import mode, precision
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.fast.convolutions import ways_for
from caffe_gp.caffe.fast.ways import Filters, Way
from caffe_gp.caffe.fast.windows import Geometry, Window, channels_last, pair
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers import convolution_nd
from caffe_gp.caffe.layers.base import TEST, Layer
from caffe_gp.caffe.layers.registry import register

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_FEW_VALUES = 20480  # torch's bound
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def spatial_values(layer: Layer, param: Any, field: str, dims: int, default: int | None) -> list[int]:
    """One value a spatial axis from a repeated field (0, 1 or ``dims`` values) or its ``_h``/``_w`` twins."""
    short = "kernel" if field == "kernel_size" else field
    if param.DESCRIPTOR.fields_by_name.get(f"{short}_h") and (
        param.HasField(f"{short}_h") or param.HasField(f"{short}_w")
    ):
        if dims != 2:
            raise layer.error(
                f"{short}_h and {short}_w can only be used for 2-D, the input has {dims} spatial axes"
            )
        if len(getattr(param, field)):
            raise layer.error(f"either {field} or {short}_h/{short}_w should be specified, not both")
        return [getattr(param, f"{short}_h"), getattr(param, f"{short}_w")]
    given = list(getattr(param, field))
    if not given and default is not None:
        return [default] * dims
    if len(given) not in (1, dims):
        raise layer.error(
            f"{field} must be specified once, or once per spatial dimension ({dims}), found {given}"
        )
    return given * dims if len(given) == 1 else given


class SpatialLayer(Layer):
    """The channel axis, and kernel, stride, pad, dilation of each spatial axis."""

    min_bottom = 1
    min_top = 1
    equal_num_bottom_top = True

    def read_geometry(self, bottom: Sequence[Blob]) -> None:
        """Read ``axis``, ``dims``, ``kernel``, ``stride``, ``pad`` and ``dilation``."""
        param = self.layer_param.convolution_param
        self.axis = bottom[0].canonical_axis(param.axis)
        self.dims = dims = len(bottom[0].shape) - self.axis - 1
        self.kernel = spatial_values(self, param, "kernel_size", dims, None)
        self.stride = spatial_values(self, param, "stride", dims, 1)
        self.pad = spatial_values(self, param, "pad", dims, 0)
        self.dilation = spatial_values(self, param, "dilation", dims, 1)
        if min(self.kernel, default=1) < 1:
            raise self.error(f"kernel dimensions must be nonzero, found {self.kernel}")
        if min(self.stride, default=1) < 1:
            raise self.error(f"stride dimensions must be nonzero, found {self.stride}")
        if min(self.dilation, default=1) < 1:
            raise self.error(f"dilation must be nonzero, found {self.dilation}")

    def conv_size(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """Output size of a convolution over these spatial sizes."""
        extents = [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation)]
        return tuple((n + 2 * p - e) // s + 1 for n, p, e, s in zip(sizes, self.pad, extents, self.stride))

    def as_batch(self, values: torch.Tensor) -> torch.Tensor:
        """(N, C, spatial...): the axes before the channels become one."""
        return values if self.axis == 1 else values.reshape(-1, *values.shape[self.axis :])


class _Filters(SpatialLayer):
    """Weights, bias and group of Convolution and Deconvolution; tops of every bottom use the same ones."""

    transposed = False
    reshapes_by_shape = True

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """blobs[0]: weights, blobs[1]: bias (if bias_term)."""
        self.read_geometry(bottom)
        param = self.layer_param.convolution_param
        self._group = self._groups(bottom[0].shape[self.axis])
        self._channels = bottom[0].shape[self.axis]
        self._num_output = param.num_output
        if self._num_output < 1:
            raise self.error("convolution_param.num_output must be at least 1")
        if self._group < 1:
            raise self.error("convolution_param.group must be at least 1")
        if self._channels % self._group:
            raise self.error(f"group {self._group} does not divide the {self._channels} input channels")
        if self._num_output % self._group:
            raise self.error(
                f"Number of output should be multiples of group: {self._num_output}, {self._group}"
            )
        if not self.blobs:
            fill(self.blobs.add_blob(*self._weight_shape()), param.weight_filler)
            if param.bias_term:
                fill(self.blobs.add_blob(self._num_output), param.bias_filler)
        self._has_bias = param.bias_term
        self.param_propagate_down = [True] * len(self.blobs)

    def _groups(self, channels: int) -> int:
        return self.layer_param.convolution_param.group

    def _weight_shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def _output_size(self, sizes: Sequence[int]) -> tuple[int, ...]:
        raise NotImplementedError

    def _strides(self, sizes: Sequence[int]) -> list[int]:
        """To compute with: no longer than matters, since torch fails with huge ones."""
        raise NotImplementedError

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(N, num_output, spatial sizes)."""
        for blob, out in zip(bottom, top):
            if blob.shape[self.axis] != self._channels:
                raise self.error(
                    f"Input size incompatible with convolution kernel: expected {self._channels} channels, "
                    f"found the bottom shape {blob.shape}"
                )
            if blob.shape != bottom[0].shape:
                raise self.error(f"All inputs must have the same shape: {bottom[0].shape} and {blob.shape}")
            sizes = self._output_size(blob.shape[self.axis + 1 :])
            if min(sizes, default=1) < 1:
                raise self.error(
                    f"the kernel {self.kernel} with dilation {self.dilation} does not fit into the bottom "
                    f"{blob.shape} with pad {self.pad}"
                )
            out.reshape(*blob.shape[: self.axis], self._num_output, *sizes)
            self._stride = self._strides(blob.shape[self.axis + 1 :])

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Weights in the layout of torch's kernels (filled up to eight outputs), or patches for tiny images.

        Measured; images and outputs are mostly in the right layout already.
        """
        if self.dims not in CONV:
            return 2 * (bottom[0].count + top[0].count)
        weights = self.blobs[0].count
        outputs = (self._channels if self.transposed else self._num_output) // self._group
        laid_out = weights * -(-outputs // 8) * 8 // outputs + weights
        rounded = weights + bottom[0].count + top[0].count if precision.is_bf16() else 0
        return max(laid_out, self._torch_patches(bottom[0], top[0])) + rounded

    def _torch_patches(self, blob: Blob, out: Blob) -> int:
        """Values of the patches where torch convolves by a matrix product: few values, small kernels."""
        small = self._group == 1 and blob.count <= _FEW_VALUES and min(self.kernel, default=1) <= 3
        if self.transposed or not small:
            return 0
        return self.blobs[0].count_from(1) * out.count // self._num_output

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Channels-last where torch's kernels are faster so: on the CPU up to twice."""
        kernels, group = self._kernels()
        weight, bias = precision.taken(kernels, self.blobs[1].data_tensor if self._has_bias else None)
        for blob, out in zip(bottom, top):
            (x,) = precision.taken(_channels_last(self.as_batch(blob.data_tensor)))
            if self.dims not in CONV:
                y = self._convolve_nd(x, out, weight, bias)
            elif self.transposed:
                y = CONV_TRANSPOSE[self.dims](
                    x, weight, bias, self._stride, self.pad, 0, group, self.dilation
                )
            else:
                y = CONV[self.dims](x, weight, bias, self._stride, self.pad, self.dilation, group)
            y = precision.given(y)
            out.data_tensor = y.view(out.shape) if self.axis != 1 else y

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Only what is asked for: data, weight and bias gradients are three separate computations."""
        for blob, out, wanted in zip(bottom, top, propagate_down):
            self._backward_one(blob, out, [wanted, *self._learns()])

    def _learns(self) -> list[bool]:
        """Whether the gradients of the weights and of the bias are wanted."""
        return [self.param_propagate_down[0], self._has_bias and self.param_propagate_down[1]]

    def _backward_one(self, blob: Blob, out: Blob, wanted: list[bool]) -> None:
        if not any(wanted):
            return
        dx, dw, db = self._gradients(blob, out, wanted)
        if wanted[0]:
            dx = precision.given(dx)
            blob.diff_tensor = dx.reshape(blob.shape) if self.axis != 1 else dx
        if wanted[1]:
            self.blobs[0].diff_tensor.add_(precision.given(dw))
        if wanted[2]:
            self.blobs[1].diff_tensor.add_(precision.given(db))

    def _gradients(self, blob: Blob, out: Blob, wanted: list[bool]) -> tuple[torch.Tensor, ...]:
        """Of the data, the weights and the bias, each where it is wanted."""
        # The dense weights where their gradient is wanted: it is dense even if the weights are diagonal.
        weight, group = (self.blobs[0].data_tensor, self._group) if wanted[1] else self._kernels()
        dy, x = self.as_batch(out.diff_tensor), self.as_batch(blob.data_tensor)
        if wanted[1] and self._overruns():
            dy, x = dy.contiguous(), x.contiguous()
        else:
            dy, x = _channels_last(dy), _channels_last(x)
        dy, x, weight = precision.taken(dy, x, weight)
        if self.dims not in CONV:
            return self._gradients_nd(x, weight, dy)
        return torch.ops.aten.convolution_backward(
            dy,
            x,
            weight,
            [self._num_output],
            self._stride,
            self.pad,
            self.dilation,
            self.transposed,
            [0] * self.dims,
            group,
            wanted,
        )

    def _overruns(self) -> bool:
        """Whether torch's gradient of the weights writes behind its memory where channels come last.

        Seen with torch 2.13 (oneDNN): 1 x 1 kernels with a stride, few channels, several images.
        """
        return max(self.kernel, default=1) == 1 < max(self._stride, default=1)

    def _convolve_nd(
        self, x: torch.Tensor, out: Blob, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        if self.transposed:
            like = x.new_zeros(x.shape[0], *out.shape[self.axis :])
            y, _ = convolution_nd.gradients(like, weight, x, self._geometry)
        else:
            y = convolution_nd.convolve(x, weight, *self._geometry)
        return y if bias is None else y + bias.view(-1, *[1] * self.dims)

    def _gradients_nd(
        self, x: torch.Tensor, weight: torch.Tensor, dy: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        if self.transposed:
            dx = convolution_nd.convolve(dy, weight, *self._geometry)
            _, dw = convolution_nd.gradients(dy, weight, x, self._geometry)
        else:
            dx, dw = convolution_nd.gradients(x, weight, dy, self._geometry)
        return dx, dw, dy.transpose(0, 1).flatten(1).sum(1)

    @property
    def _geometry(self) -> tuple[list[int], list[int], list[int], int]:
        return self._stride, self.pad, self.dilation, self._group

    def _kernels(self) -> tuple[torch.Tensor, int]:
        """Weights and group to compute with."""
        return self.blobs[0].data_tensor, self._group


def _nothing(values: torch.Tensor) -> None:
    """Of parameters of which only matters whether they have changed."""


def _channels_last(values: torch.Tensor) -> torch.Tensor:
    """Where kernels are faster so: those of a CPU, and the tensor cores of a CUDA device."""
    if values.dim() == 4 and (values.device.type == "cpu" or precision.is_lower()):
        return channels_last(values)
    return values


@register("Convolution")
class ConvolutionLayer(_Filters):
    """Cross-correlation with ``num_output`` filters; weights (num_output, channels / group, kernel...).

    On the CPU convolutions of images go one of the ways of ``fast.convolutions`` where one pays.
    """

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """As above; which ways suit, whatever the sizes."""
        super().setup(bottom, top)
        self._plain_passes = 0
        self._ways: list[Way] = []
        self._way_of: dict[tuple[object, ...], Way | None] = {}
        if self.dims == 2 and self.axis == 1:
            bias = self.blobs[1] if self._has_bias else None
            self._slides = Geometry(*map(pair, (self.kernel, self.stride, self.pad, self.dilation)))
            self._ways = ways_for(Filters(self.blobs[0], bias, self._slides, self._group), self.phase != TEST)
            self.computes_parts = True
        self.pads_widely = any(p > d * (k - 1) for p, d, k in zip(self.pad, self.dilation, self.kernel))

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """As above; other ways may pay."""
        super().reshape(bottom, top)
        self._way_of.clear()

    def reached(self, window: Window, top: Blob) -> Window:
        """Of the outputs those whose kernels overlap this part of the images."""
        reached = self._slides._replace(stride=pair(self._stride)).reached(window, top.shape[2:])
        for way in self._ways:
            reached = way.whole(reached, top)
        return reached

    def parameter_versions(self) -> tuple[int, ...]:
        """Of weights and bias, and of the way that they are computed with."""
        return (*(blob.kept(_nothing)[1] for blob in self.blobs), self._plain_passes)

    def _weight_shape(self) -> tuple[int, ...]:
        return (self._num_output, self._channels // self._group, *self.kernel)

    def _output_size(self, sizes: Sequence[int]) -> tuple[int, ...]:
        return self.conv_size(sizes)

    def _strides(self, sizes: Sequence[int]) -> list[int]:
        places = (n + 2 * p - d * (k - 1) for n, p, d, k in zip(sizes, self.pad, self.dilation, self.kernel))
        return [min(s, most) for s, most in zip(self.stride, places)]

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """Of the way that is gone, if it is known."""
        way = self._way(bottom[0], top[0])
        known = way.workspace(bottom[0], top[0]) if way else 0
        return known or super().workspace(bottom, top)

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """What the way keeps."""
        way = self._way(bottom[0], top[0])
        return way.kept() if way else 0

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The way that pays, else torch's convolution."""
        self._compute(bottom, top, rectify=False)

    def forward_rectified(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        """Some ways rectify."""
        return self._compute(bottom, top, rectify=True)

    def _compute(self, bottom: Sequence[Blob], top: Sequence[Blob], rectify: bool) -> bool:
        """Whether the results are rectified, where that is asked for."""
        if way := self._way(bottom[0], top[0]):
            rectify = rectify and way.rectifies
            if all(way.forward(blob, out, self.window, rectify) for blob, out in zip(bottom, top)):
                if way.keeps_weights and self.weights_may_go:
                    self.blobs[0].let_data_go()
                return rectify
            # The plain path rounds differently, everywhere: nothing of it is to stay in the next pass.
            self.window = None
            self._plain_passes += 1
        super().forward(bottom, top)
        return False

    def _backward_one(self, blob: Blob, out: Blob, wanted: list[bool]) -> None:
        """The same way backward, as far as it goes."""
        if way := self._way(blob, out, backward=True):
            data, learns = wanted[0], wanted[1:]
            data = data and not way.data_gradient(blob, out, self.diff_window)
            if any(learns) and way.parameter_gradients(blob, out, learns):
                learns = [False, False]
            wanted = [data, *learns]
        super()._backward_one(blob, out, wanted)

    def _way(self, blob: Blob, out: Blob, *, backward: bool = False) -> Way | None:
        """The first way that pays for these shapes, in this pass; looked for anew after a reshape."""
        if not self._ways or mode.device().type != "cpu" or precision.is_bf16():
            return None
        parameters = [parameter.shape for parameter in self.blobs]
        case = blob.shape, out.shape, *parameters, self.blobs[0].can_keep, backward
        if case not in self._way_of:
            pays = (way for way in self._ways if (way.pays_backward if backward else way.pays)(blob, out))
            self._way_of[case] = next(pays, None) if self._belong_together(blob, out) else None
        return self._way_of[case]

    def _belong_together(self, blob: Blob, out: Blob) -> bool:
        """Unless somebody has reshaped a blob since the last reshape, which the plain path finds."""
        n, *sizes = blob.shape[0], *blob.shape[2:]
        return (
            blob.shape[1:2] == (self._channels,)
            and out.shape == (n, self._num_output, *self.conv_size(sizes))
            and self.blobs[0].shape == self._weight_shape()
            and (not self._has_bias or self.blobs[1].shape == (self._num_output,))
        )


@register("DepthwiseConvolution")
class DepthwiseConvolutionLayer(ConvolutionLayer):
    """The forks' Convolution with one group for each channel, so that ``group`` may be left out."""

    def _groups(self, channels: int) -> int:
        param = self.layer_param.convolution_param
        if param.HasField("group") and param.group != channels:
            raise self.error(
                f"has one group for each of the {channels} channels of its bottom, found group "
                f"{param.group}: leave it out, or use a Convolution"
            )
        return channels


@register("ConvolutionDepthwise")
class ConvolutionDepthwiseLayer(DepthwiseConvolutionLayer):
    """The same layer by the name that ShuffleNet's fork and others gave it."""


@register("Deconvolution")
class DeconvolutionLayer(_Filters):
    """The transpose of Convolution; weights (channels, num_output / group, kernel...)."""

    transposed = True

    def _weight_shape(self) -> tuple[int, ...]:
        return (self._channels, self._num_output // self._group, *self.kernel)

    def _output_size(self, sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            s * (n - 1) + d * (k - 1) + 1 - 2 * p
            for n, s, k, p, d in zip(sizes, self.stride, self.kernel, self.pad, self.dilation)
        )

    def _strides(self, sizes: Sequence[int]) -> list[int]:
        return [1 if n == 1 else s for n, s in zip(sizes, self.stride)]

    def _kernels(self) -> tuple[torch.Tensor, int]:
        """Upsampling by a fixed kernel is stored dense with zeros off the diagonal: run it depthwise."""
        weight = self.blobs[0].data_tensor
        if (
            self.dims not in CONV
            or self._group != 1
            or self._channels != self._num_output
            or self._channels == 1
        ):
            return weight, self._group
        used = weight.flatten(2).ne(0).any(2)
        if bool((used & ~torch.eye(len(used), dtype=torch.bool, device=used.device)).any()):
            return weight, 1
        diagonal = torch.arange(self._channels, device=weight.device)
        return weight[diagonal, diagonal].unsqueeze(1), self._channels
