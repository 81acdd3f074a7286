"""What is kept of a blob's data is that of the data as they are."""

from __future__ import annotations

import copy

import numpy as np
import torch

from caffe_gp.caffe.blob import Blob


def total(values: torch.Tensor) -> float:
    calls.append(1)
    return float(values.sum())


calls: list[int] = []


def blob_of(*values: float) -> Blob:
    blob = Blob((len(values),))
    blob.data_tensor = torch.tensor(values)
    return blob


def test_it_is_computed_once_for_those_that_share_and_anew_after_a_change():
    calls.clear()
    blob, sharer = blob_of(1, 2), Blob((2,))
    sharer.share_data(blob)
    value, version = blob.kept(total)
    assert (value, len(calls)) == (3, 1) and sharer.kept(total) == (value, version) and len(calls) == 1
    sharer.data_tensor.add_(1)
    assert blob.kept(total)[0] == 5 and blob.kept(total)[1] != version and len(calls) == 2


def test_a_view_is_watched_by_comparing():
    calls.clear()
    blob = blob_of(1, 2)
    view = blob.data
    first = blob.kept(total)
    assert blob.kept(total) == first and len(calls) == 1
    view[0] = 7
    assert blob.kept(total)[0] == 9 and len(calls) == 2


def test_another_memory_never_has_a_version_of_the_last():
    blob = blob_of(1, 2)
    _, version = blob.kept(total)
    blob.reshape(3)
    assert blob.kept(total)[0] == 0 and blob.kept(total)[1] != version


def test_a_copy_keeps_nothing_of_the_original():
    blob = blob_of(1, 2)
    blob.kept(total)
    other = copy.deepcopy(blob)
    np.asarray(other.data)[...] = 5
    assert other.kept(total)[0] == 10 and blob.kept(total)[0] == 3
