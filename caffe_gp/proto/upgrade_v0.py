"""V0 nets (``layers { layer { } bottom top }``) brought to V1, as Caffe's UpgradeV0Net does."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from ..errors import PrototxtError
from . import messages as pb

# fmt: off
#: V0 type string -> V1 enum name.
V0_TYPES = {
    "accuracy": "ACCURACY", "bnll": "BNLL", "concat": "CONCAT", "conv": "CONVOLUTION", "data": "DATA",
    "dropout": "DROPOUT", "euclidean_loss": "EUCLIDEAN_LOSS", "flatten": "FLATTEN", "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT", "im2col": "IM2COL", "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS", "innerproduct": "INNER_PRODUCT", "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING", "relu": "RELU", "sigmoid": "SIGMOID", "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS", "split": "SPLIT", "tanh": "TANH", "window_data": "WINDOW_DATA",
}

# V0 field -> {V0 type: (V1 parameter message, field in it)}; "*" stands for every type.
_CONV, _POOL, _IP = "convolution_param", "pooling_param", "inner_product_param"
_WINDOW, _IMAGES = "window_data_param", "image_data_param"
_V0_FIELDS: dict[str, dict[str, tuple[str, str | None]]] = {
    "num_output": {"conv": (_CONV, "num_output"), "innerproduct": (_IP, "num_output")},
    "biasterm": {"conv": (_CONV, "bias_term"), "innerproduct": (_IP, "bias_term")},
    "weight_filler": {"conv": (_CONV, "weight_filler"), "innerproduct": (_IP, "weight_filler")},
    "bias_filler": {"conv": (_CONV, "bias_filler"), "innerproduct": (_IP, "bias_filler")},
    "pad": {"conv": (_CONV, "pad"), "pool": (_POOL, "pad")},
    "kernelsize": {"conv": (_CONV, "kernel_size"), "pool": (_POOL, "kernel_size")},
    "group": {"conv": (_CONV, "group")},
    "stride": {"conv": (_CONV, "stride"), "pool": (_POOL, "stride")},
    "pool": {"pool": (_POOL, "pool")},  # the two enums have the same numbers
    "dropout_ratio": {"dropout": ("dropout_param", "dropout_ratio")},
    "local_size": {"lrn": ("lrn_param", "local_size")},
    "alpha": {"lrn": ("lrn_param", "alpha")},
    "beta": {"lrn": ("lrn_param", "beta")},
    "k": {"lrn": ("lrn_param", "k")},
    "source": {"data": ("data_param", "source"), "hdf5_data": ("hdf5_data_param", "source"),
               "images": (_IMAGES, "source"), "window_data": (_WINDOW, "source"),
               "infogain_loss": ("infogain_loss_param", "source")},
    "scale": {"*": ("transform_param", "scale")},
    "meanfile": {"*": ("transform_param", "mean_file")},
    "cropsize": {"*": ("transform_param", "crop_size")},
    "mirror": {"*": ("transform_param", "mirror")},
    "batchsize": {"data": ("data_param", "batch_size"), "hdf5_data": ("hdf5_data_param", "batch_size"),
                  "images": (_IMAGES, "batch_size"), "window_data": (_WINDOW, "batch_size")},
    "rand_skip": {"data": ("data_param", "rand_skip"), "images": (_IMAGES, "rand_skip")},
    "shuffle_images": {"images": (_IMAGES, "shuffle")},
    "new_height": {"images": (_IMAGES, "new_height")},
    "new_width": {"images": (_IMAGES, "new_width")},
    "concat_dim": {"concat": ("concat_param", "concat_dim")},
    "det_fg_threshold": {"window_data": (_WINDOW, "fg_threshold")},
    "det_bg_threshold": {"window_data": (_WINDOW, "bg_threshold")},
    "det_fg_fraction": {"window_data": (_WINDOW, "fg_fraction")},
    "det_context_pad": {"window_data": (_WINDOW, "context_pad")},
    "det_crop_mode": {"window_data": (_WINDOW, "crop_mode")},
    "hdf5_output_param": {"hdf5_output": ("hdf5_output_param", None)},
}
# fmt: on
_V0_CARRIED_ELSEWHERE = ("name", "type", "blobs", "blobs_lr", "weight_decay")


def upgrade_v0(net: pb.NetParameter, filename: str = "<string>") -> pb.NetParameter:
    """A V0 NetParameter (``layers { layer { } bottom top }``) as a V1 one. Raises PrototxtError."""
    net = _without_padding_layers(net, filename)
    v1 = pb.NetParameter()
    if net.HasField("name"):
        v1.name = net.name
    v1.layers.extend(_upgrade_v0_layer(connection, filename) for connection in net.layers)
    v1.input.extend(net.input)
    v1.input_dim.extend(net.input_dim)
    if net.HasField("force_backward"):
        v1.force_backward = net.force_backward
    return v1


def _without_padding_layers(net: pb.NetParameter, filename: str) -> pb.NetParameter:
    """V0 'padding' layers dropped, their pad given to the conv or pool layer that reads them."""
    upgraded = pb.NetParameter()
    upgraded.CopyFrom(net)
    del upgraded.layers[:]
    last_top: dict[str, Any] = {name: None for name in net.input}  # blob -> the connection that made it last
    for connection in net.layers:
        layer = connection.layer
        target: Any = None
        if layer.type != "padding":
            target = upgraded.layers.add()
            target.CopyFrom(connection)
        for j, bottom in enumerate(connection.bottom):
            if bottom not in last_top:
                raise PrototxtError(f"{filename}: layer '{layer.name}': unknown bottom blob '{bottom}'")
            source = last_top[bottom]
            if source is None or source.layer.type != "padding":
                continue
            if layer.type not in ("conv", "pool"):
                raise PrototxtError(
                    f"{filename}: layer '{layer.name}': a padding layer may only feed a "
                    f"conv or pool layer, not '{layer.type}'"
                )
            if len(connection.bottom) != 1 or len(source.bottom) != 1 or len(source.top) != 1:
                raise PrototxtError(
                    f"{filename}: layer '{layer.name}': a padding layer and the layer it "
                    "feeds take one blob each"
                )
            target.layer.pad = source.layer.pad
            target.bottom[j] = source.bottom[0]
        for top in connection.top:
            last_top[top] = connection
    return upgraded


def _upgrade_v0_layer(connection: pb.V1LayerParameter, filename: str) -> pb.V1LayerParameter:
    v1 = pb.V1LayerParameter()
    v1.bottom.extend(connection.bottom)
    v1.top.extend(connection.top)
    if not connection.HasField("layer"):
        return v1
    v0 = connection.layer
    if v0.HasField("name"):
        v1.name = v0.name
    if v0.HasField("type"):
        if v0.type not in V0_TYPES:
            raise PrototxtError(f"{filename}: layer '{v0.name}': unknown V0 layer type '{v0.type}'")
        v1.type = pb.V1LayerParameter.LayerType.Value(V0_TYPES[v0.type])
    v1.blobs.extend(v0.blobs)
    v1.blobs_lr.extend(v0.blobs_lr)
    v1.weight_decay.extend(v0.weight_decay)
    for field, value in v0.ListFields():
        if field.name in _V0_CARRIED_ELSEWHERE:
            continue
        targets = _V0_FIELDS.get(field.name, {})
        target = targets.get(v0.type) or targets.get("*")
        if target is None:
            raise PrototxtError(
                f"{filename}: layer '{v0.name}': unknown parameter '{field.name}' for "
                f"V0 layer type '{v0.type}'"
            )
        param, name = target
        if name is None:
            getattr(v1, param).CopyFrom(value)
        else:
            _set(getattr(v1, param), name, value)
    return v1


def _set(message: Message, name: str, value: Any) -> None:
    """Assign ``value`` to a field that may be a scalar, a repeated scalar or a message."""
    field = message.DESCRIPTOR.fields_by_name[name]
    if field.message_type is not None:
        getattr(message, name).CopyFrom(value)
    elif hasattr(getattr(message, name), "append"):
        getattr(message, name).append(value)
    else:
        setattr(message, name, value)
