"""MultiStageMeanfield: the dense CRF of CRF-RNN, unrolled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from caffe_gp.caffe import mode
from caffe_gp.caffe.arrays import crf_rows
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register

if TYPE_CHECKING:
    from caffe_gp.crf import MeanField


@register("MultiStageMeanfield")
class MultiStageMeanfieldLayer(Layer):
    """Mean-field iterations from unary scores u, first scores q_0 and the image: ``caffe_gp.crf.MeanField``.

    Bottoms: u and q_0 (N, L, H, W), the image (N, C, H, W), which gets no diff. Top: scores q_T (N, L, H, W),
    no softmax. ``blobs``: the spatial weights, the bilateral weights and the compatibilities, (1, 1, L, L)
    each; their diffs are overwritten, not added to, as in CRF-RNN. They start as diagonal matrices of
    ``spatial_filter_weights_str`` and ``bilateral_filter_weights_str`` (else of ``spatial_filter_weight`` and
    ``bilateral_filter_weight``) and as -1 times the unit matrix. CRF-RNN's limits, 500 x 500 pixels and one
    image, are not this layer's.
    """

    exact_num_bottom = 3
    exact_num_top = 1

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        # Imported here: numba takes a while, and few nets need it.
        from caffe_gp.crf import MeanFieldParameters

        if len(bottom[0].shape) != 4:
            raise self.error(f"the unary scores must have 4 axes (N, L, H, W), found {bottom[0].shape}")
        self._classes = bottom[0].shape[1]
        fields = self.layer_param.multi_stage_meanfield_param.ListFields()
        try:
            self._parameters = MeanFieldParameters.of_fields({field.name: value for field, value in fields})
            matrices = self._parameters.initial_matrices(self._classes)
        except ValueError as error:
            raise self.error(str(error)) from None
        if not self.blobs:
            for matrix in matrices:
                self.blobs.add_blob(1, 1, self._classes, self._classes).data[...] = matrix
        self.param_propagate_down = [True] * 3
        self._meanfield: MeanField | None = None
        self._device: torch.device | None = None

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        unary, initial, image = (blob.shape for blob in bottom)
        if unary != initial or unary[1:2] != (self._classes,):
            raise self.error(
                f"unary and first scores must have one shape and {self._classes} classes, found {unary} and "
                f"{initial}"
            )
        if len(image) != 4 or (image[0], *image[2:]) != (unary[0], *unary[2:]):
            raise self.error(f"the image {image} must have the batch and size of the scores {unary}")
        top[0].reshape(*unary)

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """What every iteration keeps for the backward, and lattices without two pixels alike (measured)."""
        kept = 7 if any(self.param_propagate_down) else 1
        images, channels, height, width = bottom[2].shape
        vertices = 14 * (channels + 3) ** 2  # of a pixel: as many, each with its place and its neighbours
        iterations = kept * self._parameters.num_iterations + 4
        return iterations * bottom[0].count + vertices * images * height * width

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """q_T; keeps every iteration's probabilities for the backward."""
        device = mode.device()
        if self._meanfield is None or self._device != device:
            self._meanfield, self._device = self._parameters.mean_field(crf_rows()), device
        blobs = [blob.data_tensor for blob in bottom]
        matrices = [blob.data_tensor.view(self._classes, self._classes) for blob in self.blobs]
        threads = torch.get_num_threads()
        try:
            result = self._meanfield.forward(
                *map(self._arrays, blobs), *map(self._arrays, matrices), learn=any(self.param_propagate_down)
            )
        except ValueError as error:  # an image that is not finite
            raise self.error(f"bottom image: {error}") from None
        finally:
            torch.set_num_threads(threads)  # numba, when it starts, sets it to all cores
        top[0].data_tensor = torch.as_tensor(result)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Diffs of u and q_0 and of the matrices; the image's diff is left alone."""
        assert self._meanfield is not None
        unary, initial, *matrices = self._meanfield.backward(self._arrays(top[0].diff_tensor))
        for blob, diff, wanted in zip(bottom, (unary, initial), propagate_down, strict=False):
            if wanted:
                blob.diff_tensor = torch.as_tensor(diff)
        for blob, diff, wanted in zip(self.blobs, matrices, self.param_propagate_down, strict=True):
            if wanted:
                blob.diff_tensor = torch.as_tensor(diff).reshape(blob.shape)

    def allow_force_backward(self, bottom_index: int) -> bool:
        """Not for the image."""
        return bottom_index != 2

    def _arrays(self, tensor: torch.Tensor) -> Any:
        """What the mean field computes with: numpy arrays on the CPU, tensors elsewhere."""
        return tensor if tensor.device.type != "cpu" else tensor.contiguous().numpy()
