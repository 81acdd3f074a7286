"""Snapshots go from engine to engine: changing the engine half-way changes no parameter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

pytest.importorskip("torch", reason="the embedded Caffe needs torch")

from conformance import exchange, folders  # noqa: E402

BVLC_ROOT = Path(os.environ.get("CAFFE_GP_BVLC_ROOT", folders.ROOT / ".cache/bvlc"))
GOLDENS = folders.GOLDENS / "snapshots"  # some of what BVLC Caffe wrote in the second test
LIMIT = 1e-5


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def assert_same(found: Path, expected: Path) -> None:
    """Every parameter of two files."""
    ours, theirs = load(found), load(expected)
    assert list(ours) == list(theirs)
    for name, values in theirs.items():
        error = np.abs(ours[name] - values).max() / np.abs(values).max()
        assert error <= LIMIT, f"{found.name}, {name}: {error:.1e}"


def test_training_goes_on_from_bvlc_s_snapshots(tmp_path):
    import caffe_gp.caffe as caffe

    exchange.read(caffe, str(GOLDENS), str(tmp_path))
    read = sorted(path.name for path in tmp_path.iterdir())
    assert read == sorted(path.name for path in GOLDENS.glob("*.npz")) and len(read) >= 7
    for name in read:
        assert_same(tmp_path / name, GOLDENS / name)


def datasets(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path, "r") as file:
        return {name: file[name][()] for name in file}


def test_hdf5_output_writes_what_bvlc_writes(tmp_path):
    import caffe_gp.caffe as caffe

    exchange.write_output(caffe, str(tmp_path / "output.h5"))
    ours, theirs = datasets(tmp_path / "output.h5"), datasets(GOLDENS / "output.h5")
    assert {name: (array.shape, array.dtype) for name, array in ours.items()} == {
        "data": ((3, 2, 6, 5), np.float32),
        "label": ((3, 1, 1, 1), np.float32),
    }
    assert list(theirs) == list(ours)
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)


@pytest.mark.skipif(
    not (BVLC_ROOT / ".caffe_gp_stamp").exists() or os.geteuid() != 0,
    reason="needs BVLC Caffe ('make bvlc') and root",
)
def test_every_snapshot_in_both_directions():
    ours, theirs = Path(".cache/exchange"), Path(".cache/bvlc-recordings/exchange")
    script = ("-m", "conformance.exchange")

    def run(*command: object) -> None:
        subprocess.run(list(map(str, command)), cwd=folders.ROOT, check=True)

    run(sys.executable, *script, "embedded", "write", ours / "written")
    run("tools/in_bvlc.sh", "python3", *script, "bvlc", "write", theirs / "written")
    run("tools/in_bvlc.sh", "python3", *script, "bvlc", "read", ours / "written", theirs / "continued")
    run(sys.executable, *script, "embedded", "read", theirs / "written", ours / "continued")
    for case in exchange.CASES:
        name = case + ".npz"
        for found in (ours / "written", ours / "continued", theirs / "continued"):
            assert_same(folders.ROOT / found / name, folders.ROOT / theirs / "written" / name)
