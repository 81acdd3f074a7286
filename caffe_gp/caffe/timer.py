"""Timer: pycaffe's stop watch."""

from __future__ import annotations

import time

import torch

from caffe_gp.caffe import mode


class Timer:
    """``timer.start(); work(); timer.stop(); timer.ms``. On a GPU it waits for the work to finish."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._elapsed = 0.0

    def start(self) -> None:
        """Start from zero; does nothing while running."""
        if self._started is None:
            self._started = self._now()

    def stop(self) -> None:
        """Stop; the time stays readable."""
        if self._started is not None:
            self._elapsed = self._now() - self._started
            self._started = None

    @property
    def ms(self) -> float:
        """Milliseconds between start and stop; stops a running timer, as Caffe's does."""
        self.stop()
        return self._elapsed * 1e3

    @staticmethod
    def _now() -> float:
        if mode.device().type == "cuda":
            torch.cuda.synchronize(mode.device())
        return time.perf_counter()
