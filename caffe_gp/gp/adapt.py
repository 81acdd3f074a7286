"""Batch normalisation adapted to one test image: its own statistics, and TENT's steps on scale and shift.

    adaptation = Adaptation(net, batch_norms=["bn1"], scales=["scale1"], steps=1, rate=1e-3)
    with adaptation.to(images):
        ...                        # passes of the adapted net
    # the weights are those from before, bit for bit

The BatchNorm layers of the net take the statistics of the images (``surgery.batch_norms`` prepares a net).
TENT (Wang et al., "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR 2021, arXiv 2006.10726)
descends the mean entropy of the prediction over the scale and shift behind them, with Adam; here on one
image, after which everything is reset: what they call episodic.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import Iterator, Sequence

import numpy as np

from caffe_gp.errors import UsageError
from caffe_gp.gp.encodings import entropy_signal, softmax
from caffe_gp.gp.perturbed_net import PerturbedNet
from caffe_gp.gp.pycaffe import AnyNet, Blob, clear_diff, read_data, read_diff, write_data
from caffe_gp.one_thread import in_one_thread

TENT_STEPS, TENT_RATE = 1, 1e-3
_BETA1, _BETA2, _DELTA = 0.9, 0.999, 1e-8  # Adam's, as TENT's code has them


class Adaptation(PerturbedNet):
    """Adapts a net to images, and takes it back.

    net           as for ``GuidedPerturbation``, its BatchNorm layers with ``use_global_stats: false``
    score         blob of class scores
    batch_norms   names of these layers: their moving averages are put back
    scales        names of the Scale layers that learn (``lr_mult: 1``)
    steps, rate   TENT's: a step costs a forward and a backward pass; 0 for the statistics alone
    """

    def __init__(
        self,
        net: AnyNet,
        *,
        score: str | None = None,
        batch_norms: Sequence[str],
        scales: Sequence[str] = (),
        steps: int = 0,
        rate: float = TENT_RATE,
    ) -> None:
        check_tent(steps, rate)
        super().__init__(net, score=score)
        self.steps, self.rate = steps, rate
        self._learned: list[Blob] = [blob for name in scales for blob in self.net.params[name]]
        averages = [blob for name in batch_norms for blob in self.net.params[name]]
        self._kept: list[Blob] = [*averages, *self._learned]

    @contextmanager
    def to(self, images: np.ndarray) -> Iterator[None]:
        """Within it the net is adapted to ``images``, (N, C, H, W) float32, one or several as one."""
        before = [np.array(read_data(blob)) for blob in self._kept]
        try:
            self._descend(images)
            yield
        finally:
            for blob, values in zip(self._kept, before):
                write_data(blob, values)

    @in_one_thread
    def gradients(self, images: np.ndarray) -> list[np.ndarray]:
        """Of the mean entropy of the prediction, in nats, by each blob that learns: their shapes."""
        self.set_images(images)
        self.restart.whole(parameters=True)
        y = softmax(np.ascontiguousarray(read_data(self.net.blobs[self.score])))
        pixels = y[:, 0].size
        for blob in self._learned:
            clear_diff(blob)  # Caffe adds to them
        self.set_signal(entropy_signal(y) / np.float32(-pixels))
        self.restart.backward(parameters=True)
        return [np.array(read_diff(blob)) for blob in self._learned]

    def _descend(self, images: np.ndarray) -> None:
        mean = [np.zeros(tuple(blob.shape), np.float32) for blob in self._learned]
        square = [np.zeros(tuple(blob.shape), np.float32) for blob in self._learned]
        for step in range(1, self.steps + 1):
            correction = math.sqrt(1 - _BETA2**step) / (1 - _BETA1**step)
            for blob, gradient, m, v in zip(self._learned, self.gradients(images), mean, square):
                m += (1 - _BETA1) * (gradient - m)
                v += (1 - _BETA2) * (gradient**2 - v)
                root = np.sqrt(v) + _DELTA * math.sqrt(1 - _BETA2**step)
                write_data(blob, read_data(blob) - np.float32(self.rate * correction) * m / root)


def check_tent(steps: int, rate: float) -> None:
    """UsageError for a number of steps or a learning rate that makes no sense."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise UsageError(f"TENT's steps must be a whole number, found {steps!r}")
    if not isinstance(rate, (int, float)) or not 0 < rate < math.inf:
        raise UsageError(f"TENT's learning rate must be a number above 0, found {rate!r}")
