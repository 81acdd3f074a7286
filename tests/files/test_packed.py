"""Archives that claim, hide or hold more than they may: bounded by what comes out; a DataError says why."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import struct
import tarfile
import zipfile

import pytest

from caffe_gp.errors import DataError
from caffe_gp.files import checks, packed, zips

pytestmark = pytest.mark.engine


@pytest.fixture(autouse=True)
def small_limits(monkeypatch):
    """A ratio that matters from 64 kB on."""
    monkeypatch.setattr(packed, "SMALL", 64 << 10)


def unpacked(tmp_path, content, wanted=lambda name: True):
    """The names and contents of what is unpacked."""
    (tmp_path / "a.tar").write_bytes(content)
    out = tmp_path / "out"
    packed.unpack(tmp_path / "a.tar", lambda name: out / name if wanted(name) else None)
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def refused(tmp_path, content, says, **options):
    with pytest.raises(DataError, match=says) as caught:
        unpacked(tmp_path, content, **options)
    message = str(caught.value)
    assert str(tmp_path / "a.tar") in message and message.isprintable() and len(message) < 400
    written = sum(path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written <= max(packed.SMALL, packed.MAX_RATIO * len(content)) + (1 << 20)


def tar(*members, mode="w", format=tarfile.PAX_FORMAT):
    """A tar of TarInfos with their contents."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=format) as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name, **fields):
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def zipped(names, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in names.items():
            archive.writestr(name, content)
    return out.getvalue()


ZEROS = bytes(20 << 20)


@pytest.mark.parametrize("wanted", [True, False], ids=["taken", "passed over"])
@pytest.mark.parametrize("kind", ["tgz", "zip"])
def test_ratio(tmp_path, kind, wanted):
    content = tar((member("a"), ZEROS), mode="w:gz") if kind == "tgz" else zipped({"a": ZEROS})
    if kind == "zip" and not wanted:  # is not inflated
        assert unpacked(tmp_path, content, wanted=lambda name: False) == {}
        return
    refused(tmp_path, content, "bytes come out of it", wanted=lambda name: wanted)


def test_gzip_of_gzip_and_other_packings(tmp_path):
    inner = tar((member("a"), b"1"))
    refused(tmp_path, gzip.compress(gzip.compress(inner)), "damaged archive")
    for pack in (bz2.compress, lzma.compress):
        refused(tmp_path, pack(inner), "damaged archive")
    assert unpacked(tmp_path, gzip.compress(inner)) == {"a": b"1"}


def header(name=b"a", size=b"%011o\0" % 0, kind=b"0"):
    """512 bytes of a tar, with a right check sum."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108], block[124:136], block[156:157] = b"0000644\0", size.ljust(12, b"\0")[:12], kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(**records):
    out = b""
    for key, value in records.items():
        text = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(text) + 1
        while len(str(length)) + len(text) != length:
            length += 1
        out += str(length).encode() + text
    padded = out + bytes(-len(out) % 512)
    return header(b"pax", b"%011o\0" % len(out), b"x") + padded


HUGE = b"\x80" + bytes(3) + struct.pack(">Q", 1 << 40)
NEGATIVE = b"\xff" * 12


@pytest.mark.parametrize(
    "content, says",
    [
        (header(kind=b"S"), "sparse file"),
        (pax(GNU__sparse__map="0,1", GNU__sparse__size=1 << 40) + header(), "sparse file"),
        (pax(GNU__sparse__size=1 << 40) + header(), "sparse file"),
        (pax(GNU__sparse__major=1, GNU__sparse__minor=0) + header() + b"0\n" * 4096, "sparse file"),
        (header(size=HUGE), "damaged archive"),
        (header(size=NEGATIVE), "a header in it has -1 bytes"),
        (header(size=HUGE, kind=b"x"), "a header in it has 1099511627776 bytes"),
        (header(size=HUGE, kind=b"g"), "a header in it has 1099511627776 bytes"),
        (header(size=HUGE, kind=b"L"), "a header in it has 1099511627776 bytes"),
        (header(size=HUGE, kind=b"K"), "a header in it has 1099511627776 bytes"),
        (pax(size=-512) + header(), "not -512"),
        (pax(size="9" * 4000) + header(), "damaged archive|bytes, not 9"),
        (pax(path="../a") + header(), "'../a' in it leads out"),
        (pax(path="/etc/a") + header(), "'/etc/a' in it leads out"),
        (pax(path="a\x1b]0;x") + header(), r"name of 'a\\x1b\]0;x' in it has control characters"),
        (pax(path="b" * 300) + header(), "damaged archive|cannot be written"),
        (pax(path="..") + header(), "leads out"),
        (header(b"\xff\xfe"), "control characters"),
        (header(kind=b"g") * 5000, "damaged archive"),
        (b"", "damaged archive"),
    ],
)
def test_tar_headers(tmp_path, content, says):
    refused(tmp_path, content + bytes(1024) if content else content, says)


def test_links_devices_and_folders_are_passed_over(tmp_path):
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    members = [(member(f"m{i}", type=kind, linkname="../../etc/passwd"), b"") for i, kind in enumerate(kinds)]
    members += [(member("folder", type=tarfile.DIRTYPE), b""), (member("m0"), b"file")]
    assert unpacked(tmp_path, tar(*members)) == {"m0": b"file"}
    assert not (tmp_path / "out" / "m0").is_symlink()


def test_a_file_below_a_file(tmp_path):
    refused(tmp_path, tar((member("a"), b"1"), (member("a/b"), b"2")), "damaged archive|cannot be written")


def test_number_of_members(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MAX_MEMBERS", 5)
    monkeypatch.setattr(zips, "MAX_MEMBERS", 5)
    names = {f"{i}": b"" for i in range(6)}
    refused(tmp_path, tar(*((member(name), b"") for name in names)), "more than 5 files in it")
    refused(tmp_path, zipped(names), "6 files in it; at most 5")


def test_the_table_of_a_zip(tmp_path, monkeypatch):
    monkeypatch.setattr(zips, "MAX_TABLE_BYTES", 70_000)
    refused(tmp_path, zipped({f"{i:0200d}": b"" for i in range(400)}), "its table of contents has more than")


def patched(content, name, **fields):
    """A zip whose table says something else of a file than is in it."""
    places = {
        "flags": (8, "<H"),
        "method": (10, "<H"),
        "crc": (16, "<I"),
        "packed": (20, "<I"),
        "size": (24, "<I"),
    }
    entry = content.rindex(b"PK\x01\x02", 0, content.rindex(name))
    content = bytearray(content)
    for field, value in fields.items():
        place, form = places[field]
        struct.pack_into(form, content, entry + place, value)
        if field in ("flags", "method"):
            struct.pack_into(form, content, place - 2, value)
    return bytes(content)


@pytest.mark.parametrize(
    "fields, says",
    [
        ({"flags": 1}, "'a' in it is encrypted"),
        ({"method": 12}, "'a' in it is packed by method 12"),
        ({"method": 14}, "'a' in it is packed by method 14"),
        ({"method": 99}, "'a' in it is packed by method 99"),
        ({"size": 10}, "damaged archive"),
        ({"size": 0xFFFFFFF0}, "'a' has 5120 bytes, not 4294967280"),
        ({"crc": 1}, "damaged archive"),
    ],
)
def test_zip_members_that_lie(tmp_path, fields, says):
    refused(tmp_path, patched(zipped({"a": bytes(range(256)) * 20}), b"a", **fields), says)


@pytest.mark.parametrize("name", ["../a", "/a", "a/../../b", ".."])
def test_zip_names_that_lead_outside(tmp_path, name):
    refused(tmp_path, zipped({name: b"1"}), "leads out of its folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar"]


def test_zip_names_with_control_characters(tmp_path):
    refused(tmp_path, zipped({"a\x1b[2J": b"1"}), "control characters")
    assert unpacked(tmp_path, zipped({"a\x1b[2J": b"1", "b": b"2"}), wanted=lambda name: name == "b") == {
        "b": b"2"
    }


@pytest.mark.parametrize("kind", ["a pipe", "a folder", "/dev/zero"])
def test_what_is_no_file(tmp_path, kind):
    path = tmp_path / "a.tar"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    else:
        path.symlink_to(kind)
    with pytest.raises(DataError, match="not a file"):
        packed.unpack(path, lambda name: tmp_path / name)


def test_a_full_disk(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(packed, "open", lambda *_: Full(), raising=False)
    with pytest.raises(
        checks.NotStoredError, match="out/a: cannot be written: No space left.* MB are free in"
    ):
        unpacked(tmp_path, tar((member("a"), b"1")))
