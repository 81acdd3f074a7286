"""Writes a net layer by layer: the few kinds of layer that the paper's nets are made of.

Each method adds one layer and returns the blob it makes, so a net reads from top to bottom:

    net = Builder("lenet", (1, 1, 28, 28))
    blob = net.conv("conv1", "data", 20, kernel=5)
    blob = net.max_pool("pool1", blob, kernel=2, stride=2)
    net.param                       # the NetParameter
"""

from __future__ import annotations

from typing import Any, Sequence

from caffe_gp.proto import messages as pb

# Learning rates and decays of (weights, bias), as Caffe's reference nets have them.
LEARNED = ({"lr_mult": 1.0, "decay_mult": 1.0}, {"lr_mult": 2.0, "decay_mult": 0.0})
FIXED = ({"lr_mult": 0.0},)


class Builder:
    """A NetParameter in the making, ``param``.

    name         of the net
    input_shape  (N, C, H, W) of the blob ``data`` that the first layer, Input ``input``, makes; None for a
                 net that begins with another layer
    """

    def __init__(self, name: str, input_shape: Sequence[int] | None) -> None:
        self.param = pb.NetParameter(name=name)
        if input_shape is not None:
            self.add("Input", "input", [], ["data"], input_param={"shape": [{"dim": list(input_shape)}]})

    def add(
        self, kind: str, name: str, bottoms: Sequence[str], tops: Sequence[str] = (), **fields: Any
    ) -> str:
        """Any layer; its top is named like the layer unless ``tops`` are given. Returns the first top."""
        tops = list(tops) or [name]
        self.param.layer.add(name=name, type=kind, bottom=list(bottoms), top=tops, **fields)
        return tops[0]

    def conv(
        self,
        name: str,
        bottom: str,
        num_output: int,
        kernel: int,
        *,
        stride: int = 1,
        pad: int | None = None,
        dilation: int = 1,
        bias: bool = True,
        top: str | None = None,
        param: Sequence[dict] | None = None,
        **options: Any,
    ) -> str:
        """Convolution. ``param`` are its ParamSpecs (default LEARNED), ``options`` further fields of its
        convolution_param."""
        return self._window(
            "Convolution", name, bottom, num_output, kernel, stride, pad, dilation, bias, top, param, options
        )

    def deconv(
        self,
        name: str,
        bottom: str,
        num_output: int,
        kernel: int,
        *,
        stride: int,
        bias: bool = False,
        top: str | None = None,
        param: Sequence[dict] | None = FIXED,
        **options: Any,
    ) -> str:
        """Deconvolution; without bias and not learned unless told otherwise, as FCN's upsampling is."""
        return self._window(
            "Deconvolution", name, bottom, num_output, kernel, stride, None, 1, bias, top, param, options
        )

    def _window(
        self,
        kind: str,
        name: str,
        bottom: str,
        num_output: int,
        kernel: int,
        stride: int,
        pad: int | None,
        dilation: int,
        bias: bool,
        top: str | None,
        param: Sequence[dict] | None,
        options: dict[str, Any],
    ) -> str:
        fields: dict[str, Any] = {"num_output": num_output, "kernel_size": [kernel], **options}
        if stride != 1:
            fields["stride"] = [stride]
        if pad is not None:
            fields["pad"] = [pad]
        if dilation != 1:
            fields["dilation"] = [dilation]
        if not bias:
            fields["bias_term"] = False
        if param is None:
            param = LEARNED
        return self.add(
            kind,
            name,
            [bottom],
            [top or name],
            param=list(param)[: 1 + bias],
            convolution_param=fields,
        )

    def relu(self, name: str, blob: str) -> str:
        """ReLU in place."""
        return self.add("ReLU", name, [blob], [blob])

    def conv_relu(
        self, name: str, bottom: str, num_output: int, kernel: int, relu: str, **options: Any
    ) -> str:
        """Convolution ``name`` and the ReLU ``relu`` in place on it."""
        return self.relu(relu, self.conv(name, bottom, num_output, kernel, **options))

    def dropout(self, name: str, blob: str, ratio: float = 0.5) -> str:
        """Dropout in place."""
        return self.add("Dropout", name, [blob], [blob], dropout_param={"dropout_ratio": ratio})

    def max_pool(self, name: str, bottom: str, kernel: int, stride: int, pad: int = 0) -> str:
        """Max pooling, output size rounded up as Caffe does."""
        return self._pool(pb.PoolingParameter.MAX, name, bottom, kernel, stride, pad)

    def ave_pool(self, name: str, bottom: str, kernel: int, stride: int, pad: int = 0) -> str:
        """Average pooling, output size rounded up as Caffe does."""
        return self._pool(pb.PoolingParameter.AVE, name, bottom, kernel, stride, pad)

    def _pool(self, method: int, name: str, bottom: str, kernel: int, stride: int, pad: int) -> str:
        fields = {"pool": method, "kernel_size": kernel, "stride": stride}
        if pad:
            fields["pad"] = pad
        return self.add("Pooling", name, [bottom], pooling_param=fields)

    def inner_product(
        self, name: str, bottom: str, num_output: int, param: Sequence[dict] = LEARNED, **options: Any
    ) -> str:
        """InnerProduct with bias. ``param`` are its ParamSpecs, ``options`` further fields of its
        inner_product_param."""
        fields = {"num_output": num_output, **options}
        return self.add("InnerProduct", name, [bottom], param=list(param), inner_product_param=fields)

    def eltwise(
        self, name: str, bottoms: Sequence[str], operation: str = "SUM", top: str | None = None
    ) -> str:
        """Eltwise SUM, MAX or PROD of equally shaped blobs."""
        value = getattr(pb.EltwiseParameter, operation)
        return self.add("Eltwise", name, bottoms, [top or name], eltwise_param={"operation": value})

    def crop(self, name: str, bottom: str, like: str, offset: int, top: str | None = None) -> str:
        """Rows and columns of ``bottom`` from ``offset`` on, as many as ``like`` has."""
        return self.add(
            "Crop", name, [bottom, like], [top or name], crop_param={"axis": 2, "offset": [offset]}
        )

    def interp(self, name: str, bottom: str, *, zoom: int = 0, shrink: int = 0) -> str:
        """DeepLab's bilinear Interp by whole factors."""
        fields = {}
        if shrink:
            fields["shrink_factor"] = shrink
        if zoom:
            fields["zoom_factor"] = zoom
        return self.add("Interp", name, [bottom], interp_param=fields)
