"""MatWrite: DeepLab's layer that saves its bottoms as MATLAB files."""

from __future__ import annotations

import os
from collections.abc import Sequence

import scipy.io

from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register
from caffe_gp.errors import DataError, quoted
from caffe_gp.files.atomic import write_atomically
from caffe_gp.files.below import is_below
from caffe_gp.files.regular import text_lines


@register("MatWrite")
class MatWriteLayer(Layer):
    """Every ``period``-th forward writes bottom i to ``<prefix><name>_blob_<i>.mat``.

    Names are the first words of the lines of ``source`` less their last ``strip`` characters, one a
    forward, or ``iter_<n>`` without a source. A file holds a 4-D float32 array ``data`` with dimensions
    (W, H, C, N), as DeepLab's does: MATLAB sees the image transposed.
    """

    min_bottom = 1
    exact_num_top = 0

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Read the names. DataError for a missing list, NetError for impossible parameters."""
        param = self.layer_param.mat_write_param
        if param.period < 1 or param.strip < 0:
            raise self.error(
                f"period must be positive and strip not negative, found {param.period} and {param.strip}"
            )
        if not param.HasField("prefix"):
            raise self.error("mat_write_param.prefix is not set; it starts the names of the files to write")
        self._passes = 0
        self._names: list[str] | None = None
        if param.HasField("source"):
            self._names = list(self._read_names(param.source, param.strip))

    def _read_names(self, source: str, strip: int) -> Sequence[str]:
        names = []
        try:
            with text_lines(source) as stream:
                for number, line in enumerate(stream, 1):
                    word = (line.split() or [""])[0]
                    if len(word) <= strip:
                        raise DataError(f"{source}:{number}: strip {strip} leaves nothing of {quoted(word)}")
                    names.append(word[: len(word) - strip])
        except OSError as error:
            raise DataError(
                f"layer '{self.name}' (MatWrite): cannot open the list {source}: {error.strerror}"
            ) from error
        return names

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """No tops. NetError for a bottom with more than the four axes that the files have."""
        for blob in bottom:
            if len(blob.shape) > 4:
                raise self.error(f"bottoms may have at most 4 axes, found shape {blob.shape}")

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Write the files. DataError when the names run out or a file cannot be written."""
        param = self.layer_param.mat_write_param
        if self._passes % param.period == 0:
            name = self._file_name()
            for i, blob in enumerate(bottom):
                path = f"{param.prefix}{name}_blob_{i}.mat"
                if not is_below(path, os.path.dirname(param.prefix) or "."):
                    raise self._outside(path)
                self._write(path, blob)
        self._passes += 1

    def _outside(self, path: str) -> DataError:
        return DataError(
            f"layer '{self.name}' (MatWrite): cannot write {path}: by '..' or a link in a name of its list "
            f"it leads out of the folder of prefix {self.layer_param.mat_write_param.prefix}"
        )

    def _file_name(self) -> str:
        if self._names is None:
            return f"iter_{self._passes}"
        if self._passes >= len(self._names):
            source = self.layer_param.mat_write_param.source
            raise DataError(
                f"layer '{self.name}' (MatWrite): forward number {self._passes + 1}, but {source} names only "
                f"{len(self._names)} file(s)"
            )
        return self._names[self._passes]

    @staticmethod
    def _write(path: str, blob: Blob) -> None:
        # C order N, C, H, W is Fortran order W, H, C, N: the same bytes, no copy.
        data = blob.read_data().reshape(blob.num, blob.channels, blob.height, blob.width).T
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            raise DataError(f"cannot write {path}: the folder {folder} does not exist")
        try:
            write_atomically(path, lambda stream: scipy.io.savemat(stream, {"data": data}))
        except OSError as error:
            raise DataError(f"cannot write {path}: {error.strerror}") from error

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Nothing: the bottoms' diffs stay as they are."""
