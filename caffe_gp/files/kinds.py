"""What a file is, by its content, and what to do where it lies in another file's place.

    what_is("net.caffemodel")          'a caffemodel'
    wrong_file("w.pth", CAFFEMODEL)    'this is a PyTorch file (.pth), not a caffemodel. ...'

Nothing in a file is run, and of large ones only the beginning and the places of protobuf's fields are read.
"""

from __future__ import annotations

import io
import mmap
import os
import re
from typing import Any

from caffe_gp.files.hdf5 import Hdf5Error, Hdf5File
from caffe_gp.files.protobuf import LEN, VARINT, Buffer, Damage, fields
from caffe_gp.files.regular import open_regular
from caffe_gp.files.zips import Zip

# Caffe's own.
PROTOTXT, NET, SOLVER = "a prototxt", "a net's prototxt", "a solver prototxt"  # what_is says which
CAFFEMODEL, HDF5_WEIGHTS = "a caffemodel", "Caffe's HDF5 weights"
STATE, HDF5_STATE = "a solver state (.solverstate)", "a solver state in HDF5"
MEAN = "a mean image (.binaryproto)"
# Other frameworks'.
TORCH, KERAS = "a PyTorch file (.pth)", "a Keras file (.h5)"
NUMPY, MATLAB = "a NumPy archive (.npz)", "a MATLAB file (.mat)"
SAFETENSORS, ONNX, TFLITE = "a safetensors file", "an ONNX model", "a TensorFlow Lite model"
PICKLE, NPY, DARKNET = "a Python pickle", "a NumPy array (.npy)", "a .cfg file, as Darknet's nets are"
# What is served, or saved, in a file's place.
EMPTY, WEB_PAGE, LFS, REFUSAL = "an empty file", "a web page", "a git-LFS pointer", "a server's error message"
ZIP, ARCHIVE, DAMAGED_ZIP = "a zip archive", "a compressed archive", "a damaged zip archive"
# Anything else.
FOLDER, IMAGE, PDF = "a folder", "an image", "a PDF"
HDF5, DAMAGED_HDF5 = "an HDF5 file that holds no weights", "a damaged HDF5 file"
JSON, UTF16, PYTHON = "a JSON file", "text in UTF-16", "a Python script"
TEXT, BINARY = "a text file", "a binary file of no known kind"

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# A pickled number that PyTorch wrote first, before version 1.6 and its zip files.
_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_BEGINNINGS = (
    *((start, UTF16) for start in (b"\xff\xfe", b"\xfe\xff")),
    *((start, IMAGE) for start in (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")),
    *((b"P%d" % number + space, IMAGE) for number in range(1, 7) for space in (b"\n", b" ", b"\r")),
    *(
        (start, ARCHIVE)
        for start in (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"7z\xbc\xaf", b"Rar!", b"(\xb5/\xfd")
    ),
    (b"MATLAB 5.0", MATLAB),
    (b"MATLAB 7.3", MATLAB),
    (_OLD_TORCH, TORCH),
    (b"\x93NUMPY", NPY),
    (b"%PDF-", PDF),
    *((b"\x80" + bytes([version]), PICKLE) for version in range(2, 6)),
)
_HEAD = 512  # bytes that tell a magic number, and text from binary
_TEXT = 1 << 20  # bytes that tell one prototxt from another
_FIELDS = 1000  # of a protobuf message: values may be fields of their own
_OF_BLOBS = frozenset(range(1, 14))  # fields of a BlobProto, NVIDIA's four included


def what_is(path: str | os.PathLike) -> str:
    """What lies at ``path``: one of this module's constants, a phrase for messages. Raises OSError."""
    path = os.fspath(path)
    if "\0" not in path and os.path.isdir(path):
        return FOLDER
    with open_regular(path) as stream:
        head = stream.read(_HEAD)
        if len(head) < _HEAD:
            return _kind(head, head, path)
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            return _kind(head, buffer, path)


def what_is_content(content: bytes) -> str:
    """The same of a file's content."""
    return _kind(content[:_HEAD], content, io.BytesIO(content))


def what_begins(head: bytes) -> str:
    """The same of the beginning of a file, as far as that tells; BINARY or TEXT where it does not."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head:
        return EMPTY
    if start.startswith(b"version https://git-lfs"):
        return LFS
    if start.startswith(b"<"):
        return WEB_PAGE
    if head[8:10] == b'{"' and head[5:8] == b"\0\0\0":  # first: its length may look like a pickle's beginning
        return SAFETENSORS
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" or head[:4] + head[8:12] == b"RIFFWEBP":
        return IMAGE
    if head[257:262] == b"ustar":
        return ARCHIVE
    if head[4:8] == b"TFL3":
        return TFLITE
    if any(is_text(one) and any(one) and not any(other) for one, other in _halves(head)):
        return UTF16
    return TEXT if is_text(head) and any(byte < 127 for byte in head) else BINARY


def _halves(head: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Bytes in even and in odd places; of ASCII characters in UTF-16 one half is zeros."""
    one, other = head[::2], head[1::2]
    return ((one, other), (other, one)) if b"\0" in head else ()


def is_text(content: bytes) -> bool:
    """False for content with control characters that no text file has."""
    return not any(byte < 9 or 13 < byte < 32 for byte in content)


def wrong_file(path: str | os.PathLike, *wanted: str) -> str:
    """'this is A, not B. What to do', where a file is clearly none of the ``wanted`` kinds; '' otherwise.

    What cannot be read, and files of no known kind, are left to the reader of what is wanted.
    """
    try:
        kind = what_is(path)
    except OSError:
        return ""
    return _sentence(kind, wanted, path)


def wrong_content(content: bytes, *wanted: str) -> str:
    """The same of a file's content."""
    return _sentence(what_is_content(content), wanted, content)


def net_of_solver(text: str) -> str:
    """The file that a solver prototxt names as its net; '' where it names none."""
    found = re.search(r"""\b(?:train_)?net\s*:\s*["']([^"'\n]*)["']""", text)
    return found.group(1) if found else ""


def learned_net(path: str | os.PathLike) -> str:
    """The caffemodel that a solver state names as its snapshot's; '' where it names none, or is damaged."""
    with open_regular(path) as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            for field in fields(content, 0, len(content)):
                if field.number == 2 and field.wire_type == LEN:
                    return content[field.start : field.end].decode("utf-8", "replace")
        except Damage:
            pass
    return ""


# ---- by content


def _kind(head: bytes, content: Buffer, file: Any) -> str:
    """``file``: a path, or a file object of the content, for the readers of zip and HDF5 files."""
    if head.startswith(HDF5_MAGIC):
        return _kind_of_hdf5(file)
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(file)
    kind = what_begins(head)
    if kind == TEXT:
        return _kind_of_text(bytes(content[:_TEXT]))
    return _kind_of_protobuf(content) if kind == BINARY else kind


def _kind_of_text(content: bytes) -> str:
    start = content.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start:
        return EMPTY
    if start.startswith((b"{", b'["', b"[{", b"[[")):
        return JSON
    if re.match(rb"\[\w+\]", start):
        return DARKNET
    if re.match(rb"(4\d\d|5\d\d)\b|(entry |page )?not found|access denied|forbidden", start, re.I):
        return REFUSAL if len(content) < _HEAD else TEXT
    if re.search(rb"^(import [\w.]+|from [\w.]+ import )", content, re.M):
        return PYTHON
    # Each white space as one character: the searches below try them in all ways.
    top = re.sub(
        r"\s+", lambda found: "\n" if "\n" in found[0] else " ", _top_level(content.decode("latin-1"))
    )
    if re.search(r"\blayers?\s*:?\s*$|\binput(_dim|_shape)?\s*(:|$)", top, re.M):
        return NET
    names = "net|train_net|test_net|base_lr|lr_policy|max_iter|solver_mode|solver_type|snapshot_prefix"
    return SOLVER if re.search(rf"(^|\s)({names})\s*:", top) else TEXT


def _top_level(text: str) -> str:
    """The text without comments and without what stands between braces."""
    text = re.sub(r"#[^\n]*", "", text)
    depth, kept = 0, []
    for part in re.split(r"([{}])", text):
        if part in "{}":
            depth += 1 if part == "{" else -1
        elif depth <= 0:
            kept.append(part)
    return "\n".join(kept)


def _kind_of_protobuf(content: Buffer) -> str:
    """By the numbers and types of the fields: what Caffe writes, or ONNX."""
    types: dict[int, int] = {}
    names, whole = 0, True
    try:
        for count, field in enumerate(fields(content, 0, len(content))):
            types[field.number] = field.wire_type
            names += field.number == 1
            if count == _FIELDS:
                break
    except Damage:
        whole = False
    if types.get(1) == VARINT and set(types) <= _OF_BLOBS:
        if types.get(2) == LEN and types.get(7) == LEN:
            return ONNX
        if LEN in (types.get(2), types.get(3)) or set(types) <= {1, 4}:
            return STATE
        return MEAN if whole or {5, 8, 12} & set(types) else BINARY
    # A V1 layer is field 2; of a damaged file more has to be seen than that.
    if types.get(100) == LEN or types.get(2) == LEN and names <= 1 and (whole or 1 in types):
        return CAFFEMODEL if types.get(1, LEN) == LEN else BINARY
    return MEAN if whole and types and set(types) <= _OF_BLOBS - {1, 2, 3, 4} else BINARY


def _kind_of_hdf5(file: Any) -> str:
    import h5py

    try:
        with Hdf5File(file) as archive:
            names = set(archive.members(archive.root))
            if "layer_names" in archive.root.attrs or "model_weights" in names:
                return KERAS
            if isinstance(archive.child(archive.root, "data"), h5py.Group):
                return HDF5_WEIGHTS
            return HDF5_STATE if names & {"history", "learned_net"} else HDF5
    except Hdf5Error:  # 'data' is a link: the reader of weights says so
        return HDF5_WEIGHTS
    except Exception:  # whatever a damaged file makes of its reader
        return DAMAGED_HDF5


def _kind_of_zip(file: Any) -> str:
    try:
        with Zip(file) as archive:
            names = archive.namelist()
    except Exception:  # whatever a damaged file makes of its reader
        return DAMAGED_ZIP
    if any(name.endswith("/data.pkl") for name in names):
        return TORCH
    return NUMPY if names and all(name.endswith(".npy") for name in names) else ZIP


# ---- what to do

_CONVERTED = (TORCH, KERAS, NUMPY, MATLAB)
_WEIGHTS = (CAFFEMODEL, HDF5_WEIGHTS)
_ADVICE = {
    NET: "Pass it as the net",
    CAFFEMODEL: "Pass it as the weights",
    HDF5_WEIGHTS: "Pass it as the weights",
    STATE: "It is what a training resumes from",
    HDF5_STATE: "It is what a training resumes from",
    MEAN: "Pass it as the mean",
    IMAGE: "Pass it as the image",
    EMPTY: "Get it again",
    WEB_PAGE: "Download the raw file: a page that shows it, a login page or an error page was saved instead",
    LFS: "Run 'git lfs pull' in its repository, or download the real file",
    REFUSAL: "Get the file again, from where it is now",
    ZIP: "Unpack it and pass the file inside",
    ARCHIVE: "Unpack it and pass the file inside",
    DAMAGED_ZIP: "Get it again",
    DAMAGED_HDF5: "Get it again",
    FOLDER: "Pass a file in it",
    UTF16: "Save it as UTF-8 (in Notepad: Save as, Encoding; elsewhere: iconv -f UTF-16 -t UTF-8 OLD > NEW)",
    DARKNET: "Only Caffe's nets are read: the port of it for Caffe has a .prototxt",
}


def _sentence(kind: str, wanted: tuple[str, ...], file: Any) -> str:
    if kind in wanted or kind == BINARY:
        return ""
    advice = _advice(kind, wanted, file)
    return f"this is {kind}, not {wanted[0]}" + (f". {advice}" if advice else "")


def _advice(kind: str, wanted: tuple[str, ...], file: Any) -> str:
    if kind in _CONVERTED and CAFFEMODEL in wanted:
        return "'caffe_gp convert' makes a caffemodel of the files that it knows (caffe_gp convert --help)"
    if kind == SOLVER:
        net = net_of_solver(_beginning(file).decode("latin-1"))
        return f"The net that it trains is '{net}'" if net else "It trains a net: pass that"
    if kind == STATE and CAFFEMODEL in wanted:
        named = learned_net(file)
        return f"The weights of that snapshot are in '{named}'" if named else "Pass the caffemodel beside it"
    if kind in _WEIGHTS and (STATE in wanted or HDF5_STATE in wanted):
        return f"To resume, pass {_state_beside(file)}; to fine-tune, pass this as the weights"
    if kind == NET and SOLVER in wanted:
        return 'A solver prototxt names it: net: "FILE"'
    if kind == NET and CAFFEMODEL in wanted:
        return "Pass it as the net, and its .caffemodel as the weights"
    return _ADVICE.get(kind, "")


def _beginning(file: Any) -> bytes:
    if isinstance(file, bytes):
        return file[:_TEXT]
    with open_regular(file) as stream:
        return stream.read(_TEXT)


def _state_beside(file: Any) -> str:
    weights = "" if isinstance(file, bytes) else os.fspath(file)
    state = weights.replace(".caffemodel", ".solverstate")
    there = state != weights and os.path.exists(state)
    return f"'{state}'" if there else "the .solverstate that was written beside it"
