"""Getting files from where they were published: resumable downloads, hashes, archives."""

from __future__ import annotations

from pathlib import Path

from caffe_gp.errors import CaffeGPError


def download(url: str, staged: Path, known_hash: str | None = None, progress: bool = True) -> None:
    """``http.download``, for callers that work without its packages; CaffeGPError where these are missing."""
    try:
        from caffe_gp.files import http
    except ImportError as error:
        raise CaffeGPError(
            f"downloading needs the Python package {error.name} (pip install pooch); '--from-dir' does not"
        ) from None
    http.download(url, staged, known_hash, progress)
