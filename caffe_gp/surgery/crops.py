"""Offsets of old Crop layers: computed from how the blobs line up with a blob that both come from.

Early forks had a Crop layer without ``crop_param`` that aligned its bottoms by itself. BVLC Caffe takes a
missing offset for 0, which is wrong by up to 31 pixels on their files. The rule: two blobs with the same
scale against a common origin (``positions``) are aligned by the difference of their shifts. FCN-32s gives
19, FCN-16s 5 and 27, FCN-8s 5, 9 and 31.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

from caffe_gp.surgery.positions import IDENTITY, Axis, chain, layer_axes, placed_bottoms

Version = Tuple[str, int]  # a blob's name and the index of the layer that last wrote it
Maps = Dict[Version, Tuple[Axis, Axis]]  # for rows and columns, from where a blob's positions come from

#: Of a blob's origins so many are kept: published nets have one, and each costs a map in every blob.
MAX_ORIGINS = 8


def align_legacy_crops(net: Any, changes: list[str]) -> None:
    """Give every Crop layer without ``crop_param`` the offset its fork would have computed, in place.

    Where no whole, non-negative offset follows, the layer is left to BVLC Caffe's rule (offset 0). Adds a
    sentence to ``changes`` for either.
    """
    if not any(_is_legacy(layer) for layer in net.layer):
        return
    versions: dict[str, Version] = {}
    maps: dict[Version, Maps] = {}
    for i, layer in enumerate(net.layer):
        bottoms = [versions.get(name, (name, -1)) for name in layer.bottom]
        for version in bottoms:
            maps.setdefault(version, {version: IDENTITY})
        if _is_legacy(layer):
            _align(layer, maps[bottoms[0]], maps[bottoms[1]], changes)
        placed = placed_bottoms(layer)
        above = _behind(layer, [maps[version] for version in bottoms if version[0] in placed])
        for name in layer.top:
            versions[name] = (name, i)
            maps[name, i] = above or {(name, i): IDENTITY}


def _behind(layer: Any, bottoms: list[Maps]) -> Maps:
    """The maps of a layer's tops; none where positions do not follow, so that a top is an origin itself."""
    step = layer_axes(layer)
    found: Maps = {}
    if step is None:
        return found
    for origin, axes in (each for maps in bottoms for each in maps.items()):
        rows, columns = chain(axes[0], step[0]), chain(axes[1], step[1])
        if len(found) < MAX_ORIGINS and rows is not None and columns is not None:
            found.setdefault(origin, (rows, columns))
    return found


def _is_legacy(layer: Any) -> bool:
    return layer.type == "Crop" and len(layer.bottom) == 2 and not layer.HasField("crop_param")


def _align(layer: Any, cropped: Maps, reference: Maps, changes: list[str]) -> None:
    offsets = _offsets(cropped, reference)
    if offsets is None:
        changes.append(
            f"layer '{layer.name}': Crop without crop_param whose bottoms do not line up by whole pixels; "
            "left at offset 0, as BVLC Caffe reads it"
        )
        return
    layer.crop_param.axis = 2
    layer.crop_param.offset.extend(offsets if offsets[0] != offsets[1] else offsets[:1])
    written = ", ".join(map(str, layer.crop_param.offset))
    changes.append(
        f"layer '{layer.name}' (makes '{layer.top[0]}'): Crop without crop_param gets offset {written}, "
        "as its fork computed it"
    )


def _offsets(cropped: Maps, reference: Maps) -> list[int] | None:
    common = [origin for origin in cropped if origin in reference]
    for origin in sorted(common, key=lambda version: version[1], reverse=True):
        offsets = []
        for here, there in zip(cropped[origin], reference[origin]):
            offset = here.shift - there.shift
            if here.scale != there.scale or offset.denominator != 1 or offset < 0:
                return None
            offsets.append(int(offset))
        return offsets
    return None
