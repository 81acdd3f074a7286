"""Getting files from where they were published, one address after the other; what to say if none works."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Sequence, Tuple

from caffe_gp.errors import CaffeGPError, DownloadError
from caffe_gp.files.checks import MAX_UNKNOWN_BYTES, NotStoredError, SlowAddressError
from caffe_gp.files.workplace import Say

# What a user types to get things.
FETCH_MODELS = "caffe_gp fetch models"
FETCH_DATA = "caffe_gp fetch data"

# An address, and the call that gets the file there; its argument: whether to be patient with a slow host.
Attempt = Tuple[str, Callable[[bool], None]]


def download(
    url: str,
    staged: Path,
    known_hash: str | None,
    progress: bool,
    patient: bool,
    size: int | None = None,
    most: int = MAX_UNKNOWN_BYTES,
) -> None:
    """``http.download``, for callers that work without its packages; CaffeGPError where these are missing."""
    try:
        from caffe_gp.files import http
    except ImportError as error:
        raise CaffeGPError(
            f"downloading needs the Python package '{error.name}' (pip install {error.name}); '--from-dir' "
            "needs none"
        ) from None
    http.download(url, staged, known_hash, progress, patient, size, most)


def try_each(attempts: Sequence[Attempt], say: Say, failure: Callable[[list[str]], CaffeGPError]) -> None:
    """Make the attempts until one succeeds. An attempt fails by raising DownloadError.

    Slow addresses are left for the next one, and taken after all where no other works.

    NotStoredError ends it at once.

    failure   makes the error to raise if none succeeds from 'address: why it failed' of each
    """
    failed, slow = [], []
    for address, attempt in attempts:
        try:
            return attempt(len(attempts) == 1)
        except SlowAddressError as error:
            slow.append((address, attempt))
            say(f"  {error}: trying the next address; this one is continued if no other works")
        except NotStoredError:
            raise
        except DownloadError as error:
            failed.append(f"{address}: {error}")
            say(f"  {error}")
    for address, attempt in slow:
        try:
            return attempt(True)
        except NotStoredError:
            raise
        except DownloadError as error:
            failed.append(f"{address}: {error}")
            say(f"  {error}")
    raise failure(failed)


def by_hand(
    failed: Sequence[str], note: str, pages: Sequence[str], command: str, names: Sequence[str]
) -> str:
    """What is left to do when no address worked.

    failed    why each did not; empty where there are none to try
    note      what else there is to say then
    pages     for people with a browser
    command   that takes the file from a folder, without its --from-dir
    names     that it knows there
    """
    lines = ["could not be downloaded. Tried:", *(f"  {reason}" for reason in failed)]
    if not failed:
        lines = [f"cannot be downloaded. {note}".strip()]
    where = f"with a browser from {' or '.join(pages)} or another place" if pages else "from whoever has it"
    lines += [
        f"By hand: get it {where}, put it into a folder, then",
        f"  {command} --from-dir FOLDER",
        f"which knows these names: {', '.join(names)}",
    ]
    return "\n".join(lines)
