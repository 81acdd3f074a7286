"""Getting weights, against an HTTP server on this machine: nothing half-done, nothing wrong, ever appears."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import types
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from caffe_gp import proto
from caffe_gp.cli.main import main
from caffe_gp.errors import CaffeGPError, DownloadError, WeightsError
from caffe_gp.files import arrivals, checks, http, workplace
from caffe_gp.models import fetch, weights, zoo
from caffe_gp.models.builder import Builder
from tests.models import weights_server

NAME = "tiny.caffemodel"
LAYERS = {"conv1": [(64, 3, 5, 5), (64,)], "score": [(21, 64, 7, 7), (21,)]}


def tiny_net():
    """A net of 71 thousand parameters."""
    net = Builder("tiny", (1, 3, 32, 32))
    net.conv("score", net.conv_relu("conv1", "data", 64, 5, "relu1"), 21, 7)
    return net.param


def caffemodel(seed=0, net=None, layers=LAYERS):
    """The bytes of a caffemodel of ``net`` with random values."""
    rng = np.random.default_rng(seed)
    arrays = {name: [rng.standard_normal(s, np.float32) for s in shapes] for name, shapes in layers.items()}
    path = Path(os.environ["PYTEST_TMP"]) / f"made-{seed}.caffemodel"
    proto.write_caffemodel(path, net or tiny_net(), arrays)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path_factory.mktemp("made")))


@pytest.fixture(scope="module")
def server():
    with weights_server.serving() as server:
        yield server


@pytest.fixture
def tiny(server, monkeypatch):
    """The entry of a file 'tiny.caffemodel' for a model 'tiny', both registered; no address, no hash."""
    server.pages.clear()
    server.asked.clear()
    model = zoo.Model("tiny", "", tiny_net, "score", (), 70_950, NAME, None, "")
    monkeypatch.setitem(zoo.MODELS, "tiny", model)

    def register(*urls, **fields):
        entry = weights.WeightsFile(
            name=NAME,
            urls=urls,
            archive_member=None,
            size=None,
            sha1=None,
            md5=None,
            sha256=None,
            parameters=70_950,
            licence="free",
            non_commercial=False,
            scores=(),
            source="",
            pages=(),
            note="",
            mirrors=(),
        )
        monkeypatch.setitem(weights.released(), NAME, replace(entry, **fields))

    return register


@pytest.fixture
def get(tmp_path):
    """fetch('tiny') into a fresh folder; ``get.said`` are the lines, ``get.folder`` the folder."""

    def get(**options):
        return fetch.fetch("tiny", get.folder, progress=False, say=get.said.append, **options)

    get.folder, get.said = tmp_path / "models", []
    return get


def left(folder):
    """What lies in the folder of unfinished files."""
    return sorted(p.name for p in (folder / workplace.INCOMING).iterdir() if p.name != "lock")


def sha256(body):
    return hashlib.sha256(body).hexdigest()


# ---------------------------------------------------------------------------------------------- downloading


def test_download_checks_pins_and_leaves_nothing_behind(server, tiny, get):
    body = caffemodel()
    url = server.serve("a", body)
    tiny(url)
    assert get().read_bytes() == body
    assert left(get.folder) == []
    pin = json.loads((get.folder / "weights.lock").read_text())[NAME]
    assert pin["sha256"] == sha256(body) and pin["size"] == len(body) and pin["url"] == url
    assert weights.status("tiny", get.folder) == "verified"
    get()
    assert server.asked == [("a", None)], "a file that is there is not downloaded again"


@pytest.mark.parametrize("algorithm", ["sha1", "md5", "sha256"])
def test_published_hash(server, tiny, get, algorithm):
    body = caffemodel()
    tiny(server.serve("a", body), **{algorithm: hashlib.new(algorithm, body).hexdigest()})
    assert get().read_bytes() == body


def test_every_published_hash_is_compared(server, tiny, get):
    body = caffemodel()
    tiny(server.serve("a", body), sha1=hashlib.sha1(body).hexdigest(), md5="0" * 32)
    with pytest.raises(WeightsError, match="md5 .*published file has 000"):
        get()
    assert not (get.folder / NAME).exists()


def test_wrong_hash_and_nothing_appears(server, tiny, get):
    wrong, right = caffemodel(1), caffemodel(2)
    tiny(server.serve("a", wrong), sha1=hashlib.sha1(right).hexdigest())
    with pytest.raises(WeightsError, match=rf"not the published file.*{hashlib.sha1(wrong).hexdigest()}"):
        get()
    assert not (get.folder / NAME).exists() and left(get.folder) == []
    assert not (get.folder / "weights.lock").exists()


def test_cut_connections_are_continued_where_they_stopped(server, tiny, get):
    body = caffemodel()
    assert len(body) > 250_000
    tiny(server.serve("a", body, cut=[100_000, 90_000]))
    assert get().read_bytes() == body
    ranges = [asked for _, asked in server.asked]
    assert ranges[0] is None and len(ranges) == 3
    starts = [int(asked[len("bytes=") : -1]) for asked in ranges[1:]]
    assert 0 < starts[0] <= 100_000 and starts[0] < starts[1] <= starts[0] + 90_000


def test_a_host_that_keeps_cutting_leaves_the_part_for_the_next_run(server, tiny, get):
    body = caffemodel()
    tiny(server.serve("a", body, cut=[200_000, 0]))
    with pytest.raises(WeightsError, match="connection was cut; another run continues there"):
        get()
    (part,) = [name for name in left(get.folder) if name.endswith(".part")]
    size = (get.folder / workplace.INCOMING / part).stat().st_size
    assert 0 < size <= 200_000 and not (get.folder / NAME).exists()
    server.asked.clear()
    assert get().read_bytes() == body
    assert server.asked == [("a", f"bytes={size}-")]


def test_server_without_ranges_starts_again(server, tiny, get):
    body = caffemodel()
    tiny(server.serve("a", body, cut=[200_000], ranges=False))
    assert get().read_bytes() == body
    assert len(server.asked) == 2 and server.asked[1][1].startswith("bytes=")


def test_a_file_that_changed_meanwhile_is_not_mixed(server, tiny, get):
    old, new = caffemodel(1), caffemodel(2)
    tiny(server.serve("a", old, cut=[200_000, 0], etag='"old"'))
    with pytest.raises(WeightsError, match="cut"):
        get()
    server.serve("a", new, etag='"new"')
    assert get().read_bytes() == new


def test_part_that_is_already_complete(server, tiny, get):
    body = caffemodel()
    url = server.serve("a", body)
    tiny(url)
    incoming = get.folder / workplace.INCOMING
    incoming.mkdir(parents=True)
    (incoming / f"{hashlib.sha1(url.encode()).hexdigest()[:10]}-a.part").write_bytes(body)
    assert get().read_bytes() == body
    assert server.asked == [("a", f"bytes={len(body)}-")]


def test_part_longer_than_the_file_starts_again(server, tiny, get):
    body = caffemodel()
    url = server.serve("a", body)
    tiny(url)
    incoming = get.folder / workplace.INCOMING
    incoming.mkdir(parents=True)
    (incoming / f"{hashlib.sha1(url.encode()).hexdigest()[:10]}-a.part").write_bytes(body + b"more")
    assert get().read_bytes() == body


def test_second_address_when_the_first_is_dead(server, tiny, get):
    body = caffemodel()
    tiny(server.url("gone"), server.serve("b", body))
    assert get().read_bytes() == body
    assert weights.read_lock(get.folder)[NAME].url == server.url("b")
    assert any("404" in line for line in get.said)


def test_all_dead_says_what_was_tried_and_what_to_do(server, tiny, get):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
        tiny(
            server.url("gone"),
            server.serve("broken", b"", status=503),
            refusing,
            "http://host.invalid/x",
            pages=("http://example.org/page",),
        )
        with pytest.raises(WeightsError) as caught:
            get()
    message = str(caught.value)
    for url, reason in [
        (server.url("gone"), "HTTP 404"),
        (server.url("broken"), "HTTP 503"),
        (refusing, "refuses the connection"),
        ("http://host.invalid/x", "name is not known"),
    ]:
        (line,) = [line for line in message.splitlines() if url in line]
        assert reason in line
    assert f"caffe_gp fetch models {NAME} --from-dir" in message and "http://example.org/page" in message


def test_silent_host(server, tiny, get, monkeypatch):
    monkeypatch.setattr(arrivals, "READ_TIMEOUT", 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tiny(f"http://127.0.0.1:{silent.getsockname()[1]}/x")
        with pytest.raises(WeightsError, match="no byte for"):
            get()


@pytest.fixture
def slow_clock(server, monkeypatch):
    """A clock by which 80 kB take a second on their way from the page 'slow', and no time from others."""
    seconds = [0.0]
    add = http._Pace.add

    def add_slowly(pace, count):
        if server.asked[-1][0] == "slow":
            seconds[0] += count / 80e3
        add(pace, count)

    monkeypatch.setattr(http._Pace, "add", add_slowly)
    monkeypatch.setattr(http, "time", types.SimpleNamespace(monotonic=lambda: seconds[0]))
    monkeypatch.setattr(http, "LOW_SPEED_SECONDS", 2.0)


def test_a_slow_host_is_left_for_the_next(server, tiny, get, slow_clock):
    body = caffemodel()
    tiny(server.serve("slow", body, etag='"1"'), server.serve("fast", body))
    assert get().read_bytes() == body
    assert [path for path, _ in server.asked] == ["slow", "fast"]
    assert any("only 80 kB/s: trying the next address" in line for line in get.said)


def test_a_slow_host_is_better_than_none(server, tiny, get, slow_clock):
    body = caffemodel()
    tiny(server.serve("slow", body, etag='"1"'), server.url("gone"))
    assert get().read_bytes() == body
    (first, _), (second, _), (third, continued) = server.asked
    assert (first, second, third) == ("slow", "gone", "slow") and continued is not None


def test_the_only_host_may_be_slow(server, tiny, get, slow_clock):
    body = caffemodel()
    tiny(server.serve("slow", body))
    assert get().read_bytes() == body and len(server.asked) == 1


@pytest.mark.parametrize(
    "body, says",
    [
        (b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", "web page"),
        (b"\n\n  <html>moved</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 5\n", "git-LFS pointer"),
        (b"", "empty file"),
    ],
)
def test_a_page_instead_of_the_file(server, tiny, get, body, says):
    tiny(server.serve("a", body))
    with pytest.raises(WeightsError, match=says):
        get()
    assert not (get.folder / NAME).exists() and left(get.folder) == []


def test_a_page_does_not_replace_what_has_arrived(server, tiny, get):
    body = caffemodel()
    tiny(server.serve("a", body, cut=[200_000, 0]))
    with pytest.raises(WeightsError, match="cut"):
        get()
    server.serve("a", b"<html>too many downloads", ranges=False)
    with pytest.raises(WeightsError, match="web page"):
        get()
    server.asked.clear()
    server.serve("a", body)
    assert get().read_bytes() == body
    assert server.asked[0][1] == "bytes=200000-"


def test_google_drive_page_says_so():
    with pytest.raises(DownloadError, match="web page.*Google Drive"):
        http._refuse_page(b"<html>virus scan", "https://drive.usercontent.google.com/download?id=1")


def test_full_disk_is_said_before_anything_is_downloaded(server, tiny, get, monkeypatch):
    tiny(server.serve("a", caffemodel()), server.serve("b", caffemodel()))
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(CaffeGPError, match="needs 0 MB .* 0 MB are free"):
        get()
    assert [path for path, _ in server.asked] == ["a"], "another address does not help"


def test_non_commercial_licence_has_to_be_accepted(server, tiny, get):
    body = caffemodel()
    tiny(server.serve("a", body), non_commercial=True, licence="non-commercial only")
    with pytest.raises(WeightsError, match="non-commercial only.*--yes-non-commercial"):
        get()
    assert server.asked == []
    assert get(accept_non_commercial=True).read_bytes() == body


# ----------------------------------------------------------------------------------- archives and structure


def zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name.replace("__", "/"), body)
    return buffer.getvalue()


def test_member_of_a_zip(server, tiny, get):
    body = caffemodel(1)
    archive = zipped(
        **{
            "voc/init.caffemodel": caffemodel(2),
            "voc/train_iter.caffemodel": body,
            "__MACOSX/._train_iter.caffemodel": b"junk",
            "test.prototxt": b"",
        }
    )
    tiny(server.serve("both.zip", archive), archive_member="train_iter.caffemodel")
    assert get().read_bytes() == body
    assert left(get.folder) == []


def test_zip_without_the_member(server, tiny, get):
    tiny(server.serve("both.zip", zipped(other=b"1")), archive_member="train_iter.caffemodel")
    with pytest.raises(WeightsError, match="0 files named 'train_iter.caffemodel' among 'other'"):
        get()
    assert left(get.folder) == []


def test_zip_with_two_of_the_pattern(server, tiny, get):
    archive = zipped(**{"a.caffemodel": b"1", "b.caffemodel": b"2"})
    tiny(server.serve("both.zip", archive), archive_member="*.caffemodel")
    with pytest.raises(WeightsError, match="2 files named"):
        get()


@pytest.mark.parametrize("at", [40, 60, 5000, 100_000])
def test_damaged_zip(server, tiny, get, at):
    archive = bytearray(zipped(**{"a.caffemodel": caffemodel()}))
    archive[at : at + 9] = b"\xff" * 9
    tiny(server.serve("both.zip", bytes(archive)), archive_member="*.caffemodel")
    with pytest.raises(WeightsError, match="damaged archive"):
        get()
    assert not (get.folder / NAME).exists()


@pytest.mark.parametrize(
    "layers, says",
    [
        (
            {"conv1": [(64, 3, 5, 5), (64,)], "score": [(60, 64, 7, 7), (60,)]},
            "layer 'score' has 60x64x7x7 and 60; tiny expects 21x64x7x7 and 21",
        ),
        (
            {"conv1": [(64, 3, 5, 5)], "score": LAYERS["score"]},
            "layer 'conv1' has 64x3x5x5; tiny expects 64x3x5x5 and 64",
        ),
        ({"conv1": LAYERS["conv1"]}, "layer 'score' of tiny is missing; expected 21x64x7x7 and 21.*: conv1"),
    ],
)
def test_structure(server, tiny, get, layers, says):
    tiny(server.serve("a", caffemodel(layers=layers)))
    with pytest.raises(WeightsError, match=says):
        get()
    assert not (get.folder / NAME).exists() and left(get.folder) == []


def test_truncated_caffemodel_without_published_hash(server, tiny, get):
    tiny(server.serve("a", caffemodel()[:-1000]))
    with pytest.raises(WeightsError, match="damaged"):
        get()


def test_further_layers_do_not_matter(server, tiny, get):
    net = tiny_net()
    net.layer.add(name="loss", type="InnerProduct", bottom=["score"], top=["loss"])
    tiny(server.serve("a", caffemodel(net=net, layers={**LAYERS, "loss": [(3, 21)]})))
    get()


# ---------------------------------------------------------------------------------------------- pins, verify


def test_a_changed_upstream_file_is_an_error(server, tiny, get):
    tiny(server.serve("a", caffemodel(1)))
    get().unlink()
    server.serve("a", caffemodel(2))
    with pytest.raises(WeightsError, match=rf"sha256 {sha256(caffemodel(2))}; pinned in .*weights.lock"):
        get()
    assert not (get.folder / NAME).exists()


def test_verify_finds_one_flipped_bit(server, tiny, get):
    tiny(server.serve("a", caffemodel()))
    path = get()
    assert fetch.verify("tiny", get.folder).sha256 == sha256(caffemodel())
    body = bytearray(caffemodel())
    body[100_000] ^= 1
    path.write_bytes(body)
    assert weights.status("tiny", get.folder) == "verified", "that goes by size"
    with pytest.raises(WeightsError, match="pinned"):
        fetch.verify("tiny", get.folder)
    path.write_bytes(body[:-10])
    assert weights.status("tiny", get.folder) == "changed"
    with pytest.raises(WeightsError):
        get()


def test_a_file_put_there_by_hand_is_checked_and_pinned(tiny, get):
    tiny("http://host.invalid/x")
    get.folder.mkdir()
    (get.folder / NAME).write_bytes(caffemodel())
    assert weights.status("tiny", get.folder) == "present"
    get()
    assert weights.read_lock(get.folder)[NAME].url == "in place"
    assert weights.status("tiny", get.folder) == "verified"


def test_a_wrong_file_put_there_by_hand(tiny, get):
    tiny("http://host.invalid/x")
    get.folder.mkdir()
    (get.folder / NAME).write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="web page.*Move the file away"):
        get()


def test_damaged_lock(tiny, get):
    tiny("http://host.invalid/x")
    get.folder.mkdir()
    (get.folder / NAME).write_bytes(caffemodel())
    (get.folder / "weights.lock").write_text('{"half')
    with pytest.raises(WeightsError, match="weights.lock: damaged"):
        get()


def test_verify_of_what_is_not_there(tiny, get):
    tiny()
    with pytest.raises(WeightsError, match="not there"):
        fetch.verify("tiny", get.folder)


# -------------------------------------------------------------------------------------------------- from-dir


@pytest.mark.parametrize("name", [NAME, "tiny (1).caffemodel"])
def test_from_dir(tiny, get, tmp_path, name):
    tiny("http://host.invalid/x")
    source = tmp_path / "downloads"
    source.mkdir()
    (source / name).write_bytes(caffemodel())
    path = get(from_dir=source)
    assert path.read_bytes() == caffemodel() and (source / name).read_bytes() == caffemodel()
    assert left(get.folder) == []
    assert weights.read_lock(get.folder)[NAME].url == name


def test_from_dir_copies_where_links_do_not_work(tiny, get, tmp_path, monkeypatch):
    def no_link(*args):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    tiny()
    (tmp_path / NAME).write_bytes(caffemodel())
    path = get(from_dir=tmp_path)
    assert path.stat().st_ino != (tmp_path / NAME).stat().st_ino and path.read_bytes() == caffemodel()


def test_from_dir_takes_the_file_that_a_link_points_to(tiny, get, tmp_path):
    tiny()
    (tmp_path / "real").write_bytes(caffemodel())
    (tmp_path / NAME).symlink_to(tmp_path / "real")
    assert not get(from_dir=tmp_path).is_symlink()


def test_from_dir_with_the_archive_or_its_member(tiny, get, tmp_path):
    tiny("http://host.invalid/prototxt_and_model.zip", archive_member="train_iter.caffemodel")
    (tmp_path / "prototxt_and_model.zip").write_bytes(zipped(**{"train_iter.caffemodel": b"another net's"}))
    (tmp_path / "prototxt_and_model (1).zip").write_bytes(zipped(**{"train_iter.caffemodel": caffemodel()}))
    path = get(from_dir=tmp_path)
    assert path.read_bytes() == caffemodel()
    path.unlink()
    for archive in tmp_path.glob("*.zip"):
        archive.unlink()
    (tmp_path / "train_iter.caffemodel").write_bytes(caffemodel())
    assert get(from_dir=tmp_path).read_bytes() == caffemodel()


def test_from_dir_refuses_a_wrong_file_and_leaves_it_alone(tiny, get, tmp_path):
    tiny(sha1="0" * 40)
    (tmp_path / NAME).write_bytes(caffemodel())
    with pytest.raises(WeightsError, match="sha1 .*published file has 000"):
        get(from_dir=tmp_path)
    assert (tmp_path / NAME).read_bytes() == caffemodel()
    assert not (get.folder / NAME).exists() and left(get.folder) == []


def test_from_dir_with_names_and_files_of_all_kinds(tiny, get, tmp_path):
    """No pipe is opened, no pattern is made of a name, and no control character reaches the terminal."""
    tiny("http://127.0.0.1:9/a[b*?.zip", archive_member="x[1].caffemodel")
    folder = tmp_path / "downloads"
    folder.mkdir()
    os.mkfifo(folder / NAME)
    (folder / "x[1].caffemodel").mkdir()
    (folder / "tiny\x1b]0;owned\x07.caffemodel").write_bytes(b"<html>")
    (folder / ("tiny" + "x" * 230 + ".caffemodel")).write_bytes(b"junk")
    with pytest.raises(WeightsError) as caught:
        get(from_dir=folder)
    assert "a web page" in str(caught.value)
    assert all(line.isprintable() for line in [*get.said, *str(caught.value).splitlines()])
    (folder / "x[1] (2).caffemodel").write_bytes(caffemodel())
    assert get(from_dir=folder).read_bytes() == caffemodel()


def test_zip_members_that_are_too_large(server, tiny, get, monkeypatch):
    body = caffemodel()
    tiny(
        server.serve("a.zip", zipped(**{"a.caffemodel": body})),
        archive_member="*.caffemodel",
        size=len(body) - 1,
    )
    with pytest.raises(
        WeightsError, match=f"'a.caffemodel' in it has {len(body)} bytes; at most {len(body) - 1}"
    ):
        get()
    assert left(get.folder) == []


def test_from_dir_without_it(server, tiny, get, tmp_path):
    tiny(server.serve("a", caffemodel()))
    with pytest.raises(WeightsError, match=r"which has none of tiny\*.caffemodel"):
        get(from_dir=tmp_path)
    with pytest.raises(WeightsError, match="no such folder"):
        get(from_dir=tmp_path / "no")
    assert server.asked == []


# --------------------------------------------------------------------------------------------------- mirrors


@pytest.fixture
def convert(monkeypatch):
    """Stands in for caffe_gp.models.convert: the 'format' is a caffemodel with another first byte."""

    def convert_file(source, target, model_name, format):
        convert.calls.append((model_name, format))
        body = Path(source).read_bytes()
        if not body.startswith(b"mirror"):
            raise WeightsError(f"{source}: no such format")
        Path(target).write_bytes(body[len(b"mirror") :])

    convert = types.ModuleType("caffe_gp.models.convert")
    convert.calls, convert.convert_file = [], convert_file
    monkeypatch.setitem(sys.modules, "caffe_gp.models.convert", convert)
    return convert


def mirror_of(body, *urls, md5=True):
    return weights.Mirror("torch-fcn", "tiny.pth", urls, hashlib.md5(body).hexdigest() if md5 else None, "")


def test_mirror_after_all_addresses(server, tiny, get, convert):
    made, original = caffemodel(1), caffemodel(2)
    other = b"mirror" + made
    tiny(
        server.url("gone"),
        sha1=hashlib.sha1(original).hexdigest(),
        mirrors=(mirror_of(other, server.url("gone2"), server.serve("m", other)),),
    )
    assert get().read_bytes() == made
    assert [path for path, _ in server.asked] == ["gone", "gone2", "m"]
    assert convert.calls == [("tiny", "torch-fcn")]
    pin = weights.read_lock(get.folder)[NAME]
    assert (pin.converted, pin.url, pin.sha256) == ("torch-fcn", server.url("m"), sha256(made))
    assert left(get.folder) == []
    assert fetch.verify("tiny", get.folder) == pin, "the published hash is not that of a converted file"


def test_the_authors_file_takes_the_place_of_a_converted_one(server, tiny, get, convert):
    original, other = caffemodel(1), b"mirror" + caffemodel(2)
    mirrors = (mirror_of(other, server.serve("m", other)),)
    tiny(server.url("gone"), mirrors=mirrors)
    get().unlink()
    tiny(server.serve("back", original), mirrors=mirrors)
    assert get().read_bytes() == original
    assert weights.read_lock(get.folder)[NAME].sha256 == sha256(original)
    get().unlink()
    tiny(server.url("gone"), mirrors=mirrors)
    with pytest.raises(WeightsError, match="pinned"):
        get()


def test_mirror_with_another_md5(server, tiny, get, convert):
    tiny(mirrors=(mirror_of(b"right", server.serve("m", b"mirror" + caffemodel())),))
    with pytest.raises(WeightsError, match="torch-fcn.: not the published file: expected md5"):
        get()
    assert convert.calls == [] and not (get.folder / NAME).exists()


def test_mirror_of_another_net(server, tiny, get, convert):
    other = b"mirror" + caffemodel(layers={"conv1": LAYERS["conv1"]})
    tiny(mirrors=(mirror_of(other, server.serve("m", other), md5=False),))
    with pytest.raises(WeightsError, match="layer 'score' of tiny is missing"):
        get()
    assert not (get.folder / NAME).exists() and left(get.folder) == []


def test_mirror_that_does_not_convert(server, tiny, get, convert):
    tiny(mirrors=(mirror_of(b"", server.serve("m", b"nonsense"), md5=False),))
    with pytest.raises(WeightsError, match="no such format"):
        get()


def test_from_dir_with_a_mirrors_file(tiny, get, tmp_path, convert):
    body = caffemodel()
    tiny(mirrors=(mirror_of(b"mirror" + body),))
    (tmp_path / "tiny.pth").write_bytes(b"mirror" + body)
    assert get(from_dir=tmp_path).read_bytes() == body
    (get.folder / NAME).unlink()
    (tmp_path / "tiny.pth").write_bytes(b"mirror" + caffemodel(3))
    with pytest.raises(WeightsError, match=r"tiny.pth: not the published tiny.pth \(expected md5"):
        get(from_dir=tmp_path)


@pytest.mark.parametrize("format", ["torch-fcn", "chainer-fcn"])
def test_mirror_in_a_real_format(server, tiny, get, tmp_path, format):
    """The converter itself: the arrays of a state dict or npz arrive in the caffemodel bit for bit."""
    rng = np.random.default_rng(4)
    arrays = {name: [rng.standard_normal(s, np.float32) for s in shapes] for name, shapes in LAYERS.items()}
    keys = ("{}.weight", "{}.bias") if format == "torch-fcn" else ("{}/W", "{}/b")
    named = {key.format(name): array for name, blobs in arrays.items() for key, array in zip(keys, blobs)}
    if format == "torch-fcn":
        torch = pytest.importorskip("torch")
        file = "tiny.pth"
        torch.save({key: torch.from_numpy(array) for key, array in named.items()}, tmp_path / file)
    else:
        file = "tiny.npz"
        np.savez(tmp_path / file, **named)
    url = server.serve("m", (tmp_path / file).read_bytes())
    tiny(server.url("gone"), mirrors=(weights.Mirror(format, file, (url,), None, ""),))
    with proto.read_weights(get()) as found:
        for name, blobs in found.as_dict().items():
            for blob, array in zip(blobs, arrays[name]):
                assert np.array_equal(blob, array)
    assert weights.read_lock(get.folder)[NAME].converted == format


# ------------------------------------------------------------------------------------- processes and signals

RUN = """
from dataclasses import replace
from pathlib import Path
from caffe_gp.models import fetch, weights, zoo
from tests.models import test_fetch as t
zoo.MODELS["tiny"] = zoo.Model("tiny", "", t.tiny_net, "score", (), 70950, t.NAME, None, "")
weights.released()[t.NAME] = replace(
    weights.find("fcn-32s"), name=t.NAME, urls=({url!r},), mirrors=(), parameters=70950)
print(fetch.fetch("tiny", Path({folder!r}), progress=False))
"""


def start(url, folder):
    """Another process that fetches 'tiny'."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", textwrap.dedent(RUN).format(url=url, folder=str(folder))],
        cwd=str(Path(__file__).resolve().parents[2]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_then_resumed(server, tiny, get, how):
    body = caffemodel()
    url = server.serve("a", body, hold=80_000)
    process = start(url, get.folder)
    wait_for(lambda: any(p.stat().st_size > 60_000 for p in get.folder.glob(".incoming/*.part")))
    process.send_signal(how)
    process.wait(timeout=60)
    process.stdout.close()
    server.pages["a"].go.set()
    assert not (get.folder / NAME).exists() and not (get.folder / "weights.lock").exists()
    (part,) = get.folder.glob(".incoming/*.part")
    size = part.stat().st_size
    assert 60_000 < size < len(body) and body.startswith(part.read_bytes())
    server.serve("a", body)
    tiny(url)
    server.asked.clear()
    assert get().read_bytes() == body
    assert server.asked == [("a", f"bytes={size}-")] and left(get.folder) == []


def test_two_processes_at_once_download_once(server, tiny, get):
    body = caffemodel()
    url = server.serve("a", body, hold=80_000)
    first = start(url, get.folder)
    wait_for(lambda: server.asked)
    second = start(url, get.folder)
    assert "waiting for another process" in second.stdout.readline()
    server.pages["a"].go.set()
    processes = [first, second]
    said = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert (get.folder / NAME).read_bytes() == body
    assert [path for path, _ in server.asked] == ["a"]


def test_the_next_run_removes_what_a_killed_one_left_but_for_downloads(server, tiny, get):
    body = caffemodel()
    tiny(server.serve("a", body))
    incoming = get.folder / workplace.INCOMING
    (incoming / "unpacked/deep").mkdir(parents=True)
    part = f"{hashlib.sha1(b'another address').hexdigest()[:10]}-b.part"
    for name in (NAME, "other.caffemodel", ".x.0.tmp", "taken-file", "tmpabc", "unpacked/deep/a", part):
        (incoming / name).write_bytes(b"left")
    (incoming / "link").symlink_to(get.folder)
    assert get().read_bytes() == body and left(get.folder) == [part]


def test_killed_while_the_archive_is_unpacked(server, tiny, get):
    """A child that waits for its end, half of the weights written."""
    body = caffemodel()
    url = server.serve("a.zip", zipped(**{"a.caffemodel": body}))
    tiny(url, archive_member="*.caffemodel")

    def half(content, target, size):
        target.write_bytes(content.read(size // 2))
        os.write(written, b"1")
        signal.pause()

    ready, written = os.pipe()
    child = os.fork()
    if not child:
        fetch.packed.copy = half
        fetch.fetch("tiny", get.folder, progress=False, say=lambda line: None)
        os._exit(1)
    assert os.read(ready, 1) == b"1"
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    os.close(ready), os.close(written)
    assert NAME in left(get.folder) and not (get.folder / NAME).exists()
    server.asked.clear()
    assert get().read_bytes() == body and left(get.folder) == []
    assert server.asked == [], "what had been downloaded was whole"


# ------------------------------------------------------------------------------------------------ the command


def test_command(server, tiny, get, capsys, monkeypatch):
    def run(*args):
        return main(["fetch", "models", *args, "--models-folder", str(get.folder)]), capsys.readouterr()

    body = caffemodel()
    tiny(server.serve("a", body))
    for name in [name for name in weights.released() if name != NAME]:
        monkeypatch.delitem(weights.released(), name)
    code, (out, _) = run("--list")
    (row,) = out.splitlines()[2:]
    assert code == 0 and row.split()[:5] == [NAME, "tiny", "~0", "MB", "missing"]
    code, (out, err) = run("all")
    assert code == 0 and str(get.folder / NAME) in out and (get.folder / NAME).read_bytes() == body
    code, (out, _) = run("--list")
    assert code == 0 and "verified" in out
    code, (out, _) = run("--verify")
    assert code == 0 and sha256(body) in out
    (get.folder / NAME).write_bytes(body[:-5])
    code, (_, err) = run("--verify")
    assert code == 2 and f"not right: {NAME}" in err and "damaged" in err
    code, (_, err) = run("nothing")
    assert code == 2 and "neither a model nor a weights file" in err
    with pytest.raises(SystemExit):
        run("--folder", "x")
    assert "did you mean --data-folder or --models-folder" in capsys.readouterr().err
    (get.folder / NAME).unlink()
    code, (_, err) = run("--verify")
    assert code == 2 and "no weights are here, so there is nothing to verify" in err


def test_command_does_everything_it_can(server, tiny, get, capsys, monkeypatch):
    tiny(server.serve("a", caffemodel()))
    entry = weights.released()[NAME]
    monkeypatch.setattr(
        weights,
        "released",
        lambda: {
            "dead": replace(entry, name="dead", urls=(server.url("gone"),)),
            "limited": replace(entry, name="limited", non_commercial=True, licence="research only"),
            NAME: entry,
        },
    )
    assert main(["fetch", "models", "all", "--quiet", "--models-folder", str(get.folder)]) == 2
    out, err = capsys.readouterr()
    assert (get.folder / NAME).exists() and out == ""
    assert "limited: NOT downloaded. Licence: research only" in err
    assert "1 of 3 files could not be got: dead" in err
