"""What lets Caffe compute the gradient of every blob down to the input, and of no weight."""

from __future__ import annotations

from typing import Any

from caffe_gp.proto import messages as pb
from caffe_gp.surgery.layers import blob_count, bn_keeps_statistics, free_name, listed, names_of

# Fields of a layer that only training or a phase choice needs and that would stand in the way.
_TRAINING_FIELDS = ("loss_weight", "include", "exclude", "phase", "propagate_down")


def clean_layers(net: Any, changes: list[str]) -> None:
    """Make the kept layers backpropagate through and through, on a CPU build too."""
    if net.force_backward:
        net.ClearField("force_backward")
        changes.append(
            "removed force_backward, which would compute every weight gradient; the probe replaces it"
        )
    for layer in net.layer:
        if len(layer.propagate_down) and not all(layer.propagate_down):
            changes.append(
                f"layer '{layer.name}': removed propagate_down: false, which would stop the gradient"
            )
        for name in _TRAINING_FIELDS:
            layer.ClearField(name)
        for descriptor, value in layer.ListFields():
            if descriptor.message_type is not None and "engine" in descriptor.message_type.fields_by_name:
                if value.HasField("engine"):
                    value.ClearField("engine")
    _clean_batch_norms(net, changes)
    drops = [layer.name for layer in net.layer if layer.dropout_param.sample_weights_test]
    if drops:
        changes.append(f"sample_weights_test: dropout stays on, so every pass differs ({listed(drops)})")


def _clean_batch_norms(net: Any, changes: list[str]) -> None:
    """Freeze PSPNet's, whose backward at TEST would not be the derivative; tell of SegNet's that learn."""
    frozen, learning = [], []
    for layer in net.layer:
        if layer.type != "BN":
            continue
        param = layer.bn_param
        if not bn_keeps_statistics(layer):
            learning += [layer.name] if param.bn_mode == pb.BNParameter.LEARN else []
        elif not param.frozen:
            param.frozen = True
            frozen.append(layer.name)
    if frozen:
        changes.append(f"BN layers frozen, so that their backward is the derivative: {listed(frozen)}")
    if learning:
        changes.append(
            "bn_mode LEARN takes the statistics of each batch, so what an image gets depends on the others "
            f"in its batch: {listed(learning)}"
        )


def add_softmax(net: Any, original: Any, score: str, changes: list[str]) -> str:
    """A Softmax of the scores with a loss weight, from which backward begins; returns its blob."""
    own = [
        layer
        for layer in original.layer
        if layer.type == "Softmax"
        and layer.top
        and score in layer.bottom
        and score not in layer.top
        and layer.softmax_param.axis == 1
    ]
    if own:
        name, prob = own[-1].name, own[-1].top[0]
        changes.append(
            f"the net's own Softmax '{name}' on '{score}' gets loss_weight 1, so that Caffe backpropagates"
        )
    else:
        name = prob = free_name(names_of(net.layer), "prob")
        changes.append(f"Softmax '{prob}' on '{score}', with loss_weight 1 so that Caffe backpropagates")
    net.layer.add(name=name, type="Softmax", bottom=[score], top=[prob], loss_weight=[1])
    return prob


def add_probe(net: Any, data: str, changes: list[str]) -> str:
    """No weight gradients; a Bias of zeros on the input keeps the gradient flowing down to it.

    In place, so that the blob keeps its name and its readers, and the first reader's backward writes the
    diff that belongs to the image. (``force_backward`` would do too, and compute all weight gradients.)
    """
    for layer in net.layer:
        while len(layer.param) < blob_count(layer):
            layer.param.add()
        for spec in layer.param:
            spec.lr_mult = 0
    maker = next(i for i, layer in enumerate(net.layer) if data in layer.top)
    name = free_name(names_of(net.layer), "probe")
    probe = pb.LayerParameter(name=name, type="Bias", bottom=[data], top=[data])
    probe.param.add(lr_mult=1, decay_mult=0)
    probe.bias_param.filler.type = "constant"
    probe.bias_param.filler.value = 0
    later = list(net.layer[maker + 1 :])
    del net.layer[maker + 1 :]
    net.layer.extend([probe, *later])
    changes.append(
        f"lr_mult 0 on every weight, and the probe '{name}' (a Bias of zeros, lr_mult 1) on '{data}'"
    )
    return name
