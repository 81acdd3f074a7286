"""BVLC Caffe's net for Python sessions: what would end the process is tried in a child first.

Caffe ends the process where a shape or a file does not fit. A session, say in a notebook, has to outlive it.
"""

from __future__ import annotations

import os
from typing import Any, Callable

from caffe_gp.engines.fitting import copy_weights, has_raw_values
from caffe_gp.engines.guarded import run_guarded
from caffe_gp.errors import EngineError


def try_in_child(function: Callable[..., Any], *args: Any) -> None:
    """Call ``function`` in a child; EngineError if that dies.

    What it raises there is left to the call itself, which raises it with its traceback.
    """
    try:
        run_guarded(function, *args)
    except EngineError:
        raise
    except Exception:
        pass


def tried_net(net_class: Any) -> Any:
    """A subclass of pycaffe's ``Net`` whose calls raise EngineError where Caffe would end the process.

    The shapes of the inputs, when they are new, and weights files are tried in a forked child.
    """

    class TriedNet(net_class):
        def _forward(self, start: int, end: int) -> float:
            self._try_shapes()
            return super()._forward(start, end)

        def reshape(self) -> None:
            self._try_shapes()
            super().reshape()

        def copy_from(self, path: str | os.PathLike) -> None:
            if has_raw_values(os.fspath(path)):
                copy_weights(self, os.fspath(path), "bvlc")
                return
            try_in_child(super().copy_from, os.fspath(path))
            super().copy_from(os.fspath(path))

        def _try_shapes(self) -> None:
            shapes = tuple(tuple(self.blobs[name].shape) for name in self.inputs)
            seen = self.__dict__.setdefault("_shapes_tried", set())
            if shapes not in seen:
                try_in_child(super().reshape)
                seen.add(shapes)

    return TriedNet
