"""``debug_info: true``: mean absolute values of blobs and parameters in the log, layer by layer."""

from __future__ import annotations

import logging
from typing import Any

import torch

log = logging.getLogger(__name__)


def log_update(net: Any) -> None:
    """Log what an update is about to subtract (the diffs) from every parameter."""
    for name, layer in zip(net._layer_names, net.layers):
        for k, blob in enumerate(layer.blobs):
            log.info(
                "    [Update] Layer %s, param %s data: %g; diff: %g",
                name, _param_name(layer, k), _mean(blob.data_tensor), _mean(blob.diff_tensor),
            )  # fmt: skip


def log_forward(net: Any, i: int) -> None:
    """Log the tops and parameters of layer ``i``, just run forward."""
    name, layer = net._layer_names[i], net.layers[i]
    for top in net._top_ids(i):
        value = _mean(net._blobs[top].data_tensor)
        log.info("    [Forward] Layer %s, top blob %s data: %g", name, net._blob_names[top], value)
    for k, blob in enumerate(layer.blobs):
        value = _mean(blob.data_tensor)
        log.info("    [Forward] Layer %s, param blob %s data: %g", name, _param_name(layer, k), value)


def log_backward(net: Any, i: int) -> None:
    """Log the diffs that layer ``i`` has just computed."""
    name, layer = net._layer_names[i], net.layers[i]
    for bottom, needed in zip(net._bottom_ids(i), net._bottom_need_backward[i]):
        if needed:
            value = _mean(net._blobs[bottom].diff_tensor)
            log.info("    [Backward] Layer %s, bottom blob %s diff: %g", name, net._blob_names[bottom], value)
    for k, blob in enumerate(layer.blobs):
        if layer.param_propagate_down[k]:
            log.info("    [Backward] Layer %s, param blob %d diff: %g", name, k, _mean(blob.diff_tensor))


def log_norms(net: Any) -> None:
    """Log the norms of all parameters and of their diffs."""
    data = [blob.data_tensor.double().flatten() for blob in net.learnable_params]
    diff = [blob.diff_tensor.double().flatten() for blob in net.learnable_params]
    norms = [
        torch.linalg.vector_norm(torch.cat(x), p).item() if x else 0.0 for p in (1, 2) for x in (data, diff)
    ]
    log.info("    [Backward] All net params (data, diff): L1 norm = (%g, %g); L2 norm = (%g, %g)", *norms)


def _param_name(layer: Any, k: int) -> str:
    specs = layer.layer_param.param
    return specs[k].name if k < len(specs) and specs[k].name else str(k)


def _mean(values: torch.Tensor) -> float:
    return float(values.abs().mean()) if values.numel() else 0.0
