"""What the layers that read batches from disk share: the batch loaded ahead, and errors about files."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.data import SourceLayer
from caffe_gp.errors import DataError
from caffe_gp.files.regular import text_lines


class BatchLayer(SourceLayer):
    """A source layer whose tops are the arrays of one batch after the other.

    One thread prepares the next batch while the net works on this one. The order of batches and every
    random choice are the thread's alone, so reading ahead changes nothing but the time.
    """

    _ahead: Future[list[np.ndarray]] | None = None
    _thread: ThreadPoolExecutor | None = None

    def load_batch(self) -> list[np.ndarray]:
        """The arrays for the tops of the next batch (float32; shapes may change between batches)."""
        raise NotImplementedError

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Hand out the batch that was loaded ahead and start loading the next."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"load {self.name}")
        ahead = self._ahead = self._ahead or self._thread.submit(self.load_batch)
        try:
            batch = ahead.result()
        finally:
            if ahead.done():  # after Ctrl-C it may still be loading, and is then the next forward's
                self._ahead = None
        self._ahead = self._thread.submit(self.load_batch)
        for blob, values in zip(top, batch, strict=True):
            blob.reshape(*values.shape)
            blob.write_data(functools.partial(np.copyto, src=values))

    def check_batch_size(self, batch_size: int) -> int:
        """``batch_size`` if it is positive, else NetError."""
        if batch_size < 1:
            raise self.error("batch_size must be given and positive")
        return batch_size

    def data_error(self, message: str) -> DataError:
        """A DataError that names this layer."""
        return DataError(f"layer '{self.name}' ({self.type}): {message}")

    def read_lines(self, source: str) -> Iterator[tuple[int, str]]:
        """The lines of a list file that are not blank, each with its number.

        Raises DataError for a file that is missing, unreadable or empty.
        """
        if not source:
            raise self.error("source is not set; it names the list file")
        empty = True
        try:
            with text_lines(source) as stream:
                for number, line in enumerate(stream, 1):
                    if line.strip():
                        empty = False
                        yield number, line.rstrip("\r\n")
        except OSError as error:
            raise self.data_error(f"cannot open the list {source}: {error.strerror or error}") from error
        if empty:
            raise self.data_error(f"the list {source} is empty")
