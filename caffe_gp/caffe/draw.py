"""Pictures of nets: pycaffe's ``caffe.draw``.

The picture is a graph in Graphviz's DOT language, written without any package. Graphviz's ``dot`` program
turns it into a PNG and the like; ``get_pydot_graph`` also needs pydot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from caffe_gp.errors import DataError, NetError
from caffe_gp.files.atomic import write_atomically
from caffe_gp.proto import messages as pb

LAYER_STYLE_DEFAULT = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}

_COLORS = {
    "Convolution": "#FF5050", "Deconvolution": "#FF5050", "Pooling": "#FF9900", "InnerProduct": "#CC33FF"
}  # fmt: skip


def get_pooling_types_dict() -> dict[int, str]:
    """Number of a pooling method -> its name."""
    methods = pb.PoolingParameter.PoolMethod.DESCRIPTOR.values_by_name
    return {value.number: name for name, value in methods.items()}


def get_edge_label(layer: Any) -> str:
    """What stands on a layer's outgoing edges: batch size or number of outputs."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return '""'


def get_layer_lr_mult(layer: Any) -> tuple[float, float]:
    """Learning rate multipliers of weights and bias; NetError for layers that have none."""
    if layer.type not in ("Convolution", "Deconvolution", "InnerProduct"):
        raise NetError(f"{layer.type} layers do not have a learning rate multiplier")
    if len(layer.param) > 2:
        raise NetError(f"layer '{layer.name}': expected at most 2 param entries, found {len(layer.param)}")
    rates = [param.lr_mult for param in layer.param] + [1.0, 1.0]
    return rates[0], rates[1]


def get_layer_label(layer: Any, rankdir: str, display_lrm: bool = False) -> str:
    """A layer's node text in quotes: name, type, and for spatial layers kernel, stride and pad.

    The parts stand side by side in vertical graphs (``rankdir`` TB or BT), below each other in others.
    """
    separator = " " if rankdir in ("TB", "BT") else r"\n"
    parts = [layer.name]
    if layer.type == "Pooling":
        parts.append(f"({layer.type} {get_pooling_types_dict()[layer.pooling_param.pool]})")
    else:
        parts.append(f"({layer.type})")
    if layer.type in ("Convolution", "Deconvolution", "Pooling"):
        kernel, stride, pad = _geometry(layer)
        parts.append(separator.join([f"kernel size: {kernel}", f"stride: {stride}", f"pad: {pad}"]))
    if display_lrm and layer.type in ("Convolution", "Deconvolution", "InnerProduct"):
        rates = get_layer_lr_mult(layer)
        if any(rates):
            parts.append("lr mult: {:.1f}, {:.1f}".format(*rates))
    return _quoted(separator.join(parts))


def _geometry(layer: Any) -> tuple[int, int, int]:
    if layer.type == "Pooling":
        param = layer.pooling_param
        return param.kernel_size, param.stride, param.pad
    param = layer.convolution_param
    fields = ((param.kernel_size, 1), (param.stride, 1), (param.pad, 0))
    kernel, stride, pad = (values[0] if values else default for values, default in fields)
    return kernel, stride, pad


def choose_color_by_layertype(layertype: str) -> str:
    """Fill colour of a layer's node."""
    return _COLORS.get(layertype, LAYER_STYLE_DEFAULT["fillcolor"])


def _layers_of_phase(caffe_net: Any, phase: int | None) -> Iterator[Any]:
    for layer in caffe_net.layer:
        if phase is not None:
            if layer.include and layer.exclude:
                raise NetError(f"layer {layer.name} has both include and exclude specified.")
            included = not layer.include or any(rule.phase == phase for rule in layer.include)
            if not included or any(rule.phase == phase for rule in layer.exclude):
                continue
        yield layer


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def _node(name: str, label: str, style: dict[str, str]) -> str:
    attributes = ", ".join(f'{key}="{value}"' for key, value in style.items())
    return f"{_quoted(name)} [label={label}{', ' + attributes if attributes else ''}];"


def to_dot(
    caffe_net: Any,
    rankdir: str = "LR",
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> str:
    """The graph of a NetParameter in the DOT language: layers, blobs, and edges between them.

    ``rankdir`` LR, TB or BT is its direction; ``phase`` (TRAIN, TEST) leaves out the other phase's layers.
    """
    nodes: dict[str, str] = {}
    edges: list[str] = []
    for layer in _layers_of_phase(caffe_net, phase):
        name = f"{layer.name}_{layer.type}"
        in_place = len(layer.bottom) == len(layer.top) == 1 and layer.bottom[0] == layer.top[0]
        color = {"fillcolor": choose_color_by_layertype(layer.type)}
        style = NEURON_LAYER_STYLE if in_place else {**LAYER_STYLE_DEFAULT, **color}
        nodes[name] = _node(name, get_layer_label(layer, rankdir, display_lrm), style)
        for blob in (*layer.bottom, *layer.top):
            nodes[f"{blob}_blob"] = _node(f"{blob}_blob", _quoted(blob), BLOB_STYLE)
        for blob in layer.bottom:
            edges.append(f"{_quoted(blob + '_blob')} -> {_quoted(name)};")
        label = get_edge_label(layer).strip('"') if label_edges else ""
        for blob in layer.top:
            edges.append(f"{_quoted(name)} -> {_quoted(blob + '_blob')} [label={_quoted(label)}];")
    title = _quoted(caffe_net.name or "Net")
    return "\n".join([f"digraph {title} {{", f"rankdir={rankdir};", *nodes.values(), *edges, "}", ""])


def get_pydot_graph(
    caffe_net: Any,
    rankdir: str,
    label_edges: bool = True,
    phase: int | None = None,
    display_lrm: bool = False,
) -> Any:
    """The graph as a ``pydot.Dot`` (or pydotplus's). DataError where neither package is installed."""
    text = to_dot(caffe_net, rankdir, label_edges, phase, display_lrm)
    try:
        import pydotplus

        return pydotplus.graph_from_dot_data(text)
    except ImportError:
        pass
    try:
        import pydot
    except ImportError:
        raise DataError("get_pydot_graph needs pydot: pip install pydot; to_dot needs nothing") from None
    return pydot.graph_from_dot_data(text)[0]


def draw_net(
    caffe_net: Any, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """The picture in format ``ext`` ("png", "svg", "pdf", ...); "raw", "dot" and "gv" are the DOT text.

    Raises DataError where Graphviz is needed and not installed, or refuses.
    """
    text = to_dot(caffe_net, rankdir, phase=phase, display_lrm=display_lrm).encode()
    if ext in ("raw", "dot", "gv"):
        return text
    program = shutil.which("dot")
    if program is None:
        raise DataError(f"drawing a .{ext} needs Graphviz (apt install graphviz); '.raw' gives the DOT text")
    done = subprocess.run([program, f"-T{ext}"], input=text, capture_output=True, check=False)
    if done.returncode:
        raise DataError(f"Graphviz cannot draw .{ext}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def draw_net_to_file(
    caffe_net: Any,
    filename: str | os.PathLike[str],
    rankdir: str = "LR",
    phase: int | None = None,
    display_lrm: bool = False,
) -> None:
    """Draw into a file; its extension says the format (see ``draw_net``)."""
    extension = os.fspath(filename).rpartition(".")[2]
    picture = draw_net(caffe_net, rankdir, extension, phase, display_lrm)
    write_atomically(filename, lambda stream: stream.write(picture))
