"""Getting data sets from a server on this machine, in the published layout: cut, damaged, hostile."""

from __future__ import annotations

import gzip
import hashlib
import io
import itertools
import os
import signal
import subprocess
import sys
import tarfile
import textwrap
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe_gp.datasets import cifar, fetch, segmentation, sources
from caffe_gp.datasets.sources import Archive, GzipFile, IdList, find
from caffe_gp.errors import DataError
from caffe_gp.images.label_maps import save_label_png

pytest.importorskip("requests")

NOISE = np.random.RandomState(0).bytes(400_000)
FILES = {
    "VOCdevkit/VOC2012/JPEGImages/a.jpg": NOISE,
    "VOCdevkit/VOC2012/SegmentationClass/a.png": b"A",
    "VOCdevkit/VOC2012/SegmentationClass/b.png": b"B",
    "VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt": b"a\nb\n",
    "readme.txt": b"not wanted",
}


def packed(kind, files=FILES):
    """The bytes of an archive: 'tar', 'tgz' or 'zip'."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=out, mode="w:gz" if kind == "tgz" else "w") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def offer(monkeypatch, urls, body, name="voc2012", **changes):
    """Put a small data set into the place of a published one."""
    archive = Archive(
        file="VOC.tar",
        urls=tuple(urls),
        size=len(body),
        md5=hashlib.md5(body).hexdigest(),
        sha256=None,
        take={"VOCdevkit/VOC2012": "VOCdevkit/VOC2012"},
        counts={"VOCdevkit/VOC2012/SegmentationClass": 2},
    )
    archive = replace(archive, **changes)
    monkeypatch.setitem(sources.published(), name, replace(find(name), archive=archive))


def tree(root):
    """Every file under the root but those in work, with its content."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


WANTED = {name: content for name, content in FILES.items() if name.startswith("VOCdevkit")}


@pytest.mark.parametrize("kind", ("tar", "tgz", "zip"))
def test_downloaded_and_unpacked(server, monkeypatch, tmp_path, kind):
    body = packed(kind)
    offer(monkeypatch, [server.url("gone"), server.serve("voc", body)], body)
    said = []
    fetch.fetch("voc2012", tmp_path, progress=False, say=said.append)
    assert tree(tmp_path) == WANTED
    assert "404" in " ".join(said) and "Licence: images from Flickr" in said[-1]
    assert not fetch.what_is_missing(find("voc2012"), tmp_path)
    server.asked.clear()
    fetch.fetch("voc2012", tmp_path, progress=False, say=said.append)
    assert not server.asked and "is there" in said[-1]


def test_cut_connections_are_continued(server, monkeypatch, tmp_path):
    body = packed("tar")
    offer(monkeypatch, [server.serve("voc", body, cut=(200_000,), etag='"1"')], body)
    server.asked.clear()
    fetch.fetch("voc2012", tmp_path, progress=False, say=lambda line: None)
    assert tree(tmp_path) == WANTED and server.asked[1][1] == "bytes=200000-"


def test_wrong_file_is_refused_and_the_next_address_tried(server, monkeypatch, tmp_path):
    body = packed("tar")
    urls = [server.serve("other", packed("tar", {"x": b"y"})), server.serve("voc", body)]
    offer(monkeypatch, urls, body)
    fetch.fetch("voc2012", tmp_path, progress=False, say=lambda line: None)
    assert tree(tmp_path) == WANTED


@pytest.mark.parametrize("name", ("/etc/evil", "VOCdevkit/VOC2012/../../../evil"))
def test_names_that_lead_outside(server, monkeypatch, tmp_path, name):
    body = packed("tar", {**FILES, name: b"x"})
    offer(monkeypatch, [server.serve("voc", body)], body)
    with pytest.raises(DataError, match="leads out of its folder"):
        fetch.fetch("voc2012", tmp_path / "data", progress=False, say=lambda line: None)
    assert tree(tmp_path / "data") == {} and not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    (
        (packed("tgz")[:300_000], "damaged archive"),
        (packed("tar", {"VOCdevkit/VOC2010/x": b""}), "VOCdevkit/VOC2012 is missing in it"),
        (packed("tar", {"VOCdevkit/VOC2012/SegmentationClass/a.png": b""}), "has 1 files of 2 in it"),
    ),
    ids=("cut off", "another set", "too few files"),
)
def test_damaged_and_incomplete_archives(server, monkeypatch, tmp_path, body, message):
    offer(monkeypatch, [server.serve("voc", body)], body)
    with pytest.raises(DataError, match=message):
        fetch.fetch("voc2012", tmp_path, progress=False, say=lambda line: None)
    assert not (tmp_path / "VOCdevkit").exists()


@pytest.mark.parametrize("kind", ("tar", "tgz", "zip"))
def test_every_damage_is_a_data_error(monkeypatch, tmp_path, kind):
    """Wrong bytes at random places: an error that says so, or files of the right number; nothing half."""
    good = packed(kind, {name: content[:2000] for name, content in FILES.items()})
    chance = np.random.RandomState(7)
    refused = 0
    for trial in range(40):
        body = bytearray(good)
        for _ in range(chance.choice([1, 3, 20])):
            body[chance.randint(len(body))] = chance.randint(256)
        (tmp_path / "VOC.tar").write_bytes(body)
        offer(monkeypatch, [], b"", md5=None, size=None)
        root = tmp_path / str(trial)
        try:
            fetch.fetch("voc2012", root, from_dir=tmp_path, say=lambda line: None)
            assert not fetch.what_is_missing(sources.published()["voc2012"], root)
        except DataError:
            refused += 1
            assert tree(root) == {}
    assert refused > 10


def test_dead_hosts_say_what_to_do_by_hand(server, monkeypatch, tmp_path):
    offer(monkeypatch, [server.url("gone")], b"")
    with pytest.raises(DataError) as found:
        fetch.fetch("voc2012", tmp_path, progress=False, say=lambda line: None)
    text = str(found.value)
    assert "HTTP 404" in text and "caffe_gp fetch data voc2012 --from-dir FOLDER" in text
    assert "VOC.tar, VOCdevkit/VOC2012" in text
    offer(monkeypatch, [], b"", name="voc2012-test")
    with pytest.raises(DataError, match="cannot be downloaded"):
        fetch.fetch("voc2012-test", tmp_path, progress=False, say=lambda line: None)


@pytest.mark.parametrize("given", ("data", "data/VOCdevkit", "data/VOCdevkit/VOC2012"))
def test_an_unpacked_devkit_is_linked(monkeypatch, tmp_path, given):
    offer(monkeypatch, [], b"")
    for name, content in WANTED.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    root = tmp_path / "root"
    fetch.fetch("voc2012", root, from_dir=tmp_path / given, say=lambda line: None)
    assert (root / "VOCdevkit/VOC2012").is_symlink()
    assert (root / "VOCdevkit/VOC2012/SegmentationClass/b.png").read_bytes() == b"B"


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_an_incomplete_devkit_is_not_linked(monkeypatch, tmp_path):
    offer(monkeypatch, [], b"")
    part = {name: content for name, content in WANTED.items() if not name.endswith("b.png")}
    write(tmp_path / "part", part)
    write(tmp_path / "whole", WANTED)
    root = tmp_path / "root"
    with pytest.raises(DataError, match="SegmentationClass has 1 files of 2.*part has not all of it"):
        fetch.fetch("voc2012", root, from_dir=tmp_path / "part", say=lambda line: None)
    assert not (root / "VOCdevkit/VOC2012").exists()
    # A link that has become incomplete gives way; files of one's own do not.
    (root / "VOCdevkit").mkdir(exist_ok=True)
    (root / "VOCdevkit/VOC2012").symlink_to(tmp_path / "part/VOCdevkit/VOC2012")
    fetch.fetch("voc2012", root, from_dir=tmp_path / "whole", say=lambda line: None)
    assert (root / "VOCdevkit/VOC2012").resolve() == tmp_path / "whole/VOCdevkit/VOC2012"
    with pytest.raises(DataError, match="move it away first"):
        fetch.fetch("voc2012", tmp_path / "part", from_dir=tmp_path / "whole", say=lambda line: None)
    assert tree(tmp_path / "part") == part


def test_unpacking_does_not_write_through_a_link(server, monkeypatch, tmp_path):
    """A link to someone's own incomplete folder is replaced by what was downloaded."""
    body = packed("tar")
    offer(monkeypatch, [server.serve("voc", body)], body)
    write(tmp_path / "own", {"VOCdevkit/VOC2012/ImageSets/x": b""})
    (tmp_path / "root/VOCdevkit").mkdir(parents=True)
    (tmp_path / "root/VOCdevkit/VOC2012").symlink_to(tmp_path / "own/VOCdevkit/VOC2012")
    fetch.fetch("voc2012", tmp_path / "root", progress=False, say=lambda line: None)
    assert tree(tmp_path / "root") == WANTED and len(tree(tmp_path / "own")) == 1


def test_voc_test_is_told_by_its_list(monkeypatch, tmp_path):
    """VOC2012test.tar unpacks into the folders of the trainval set: having those does not count."""
    source = find("voc2012-test")
    two = tuple(replace(item, count=2) for item in source.archive.lists)
    short = replace(source, archive=replace(source.archive, lists=two))
    monkeypatch.setitem(sources.published(), "voc2012-test", short)
    lists = "VOCdevkit/VOC2012/ImageSets/Segmentation"
    write(tmp_path / "devkit", {"VOCdevkit/VOC2012/JPEGImages/a.jpg": b"", f"{lists}/val.txt": b"a"})
    with pytest.raises(DataError, match="test.txt is missing"):
        fetch.fetch("voc2012-test", tmp_path / "root", from_dir=tmp_path / "devkit", say=lambda line: None)
    write(tmp_path / "devkit", {f"{lists}/test.txt": b"c\nd\n"})
    fetch.fetch("voc2012-test", tmp_path / "root", from_dir=tmp_path / "devkit", say=lambda line: None)
    images = segmentation.get("voc2012-test", tmp_path / "root")
    assert images.ids == ("c", "d") and not images.has_truth
    with pytest.raises(DataError, match="2 of 2 .* missing .*caffe_gp fetch data voc2012-test'"):
        images.check()


def test_verify_reads_every_label_map(monkeypatch, tmp_path):
    offer(monkeypatch, [], b"")
    devkit = tmp_path / "VOCdevkit/VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (devkit / folder).mkdir(parents=True)
    (devkit / "ImageSets/Segmentation/val.txt").write_text("a\nb\n")
    for item in "ab":
        Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(devkit / f"JPEGImages/{item}.jpg")
        save_label_png(devkit / f"SegmentationClass/{item}.png", np.ones((3, 4), np.uint8))
    assert fetch.verify("voc2012", tmp_path) == 2
    path = devkit / "SegmentationClass/b.png"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="b.png: not a readable label map"):
        fetch.verify("voc2012", tmp_path)
    save_label_png(path, np.ones((4, 3), np.uint8))
    with pytest.raises(DataError, match="b.png: labels of 3 x 4 for an image of 4 x 3"):
        fetch.verify("voc2012", tmp_path)


def test_archive_from_a_folder(monkeypatch, tmp_path):
    body = packed("tar")
    offer(monkeypatch, [], body)
    (tmp_path / "VOC.tar").write_bytes(body[:-1024] + bytes(1023) + b"x")
    with pytest.raises(DataError, match="the published file has"):
        fetch.fetch("voc2012", tmp_path / "root", from_dir=tmp_path, say=lambda line: None)
    (tmp_path / "VOC.tar").write_bytes(body)
    fetch.fetch("voc2012", tmp_path / "root", from_dir=tmp_path, say=lambda line: None)
    assert tree(tmp_path / "root") == WANTED and (tmp_path / "VOC.tar").exists()
    with pytest.raises(DataError, match="has neither VOC.tar nor VOCdevkit/VOC2012"):
        fetch.fetch("voc2012", tmp_path / "other", from_dir=tmp_path / "root/VOCdevkit/VOC2012/ImageSets",
                    say=lambda line: None)  # fmt: skip


def test_lists_are_told_by_their_ids(server, monkeypatch, tmp_path):
    ids = "a\nb\nc\n"
    urls = server.serve("short", b"a\n"), server.serve("l", b"c.jpg\na.jpg\nb.jpg\n")
    item = IdList("lists/l.txt", urls, 3, hashlib.sha1(ids.encode()).hexdigest())
    monkeypatch.setitem(sources.published(), "seg11valid", replace(find("seg11valid"), lists=(item,)))
    fetch.fetch("seg11valid", tmp_path, say=lambda line: None)
    assert (tmp_path / "lists/l.txt").read_text().startswith("c.jpg")
    fetch.verify("seg11valid", tmp_path)
    (tmp_path / "lists/l.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="2 ids with sha1"):
        fetch.verify("seg11valid", tmp_path)


def test_single_files_are_told_by_their_content(server, monkeypatch, tmp_path):
    content, other = b"digits" * 1000, b"no digits" * 1000
    published = gzip.compress(content)
    urls = (server.serve("wrong", gzip.compress(other)), server.serve("right", published))
    item = GzipFile(
        "mnist/d.gz", urls, hashlib.sha256(published).hexdigest(), hashlib.md5(content).hexdigest()
    )
    monkeypatch.setitem(sources.published(), "mnist", replace(find("mnist"), files=(item,)))
    said = []
    fetch.fetch("mnist", tmp_path / "a", progress=False, say=said.append)
    assert tree(tmp_path / "a") == {"mnist/d.gz": published} and "sha256" in " ".join(said)
    # From a folder: packed anew, or unpacked; not another content.
    mine = tmp_path / "mine"
    for name, body in (("d.gz", gzip.compress(content, 1)), ("d", content)):
        write(mine, {name: body})
        fetch.fetch("mnist", tmp_path / name, from_dir=mine, say=said.append)
        assert gzip.decompress((tmp_path / name / "mnist/d.gz").read_bytes()) == content
        (mine / name).unlink()
    for body, message in ((gzip.compress(other), "md5 of what is in it"), (published[:-9], "damaged gzip")):
        write(mine, {"d.gz": body})
        with pytest.raises(DataError, match=message):
            fetch.fetch("mnist", tmp_path / "b", from_dir=mine, say=said.append)
    assert tree(tmp_path / "b") == {}


@pytest.mark.parametrize("unpacked", [True, False])
def test_a_gzip_bomb_is_not_inflated(monkeypatch, tmp_path, unpacked):
    """From a folder, or at its place: 64 MB of it are looked at, not the gigabyte that is in it."""
    monkeypatch.setattr(fetch, "MAX_FILE_BYTES", 1 << 20)
    item = GzipFile("mnist/d.gz", (), "0" * 64, "0" * 32)
    monkeypatch.setitem(sources.published(), "mnist", replace(find("mnist"), files=(item,)))
    bomb = gzip.compress(bytes(64 << 20))
    write(tmp_path / "mine", {"d.gz": bomb})
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match="more than 1048576 bytes are in it"):
            fetch.fetch("mnist", tmp_path / "root", from_dir=tmp_path / "mine", say=lambda line: None)
        write(tmp_path / "root", {"mnist/d.gz": bomb})
        assert "more than 1048576 bytes" in fetch.what_is_missing(find("mnist"), tmp_path / "root")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
    write(tmp_path / "mine", {"d": bytes(2 << 20)})
    (tmp_path / "mine/d.gz").unlink()
    with pytest.raises(DataError, match="d: not the published file .2097152 bytes; at most 1048576 are read"):
        fetch.fetch("mnist", tmp_path / "other", from_dir=tmp_path / "mine", say=lambda line: None)


@pytest.mark.parametrize("kind", ["a pipe", "/dev/zero"])
def test_a_folder_with_what_is_no_file(monkeypatch, tmp_path, kind):
    (tmp_path / "mine").mkdir()
    for name in ("seg11valid.txt", "VOC.tar"):
        path = tmp_path / "mine" / name
        path.symlink_to(kind) if kind.startswith("/") else os.mkfifo(path)
    offer(monkeypatch, [], b"")
    for source in ("seg11valid", "voc2012"):
        with pytest.raises(DataError, match="has no seg11valid.txt|has neither VOC.tar"):
            fetch.fetch(source, tmp_path / "root", from_dir=tmp_path / "mine", say=lambda line: None)


def test_the_real_digits(shared_data, tmp_path):
    """Their labels and test images are the published files; the training images were packed anew."""
    fetch.fetch("mnist", tmp_path, from_dir=shared_data / "mnist", say=lambda line: None)
    for item in find("mnist").files:
        found = hashlib.sha256((tmp_path / item.target).read_bytes()).hexdigest()
        assert (found == item.sha256) == ("train-images" not in item.target)
    assert fetch.verify("mnist", tmp_path) == 70_000


def test_members_are_told_by_their_hash(server, monkeypatch, tmp_path):
    """Of an archive whose own hash nobody checked, and of a folder that was unpacked elsewhere."""
    files = {"cifar-10-batches-py/test_batch": b"right", "cifar-10-batches-py/readme.html": b""}
    members = {"cifar-10-batches-py/test_batch": hashlib.md5(b"right").hexdigest()}
    take = {"cifar-10-batches-py": "cifar-10-batches-py"}
    for name, content in (("right", b"right"), ("wrong", b"other")):
        body = packed("tgz", {**files, "cifar-10-batches-py/test_batch": content})
        offer(monkeypatch, [server.serve(name, body)], body, "cifar10", take=take, counts={}, members=members)
        write(tmp_path / f"my-{name}", {"cifar-10-batches-py/test_batch": content})
        for root, source in ((tmp_path / name, None), (tmp_path / f"{name}-2", tmp_path / f"my-{name}")):
            if name == "right":
                fetch.fetch("cifar10", root, from_dir=source, progress=False, say=lambda line: None)
                assert (root / "cifar-10-batches-py/test_batch").read_bytes() == b"right"
                continue
            with pytest.raises(DataError, match=f"test_batch: md5 .* has {[*members.values()][0]}"):
                fetch.fetch("cifar10", root, from_dir=source, progress=False, say=lambda line: None)
            assert tree(root) == {}
    (tmp_path / "my-right/cifar-10-batches-py/test_batch").unlink()
    assert "test_batch is missing" in fetch.what_is_missing(
        sources.published()["cifar10"], tmp_path / "right-2"
    )


def test_verify_reads_cifar10(batches, monkeypatch, tmp_path):
    """Both forms; a damaged batch is named."""
    for name, folder in (("cifar10", cifar.PICKLES), ("cifar10-binary", cifar.RECORDS)):
        archive = replace(find(name).archive, members={})
        monkeypatch.setitem(sources.published(), name, replace(find(name), archive=archive))
        for other in {cifar.PICKLES, cifar.RECORDS} - {folder}:
            (tmp_path / other).rename(tmp_path / f"{other}.away")
        assert fetch.verify(name, tmp_path) == 6 * cifar.IMAGES_A_FILE
        path = next((tmp_path / folder).glob("test_batch*"))
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(DataError, match=path.name):
            fetch.verify(name, tmp_path)
        for other in {cifar.PICKLES, cifar.RECORDS} - {folder}:
            (tmp_path / f"{other}.away").rename(tmp_path / other)


def test_the_manifest_and_the_real_lists(shared_data, tmp_path):
    """The published lists have the fingerprints that the manifest says."""
    lists = shared_data / "voc2012/lists"
    here = tmp_path / "here"
    here.mkdir()
    for ours, theirs in (("sbd_train", "sds_train5623"), ("sbd_val", "sds_val5732"), ("seg11valid",) * 2):
        (here / f"{ours}.txt").write_bytes((lists / f"{theirs}.txt").read_bytes())
    for name in ("sbd-lists", "seg11valid"):
        fetch.fetch(name, tmp_path / "root", from_dir=here, say=lambda line: None)
        fetch.verify(name, tmp_path / "root")
    devkit = shared_data / "voc2012/VOCdevkit"
    (tmp_path / "root/VOCdevkit").symlink_to(devkit)
    assert "has 446 files of 2913" in fetch.what_is_missing(find("voc2012"), tmp_path / "root")
    archive = replace(find("voc2012").archive, counts={})
    voc = replace(find("voc2012"), archive=archive)
    assert fetch.what_is_missing(voc, tmp_path / "root") == ""


def test_killed_while_unpacking(server, monkeypatch, tmp_path):
    """What was unpacked does not count until all of it is there."""
    files = {**FILES, **{f"VOCdevkit/VOC2012/JPEGImages/{i}.jpg": NOISE for i in range(100)}}
    body = packed("tgz", files)
    url = server.serve("voc", body)
    code = f"""
        import itertools, signal
        from dataclasses import replace
        from pathlib import Path
        from caffe_gp.datasets import fetch, sources
        from caffe_gp.files import packed
        copy, copies = packed.copy, itertools.count()
        def copy_a_part(*args):
            if next(copies) == 50:
                print("half", flush=True)
                signal.pause()  # until the kill
            copy(*args)
        packed.copy = copy_a_part
        archive = replace(sources.published()["voc2012"].archive, urls=({url!r},), sha256=None, sha1=None,
                          md5=None, size=None, lists=(), counts={{"VOCdevkit/VOC2012/SegmentationClass": 2}})
        sources.published()["voc2012"] = replace(sources.published()["voc2012"], archive=archive)
        fetch.fetch("voc2012", Path({str(tmp_path)!r}), progress=False)
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], env=environment,
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    unpacked = tmp_path / ".incoming/unpacked"
    assert "half" in list(itertools.islice(process.stdout, 3))[-1] and list(unpacked.rglob("*.jpg"))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "VOCdevkit").exists()
    offer(monkeypatch, [url], body)
    fetch.fetch("voc2012", tmp_path, progress=False, say=lambda line: None)
    assert len(list((tmp_path / "VOCdevkit/VOC2012/JPEGImages").iterdir())) == 101 and not unpacked.exists()
