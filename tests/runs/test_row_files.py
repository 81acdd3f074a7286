"""Rows kept in HDF5 files: what is missing, what comes back, damage."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from caffe_gp.errors import DataError
from caffe_gp.runs.row_files import RowFiles

pytestmark = pytest.mark.engine


def test_rows_come_back_in_any_order_from_several_files(tmp_path):
    values = np.random.RandomState(0).standard_normal((50, 2, 3)).astype(np.float32)
    files = RowFiles(tmp_path / "new", 50, np.float32)
    np.testing.assert_array_equal(files.missing(np.arange(50)), np.arange(50))
    for rows in (np.array([7, 3, 40]), np.arange(10, 30)):
        files.add(rows, values[rows])
    again = RowFiles(tmp_path / "new", 50, np.float32)
    np.testing.assert_array_equal(again.missing(np.array([40, 5, 3, 5, 29, 30])), [5, 30])
    wanted = np.array([20, 3, 3, 40, 11])
    np.testing.assert_array_equal(again.read(wanted), values[wanted])
    assert again.read(wanted).dtype == np.float32


def test_the_files_are_plain_hdf5(tmp_path):
    files = RowFiles(tmp_path, 9, np.int8)
    files.add(np.array([4, 8]), np.array([[1], [-1]], np.int8))
    (path,) = tmp_path.iterdir()
    with h5py.File(str(path), "r") as file:
        assert file["rows"][()].tolist() == [4, 8] and file["values"][()].tolist() == [[1], [-1]]
        assert file["values"].dtype == np.int8


def test_two_runs_do_not_disturb_each_other(tmp_path):
    first, second = RowFiles(tmp_path, 4, np.int64), RowFiles(tmp_path, 4, np.int64)
    first.add(np.array([0, 1]), np.array([10, 11]))
    second.add(np.array([0, 3]), np.array([10, 13]))
    assert first.read(np.array([1, 0])).tolist() == [11, 10]
    assert second.read(np.array([3, 0])).tolist() == [13, 10]
    first.refresh()
    for files in (first, RowFiles(tmp_path, 4, np.int64)):
        assert files.read(np.array([3, 1, 0])).tolist() == [13, 11, 10]


def test_what_is_removed_is_missing(tmp_path):
    files = RowFiles(tmp_path, 4, np.int64)
    files.add(np.array([0, 1]), np.array([10, 11]))
    (path,) = tmp_path.iterdir()
    files.add(np.array([2]), np.array([12]))
    path.unlink()
    files.refresh()
    np.testing.assert_array_equal(files.missing(np.arange(4)), [0, 1, 3])
    assert files.read(np.array([2])).tolist() == [12]


def test_damage_names_the_file_and_the_remedy(tmp_path):
    files = RowFiles(tmp_path, 4, np.int64)
    files.add(np.arange(4), np.arange(4))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match=f"{path.name}: not readable.*remove this file"):
        RowFiles(tmp_path, 4, np.int64)
    path.unlink()
    np.testing.assert_array_equal(RowFiles(tmp_path, 4, np.int64).missing(np.arange(4)), np.arange(4))
