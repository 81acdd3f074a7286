"""A small CIFAR-10 in both published forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from caffe_gp.datasets import cifar

NUMBER = 20


def python2_pickle(images: np.ndarray, labels: np.ndarray) -> bytes:
    """A batch as Python 2 and its numpy wrote it: protocol 2, byte strings, the array's state."""

    def string(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value

    def integer(value: int) -> bytes:
        return b"J" + int(value).to_bytes(4, "little", signed=True)

    dtype = b"cnumpy\ndtype\n" + string(b"u1") + integer(0) + integer(1) + b"\x87R"
    dtype += b"(" + integer(3) + string(b"|") + b"NNN" + integer(-1) + integer(-1) + integer(0) + b"tb"
    start = (
        b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + integer(0) + b"\x85" + string(b"b")
    )
    shape = integer(images.shape[0]) + integer(images.shape[1]) + b"\x86"
    array = start + b"\x87R(" + integer(1) + shape + dtype + b"\x89" + string(images.tobytes()) + b"tb"
    numbers = b"](" + b"".join(integer(label) for label in labels) + b"e"
    items = string(b"batch_label") + string(b"training batch 1 of 5")
    items += string(b"labels") + numbers + string(b"data") + array
    return b"\x80\x02}(" + items + b"u."


def write_both_forms(root: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Six files each of NUMBER images under ``root``; their planes (N, 3072) and labels by file name."""
    random = np.random.RandomState(3)
    made = {}
    for name in (*cifar.PICKLE_FILES["train"], *cifar.PICKLE_FILES["test"]):
        made[name] = random.randint(0, 256, (NUMBER, 3072)).astype(np.uint8), random.randint(0, 10, NUMBER)
        for folder in (cifar.PICKLES, cifar.RECORDS):
            (root / folder).mkdir(exist_ok=True)
        (root / cifar.PICKLES / name).write_bytes(python2_pickle(*made[name]))
        records = np.column_stack([made[name][1].astype(np.uint8), made[name][0]])
        (root / cifar.RECORDS / f"{name}.bin").write_bytes(records.tobytes())
    return made
