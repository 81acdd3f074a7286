"""The seeds that fuzzing begins with, made from files of this repository and small ones written here."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Sequence

import h5py
import numpy as np
from PIL import Image

from attacks.runs import CHANGED, COUNTS, HEAD, KEY, RECORD
from caffe_gp import proto
from caffe_gp.caffe.solver_state import SolverState, write_state
from caffe_gp.errors import CaffeGPError
from caffe_gp.images.label_maps import save_label_png
from caffe_gp.proto import messages as pb
from conformance.cases import FAMILIES

ROOT = Path(__file__).resolve().parent.parent
_RANDOM_NETS = 40  # of several hundred that are alike
_TEXT_BYTES, _EVERY = 6000, 8  # of text: the parser is slow, and the cases of a family are alike
_WIDTH, _SIDE = 6, 33  # what the real nets are shrunk to: channels of a layer, pixels of the image


def write_seeds(target: str, folder: Path) -> None:
    """Write the seeds of a target as files; those that are there stay, so that what was found is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(_SEEDS[target]()):
        (folder / f"seed{number:04d}").write_bytes(seed)


# ---- nets


def _texts() -> Iterator[str]:
    """Prototxt text: the nets and solvers of the repository, the comparison's, one of the old dialects."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "prototxt").rglob("*.prototxt"))]
    texts += [OLD_DIALECTS, *list(_cases())[::_EVERY]]
    return (text for text in texts if len(text) < _TEXT_BYTES)


def _cases() -> Iterator[str]:
    """The nets of the comparison with BVLC Caffe: every layer type, with most of its parameters."""
    for name, cases in FAMILIES.items():
        for number, case in enumerate(cases()):
            if name != "random_nets" or number < _RANDOM_NETS:
                yield case.text.replace("$DIR", ".")


def _nets() -> Iterator[bytes]:
    yield from _serialized([OLD_DIALECTS, *_cases()])


def _real_nets() -> Iterator[bytes]:
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "prototxt").rglob("*ploy.prototxt"))]
    yield from _serialized([*texts, *_cases()])


def _serialized(texts: Any) -> Iterator[bytes]:
    """Nets as messages, small ones; texts that are none are left out: some cases shall fail."""
    for text in texts:
        try:
            yield _shrunk(proto.parse_net_param(text)).SerializePartialToString()
        except CaffeGPError:
            continue


def _shrunk(net: Any) -> Any:
    for layer in net.layer:
        for param in (layer.convolution_param, layer.inner_product_param):
            if param.num_output > _WIDTH:
                param.num_output = _WIDTH
        for shape in layer.input_param.shape:
            shape.dim[2:] = [min(side, _SIDE) for side in shape.dim[2:]]
    return net


OLD_DIALECTS = """
name: "old" input: "data" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 2 kernel_size: 3 weight_filler { type: "gaussian" std: 0.01 } } }
layers { layer { name: "pool" type: "pool" kernelsize: 2 } bottom: "conv" top: "pool" }
layers { name: "up" type: DECONVOLUTION bottom: "pool" top: "up" 
  convolution_param { num_output: 2 kernel_size: 4 stride: 2 } }
layers { name: "crop" type: CROP bottom: "up" bottom: "data" top: "score" }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "score" bottom: "data" include { phase: TRAIN } }
"""


# ---- weights


def _models() -> Iterator[bytes]:
    """Binary files of all kinds: V2, V1, V0 layers, new and old shapes, doubles, raw and unpacked values."""
    net = pb.NetParameter(name="fuzz")
    v2 = net.layer.add(name="conv", type="Convolution")
    v2.blobs.add(data=[1, 2, 3, 4]).shape.dim.extend([2, 2])
    v2.blobs.add(data=[1, 2], num=1, channels=1, height=1, width=2)
    v2.blobs.add(double_data=[1, 2, 3], diff=[1]).shape.dim.append(3)
    v2.blobs.add(raw_data=b"\0\x3c\0\xc0", raw_data_type=pb.FLOAT16).shape.dim.append(2)
    nvidia = net.layer.add(name="bn", type="BatchNorm")
    for count in (2, 2, 2, 2, 1):
        nvidia.blobs.add(data=[1] * count).shape.dim.append(count)
    yield net.SerializeToString()
    yield v2.blobs[3].SerializeToString()
    v1 = net.layers.add(name="old", type=4)
    v1.blobs.add(data=[5]).shape.dim.append(1)
    v1.layer.blobs.add(data=[5]).shape.dim.append(1)
    yield net.SerializeToString()
    yield v2.blobs[1].SerializeToString()
    yield b"\xa2\x06\x14\x0a\x01a\x3a\x0f\x2d\0\0\0\0\x2d\0\0\0\0\x3a\x03\x0a\x01\x02"  # one tag a value
    state = pb.SolverState(iter=5, learned_net="net.caffemodel", current_step=1)
    state.history.add(data=[1, 2]).shape.dim.append(2)
    yield state.SerializeToString()


def _hdf5() -> Iterator[bytes]:
    yield _h5({"data/conv/0": np.ones((2, 3), "f4"), "data/conv/1": np.ones(2, "f4")})
    yield _h5({"iter": np.array([3]), "current_step": np.array([0]), "history/0": np.ones(3, "f4")})
    yield _h5({"data": np.ones((5, 2, 3), "f4"), "label": np.arange(5.0)})
    yield _h5({"data/a/0": np.ones((8, 8), "f4")}, chunks=(4, 4), compression="gzip", shuffle=True)
    yield _h5({"conv/conv/kernel:0": np.ones((3, 3, 1, 2), "f4"), "conv/conv/bias:0": np.ones(2, "f4")})
    net, path = pb.NetParameter(), Path("seed.h5")
    net.layer.add(name="ip")
    proto.write_hdf5(path, net, {"ip": [np.ones((2, 2), np.float32)]})
    yield path.read_bytes()
    write_state(str(path), SolverState(3, "net", 1, [np.ones(2, np.float32)]))
    yield path.read_bytes()


def _h5(arrays: Mapping[str, np.ndarray], **options: Any) -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **options)
    return stream.getvalue()


# ---- runs, images


def _runs() -> Iterator[bytes]:
    """As ``targets.run_folder`` takes them: with ground truth, without, with a CRF; of classifiers, three."""
    plain = {**KEY, "eps": [0.5, -1.0], "images": 2}
    kinds: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (plain, {"base": COUNTS, "gp": [CHANGED, CHANGED]}),
        (plain, {"base": {"confidence": 0.5}, "gp": [{"confidence": 0.5}] * 2, "truth_sha256": None}),
        (plain, {"base": {"confidence": 0.5, "label": 1}, "gp": [{"confidence": 0.5, "label": 2}] * 2}),
        (
            {**plain, "crf": {"iterations": 5}},
            {"base": COUNTS, "gp": [CHANGED] * 2, "base_crf": COUNTS, "gp_crf": [CHANGED] * 2},
        ),
    ]
    for key, kind in kinds:
        records = [{**RECORD, "item": name, **kind} for name in ("image0", "image1")]
        yield _run({**HEAD, "key": key}, records)
    sets = {name: {"name": name, "images": 3} for name in ("images", "train")}
    key = {**plain, **sets, "features": ["ip1"], "gradient_at": ["test"], "k": [2]}
    data = {**sets, "class_names": ["a", "b", "c"]}
    head = {**HEAD, "key": key, "made": {**HEAD["made"], "data": data}}
    labels = {"ip1/test/2": [[0, 1], [2, 0]]}
    record = {"base": [0, 1], "neighbours": {"ip1": [[0, 1], [2, 0]]}, "labels": labels, "seconds": {"a": 1}}
    yield _run(head, [{"item": "0-1", **record}])
    rows = [[0.5, 0.25, 0.25]] * 2
    yield _run(head, [{"item": "0-1", "probabilities": [rows] * 3, "seconds": {"a": 1}}])


def _run(head: dict[str, Any], records: Sequence[dict[str, Any]]) -> bytes:
    """Key, items and records, as ``targets.run_folder`` takes them."""
    items = "\n".join(record["item"] for record in records)
    lines = "\n".join(json.dumps(line) for line in (head, *records))
    return f"{json.dumps(head['key'])}\n\n{items}\n\n{lines}".encode()


def _images() -> Iterator[bytes]:
    """A small picture in every format that is read, and in several modes; label maps."""
    colours = np.random.RandomState(0).randint(0, 256, (9, 7, 4)).astype(np.uint8)
    picture = Image.fromarray(colours)
    for form in ("PNG", "TIFF", "WEBP", "GIF"):
        yield _saved(picture, form)
    for form in ("JPEG", "BMP", "PPM", "PNG"):
        for mode in ("RGB", "L"):
            yield _saved(picture.convert(mode), form)
    yield _saved(Image.fromarray(colours[..., 0].astype(np.uint16) * 200), "PNG")
    yield _saved(Image.fromarray(colours[..., 0].astype(np.float32)), "TIFF")
    yield _saved(picture.convert("RGB"), "TIFF", compression="tiff_lzw")
    yield _saved(
        picture.convert("RGB"),
        "JPEG",
        exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0",
    )
    save_label_png("label.png", colours[..., 0] % 21)
    yield Path("label.png").read_bytes()


def _saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


_SEEDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "prototxt_text": lambda: (text.encode() for text in _texts()),
    "caffemodel": _models,
    "surgery": _nets,
    "net_build": _nets,
    "passes": _real_nets,
    "hdf5": _hdf5,
    "run_folder": _runs,
    "images": _images,
}
