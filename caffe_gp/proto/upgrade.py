"""Older dialects brought to today's: V0 -> V1 -> V2, inputs, data transforms, BatchNorm, solver type.

The rules and their order are those of Caffe's UpgradeNetAsNeeded. Caffe logs what it cannot carry
over and goes on with half a net; here that is a PrototxtError.
"""

from __future__ import annotations

import os

from ..errors import PrototxtError
from . import messages as pb
from .batch_norm import BLOBS, STATISTICS, has_scale_and_bias
from .upgrade_v0 import upgrade_v0

# fmt: off
#: V1 enum name -> V2 type string, those of forks included.
V1_TYPES = {
    "NONE": "", "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL",
    "CONCAT": "Concat", "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DATA": "Data",
    "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss", "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN",
    "MEMORY_DATA": "MemoryData", "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN",
    "POOLING": "Pooling", "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "SILENCE": "Silence", "SLICE": "Slice",
    "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split", "TANH": "TanH",
    "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
    "ELTWISE_ACCURACY": "EltwiseAccuracy", "RED_SOFTMAX_LOSS": "RedSoftmaxLoss",
    "RED_ACCURACY": "RedAccuracy", "WINDOW_SEG_DATA": "WindowSegData",
    "WINDOW_INST_SEG_DATA": "WindowInstSegData", "BIN_ACCURACY": "BinAccuracy",
    "DENSE_IMAGE_DATA": "DenseImageData", "RELU6": "ReLU6",
    "CROP": "Crop", "SIMPLE_FAST_MEANFIELD": "SimpleFastMeanfield",
    "MULTI_STAGE_MEANFIELD": "MultiStageMeanfield",
    "IMAGE_SEG_DATA": "ImageSegData", "INTERP": "Interp", "MAT_WRITE": "MatWrite",
    "SEG_ACCURACY": "SegAccuracy", "BN": "BN", "UPSAMPLE": "Upsample", "UNPOOLING": "Unpooling",
}
# fmt: on

_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")


def upgrade_data_transform(net: pb.NetParameter) -> None:
    """scale, mean_file, crop_size and mirror of V1 data layers moved to their transform_param, in place."""
    data_params = {
        pb.V1LayerParameter.DATA: "data_param",
        pb.V1LayerParameter.IMAGE_DATA: "image_data_param",
        pb.V1LayerParameter.WINDOW_DATA: "window_data_param",
    }
    layers = [(layer, data_params[layer.type]) for layer in net.layers if layer.type in data_params]
    if not any(getattr(layer, name).HasField(field) for layer, name in layers for field in _TRANSFORM_FIELDS):
        return
    for layer, name in layers:
        old = getattr(layer, name)
        old.SetInParent()
        layer.transform_param.SetInParent()
        for field in _TRANSFORM_FIELDS:
            if old.HasField(field):
                setattr(layer.transform_param, field, getattr(old, field))
                old.ClearField(field)


def _upgrade_v1_layer(v1: pb.V1LayerParameter, filename: str) -> pb.LayerParameter:
    layer = pb.LayerParameter()
    layer.bottom.extend(v1.bottom)
    layer.top.extend(v1.top)
    if v1.HasField("name"):
        layer.name = v1.name
    layer.include.extend(v1.include)
    layer.exclude.extend(v1.exclude)
    if v1.HasField("type"):
        layer.type = V1_TYPES[pb.V1LayerParameter.LayerType.Name(v1.type)]
    layer.blobs.extend(v1.blobs)
    specs = max(len(v1.param), len(v1.blob_share_mode), len(v1.blobs_lr), len(v1.weight_decay))
    for i in range(specs):
        spec = layer.param.add()
        if i < len(v1.param):
            spec.name = v1.param[i]
        if i < len(v1.blob_share_mode):
            spec.share_mode = v1.blob_share_mode[i]
        if i < len(v1.blobs_lr):
            spec.lr_mult = v1.blobs_lr[i]
        if i < len(v1.weight_decay):
            spec.decay_mult = v1.weight_decay[i]
    layer.loss_weight.extend(v1.loss_weight)
    for field, value in v1.ListFields():
        if field.name.endswith("_param"):  # the parameter messages are the same in both dialects
            getattr(layer, field.name).CopyFrom(value)
    if v1.HasField("layer"):
        raise PrototxtError(f"{filename}: layer '{v1.name or v1.layer.name}' is half V0, half V1")
    return layer


def upgrade_v1(net: pb.NetParameter, filename: str = "<string>") -> pb.NetParameter:
    """A V1 NetParameter (``layers { type: CONVOLUTION }``) as a V2 one. Raises PrototxtError."""
    v2 = pb.NetParameter()
    v2.CopyFrom(net)
    del v2.layers[:]
    del v2.layer[:]
    v2.layer.extend(_upgrade_v1_layer(layer, filename) for layer in net.layers)
    return v2


def upgrade_input(net: pb.NetParameter, filename: str = "<string>") -> None:
    """``input`` with ``input_shape`` or ``input_dim`` turned into an Input layer named "input", in front.

    In place. Inputs without any shape are only stripped: such nets are the structure part of old
    caffemodels, not something that is built.
    """
    shapes, dims, inputs = list(net.input_shape), list(net.input_dim), list(net.input)
    if not inputs:
        return
    if shapes or dims:
        if shapes and len(shapes) < len(inputs):
            raise PrototxtError(
                f"{filename}: {len(inputs)} input blobs but {len(shapes)} input_shape "
                "entries; one each is needed"
            )
        if not shapes and len(dims) < 4 * len(inputs):
            raise PrototxtError(
                f"{filename}: {len(inputs)} input blobs need {4 * len(inputs)} input_dim "
                f"values (num, channels, height, width each); {len(dims)} found"
            )
        layer = pb.LayerParameter(name="input", type="Input", top=inputs)
        for i in range(len(inputs)):
            layer.input_param.shape.add(dim=shapes[i].dim if shapes else dims[4 * i : 4 * i + 4])
        others = list(net.layer)
        del net.layer[:]
        net.layer.extend([layer] + others)
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)


def upgrade_batch_norm(net: pb.NetParameter) -> None:
    """BatchNorm layers that declare all three ``param`` get lr_mult and decay_mult 0 in each, in place.

    The three blobs are running statistics; older definitions had the user protect them from the solver. Of
    NVIDIA's five blobs the last two, scale and bias, get 1, whatever is declared: its layer does so itself.
    """
    for layer in net.layer:
        if layer.type != "BatchNorm":
            continue
        nvidia = has_scale_and_bias(layer.batch_norm_param)
        if nvidia or len(layer.param) == STATISTICS:
            for i, spec in enumerate(layer.param[:BLOBS]):
                spec.lr_mult = spec.decay_mult = float(i >= STATISTICS)


def upgrade_ceil_mode(net: pb.NetParameter) -> None:
    """PSPNet's ``ceil_mode: false`` of pooling layers turned into BVLC's ``round_mode: FLOOR``, in place."""
    for layer in net.layer:
        if layer.pooling_param.HasField("ceil_mode"):
            pooling = layer.pooling_param
            pooling.round_mode = pb.PoolingParameter.CEIL if pooling.ceil_mode else pb.PoolingParameter.FLOOR
            pooling.ClearField("ceil_mode")


def upgrade_deeplab_v1(net: pb.NetParameter, filename: str = "<string>") -> None:
    """DeepLab v1's fields in today's: ``hole`` is ``dilation``, ``has_label: false`` ``label_type: NONE``.

    In place. A hole of 1 is none.
    """
    for layer in net.layer:
        convolution, data = layer.convolution_param, layer.image_data_param
        if any(convolution.HasField(name) for name in ("hole", "hole_h", "hole_w")):
            if len(convolution.dilation):
                raise PrototxtError(
                    f"{filename}: layer '{layer.name}' has both hole (DeepLab v1) and dilation; keep dilation"
                )
            if convolution.HasField("hole"):
                convolution.dilation.append(convolution.hole)
            else:
                convolution.dilation.extend([convolution.hole_h or 1, convolution.hole_w or 1])
            for name in ("hole", "hole_h", "hole_w"):
                convolution.ClearField(name)
        if data.HasField("has_label"):
            if not data.has_label:
                data.label_type = pb.ImageDataParameter.NONE
            data.ClearField("has_label")


def upgrade_net(net: pb.NetParameter, filename: str = "<string>") -> pb.NetParameter:
    """Any NetParameter as V2, by Caffe's rules in Caffe's order. Returns a new message or ``net`` itself."""
    if any(layer.HasField("layer") for layer in net.layers):
        net = upgrade_v0(net, filename)
    upgrade_data_transform(net)
    if len(net.layers):
        net = upgrade_v1(net, filename)
    upgrade_input(net, filename)
    upgrade_batch_norm(net)
    upgrade_ceil_mode(net)
    upgrade_deeplab_v1(net, filename)
    return net


_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def upgrade_solver(solver: pb.SolverParameter, filename: str = "<string>") -> None:
    """The enum ``solver_type`` turned into the string ``type``, and nested nets upgraded, in place."""
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            raise PrototxtError(
                f"{filename}: solver_type (old enum) and type (string) are both given; keep 'type'"
            )
        name = pb.SolverParameter.SolverType.Name(solver.solver_type)
        solver.type = _SOLVER_TYPES[name]
        solver.ClearField("solver_type")
    for field in ("net_param", "train_net_param"):
        if solver.HasField(field):
            getattr(solver, field).CopyFrom(upgrade_net(getattr(solver, field), filename))
    for net in solver.test_net_param:
        net.CopyFrom(upgrade_net(net, filename))


def complete_snapshot_prefix(solver: pb.SolverParameter, filename: str) -> None:
    """Caffe's default for ``snapshot_prefix``: the solver's file name without extension, in place.

    Where the prefix is an existing folder, that name inside it.
    """
    stem = os.path.splitext(filename)[0]
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = stem
    elif os.path.isdir(solver.snapshot_prefix):
        solver.snapshot_prefix = os.path.join(solver.snapshot_prefix, os.path.basename(stem))
