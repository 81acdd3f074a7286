"""Export a net: describe it, write it, compare it with the embedded Caffe, then let the files appear."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import numpy as np

from caffe_gp import engines, proto
from caffe_gp.engines.fitting import set_channels, stored_blobs
from caffe_gp.errors import CaffeGPError, UsageError, with_source
from caffe_gp.export.check import examples_of, noise, run_and_compare
from caffe_gp.export.description import describe
from caffe_gp.export.source import Source, source_of
from caffe_gp.files.atomic import into_place
from caffe_gp.surgery.prepare import Prepared


@dataclass
class Exported:
    """What was written.

    files     of them
    outputs   blobs that the module gives
    shapes    of the inputs, by their blobs; None along axes of any size
    errors    largest difference from the embedded Caffe, relative to the largest value: 'torch', 'onnx'
    changes   what was done to the net, one sentence each
    """

    files: list[Path]
    outputs: list[str]
    shapes: dict[str, tuple[int | None, ...]]
    errors: dict[str, float]
    changes: list[str]


def export_net(
    prototxt: str | os.PathLike,
    caffemodel: str | os.PathLike | None,
    *,
    torch_file: str | os.PathLike | None = None,
    onnx_file: str | os.PathLike | None = None,
    ends: Sequence[str] = (),
    size: tuple[int, int] | None = None,
    example: Callable[[Prepared], np.ndarray] | None = None,
    scale: float | None = None,
    stages: Sequence[str] = (),
    level: int = 0,
    defines: Mapping[str, object] | None = None,
    allow_missing_weights: bool = False,
) -> Exported:
    """Write a Caffe net as a PyTorch module, as ONNX, or both. Files of these names are replaced.

    torch_file   NAME.py, a module that needs no caffe_gp; its parameters go into NAME.safetensors
    onnx_file    NAME.onnx
    ends         the blobs to export; see ``description.describe``
    size         height and width of the images, default: the net's own
    example      makes the images (N, C, H, W) to compare on, default: noise
    scale        of images, a grey level; default: what the data layer says, else 1
    Raises UsageError, the errors of ``engines.load_net``, NetError that lists the layers without a
    counterpart, and CaffeGPError where the results differ from the embedded Caffe's by more than LIMIT.
    """
    targets = _targets(torch_file, onnx_file)
    prepared, net, source = _written(
        os.fspath(prototxt), caffemodel, allow_missing_weights, ends, size, stages, level, defines
    )
    if scale is None:
        scale = prepared.transform.scale if prepared.transform is not None else 1.0
    first = [noise(net.blobs[blob].shape, scale) for blob in source.inputs]
    if example is not None:
        first[source.inputs.index(prepared.data)] = example(prepared)
    examples = examples_of(net, source, first, scale)
    with _folder_beside(next(iter(targets.values()))) as folder:
        _save(folder, source)
        errors = run_and_compare(folder, source, examples, "net.onnx" in targets)
        for name, target in targets.items():
            into_place(folder / name, target)
    shapes = {
        blob: tuple(None if i in examples.free else n for i, n in enumerate(array.shape))
        for blob, array in zip(source.inputs, first)
    }
    return Exported(list(targets.values()), source.outputs, shapes, errors, prepared.changes)


def _written(
    prototxt: str,
    caffemodel: str | os.PathLike | None,
    allow_missing_weights: bool,
    ends: Sequence[str],
    size: tuple[int, int] | None,
    stages: Sequence[str],
    level: int,
    defines: Mapping[str, object] | None,
) -> tuple[Prepared, Any, Source]:
    param = proto.read_net_param(prototxt, defines=defines)
    try:
        prepared, blobs = describe(param, ends, size=size, stages=stages, level=level)
    except CaffeGPError as error:
        raise with_source(error, prototxt) from error
    if caffemodel is not None and prepared.channels_are_guess:
        set_channels(prepared, stored_blobs(os.fspath(caffemodel)))
    loaded = engines.open_net(
        prepared, prototxt, caffemodel, engine="torch", allow_missing_weights=allow_missing_weights
    )
    prepared.changes += loaded.warnings
    try:
        return prepared, loaded.net, source_of(loaded.net, prepared.net, blobs)
    except CaffeGPError as error:
        raise with_source(error, prototxt) from error


def _save(folder: Path, source: Source) -> None:
    from safetensors.torch import save_file

    path, weights = folder / "net.py", folder / "net.safetensors"
    path.write_text(source.text, encoding="utf-8")
    save_file(source.state, str(weights), {"format": "pt"})
    weights.chmod(path.stat().st_mode)  # safetensors lets nobody else read it


def _targets(torch_file: Any, onnx_file: Any) -> dict[str, Path]:
    """Where the files go, by their names until then."""
    for given, suffix, option in ((torch_file, ".py", "--torch"), (onnx_file, ".onnx", "--onnx")):
        if given is not None and Path(given).suffix != suffix:
            raise UsageError(f"{option} {given}: give a file that ends with {suffix}")
    targets = {}
    if torch_file is not None:
        path = Path(torch_file)
        targets = {"net.safetensors": path.with_suffix(".safetensors"), "net.py": path}
    if onnx_file is not None:
        targets["net.onnx"] = Path(onnx_file)
    if not targets:
        raise UsageError("nothing to export: give --torch FILE.py, --onnx FILE.onnx or both")
    return targets


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """A folder on the target's file system, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=".export.", suffix=".tmp", dir=target.parent))
    try:
        yield folder.resolve()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
