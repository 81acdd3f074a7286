"""BN: the batch normalisation of SegNet and ENet, and PSPNet's (forks; BVLC's own is BatchNorm + Scale)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.base import TEST, Layer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.proto import messages as pb
from caffe_gp.proto.bn import initial_fillers, keeps_statistics

log = logging.getLogger(__name__)

SEGNET_EPS = 1e-9
_AXES = (0, 2, 3)


@register("BN")
class BNLayer(Layer):
    """``scale * (x - mean) / sqrt(var + eps) + shift`` over channels. Blobs of shape (1, C, 1, 1).

    SegNet's, ENet's and DeconvNet's kind: two blobs, scale and shift. ``bn_mode: LEARN`` normalises by the
    batch's own statistics, which the tops 2 and 3 hold if there are any, at TEST too; ``INFERENCE`` applies
    scale and shift to x itself (the statistics were folded into them). Parameter diffs are overwritten, where
    other layers add to them. An ENet port has numbers ``scale`` and ``shift`` for their constant fillers.
    PSPNet's kind (told by its fields, or by more than two ``param``): two more blobs, the moving mean and
    variance, which the TEST phase and ``frozen`` use. At TEST without ``frozen`` the backward is that of the
    batch's statistics, as in the fork, and not the derivative.
    Both leave scale and shift at 0 where no filler is given.
    """

    not_derivative = "PSPNet's at TEST without frozen"
    exact_num_bottom = 1
    min_top = 1
    max_top = 3

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Tell the kind; create and fill the blobs. NetError for fields of both kinds, or of none known."""
        param = self.layer_param.bn_param
        try:
            self._keeps_statistics = keeps_statistics(self.layer_param)
        except ValueError as error:
            raise self.error(str(error)) from None
        if self._keeps_statistics:
            self._momentum, self._eps, self._frozen = param.momentum, param.eps, param.frozen
            self._check_numbers()
            self._folded, self._fixed = False, self.phase == TEST or self._frozen
            self._through_statistics = not self._frozen
        else:
            self._eps, self._folded = SEGNET_EPS, param.bn_mode == pb.BNParameter.INFERENCE
            self._fixed, self._through_statistics = self._folded, not self._folded
        if len(top) > 1 and (self._keeps_statistics or self._folded):
            raise self.error("tops 2 and 3 hold the batch's statistics, which bn_mode: LEARN alone computes")
        if len(bottom[0].shape) != 4:
            raise self.error(f"expected a bottom (N, C, H, W), found {bottom[0].shape}")
        if not self.blobs:
            self._add_blobs(bottom[0].shape[1])
        written = [spec.lr_mult for spec in self.layer_param.param[:2]]
        learns = [rate != 0 for rate in written] + [True, True][len(written) :]
        self.param_propagate_down = learns + [False] * (len(self.blobs) - 2)
        if self._keeps_statistics:
            self._keep_solver_away()
        self._mean: torch.Tensor | None = None
        self._inverse_std: torch.Tensor | None = None
        self._normalised: torch.Tensor | None = None

    def _check_numbers(self) -> None:
        if not 0 <= self._momentum <= 1:
            raise self.error(f"bn_param.momentum must be in [0, 1], found {self._momentum:g}")
        if not self._eps >= 0:
            raise self.error(f"bn_param.eps must not be negative, found {self._eps:g}")

    def _add_blobs(self, channels: int) -> None:
        fillers = initial_fillers(self.layer_param)
        if self._keeps_statistics:
            # The moving variance of a net that is to be trained starts at 0, as in the fork.
            fillers += [pb.FillerParameter(), pb.FillerParameter(value=float(self._frozen))]
        for filler in fillers:
            fill(self.blobs.add_blob(1, channels, 1, 1), filler)

    def _keep_solver_away(self) -> None:
        """From the statistics, and from all blobs of a frozen layer."""
        specs = self.layer_param.param
        while len(specs) < len(self.blobs):
            specs.add()
        for spec in specs[0 if self._frozen else 2 :]:
            spec.lr_mult = spec.decay_mult = 0
        if self._fixed and self._through_statistics:
            log.warning(
                "layer '%s' (BN) at TEST without frozen: true: PSPNet's gradient for it is wrong then and is "
                "reproduced; set frozen: true if you need its gradient",
                self.name,
            )

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """The bottom's shape; its channels must stay as many as the blobs have."""
        shape, channels = bottom[0].shape, self.blobs[0].shape[1]
        if len(shape) != 4 or shape[1] != channels:
            raise self.error(f"expected (N, {channels}, H, W), found {shape}")
        if not self._fixed and not bottom[0].count:
            raise self.error(f"there are no statistics of a batch without values, found {shape}")
        top[0].reshape_like(bottom[0])
        for blob in top[1:]:
            blob.reshape_like(self.blobs[0])

    def _keeps_normalised(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> bool:
        """Whether a backward may need the normalised values and could not make them anew."""
        in_place = bottom[0] is top[0]
        return self._through_statistics or (in_place and self.param_propagate_down[0])

    def kept(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """The normalised values."""
        return bottom[0].count if self._keeps_normalised(bottom, top) else 0

    def workspace(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> int:
        """In a backward: the scaled diffs, the normalised values and products with them."""
        return 3 * bottom[0].count

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        x = bottom[0].data_tensor
        if not self._folded:
            self._mean, variance = self._statistics(x)
            self._inverse_std = (variance + self._eps).rsqrt_()
            for blob, values in zip(top[1:], (self._mean, variance)):
                blob.data_tensor = values.clone()
        normalised = self._normalise(x)
        self._normalised = None
        if self._keeps_normalised(bottom, top):
            self._normalised = normalised.clone() if normalised is x else normalised
        top[0].data_tensor = torch.addcmul(self.blobs[1].data_tensor, normalised, self.blobs[0].data_tensor)

    def _normalise(self, x: torch.Tensor) -> torch.Tensor:
        if self._mean is None or self._inverse_std is None:
            return x  # the statistics were folded into scale and shift
        return (x - self._mean).mul_(self._inverse_std)

    def _statistics(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._fixed:
            return self.blobs[2].data_tensor.clone(), self.blobs[3].data_tensor
        variance, mean = torch.var_mean(x, _AXES, correction=0, keepdim=True)
        if self._keeps_statistics:
            for blob, value in ((self.blobs[2], mean), (self.blobs[3], variance)):
                blob.data_tensor.mul_(self._momentum).add_(value, alpha=1 - self._momentum)
        return mean, variance

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Through the statistics too where they are the batch's own; tops 2 and 3 give nothing."""
        dy = top[0].diff_tensor
        if not self._folded and self._inverse_std is None:
            raise self.error("backward needs a forward pass first")
        if self.param_propagate_down[0]:
            self._give_diff(0, (dy * self._normalised_for(bottom[0], top[0])).sum(_AXES, keepdim=True))
        if self.param_propagate_down[1]:
            self._give_diff(1, dy.sum(_AXES, keepdim=True))
        if not propagate_down[0]:
            return
        g = dy * self.blobs[0].data_tensor
        if self._through_statistics:
            normalised = self._normalised_for(bottom[0], top[0])
            through = (g * normalised).mean(_AXES, keepdim=True)
            g.sub_(g.mean(_AXES, keepdim=True)).addcmul_(normalised, through, value=-1)
        bottom[0].diff_tensor = g if self._inverse_std is None else g.mul_(self._inverse_std)

    def _normalised_for(self, bottom: Blob, top: Blob) -> torch.Tensor:
        """The normalised values of the last forward, kept or made anew."""
        kept = self._normalised
        if kept is None and bottom is not top:
            return self._normalise(bottom.data_tensor)
        if kept is None or kept.shape != top.shape:
            raise self.error("backward needs a forward pass of the same shape first")
        return kept

    def _give_diff(self, i: int, values: torch.Tensor) -> None:
        if self._keeps_statistics:
            self.blobs[i].diff_tensor.add_(values)
        else:
            self.blobs[i].diff_tensor.copy_(values)
