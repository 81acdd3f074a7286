"""Sets of images with classes: the real MNIST, CIFAR-10 in both published forms, folders, damaged files."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import shutil

import numpy as np
import pytest
from PIL import Image

from caffe_gp.datasets import cifar, classification
from caffe_gp.datasets.class_names import CIFAR10
from caffe_gp.datasets.classification import ClassificationSet
from caffe_gp.errors import DataError
from tests.datasets.small_cifar import NUMBER, python2_pickle

pytestmark = pytest.mark.engine

# SHA-256 of the unpacked files as others publish them; the first images' labels and the classes' counts are
# in every introduction to MNIST.
PUBLISHED = {
    "mnist-train": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        [5, 0, 4, 1, 9, 2, 1, 3, 1, 4],
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    ),
    "mnist-test": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        [7, 2, 1, 0, 4, 1, 4, 9, 5, 9],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_mnist(shared_data, name):
    digest, first, counts = PUBLISHED[name]
    digits = classification.get(name, shared_data)
    header = np.array([0x803, len(digits), 28, 28], ">u4").tobytes()
    assert hashlib.sha256(header + digits.images.tobytes()).hexdigest() == digest
    assert digits.labels[:10].tolist() == first and np.bincount(digits.labels).tolist() == counts
    assert digits.images.shape[1:] == (28, 28, 1) and digits.describe()["images"] == len(digits)


def test_the_split_is_fixed_and_leaves_nothing_out(shared_data):
    digits = classification.get("mnist-train", shared_data)
    learning, tuning = digits.split()
    assert (len(learning), len(tuning)) == (55_000, 5_000)
    order = np.random.RandomState(0).permutation(60_000)
    assert np.array_equal(tuning.images, digits.images[np.sort(order[:5000])])
    assert np.array_equal(learning.labels, digits.labels[np.sort(order[5000:])])
    assert tuning.name == "mnist-train (5000 to tune on of 60000)"
    assert (np.bincount(tuning.labels) > 400).all()


def idx(array):
    kind = {1: 0x801, 3: 0x803}[array.ndim]
    return np.array([kind, *array.shape], ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.mark.parametrize("array", (np.arange(24).reshape(2, 3, 4), np.arange(5)), ids=("images", "labels"))
def test_idx_plain_and_packed(tmp_path, array):
    (tmp_path / "a").write_bytes(idx(array))
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(array)))
    for name in ("a", "a.gz"):
        assert np.array_equal(classification.read_idx(tmp_path / name), array)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    (
        ("a", b"", "found 0x00000000"),
        ("a", b"\0\0\x0d\x03" + bytes(40), "magic 0x00000803 or 0x00000801, found 0x00000d03"),
        ("a", idx(np.zeros((2, 3, 4)))[:-1], r"its header says \(2, 3, 4\), 40 bytes in all; found 39"),
        ("a", idx(np.zeros(3)) + b"x", r"says \(3,\), 11 bytes in all; found more"),
        ("a", b"\0\0\x08\x03" + b"\xff" * 12, "at most 67108864 bytes are read"),
        ("a", b"\0\0\x08\x03\0\0", "bytes in all; found 6"),
        ("a.gz", gzip.compress(idx(np.zeros(300)))[:-9], "not a readable file"),
        ("a.gz", b"<html>", "not a readable file"),
        ("a.gz", None, "not a readable file"),
    ),
    ids=("empty", "floats", "short", "long", "huge", "no sizes", "torn gzip", "a web page", "missing"),
)
def test_damaged_idx(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        classification.read_idx(tmp_path / name)


def test_mnist_of_another_size_or_missing(tmp_path):
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte.gz: no such file; .*gp fetch data mnist"):
        classification.get("mnist-test", tmp_path)
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((9, 28, 28))))
    (tmp_path / "mnist/t10k-labels-idx1-ubyte").write_bytes(idx(np.zeros(9)))
    with pytest.raises(DataError, match=r"10000 images of 28 x 28.*found images \(9, 28, 28\)"):
        classification.get("mnist-test", tmp_path)


# ---- CIFAR-10


def test_the_made_up_pickle_is_one(batches, tmp_path):
    """Python's own unpickler reads it as the published files are read everywhere."""
    content = (tmp_path / cifar.PICKLES / "data_batch_3").read_bytes()
    # The name that numpy had then is deprecated in numpy 2.
    known = pickle.loads(content.replace(b"numpy.core", b"numpy._core"), encoding="bytes") \
        if np.__version__ >= "2" else pickle.loads(content, encoding="bytes")  # fmt: skip
    assert np.array_equal(known[b"data"], batches["data_batch_3"][0])
    assert known[b"labels"] == batches["data_batch_3"][1].tolist()


@pytest.mark.parametrize("form", (cifar.PICKLES, cifar.RECORDS))
def test_cifar10_in_both_forms(batches, tmp_path, form):
    shutil.rmtree(tmp_path / ({cifar.PICKLES, cifar.RECORDS} - {form}).pop())
    images = classification.get("cifar10-train", tmp_path)
    assert len(images) == 5 * NUMBER and images.images.shape[1:] == (32, 32, 3) and images.classes == CIFAR10
    planes, labels = batches["data_batch_2"]
    # Red, green and blue planes, row by row; image 5 of the second file, pixel (7, 30).
    assert images.images[NUMBER + 5, 7, 30].tolist() == [planes[5, c * 1024 + 7 * 32 + 30] for c in range(3)]
    assert np.array_equal(images.labels[NUMBER : 2 * NUMBER], labels)
    test = classification.get("cifar10-test", tmp_path)
    assert np.array_equal(test.labels, batches["test_batch"][1])


def test_an_unfinished_folder_does_not_hide_the_other_form(batches, tmp_path):
    (tmp_path / cifar.PICKLES / "test_batch").unlink()
    test = classification.get("cifar10-test", tmp_path)
    assert np.array_equal(test.labels, batches["test_batch"][1])
    (tmp_path / cifar.RECORDS / "test_batch.bin").unlink()
    with pytest.raises(DataError, match="cifar-10-batches-py/test_batch: No such file"):
        classification.get("cifar10-test", tmp_path)


class Evil:
    def __reduce__(self):
        return os.system, ("touch evil",)


class Huge:
    def __reduce__(self):
        return np.array(0).__reduce__()[0], (np.ndarray, (1 << 50,), b"b")


@pytest.mark.parametrize(
    ("content", "message"),
    (
        (pickle.dumps(Evil(), 2), "it asks for '(posix|nt).system'"),
        (pickle.dumps({b"data": Huge()}, 4), "more than one array, or one that does not start empty"),
        (b"\x80\x02cnumpy.testing\nrun_module_suite\n.", "asks for 'numpy.testing.run_module_suite'"),
        (b"\x80\x02cnumpy\nload\n.", "asks for 'numpy.load'"),
        (pickle.dumps([1, 2]), "expected a dict with 'data' and 'labels', found list"),
        (pickle.dumps({"data": 1}), r"expected 'data', \(20, 3072\) uint8; found NoneType"),
        (python2_pickle(np.zeros((NUMBER, 3071), np.uint8), [0] * NUMBER), r"found \(20, 3071\) uint8"),
        (python2_pickle(np.zeros((NUMBER, 3072), np.uint8), [0] * 3), "a list of 20 integers; found 3"),
        (python2_pickle(np.zeros((NUMBER, 3072), np.uint8), [0] * 19 + [-1]), "a list of 20 integers"),
        (
            python2_pickle(np.zeros((NUMBER, 3072), np.uint8), [10] * NUMBER),
            "labels must be 0..9, found 10..10",
        ),
        (python2_pickle(np.zeros((NUMBER, 3072), np.uint8), [0] * NUMBER)[:-500], "not a batch of CIFAR-10"),
        (b"<html>", "not a batch of CIFAR-10"),
        (None, "No such file"),
    ),
)
def test_hostile_and_damaged_batches(batches, tmp_path, monkeypatch, content, message):
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(tmp_path / cifar.RECORDS)
    path = tmp_path / cifar.PICKLES / "test_batch"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        classification.get("cifar10-test", tmp_path)
    assert not (tmp_path / "evil").exists()


def test_records_of_another_size(batches, tmp_path):
    shutil.rmtree(tmp_path / cifar.PICKLES)
    path = tmp_path / cifar.RECORDS / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="expected 20 records, 61460 bytes; found 61459"):
        classification.get("cifar10-test", tmp_path)
    shutil.rmtree(tmp_path / cifar.RECORDS)
    with pytest.raises(DataError, match="neither cifar-10-batches-py nor cifar-10-batches-bin"):
        classification.get("cifar10-test", tmp_path)


# ---- one's own


def write_images(folder, classes, size=(6, 4), mode="RGB"):
    random = np.random.RandomState(1)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(3):
            shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
            pixels = random.randint(0, 256, shape).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")


@pytest.mark.parametrize("mode", ("RGB", "L"))
def test_a_folder(tmp_path, mode):
    folder = tmp_path / "own" / "train"
    write_images(folder, ("dog", "cat"), mode=mode)
    (folder / "dog" / "readme.txt").write_text("no image")
    (folder / "dog" / "._1.png").write_bytes(b"left there by another system")
    found = classification.get(f"folder:{folder}")
    assert found.name == "folder:own/train" and found.classes == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    picture = np.asarray(Image.open(folder / "dog" / "1.png"))
    assert found.images.shape == (6, 4, 6, 3 if mode == "RGB" else 1)
    assert np.array_equal(found.images[4].squeeze(), picture)


def test_folders_that_are_no_set(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        classification.get(f"folder:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match="expected a sub-folder for each class"):
        classification.get(f"folder:{tmp_path}")
    write_images(tmp_path, ("a", "b"))
    Image.new("RGB", (5, 4)).save(tmp_path / "b" / "9.png")
    with pytest.raises(DataError, match="b/9.png: 5 x 4; .* have one size, here 6 x 4"):
        classification.get(f"folder:{tmp_path}")
    (tmp_path / "b" / "9.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match="b/9.png: this is a text file, not an image"):
        classification.get(f"folder:{tmp_path}")
    (tmp_path / "c").mkdir()
    (tmp_path / "b" / "9.png").unlink()
    with pytest.raises(DataError, match="c: no images in this folder"):
        classification.get(f"folder:{tmp_path}")


# ---- sets


def small(number=10):
    images = np.arange(number * 12, dtype=np.uint8).reshape(number, 2, 2, 3)
    return ClassificationSet("small", ("a", "b"), images, np.arange(number) % 2)


def test_parts():
    whole = small()
    part = whole.part([7, 2])
    assert part.name == "small (2 chosen of 10)" and part.labels.tolist() == [1, 0]
    assert np.array_equal(part.images, whole.images[[7, 2]])
    assert whole.first(3).name == "small (3 first of 10)" and whole.first(99) is whole
    for wrong in ([10], [-1]):
        with pytest.raises(DataError, match="has images 0..9"):
            whole.part(wrong)
    for wrong in (0, 10):
        with pytest.raises(DataError, match="cannot be held out"):
            whole.split(wrong)
    for wrong in (0, -1):
        with pytest.raises(DataError, match=f"the first {wrong} of its images are none"):
            whole.first(wrong)


def test_the_hash_is_of_images_and_labels():
    whole = small()
    by_hand = hashlib.sha256(whole.images.tobytes() + whole.labels.astype("<i8").tobytes()).hexdigest()
    assert whole.describe() == {"name": "small", "images": 10, "sha256": by_hand}
    assert whole.part(range(9)).describe()["sha256"] != by_hand


@pytest.mark.parametrize(
    ("change", "message"),
    (
        ({"images": np.zeros((2, 2, 2, 3), np.float32)}, "float32"),
        ({"images": np.zeros((2, 2, 2), np.uint8)}, r"found \(2, 2, 2\)"),
        ({"images": np.zeros((0, 2, 2, 3), np.uint8), "labels": np.zeros(0, np.int64)}, r"found \(0,"),
        ({"labels": np.zeros(3, np.int64)}, r"2 labels, int64; found \(3,\)"),
        ({"labels": np.zeros(2, np.uint8)}, "uint8"),
        ({"labels": np.array([0, 2])}, "must be 0..1, found 0..2"),
        ({"labels": np.array([-1, 0])}, "must be 0..1, found -1..0"),
    ),
)
def test_arrays_that_are_no_set(change, message):
    fields = {"images": np.zeros((2, 2, 2, 3), np.uint8), "labels": np.zeros(2, np.int64), **change}
    with pytest.raises(DataError, match=message):
        ClassificationSet("wrong", ("a", "b"), **fields)


def test_unknown_names():
    with pytest.raises(DataError, match="unknown data set 'minst-test'; did you mean mnist-test"):
        classification.get("minst-test")


def test_random_damage_is_a_data_error(tmp_path, monkeypatch):
    """Bytes changed at random places: the images as they are, or a DataError; never another exception."""
    monkeypatch.setattr(cifar, "IMAGES_A_FILE", NUMBER)
    (tmp_path / cifar.PICKLES).mkdir()
    good = python2_pickle(np.zeros((NUMBER, 3072), np.uint8), [0] * NUMBER)
    chance = np.random.RandomState(5)
    refused = 0
    for _ in range(300):
        body = bytearray(good)
        for _ in range(chance.choice([1, 3, 20])):
            # Half of them outside the pixels, where the structure is.
            place = chance.randint(len(body)) if chance.rand() < 0.5 else chance.randint(-150, 300)
            body[place] = chance.randint(256)
        (tmp_path / cifar.PICKLES / "test_batch").write_bytes(body)
        try:
            classification.get("cifar10-test", tmp_path)
        except DataError:
            refused += 1
    assert 50 < refused < 300


def test_grey_jpegs(tmp_path):
    """One channel, unless another image of the set has colours."""
    for name, mode in (("a", "L"), ("b", "L")):
        (tmp_path / name).mkdir()
        stream = io.BytesIO()
        Image.new(mode, (4, 4), 77).save(stream, "JPEG")
        (tmp_path / name / "0.jpg").write_bytes(stream.getvalue())
    assert classification.get(f"folder:{tmp_path}").images.shape == (2, 4, 4, 1)
    Image.new("RGB", (4, 4), (200, 10, 10)).save(tmp_path / "b" / "1.jpg")
    assert classification.get(f"folder:{tmp_path}").images.shape == (3, 4, 4, 3)
