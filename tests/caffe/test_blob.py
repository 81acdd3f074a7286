"""Blob and SyncedMemory: shapes, views that stay alive, sharing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from caffe_gp.caffe.blob import Blob, BlobVec
from caffe_gp.errors import NetError


def test_starts_as_zeros_and_allocates_the_diff_when_needed():
    blob = Blob((2, 3))
    assert not blob.has_diff
    assert blob.data.shape == (2, 3) and blob.data.dtype == np.float32 and not blob.data.any()
    assert not blob.has_diff
    assert not blob.diff.any()
    assert blob.has_diff


def test_numpy_and_tensor_are_one_memory():
    blob = Blob((2, 2))
    blob.data[0, 1] = 5
    assert blob.data_tensor[0, 1] == 5
    blob.data_tensor[1, 0] = 7
    assert blob.data[1, 0] == 7
    blob.diff[...] = 2
    assert (blob.diff_tensor == 2).all() and blob.data[0, 0] == 0


def test_a_held_view_sees_what_a_layer_hands_over():
    blob = Blob((2, 2))
    view = blob.data
    blob.data_tensor = torch.full((2, 2), 3.0)
    assert (view == 3).all()
    view[0, 0] = 9
    assert blob.data_tensor[0, 0] == 9


def test_without_a_view_the_tensor_is_taken_over_as_it_is():
    blob, values = Blob((1, 2, 3, 4)), torch.rand(1, 2, 3, 4).contiguous(memory_format=torch.channels_last)
    blob.data_tensor = values
    assert blob.data_tensor.data_ptr() == values.data_ptr()
    assert blob.data.flags.c_contiguous
    np.testing.assert_array_equal(blob.data, values.numpy())


def test_channels_last_handed_to_a_viewed_blob_keeps_the_order():
    blob, values = Blob((1, 2, 3, 4)), torch.rand(1, 2, 3, 4)
    view = blob.data
    blob.data_tensor = values.contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(view, values.numpy())


def test_reshape_keeps_memory_within_capacity():
    blob = Blob((2, 6))
    blob.data[...] = np.arange(12).reshape(2, 6)
    blob.diff[...] = 7
    blob.reshape(3, 4)
    assert blob.data.ravel().tolist() == list(range(12))
    blob.reshape(5)
    assert blob.shape == (5,) and blob.data.tolist() == list(range(5)) and blob.diff.tolist() == [7] * 5
    blob.reshape([4, 3])
    assert blob.data.ravel().tolist() == list(range(12)) and (blob.diff == 7).all()
    blob.reshape(13)
    assert not blob.data.any() and not blob.diff.any()


def test_what_lies_behind_a_smaller_shape_survives_layers_that_replace_the_values():
    blob = Blob((1, 3, 2, 2))
    blob.data_tensor = torch.arange(12.0).view(1, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    for count, value in ((8, 20.0), (4, 30.0), (6, 40.0)):
        blob.reshape(count)
        blob.data_tensor = torch.full((count,), value)
    assert blob.read_data().tolist() == [40] * 6
    blob.reshape(3, 4)
    assert blob.data_tensor.ravel().tolist() == [40] * 6 + [20] * 2 + [8, 9, 10, 11]
    blob.reshape(2)
    blob.data_tensor.fill_(50)
    view = blob.data
    blob.reshape(12)
    assert blob.data[:3].tolist() == [50, 50, 40] and np.shares_memory(view, blob.data)


def test_a_view_of_a_smaller_shape_stays_alive():
    blob = Blob((6,))
    blob.data_tensor = torch.ones(6)
    blob.reshape(2)
    blob.data_tensor = torch.full((2,), 2.0)
    view = blob.data
    blob.reshape(6)
    blob.data_tensor = torch.full((6,), 3.0)
    assert view.tolist() == [3, 3]


def test_sharing_goes_both_ways_and_across_shapes():
    a, b = Blob((2, 6)), Blob((3, 4))
    b.share_data(a)
    a.data[0, 0] = 4
    assert b.data[0, 0] == 4
    b.data_tensor[2, 3] = 8
    assert a.data[1, 5] == 8
    with pytest.raises(NetError, match="cannot share"):
        Blob((2,)).share_diff(a)


def test_legacy_dimensions():
    blob = Blob((5, 4, 3))
    assert (blob.num, blob.channels, blob.height, blob.width) == (5, 4, 3, 1)
    with pytest.raises(NetError, match="at most 4"):
        _ = Blob((1, 1, 1, 1, 1)).num
    assert blob.count == 60 and blob.count_from(1) == 12 and blob.count_from(0, 2) == 20
    assert blob.canonical_axis(-1) == 2
    with pytest.raises(NetError, match="axis 3"):
        blob.canonical_axis(3)


def test_scalars_and_empty_shapes():
    assert Blob(()).count == 1 and Blob(()).data.shape == ()
    assert Blob((0, 3)).data.shape == (0, 3)


@pytest.mark.parametrize("shape", [(-1, 2), (1,) * 33, (1 << 20, 1 << 20), (1 << 16, 1 << 15)])
def test_refuses_shapes_that_caffe_refuses(shape):
    with pytest.raises(NetError, match="blob shape"):
        Blob(shape)


def test_refuses_a_tensor_of_another_shape():
    with pytest.raises(NetError, match=r"\(3, 2\).*\(2, 3\)"):
        Blob((2, 3)).data_tensor = torch.zeros(3, 2)


def test_blob_vec_makes_blobs():
    blobs = BlobVec()
    assert blobs.add_blob(2, 3).shape == (2, 3) and len(blobs) == 1
