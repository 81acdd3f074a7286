"""Which Caffe: the embedded one ('torch') or BVLC Caffe ('bvlc'), behind the same pycaffe interface.

    caffe = engines.load_caffe("auto", device="cpu")
    gp_net = engines.load_net("deploy.prototxt", "weights.caffemodel")
    gp_net.net, gp_net.score, gp_net.changes

BVLC Caffe answers a bad file by aborting the process. ``load_net`` tries it in a child first, and
``run_guarded`` runs any other call in one: both raise EngineError instead.
"""

from __future__ import annotations

from caffe_gp.engines.guarded import run_guarded
from caffe_gp.engines.load import (
    DEVICE_VARIABLE,
    ENGINE_VARIABLE,
    ENGINES,
    THREADS_VARIABLE,
    check_precision,
    default_device,
    describe,
    load_caffe,
    resolve,
    thread_variables,
)
from caffe_gp.engines.nets import GPNet, forward, load_net, open_net, prepare_net
from caffe_gp.provenance import PRECISIONS

__all__ = [
    "DEVICE_VARIABLE",
    "ENGINES",
    "ENGINE_VARIABLE",
    "GPNet",
    "PRECISIONS",
    "THREADS_VARIABLE",
    "check_precision",
    "default_device",
    "describe",
    "forward",
    "load_caffe",
    "load_net",
    "open_net",
    "prepare_net",
    "resolve",
    "run_guarded",
    "thread_variables",
]
