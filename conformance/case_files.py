"""The files that some cases read, written afresh into the case's folder, with the same content everywhere."""

from __future__ import annotations

import os

import numpy as np


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """A smooth BGR picture, so that interpolated pixels mean something."""
    y, x = np.mgrid[:height, :width]
    random = np.random.RandomState(seed)
    waves = [
        np.sin(x / (3.0 + 4 * random.rand()) + y / (3.0 + 4 * random.rand()) + 6 * random.rand())
        for _ in range(3)
    ]
    return np.rint(127 + 100 * np.stack(waves, -1)).astype(np.uint8)


def image_files(folder: str) -> None:
    """images.txt with five pictures of one size, and mean.binaryproto for 12 x 10."""
    import cv2

    from caffe_gp.proto import messages as pb

    with open(os.path.join(folder, "images.txt"), "w") as file:
        for i in range(5):
            cv2.imwrite(os.path.join(folder, "%d.png" % i), picture(i, 30, 37))
            file.write("%d.png %d\n" % (i, i * 7 % 5))
    mean = pb.BlobProto(num=1, channels=3, height=12, width=10)
    mean.data.extend(np.random.RandomState(0).randint(0, 200, 360).astype(float).tolist())
    with open(os.path.join(folder, "mean.binaryproto"), "wb") as file:
        file.write(mean.SerializeToString())


def window_files(folder: str) -> None:
    """windows.txt: one picture, one foreground and one background window: nothing is left to chance."""
    import cv2

    cv2.imwrite(os.path.join(folder, "0.png"), picture(0, 60, 75))
    with open(os.path.join(folder, "windows.txt"), "w") as file:
        file.write(f"# 0\n{folder}/0.png\n3\n60\n75\n2\n4 0.9 10 5 40 55\n0 0.1 30 2 70 20\n")


def hdf5_files(folder: str) -> None:
    """h5.txt: two files of 5 and 3 rows with three data sets."""
    import h5py

    with open(os.path.join(folder, "h5.txt"), "w") as listing:
        for name, rows in (("a", 5), ("b", 3)):
            random = np.random.RandomState(rows)
            path = os.path.join(folder, name + ".h5")
            with h5py.File(path, "w") as file:
                file["data"] = random.randn(rows, 2, 3).astype(np.float32)
                file["label"] = random.randint(0, 9, rows).astype(np.float32)
                file["third"] = random.randn(rows, 1, 2, 2).astype(np.float32)
            listing.write(path + "\n")


def lmdb_files(folder: str) -> None:
    """lmdb: seven images of 2 x 7 x 8."""
    import lmdb

    from caffe_gp.proto import messages as pb

    with lmdb.open(os.path.join(folder, "lmdb"), map_size=1 << 20) as environment, environment.begin(
        write=True
    ) as transaction:
        for i in range(7):
            pixels = np.random.RandomState(i).randint(0, 256, (2, 7, 8)).astype(np.uint8)
            datum = pb.Datum(channels=2, height=7, width=8, data=pixels.tobytes(), label=i * 3 % 7)
            transaction.put(b"%08d" % i, datum.SerializeToString())
