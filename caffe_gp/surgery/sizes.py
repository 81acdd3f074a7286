"""Whether a net takes images of one size only, and which layer says so: from the description alone."""

from __future__ import annotations

from typing import Any, Sequence

from caffe_gp.surgery.layers import by
from caffe_gp.surgery.shapes import Shape, blob_shapes, canonical_axis, product

Size = Sequence[int]  # height, width


def fixed_by(net: Any, data: str, own: Size) -> str:
    """The layer that keeps the net to inputs of its own size, and why, in words; '' where nothing does.

    Other sizes are tried, of which a net that takes multiples of something only takes one.
    """
    if _misfit(net, data, own, own):
        return ""  # this is not the net's size, or its shapes are not understood
    height, width = own
    others = [(2 * height, 2 * width), (height + 32, width + 32), (2 * height - 1, 2 * width - 1)]
    found = [_misfit(net, data, own, other) for other in others]
    return found[0] if all(found) else ""


def _misfit(net: Any, data: str, own: Size, size: Size) -> str:
    """The first layer that cannot take what comes from an input of ``size``, in words; '' for none."""
    usual, shapes = blob_shapes(net, data, own), blob_shapes(net, data, size)
    for layer in net.layer:
        bottoms = [shapes.get(bottom) for bottom in layer.bottom]
        known = [bottom for bottom in bottoms if bottom is not None and None not in bottom]
        if not known or len(known) < len(bottoms):
            continue
        what = _what_misfits(layer, known, usual)
        if what:
            return f"layer '{layer.name}' ({layer.type}) {what}"
    return ""


def _what_misfits(layer: Any, bottoms: Sequence[Shape], usual: dict[str, Shape]) -> str:
    first = bottoms[0]
    if layer.type == "InnerProduct":
        axis = canonical_axis(layer.inner_product_param.axis, first)
        expected = product(usual.get(layer.bottom[0], first)[axis:])
        if axis is not None and expected is not None and product(first[axis:]) != expected:
            return f"takes {expected} values of each image"
    elif layer.type == "Reshape" and layer.reshape_param.axis == 0 and layer.reshape_param.num_axes == -1:
        dims = [
            first[i] if n == 0 and i < len(first) else n for i, n in enumerate(layer.reshape_param.shape.dim)
        ]
        rest, values = product([n for n in dims if n != -1]) or 1, product(first) or 0
        if values % rest or (-1 not in dims and values != rest):
            return f"makes {by(layer.reshape_param.shape.dim)} of its input"
    elif layer.type == "Concat" and layer.concat_param.axis == 1 or layer.type == "Eltwise":
        from_axis = 2 if layer.type == "Concat" else 1
        if any(bottom[from_axis:] != first[from_axis:] for bottom in bottoms):
            return "has an input whose size does not follow the image's"
    return ""
