"""Which layers' tops are only handed on: as a walk forward from each layer finds it, one after the other."""

from __future__ import annotations

import random

import pytest

from caffe_gp.gp.pycaffe import LayerView
from caffe_gp.gp.softmaxes import finals

KINDS = ("ReLU", "Softmax", "Split", "Crop", "Eltwise", "SoftmaxWithLoss", "Silence", "Interp")


def walked(layers, i):
    """Whether everything that reads what layer ``i`` makes hands it on, or measures it."""
    carried = set(layers[i].tops)
    for layer in layers[i + 1 :]:
        reads = carried.intersection(layer.bottoms[:1] if layer.type == "Crop" else layer.bottoms)
        carried.difference_update(layer.tops)
        if reads and layer.tops:
            if layer.type in ("ReLU", "Softmax", "Eltwise"):
                return False
            carried.update(layer.tops)
    return True


def some_net(chance):
    layers, blobs = [LayerView("d", "Input", (), ("d",))], ["d"]
    for i in range(chance.randint(1, 12)):
        kind, bottoms = chance.choice(KINDS), tuple(chance.choices(blobs, k=chance.randint(1, 2)))
        in_place = chance.random() < 0.3
        tops = () if kind == "Silence" else bottoms[:1] if in_place else (chance.choice([f"b{i}", *blobs]),)
        layers.append(LayerView(f"l{i}", kind, bottoms, tops))
        blobs += [top for top in tops if top not in blobs]
    return layers


@pytest.mark.parametrize("seed", range(200))
def test_finals_are_those_that_a_walk_from_each_layer_finds(seed):
    layers = some_net(random.Random(seed))
    assert finals(layers) == [walked(layers, i) for i in range(len(layers))]
