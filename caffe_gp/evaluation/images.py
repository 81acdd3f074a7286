"""Guided perturbations of image files with any Caffe net: pictures, label maps and ``results.json``.

What ``caffe_gp run`` does, as a function. ``docs/results_schema.md`` describes the JSON file.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from caffe_gp.errors import DataError
from caffe_gp.evaluation.choose_eps import IMAGES, SHARE
from caffe_gp.evaluation.results import RunResults
from caffe_gp.evaluation.segmentation import Evaluation, evaluate
from caffe_gp.evaluation.segmentation_page import evaluate_with_page
from caffe_gp.evaluation.settings import RunSettings, as_names, required
from caffe_gp.images.inputs import ImageFiles, find_images, read_palette
from caffe_gp.images.preprocess import Size
from caffe_gp.images.reading import check_image
from caffe_gp.runs.progress import OnProgress


@dataclass(repr=False)
class ImageRun(RunSettings):
    """Everything a run over image files is told; the names are those of the command line options.

    images    files, folders and lists; labels: folder of the ground truth
    save      any of ``image_outputs.SAVE_CHOICES``
    palette   file with the colours of label maps
    crf, label_255, eps_share, eps_images, switch   as for an ``Evaluation``
    """

    images: list[str] = field(default_factory=required)
    labels: str | None = None
    palette: str | None = None
    save: tuple[str, ...] = ("labels", "overlay", "changed", "panel")
    crf: Any = None
    label_255: int | str | None = None
    eps_share: float = SHARE
    eps_images: int = IMAGES
    switch: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.images = [self.images] if isinstance(self.images, (str, Path)) else list(self.images)
        self.images = [str(one) for one in self.images]
        self.save = as_names(self.save)

    def image_size(self) -> Size | None:
        return check_image(Path(find_images(self.images)[0].image))

    def evaluation(self) -> Evaluation:
        """The same as an evaluation of these files. DataError for images and labels that are not there."""
        if self.encoding == "ground-truth" and self.labels is None:
            raise DataError("encoding 'ground-truth' needs the labels: give --labels DIR")
        data = ImageFiles.of(find_images(self.images), self.labels)
        palette = read_palette(self.palette) if self.palette else None
        given = {one.name: getattr(self, one.name) for one in fields(RunSettings)}
        names = ("save", "crf", "label_255", "eps_share", "eps_images", "switch")
        own = {name: getattr(self, name) for name in names}
        return Evaluation(**given, **own, data=data, palette=palette)


def run(settings: ImageRun, on_progress: OnProgress | None = None, page: bool = False) -> RunResults:
    """Do what the settings say, write ``results.json`` (and with ``page`` index.html) and return the results.

    on_progress   as of ``evaluate``
    Images whose record and files are in the output folder already are skipped. Raises the errors of
    ``engines.load_net``, ``GuidedPerturbation`` and ``Preprocess``; DataError for images and labels.
    """
    return (evaluate_with_page if page else evaluate)(
        settings.evaluation(), "images", on_progress=on_progress
    )
