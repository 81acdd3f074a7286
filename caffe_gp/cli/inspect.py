"""What a file is: its layers, shapes, counts, version and hash, and which known nets it fits.

    print(describe_file("net.caffemodel").text())

Prototxts, caffemodels of every age, HDF5 weights, mean images, solver states, and the files of other
frameworks that ``caffe_gp.models.convert`` reads. Weights stay on the disk: names and shapes are all that is
looked at, and the hash is computed piece by piece. No code that a file holds or names is run.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp import engines, proto
from caffe_gp.cli import net_options, option_types
from caffe_gp.engines.sizes import largest_size, max_bytes, memory_for
from caffe_gp.errors import (
    CaffeGPError,
    EngineError,
    NetError,
    UnknownLayerTypeError,
    UsageError,
    WeightsError,
    one_line,
)
from caffe_gp.files import kinds
from caffe_gp.files.hashes import digests
from caffe_gp.files.protobuf import LEN, VARINT, fields
from caffe_gp.files.regular import open_regular
from caffe_gp.models import zoo
from caffe_gp.models.convert import fitting_models, guess_format
from caffe_gp.models.convert.archives import kind_of, open_archive
from caffe_gp.proto import forks
from caffe_gp.proto import messages as pb
from caffe_gp.proto.text import expand_variables, parse_message, read_text
from caffe_gp.proto.upgrade import V1_TYPES
from caffe_gp.proto.upgrade_v0 import V0_TYPES
from caffe_gp.python_layers.users import use_built_in
from caffe_gp.surgery.layers import blob_count, listed
from caffe_gp.surgery.param_shapes import param_shapes, shared_layers
from caffe_gp.surgery.prepare import prepare

EXAMPLES = """
examples:
  caffe_gp inspect net.caffemodel           layers, shapes, counts, version, sha256, which known nets it fits
  caffe_gp inspect deploy.prototxt --json
  caffe_gp inspect deploy.prototxt --size 500,500   also the memory it takes, and the largest size that fits
"""

_FIELD_ADVICE = "it changes what is computed; remove it if nothing depends on it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The file, and how to print what it is."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a prototxt, caffemodel, .h5, binaryproto, solverstate, .pth, .npz or .mat",
    )
    parser.add_argument(
        "--size",
        type=option_types.size,
        metavar="W,H or N",
        help="of a prototxt: also say how many bytes the net takes for an image of this size, for a forward "
        "and for guided perturbations, and the largest size of this shape that fits (embedded Caffe)",
    )
    net_options.add_blob(parser)
    net_options.add_score(parser)
    net_options.add_max_memory(parser)
    net_options.add_defines(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def work(args: argparse.Namespace) -> None:
    """Print what the file is."""
    description = describe_file(args.file, defines=dict(args.defines))
    if args.size is not None:
        if description.kind != "net":
            raise UsageError(f"--size is for a net's prototxt, not for {description.kind}")
        description.facts.update(
            memory_facts(args.file, args.size, args.blob, score=args.score, defines=dict(args.defines))
        )
    print(json.dumps(description.as_dict(), indent=1) if args.json else description.text())


@dataclass
class LayerRow:
    """One layer: its parameter blobs and the number of their values (None where that cannot be told).

    shared   the blobs belong to an earlier layer and are counted there
    """

    name: str
    type: str
    blobs: list[tuple[int, ...]]
    values: int | None
    shared: bool = False


@dataclass
class FileDescription:
    """What ``describe_file`` found.

    kind        'net', 'solver', 'caffemodel', 'HDF5 weights', 'mean image', 'solver state' or another
                framework's, like 'a PyTorch file (.pth)'
    version     of the dialect: 'V0', 'V1', 'V2'; else ''
    size        bytes
    parameters  values in all layers, shared ones once; None where that cannot be told
    models      names of the zoo's models that it fits, by layer names and shapes
    facts       whatever else there is to say, by name
    """

    path: str
    kind: str
    version: str
    size: int
    sha256: str
    layers: list[LayerRow]
    parameters: int | None
    models: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return asdict(self)

    def text(self) -> str:
        """The same for people."""
        lines = [
            self.path,
            f"  {' '.join(filter(None, (self.kind, self.version)))}, {self.size:,} bytes",
            f"  sha256 {self.sha256}",
        ]
        if self.layers:
            known = "not known" if self.parameters is None else f"{self.parameters:,}"
            with_blobs = sum(bool(row.blobs) or row.values is None for row in self.layers)
            lines.append(f"  parameters: {known}; {len(self.layers)} layers, {with_blobs} with parameters")
            lines.append(f"  fits: {', '.join(self.models) or 'none of the known models'}")
        for name, value in self.facts.items():
            if isinstance(value, list) and value and isinstance(value[0], str):
                lines += [f"  {name}:", *(f"    {one}" for one in value)]
            else:
                lines.append(f"  {name}: {value}")
        return "\n".join(one_line(line) for line in lines + _table(self.layers))


def _table(layers: Sequence[LayerRow]) -> list[str]:
    if not layers:
        return []
    rows = [("layer", "type", "blobs", "values")]
    for row in layers:
        blobs = ", ".join("x".join(map(str, shape)) or "scalar" for shape in row.blobs)
        values = "?" if row.values is None else f"{row.values:,}" if row.blobs else ""
        rows.append((row.name, row.type, blobs, "shared" if row.shared else values))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    padded = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)) for row in rows]
    return ["", *(f"  {line}".rstrip() for line in padded)]


def describe_file(path: str | os.PathLike, *, defines: Mapping[str, object] | None = None) -> FileDescription:
    """Say what the file is. Raises PrototxtError, NetError or WeightsError for what is damaged or unknown,
    and EngineError where a .pth meets a Python without PyTorch."""
    path = os.fspath(path)
    foreign = kind_of(path)
    if foreign:
        return _describe_foreign(path, foreign)
    kind = kinds.what_is(path)
    if kind in (kinds.NET, kinds.TEXT):  # of another text, the parser says where it is no prototxt
        return _describe_net(path, read_text(path), defines)
    if kind == kinds.SOLVER:
        return _describe_solver(path, read_text(path), defines)
    describe = {kinds.MEAN: _describe_mean, kinds.STATE: _describe_state}.get(kind, _describe_weights)
    if describe is _describe_weights and kinds.wrong_file(
        path, kinds.CAFFEMODEL, kinds.HDF5_WEIGHTS, kinds.HDF5
    ):
        raise WeightsError(f"{path}: this is {kind}, neither a prototxt nor weights")
    return describe(path)


def _description(path: str, kind: str, version: str, layers: list[LayerRow], **more: Any) -> FileDescription:
    counts = [row.values for row in layers if not row.shared]
    known = [count for count in counts if count is not None]
    return FileDescription(
        path,
        kind,
        version,
        os.path.getsize(path),
        digests(Path(path), ["sha256"])["sha256"],
        layers,
        sum(known) if len(known) == len(counts) else None,
        **more,
    )


def _count(shapes: Sequence[tuple[int, ...]]) -> int:
    total = 0
    for shape in shapes:
        values = 1
        for dim in shape:
            values *= dim
        total += values
    return total


# ----------------------------------------------------------------------------------------------- prototxts


def _describe_solver(path: str, text: str, defines: Mapping[str, object] | None) -> FileDescription:
    solver = proto.parse_solver_param(text, path, defines=defines)
    facts: dict[str, Any] = {"from": _origin(solver)}
    lacking = [f"{name}, {forks.whose(name)}: {_FIELD_ADVICE}" for name in forks.unheeded(solver)]
    if lacking:
        facts["not available here"] = lacking
    for descriptor, value in solver.ListFields():
        if descriptor.cpp_type == descriptor.CPPTYPE_FLOAT:
            value = _decimals(value)
        elif descriptor.enum_type is not None:
            value = descriptor.enum_type.values_by_number[value].name
        elif descriptor.message_type is not None:
            value = "(given here)"
        facts[descriptor.name] = list(value) if hasattr(value, "append") else value
    return _description(path, "solver", "", [], facts=facts)


def _decimals(value: Any) -> Any:
    """A float32, or several, as written: 0.01 and not 0.009999999776482582."""
    return [_decimals(item) for item in value] if hasattr(value, "append") else float(str(np.float32(value)))


def _describe_net(path: str, text: str, defines: Mapping[str, object] | None) -> FileDescription:
    raw = parse_message(expand_variables(text, defines, path, strings_may_keep=True), pb.NetParameter(), path)
    version = "V2"
    if len(raw.layers):
        version = "V0" if raw.layers[0].HasField("layer") else "V1"
    net = proto.parse_net_param(text, path, defines=defines)
    facts: dict[str, Any] = {"from": _origin(raw), **_not_available(net)}
    try:
        shapes: dict[str, list] | None = _shapes(net)
    except CaffeGPError as error:
        shapes = None
        why = "layers are not available" if isinstance(error, UnknownLayerTypeError) else error
        facts["note"] = f"the parameters' shapes are not known: {why}"
    shared = shared_layers(net)
    layers = []
    for layer in net.layer:
        blobs = (shapes or {}).get(layer.name, [])
        lacks = not blobs and blob_count(layer) > 0
        row = LayerRow(layer.name, layer.type, blobs, None if lacks else _count(blobs), layer.name in shared)
        layers.append(row)
    models = _same_models({name: blobs for name, blobs in (shapes or {}).items() if blobs})
    if net.name:
        facts = {"name": net.name, **facts}
    return _description(path, "net", version, layers, models=models, facts=facts)


def _origin(message: Any) -> str:
    """Whose Caffe a net or solver is for, by the names in it."""
    found = [
        f"{fork or 'its own, or a fork that is not known here'}: {_told_by(names)}"
        for fork, names in forks.forks_of(forks.foreign_names(message)).items()
    ]
    return "; ".join(found) or "BVLC Caffe"


def _told_by(names: Sequence[str]) -> str:
    """Of the names that tell a fork those that say most: layer types, and fields within BVLC's messages."""
    types = sorted({name.split("/")[0] for name in names if name[:1].isupper()})
    fields = [name for name in names if not name[:1].isupper() and name.rpartition(".")[0] not in names]
    fields = [name for name in fields if "." in name or not (types and name.endswith("_param"))]
    return listed([*types, *fields], 8)


def _not_available(net: Any) -> dict[str, Any]:
    """What the embedded Caffe cannot build of a net, and what to do: by layer type, and by field."""
    try:
        known = engines.load_caffe("torch").layer_type_list()
    except EngineError:
        return {"available layers": "not known without PyTorch"}
    types: dict[str, list[Any]] = {}
    fields: dict[str, list[str]] = {name: [] for name in forks.unheeded(net)}
    for layer in net.layer:
        if layer.type not in known:
            types.setdefault(layer.type, []).append(layer)
            continue
        for name in forks.unheeded(layer, but=("transform_param",) if layer.bottom else ()):
            fields.setdefault(name, []).append(layer.name)
    said = []
    for kind, layers in types.items():
        said.append(f"{kind}{_of([layer.name for layer in layers])}: {forks.unavailable(layers[0])}")
    if types:
        said.append(f"or {forks.WRITE_IT}")
    for name, layer_names in fields.items():
        said.append(f"{name}{_of(layer_names)}, {forks.whose(name)}: {_FIELD_ADVICE}")
    return {"not available here": said} if said else {}


def _of(names: Sequence[str]) -> str:
    """' (layers 'a', 'b')' for a message."""
    names = list(dict.fromkeys(names))
    shown = listed([f"'{name}'" for name in names], 3)
    return f" (layer{'s' * (len(names) > 1)} {shown})" if names else ""


def _shapes(net: Any) -> dict[str, list]:
    """Shapes of the parameters by layer name. Raises CaffeGPError where they cannot be told.

    From the description, where that is enough, else from the net as the embedded Caffe builds it for images.
    """
    try:
        return param_shapes(net)
    except NetError:
        names = {layer.name for layer in net.layer}
        brought = {layer.type for layer in net.layer if not layer.bottom}
        prepared = net if brought and brought <= {"Input", "Parameter", "DummyData"} else prepare(net).net
        prepared = pb.NetParameter.FromString(prepared.SerializePartialToString())
        use_built_in(prepared, ())
        python = [layer.name for layer in prepared.layer if layer.type == "Python"]
        if python:
            raise NetError(f"layer '{python[0]}' is in Python, which is not run here") from None
        built = engines.load_caffe("torch").Net.from_param(prepared, pb.TEST, source=net.name or "the net")
        return {
            name: [tuple(blob.data.shape) for blob in blobs]
            for name, blobs in built.params.items()
            if name in names
        }


# ----------------------------------------------------------------------------------------- protobuf weights


def _describe_weights(path: str) -> FileDescription:
    with proto.read_weights(path) as weights:
        is_hdf5 = weights.format == "hdf5"
        types = [""] * len(weights) if is_hdf5 else _layer_types(path)
        rows = []
        found: dict[str, list] = {}
        for (name, blobs), type_name in zip(weights, types):
            held = [blob for blob in blobs if blob is not None]  # HDF5 leaves out what belongs to others
            shapes = [blob.shape for blob in held]
            rows.append(LayerRow(name, type_name, shapes, _count(shapes), bool(blobs) and not held))
            found.setdefault(name, blobs)
        raw = sorted({blob.raw for _, blobs in weights for blob in blobs if blob is not None and blob.raw})
        version = "" if is_hdf5 else weights.format.split()[-1]
    kind = "HDF5 weights" if is_hdf5 else "caffemodel"
    models, unknown = _fitting_models(found)
    facts = {}
    if raw:
        facts["values"] = f"raw, {', '.join(raw)}: of NVIDIA Caffe or OpenCV; read here as float"
    if unknown:
        facts["not compared"] = f"{', '.join(unknown)} (that needs the embedded Caffe's PyTorch)"
    return _description(path, kind, version, rows, models=models, facts=facts)


def _layer_types(path: str) -> list[str]:
    """The types of a caffemodel's layers, in the order of ``read_weights``."""
    v1: list[str] = []
    v2: list[str] = []
    with open_regular(path) as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        for layer in fields(buffer, 0, len(buffer)):
            if layer.number == 100:
                v2.append(_text_of(buffer, layer, 2))
            elif layer.number == 2:
                v1.append(_v1_type(buffer, layer))
    return v1 or v2


def _text_of(buffer: Any, message: Any, number: int) -> str:
    """A field of texts of the message; '' where it has none."""
    text = ""
    for part in fields(buffer, message.start, message.end):
        if part.number == number and part.wire_type == LEN:
            text = bytes(buffer[part.start : part.end]).decode("utf-8", "replace")
    return text


def _v1_type(buffer: Any, layer: Any) -> str:
    """Today's name of the type of a V1 layer, or of the V0 layer inside."""
    name = "NONE"
    for part in fields(buffer, layer.start, layer.end):
        if part.number == 5 and part.wire_type == VARINT:
            values = pb.V1LayerParameter.LayerType
            name = values.Name(part.value) if part.value in values.values() else "NONE"
        elif part.number == 1 and part.wire_type == LEN:
            name = V0_TYPES.get(_text_of(buffer, part, 2), "NONE")
    return V1_TYPES.get(name, "")


def _describe_mean(path: str) -> FileDescription:
    values = proto.read_blob(path)
    facts = {"shape": list(values.shape)}
    if values.ndim == 4 and values.size:
        facts["mean of each channel"] = [round(float(mean), 4) for mean in values.mean(axis=(0, 2, 3))]
    return _description(path, "mean image", "", [], facts=facts)


def _describe_state(path: str) -> FileDescription:
    state = proto.read_solverstate(path)
    with state:
        rows = [
            LayerRow(f"history {i}", "", [blob.shape], blob.count) for i, blob in enumerate(state.history)
        ]
        facts = {"iter": state.iter, "current_step": state.current_step, "learned_net": state.learned_net}
    return _description(path, "solver state", "", rows, facts=facts)


# -------------------------------------------------------------------------------------- other frameworks


def memory_facts(
    path: str | os.PathLike, size: tuple[int, int], blob: str = "data", **options: Any
) -> dict[str, Any]:
    """Bytes that a net takes for an image of ``size`` (W, H), and the largest size of its shape that fits.

    The other arguments, and the errors, are those of ``engines.sizes.memory_for``.
    """
    limit = max_bytes()
    use = memory_for(path, size, blob, **options)
    largest = largest_size(path, size, limit, blob, **options)
    return {
        f"bytes for a forward at {size[0]} x {size[1]}": use.forward,
        f"bytes with guided perturbations at '{blob}'": use.backward,
        f"largest size that fits into {limit} bytes": f"{largest[0]} x {largest[1]}" if largest else "none",
    }


def _describe_foreign(path: str, kind: str) -> FileDescription:
    with open_archive(path) as archive:
        rows = [LayerRow(key, "", [shape], _count([shape])) for key, shape in archive.shapes.items()]
        facts = {}
        models: list[str] = []
        try:
            format = guess_format(archive)
            facts["format"] = f"{format.name}; caffe_gp convert makes a caffemodel of it"
            models = fitting_models(format, archive)
        except WeightsError:
            facts["format"] = "not one that caffe_gp convert knows"
    return _description(path, kind, "", rows, models=models, facts=facts)


# ------------------------------------------------------------------------------------------ the known nets


def _fitting_models(found: dict[str, list]) -> tuple[list[str], list[str]]:
    """The models that could be loaded from these WeightBlobs by layer name.

    And those of which this cannot be told, for lack of the embedded Caffe.
    """
    fits, unknown = [], []
    for name, model in zoo.MODELS.items():
        net = model.net()
        shared = shared_layers(net)
        if any(blob_count(layer) and layer.name not in {*shared, *found} for layer in net.layer):
            continue
        try:
            needed = _shapes(net)
        except EngineError:
            unknown.append(name)
            continue
        if all(_fit(found[layer], shapes) for layer, shapes in needed.items() if layer in found):
            fits.append(name)
    return fits, unknown


def _fit(blobs: Sequence, shapes: Sequence[tuple[int, ...]]) -> bool:
    return len(blobs) == len(shapes) and all(
        blob is None or blob.fits(shape) for blob, shape in zip(blobs, shapes)
    )


def _same_models(shapes: dict[str, list]) -> list[str]:
    """The models whose parameters are these, layer by layer."""
    names = []
    for name, model in zoo.MODELS.items():
        net = model.net()
        if not shapes or {layer.name for layer in net.layer if blob_count(layer)} != set(shapes):
            continue
        try:
            if _shapes(net) == shapes:
                names.append(name)
        except EngineError:
            continue
    return names
