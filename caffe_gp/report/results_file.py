"""What every ``results.json`` holds: one schema, a ``task`` to tell them apart (docs/results_schema.md)."""

from __future__ import annotations

from typing import Any, TypedDict

SCHEMA = "caffe_gp.results/2"


class Results(TypedDict, total=False):
    """The fields; which of them there are depends on ``task``.

    schema       SCHEMA
    task         'segmentation', 'images', 'classification' or 'experiment'
    key          every setting that the numbers depend on (runs)
    images       number of images (runs)
    classes, class_names    of the net's scores; names are null where nobody told them
    records_sha256   over all records without their seconds, in the order of the items
    summary      the scores
    eps_choice   how eps was chosen where that was without labels (images, segmentation)
    tuning       the scores on the images that eps was chosen on (classification)
    records      what was found of each image (images)
    name, title, warnings   of an experiment, which has fields of its own besides
    """

    schema: str
    task: str
    key: dict[str, Any]
    images: int
    classes: int
    class_names: list[str] | None
    records_sha256: str
    summary: dict[str, Any]
    eps_choice: dict[str, Any]
    tuning: dict[str, Any]
    records: list[dict[str, Any]]
    name: str
    title: str
    warnings: list[str]
