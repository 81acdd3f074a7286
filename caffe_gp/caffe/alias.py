"""The embedded Caffe under pycaffe's names: what ``import caffe`` finds in scripts and in Python layers."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

_PARTS = (
    "_caffe", "classifier", "coord_map", "detector", "draw", "io", "net_spec", "proto", "proto.caffe_pb2",
    "pycaffe",
)  # fmt: skip
#: pycaffe's modules and ours. ``caffe.layers`` is none of them: there it is an object of net_spec.
MODULES = {
    "caffe": str(__package__),
    **{f"caffe.{part}": f"{__package__}.{part}" for part in _PARTS},
}


class _CaffeFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the names in MODULES stand for our modules: one module object under two names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in MODULES:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in ("caffe", "caffe.proto"))

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        module = importlib.import_module(MODULES[spec.name])
        spec.loader_state = module.__spec__  # the import system is about to write ``spec`` in its place
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state


def install() -> None:
    """Let ``import caffe`` mean the embedded Caffe from now on, in this process."""
    if not _is_installed():
        sys.meta_path.insert(0, _CaffeFinder())


def _is_installed() -> bool:
    return any(isinstance(finder, _CaffeFinder) for finder in sys.meta_path)


@contextmanager
def importable_as_caffe() -> Iterator[None]:
    """``import caffe`` means the embedded Caffe inside the block; after it, what it meant before.

    So users' Python layers find it, and a real BVLC Caffe in the same process stays what it is.
    """
    if _is_installed():
        yield
        return
    theirs = {}
    if "caffe" in sys.modules:
        names = [name for name in sys.modules if name == "caffe" or name.startswith("caffe.")]
        theirs = {name: sys.modules.pop(name) for name in names}
    finder = _CaffeFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(theirs)
