"""Lists as people write them, folders as they find them."""

from __future__ import annotations

import codecs

import numpy as np
import pytest
from PIL import Image

from caffe_gp.errors import DataError
from caffe_gp.images.inputs import ImageFiles, find_images, images_in
from caffe_gp.images.lists import MAX_GAPS, MAX_LINE_LENGTH, read_ids
from caffe_gp.images.reading import read_image

pytestmark = pytest.mark.engine

NAMES = ("a.jpg", "b c.png", "sub/d.jpg", "labels/a.png", "labels/b c.png", "M\u00fcller.jpg", "photo 1.jpg")


@pytest.fixture()
def folder(tmp_path, monkeypatch):
    """Small pictures under NAMES; the current folder is another one."""
    for name in NAMES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def found(folder, content):
    """(image, label map) of each line, without the folder."""
    (folder / "list.txt").write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    images = find_images([str(folder / "list.txt")])
    short = [[name and name.replace(f"{folder}/", "") for name in entry] for entry in images]
    return [tuple(entry) for entry in short]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a.jpg\n# a comment\n\nb c.png\n", [("a.jpg", None), ("b c.png", None)]),
        ("a.jpg\r\n", [("a.jpg", None)]),
        (
            "a.jpg 3\nb c.png -1 0.5\nphoto 1.jpg 1\n",
            [("a.jpg", None), ("b c.png", None), ("photo 1.jpg", None)],
        ),
        ("a.jpg labels/a.png", [("a.jpg", "labels/a.png")]),
        ("b c.png\tlabels/b c.png", [("b c.png", "labels/b c.png")]),
        ("/a.jpg /labels/a.png", [("a.jpg", "labels/a.png")]),  # DeepLab's, relative to a root
        ('"b c.png" "labels/b c.png"', [("b c.png", "labels/b c.png")]),
        ("a.jpg,labels/a.png", [("a.jpg", "labels/a.png")]),
        ("sub\\d.jpg", [("sub/d.jpg", None)]),
        ("'a.jpg'   # the first", [("a.jpg", None)]),
        (codecs.BOM_UTF8 + b"a.jpg\n", [("a.jpg", None)]),
        ("a.jpg\r\nM\u00fcller.jpg\r\n".encode("utf-16"), [("a.jpg", None), ("M\u00fcller.jpg", None)]),
        ("a.jpg\n".encode("utf-16-le"), [("a.jpg", None)]),
        ("M\u00fcller.jpg\n".encode("latin-1"), [("M\u00fcller.jpg", None)]),
    ],
)
def test_lists(folder, content, expected):
    assert found(folder, content) == expected


def test_paths_may_be_relative_to_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder / "labels")
    (folder / "elsewhere" / "list.txt").write_text("b c.png\n")
    assert find_images([str(folder / "elsewhere" / "list.txt")]) == [("b c.png", None)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "a.jpg\nz.jpg 1\n",
            "list.txt, line 2: no such image: z.jpg 1 .* A line is a path, 'path label-map' or",
        ),
        ("a.jpg labels/z.png", "list.txt, line 1: no such label map: labels/z.png"),
        ("a.jpg e", "list.txt, line 1: no such label map: e"),
        ("a.jpg labels/a.png\nsub/d.jpg\n", "some of its lines name a label map and some do not"),
        ("# nothing\n", "no images in"),
        (b"PK\3\4\0\0\0\1", "list.txt: neither an image .* nor a text list of images"),
        ("broken.jpg", "broken.jpg: a broken link"),
    ],
)
def test_bad_lists(folder, content, message):
    (folder / "broken.jpg").symlink_to(folder / "gone.jpg")
    with pytest.raises(DataError, match=message):
        found(folder, content)


def test_label_maps_of_a_list_are_used(folder):
    (folder / "list.txt").write_text("a.jpg labels/a.png\nb c.png labels/b c.png\n")
    images = find_images([str(folder / "list.txt")])
    files = ImageFiles.of(images)
    assert files.has_truth and files.truth("b c").shape == (2, 3)
    assert files.describe()["labels"] == str(folder / "labels")
    with pytest.raises(DataError, match="the list names label maps .*: give the folder .* or these"):
        ImageFiles.of(images, str(folder / "labels"))
    with pytest.raises(DataError, match="1 of 3 images have no label map"):
        ImageFiles.of([*images, *find_images([str(folder / "sub")])])


def test_label_folders(folder):
    images = find_images([str(folder / "a.jpg")])
    assert ImageFiles.of(images, str(folder / "labels")).label_file("a") == folder / "labels" / "a.png"
    with pytest.raises(DataError, match="nowhere: no such folder of label maps"):
        ImageFiles.of(images, str(folder / "nowhere"))
    with pytest.raises(DataError, match="a.png: a file, not a folder of label maps"):
        ImageFiles.of(images, str(folder / "labels" / "a.png"))
    with pytest.raises(
        DataError, match="a.png: no label map for image .*; there is a.jpg, but label maps are"
    ):
        ImageFiles.of(images, str(folder))


def test_folders(folder):
    assert [path.name for path in images_in(folder)] == ["M\u00fcller.jpg", "a.jpg", "b c.png", "photo 1.jpg"]
    for junk in ("._a.jpg", ".DS_Store", "Thumbs.db", ".hidden.png", "notes.txt"):
        (folder / "sub" / junk).write_bytes(b"\0\5\x16\7")
    assert [path.name for path in images_in(folder / "sub")] == ["d.jpg"]
    (folder / "sub" / "e.heic").write_bytes(b"photo of a telephone")
    with pytest.raises(
        DataError, match="e.heic: images of this format are not read .*: convert it or move it"
    ):
        images_in(folder / "sub")
    (folder / "sub" / "e.heic").unlink()
    (folder / "sub" / "f.png").symlink_to(folder / "gone.png")
    with pytest.raises(DataError, match="f.png: a broken link"):
        images_in(folder / "sub")
    (folder / "elsewhere" / "inside").mkdir()
    with pytest.raises(DataError, match="no images in this folder .*; folders inside it are not searched"):
        images_in(folder / "elsewhere")


def test_ids(tmp_path):
    known = ("2007_000033", "2007_000042", "photo 1", "x.y")
    listed = tmp_path / "list.txt"
    listed.write_bytes(
        codecs.BOM_UTF8 + b"2007_000042\r\n# no\r\n\r\nJPEGImages/2007_000033.jpg Labels/2007_000033.png\r\n"
        b'photo 1\r\nx.y.png\r\n2007_000033  -1\r\n"photo 1.jpg"\r\n'
    )
    expected = ["2007_000042", "2007_000033", "photo 1", "x.y", "2007_000033", "photo 1"]
    assert read_ids(listed, known) == expected
    listed.write_text("2007_000042\n2009_000001\n")
    with pytest.raises(DataError, match="list.txt, line 2: the set has no image 2009_000001"):
        read_ids(listed, known)
    listed.write_text("\n")
    with pytest.raises(DataError, match="the list is empty"):
        read_ids(listed, known)
    with pytest.raises(DataError, match="no such list"):
        read_ids(tmp_path / "none.txt", known)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("b c.png " + "1" * 60 + "x", "no such label map"),  # no expression that tries all ways to split it
        ("sub/../a.jpg", "has the name of the image of line 1"),
        ("y" * 5_000, "no such image"),
        ("y/" * 5_000, "no such image"),
        ("y " * (MAX_LINE_LENGTH // 2 + 2), f"longer than {MAX_LINE_LENGTH} characters"),
    ],
    ids=["digits", "twice", "long_name", "long_path", "long_line"],
)
def test_a_line_that_no_list_has_is_named(folder, line, says):
    with pytest.raises(DataError, match=f"list.txt, line 2: .*{says}|list.txt, line 2: {says}"):
        found(folder, f"a.jpg\n{line}\n")


def test_a_name_ends_at_one_of_its_first_blanks(folder):
    """To look at all beginnings of all lines takes the square of a line's length."""
    (folder / "ids.txt").write_text("a" + " 1" * MAX_GAPS)
    assert read_ids(folder / "ids.txt", ["a"]) == ["a"]
    (folder / "ids.txt").write_text("a" + " 1" * MAX_GAPS + " 1")
    assert read_ids(folder / "ids.txt", ["a", "a 1"]) == ["a 1"]


def test_a_file_whose_name_has_two_lines(folder):
    (folder / "new\nline.png").touch()
    with pytest.raises(DataError, match="^[^\n]*new.nline.png[^\n]*$"):
        read_image(folder / "new\nline.png")
