"""Automatic Split layers: one for every blob that several layers read (Caffe's InsertSplits)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from caffe_gp.errors import NetError
from caffe_gp.proto import messages as pb

#: Characters in the names of all splits' tops. They repeat the names of blob and layer for every reader.
MAX_SPLIT_NAMES = 16 << 20

Place = tuple[int, int]  # (layer index, blob index within the layer's bottoms or tops)


def insert_splits(param: Any, source: str) -> Any:
    """A copy of the NetParameter with Split layers, named ``<blob>_<layer>_<top index>_split`` as Caffe does.

    A loss weight on a top counts as a reader of it. Raises NetError for a bottom that no earlier layer makes.
    """
    maker_of, readers, loss_weight = _find_readers(param, source)
    _check_name_lengths(param, readers, source)
    result = pb.NetParameter()
    result.CopyFrom(param)
    del result.layer[:]
    used: Counter[Place] = Counter()
    for i, layer in enumerate(param.layer):
        copy = result.layer.add()
        copy.CopyFrom(layer)
        for j, blob in enumerate(layer.bottom):
            place = maker_of[i, j]
            if readers[place] > 1:
                maker = param.layer[place[0]].name
                copy.bottom[j] = _split_blob(blob, maker, place[1], used[place])
                used[place] += 1
        for j, blob in enumerate(layer.top):
            place = (i, j)
            if readers[place] > 1:
                _add_split(result, blob, layer.name, j, readers[place], loss_weight.get(place, 0.0))
                if loss_weight.get(place):
                    # The split's first top carries the loss; the layer's own weights move there.
                    del copy.loss_weight[:]
                    used[place] += 1
    return result


def _check_name_lengths(param: Any, readers: Counter[Place], source: str) -> None:
    total = 0
    for (i, j), count in readers.items():
        layer = param.layer[i]
        total += count * (len(layer.top[j]) + len(layer.name)) if count > 1 else 0
        if total > MAX_SPLIT_NAMES:
            raise NetError(
                f"{source}: blob '{layer.top[j][:40]}' (layer '{layer.name[:40]}') has {count} readers: the "
                f"names of Split layers would take more than {MAX_SPLIT_NAMES >> 20} MB; shorten its name"
            )


def _find_readers(param: Any, source: str) -> tuple[dict[Place, Place], Counter[Place], dict[Place, float]]:
    made_at: dict[str, Place] = {}
    maker_of: dict[Place, Place] = {}
    readers: Counter[Place] = Counter()
    loss_weight: dict[Place, float] = {}
    for i, layer in enumerate(param.layer):
        for j, blob in enumerate(layer.bottom):
            if blob not in made_at:
                raise _unknown_bottom(param, source, i, j)
            maker_of[i, j] = made_at[blob]
            readers[made_at[blob]] += 1
        for j, blob in enumerate(layer.top):
            made_at[blob] = (i, j)
        for j, weight in enumerate(layer.loss_weight[: len(layer.top)]):
            if weight:
                loss_weight[i, j] = weight
                readers[i, j] += 1
    return maker_of, readers, loss_weight


def _unknown_bottom(param: Any, source: str, i: int, j: int) -> NetError:
    layer, blob = param.layer[i], param.layer[i].bottom[j]
    message = f"{source}: Unknown bottom blob '{blob}' (layer '{layer.name}', bottom index {j})"
    later = [other.name for other in param.layer[i:] if blob in other.top]
    if later:
        return NetError(
            f"{message}: it is made by layer '{later[0]}', which does not come before this layer; "
            "layers run in file order, so move it up, or break the cycle"
        )
    return NetError(f"{message}: no layer of this phase makes it")


def _split_blob(blob: str, maker: str, top_index: int, k: int) -> str:
    return f"{_split_layer(blob, maker, top_index)}_{k}"


def _split_layer(blob: str, maker: str, top_index: int) -> str:
    return f"{blob}_{maker}_{top_index}_split"


def _add_split(param: Any, blob: str, maker: str, top_index: int, count: int, loss_weight: float) -> None:
    split = param.layer.add()
    split.name = _split_layer(blob, maker, top_index)
    split.type = "Split"
    split.bottom.append(blob)
    for k in range(count):
        split.top.append(_split_blob(blob, maker, top_index, k))
        if loss_weight:
            split.loss_weight.append(loss_weight if k == 0 else 0.0)
