"""What loaded nets and modules have in common."""

from __future__ import annotations

from typing import NoReturn

from caffe_gp.errors import UsageError


def refuse_pickle(what: str, opened_by: str) -> NoReturn:
    """UsageError: a pickle would carry the weights, hundreds of megabytes, to each process and each time.

    Nor could files be opened again in its place: values that were changed in memory would be lost unseen.
    """
    raise UsageError(
        f"{what} is not pickled or copied, since its weights would be too: have each process open its own. "
        f"Give joblib or multiprocessing a function that calls {opened_by}, and its files' names"
    )
