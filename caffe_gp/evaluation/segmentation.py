"""One net on one set of images, before and after guided perturbations, and with a dense CRF behind both.

    images = segmentation.get("voc2012-reduced346")
    run = evaluate(Evaluation.of_model("fcn-32s", data=images, out=Path("out")))
    run.measures(run.base)["mean_iu"], run.gain(0.55)

What ``caffe_gp evaluate`` does, as a function. A run can be stopped and resumed, with any number of workers.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Collection, Iterable, Sequence

import numpy as np

from caffe_gp.errors import DataError, UsageError, did_you_mean
from caffe_gp.evaluation import results
from caffe_gp.evaluation.choose_eps import (
    AUTO,
    SHARE,
    EpsChoice,
    WithoutLabels,
    check_choice,
    find_eps,
    words,
)
from caffe_gp.evaluation.choose_eps import (
    IMAGES as EPS_IMAGES,
)
from caffe_gp.evaluation.confusion import add_sparse
from caffe_gp.evaluation.image_outputs import LEFT_OUT, SAVE_CHOICES, set_aside
from caffe_gp.evaluation.labelled_images import LabelledImages, check_files, check_not_masks, hashes
from caffe_gp.evaluation.record_checks import IMAGES
from caffe_gp.evaluation.results import RunResults
from caffe_gp.evaluation.segmentation_worker import SegmentationWorker
from caffe_gp.evaluation.settings import NetTask, Resolved, RunSettings, as_names, required
from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.files.hashes import sha256_of_text
from caffe_gp.images.corruptions import Corruption
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.images.preprocess import Size
from caffe_gp.images.reading import check_image
from caffe_gp.runs.batches import plan
from caffe_gp.runs.folder import Part, RunFolder, merged
from caffe_gp.runs.progress import OnProgress, during
from caffe_gp.runs.run import run
from caffe_gp.runs.task import Batch, Record, Worker

log = logging.getLogger(__name__)
__all__ = ["Evaluation", "RunResults", "evaluate"]


@dataclass(repr=False)
class Evaluation(RunSettings):
    """Everything an evaluation is told.

    data      the images and their ground truth
    crf       a name of ``caffe_gp.crf.PRESETS`` or a ``CRFSettings``: label maps behind a dense CRF as well,
              on the unperturbed photograph in its own pixels
    save      what is written of every image: any of ``image_outputs.SAVE_CHOICES``
    palette   (n, 3) uint8 RGB, the colours of label maps in pictures; None: VOC's
    label_255 what 255 is in ground truth: 'void', or the number of a class; None: void, but label maps of
              nothing besides 0 and 255 are refused
    eps       'auto' has it chosen without labels: so that it closes ``eps_share`` of the confidence gap of
              the first ``eps_images`` images (see ``choose_eps``)
    eps_choice   how it was chosen; set by ``evaluate``
    switch    score as well, at each pixel, the label of the surer of both passes
    corrupt   None, or a corruption of every image before anything else, like 'jpeg:3': ``images.corruptions``
    """

    data: LabelledImages = field(default_factory=required)
    crf: Any = None
    save: tuple[str, ...] = ()
    palette: np.ndarray | None = None
    label_255: int | str | None = None
    eps_share: float = SHARE
    eps_images: int = EPS_IMAGES
    eps_choice: EpsChoice | None = None
    switch: bool = False
    corrupt: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.save = as_names(self.save)

    def image_size(self) -> Size | None:
        return check_image(self.data.image(self.data.ids[0])) if self.data.ids else None

    def check(self) -> None:
        if self.eps == AUTO:
            check_choice(self.eps_share, self.eps_images)
            if self.encoding == "ground-truth":
                raise UsageError(
                    "eps 'auto' is chosen without labels, encoding 'ground-truth' needs them: give eps"
                )
            replace(self, eps=[1.0]).check()
            return
        super().check()
        self.crf_settings()
        if self.corrupt is not None:
            Corruption.named(self.corrupt)
        unknown = [kind for kind in self.save if kind not in SAVE_CHOICES]
        if unknown:
            raise UsageError(f"save: unknown kind '{unknown[0]}'; known are {', '.join(SAVE_CHOICES)}")
        if self.encoding == "ground-truth" and not self.data.has_truth:
            raise DataError(f"encoding 'ground-truth' needs ground truth; set '{self.data.name}' has none")
        if self.label_255 not in (None, "void") and not isinstance(self.label_255, int):
            raise UsageError(f"label_255 is 'void' or the number of a class, found {self.label_255!r}")
        if not self.data.ids:
            raise DataError(f"set '{self.data.name}' holds no images")

    def eps_source(self) -> str:
        return super().eps_source() if self.eps_choice is None else "chosen without labels"

    def crf_settings(self) -> Any:
        """The CRF's parameters, a ``CRFSettings`` or None; UsageError for an unknown preset."""
        if self.crf is None:
            return None
        from caffe_gp.crf import PRESETS, CRFSettings  # numba takes a while

        if isinstance(self.crf, CRFSettings):
            return self.crf
        if self.crf not in PRESETS:
            hint = did_you_mean(str(self.crf), PRESETS)
            raise UsageError(f"unknown CRF preset '{self.crf}'{hint} (known: {', '.join(PRESETS)})")
        return PRESETS[self.crf]


def evaluate(
    settings: Evaluation,
    kind: str = "segmentation",
    on_records: Callable[[Sequence[Record]], object] | None = None,
    on_progress: OnProgress | None = None,
) -> RunResults:
    """Compute what the run's folder does not hold yet, write its reports and return its results.

    kind         'images' for a run over image files (``evaluation.images``)
    on_records   called with the images' records as they come, first with those that are there
    on_progress  called as ``on_progress(done, total, what)``: see ``runs.run``; 'choosing eps' comes first,
                 where it is chosen. An exception that it raises ends the run, which can be resumed
    Raises the errors of ``engines.load_net``, ``GuidedPerturbation`` and ``Preprocess``; DataError for images
    and label maps, and, naming the setting, for a folder with a run of other settings; EngineError when all
    workers have died. Whatever happens, the same call resumes where this one stopped.
    """
    settings.check()
    settings = settings.with_workers()
    if settings.cluster is not None:
        settings = replace(settings, data=settings.data.absolute())
    if settings.eps == AUTO:
        choice = chosen_eps(settings, kind, during("choosing eps", on_progress))
        settings = replace(settings, eps=[choice.eps], eps_choice=choice)
    task = SegmentationTask.of(settings, kind)
    score = _RunningScore(settings.eps)

    def on_new(records: Sequence[Record]) -> str:
        if on_records is not None:
            on_records(records)
        return score(records)

    with task.folder.only_here():
        folder = run(task, task.folder, on_records=on_new, on_progress=on_progress, **settings.sharing())
        if folder.is_reported():
            return results.read_run(folder.path)
        parts = folder.parts()
        _set_aside(folder, parts, settings.quiet)
        return results.write_reports(folder, kind, parts)


def chosen_eps(
    settings: Evaluation, kind: str = "segmentation", on_progress: OnProgress | None = None
) -> EpsChoice:
    """The eps that ``evaluate`` chooses for settings whose eps is 'auto'; their label maps are not read.

    Every round of the search is a run of its own, in the folder 'choice' of the run, so that it resumes.
    Raises what ``find_eps`` and ``evaluate`` do.
    """
    images = WithoutLabels.first(settings.data, settings.eps_images)
    out = settings.out if settings.by_key else Path(settings.out) / "choice"
    plain: dict[str, Any] = {"save": (), "crf": None, "label_255": None, "palette": None, "switch": False}
    rounds = replace(settings, data=images, out=out, by_key=True, eps=[1.0], quiet=True, **plain)
    if not settings.quiet:
        log.info("  choosing eps on the first %d image(s), without labels", len(images.ids))

    def measure(steps: Sequence[float]) -> tuple[float, Sequence[float]]:
        found = evaluate(replace(rounds, eps=list(steps)), kind, on_progress=on_progress)
        base, *after = found.confidence.mean(axis=1)
        return base, after

    found = find_eps(measure, settings.unit(), settings.eps_share)
    found = replace(found, images=images.ids)
    if not settings.quiet:
        log.info("  %s", words(found.record()))
    return found


def _set_aside(folder: RunFolder, parts: Sequence[Part], quiet: bool) -> None:
    """Files of images that are no longer among the run's do not stay beside the new ones."""
    found = merged(parts)
    latest = {item: found[item] for item in folder.ids() if item in found}
    moved = set_aside(folder.path, [record for _, records in parts for record in records], latest)
    if moved and not quiet:
        log.info("%d files of images that are not in this run: moved to %s", moved, folder.path / LEFT_OUT)


@dataclass(frozen=True)
class SegmentationTask(NetTask):
    """Label images and count. A ``runs.task.Task``.

    kind   'segmentation', or 'images': also for nets that label whole images, and strict about gradients
    """

    kind: str
    resolved: Resolved
    key: dict[str, Any]

    @classmethod
    def of(cls, settings: Evaluation, kind: str = "segmentation") -> SegmentationTask:
        """The task of checked settings; reads the net's files."""
        resolved = settings.resolve()
        return cls(kind, resolved, {**resolved.net_key(), **resolved.method, **_key(settings, kind)})

    @property
    def settings(self) -> Evaluation:
        """What the run was told."""
        return self.resolved.settings

    @cached_property  # its name may be a hash of the key
    def folder(self) -> RunFolder:
        """Where the run lies."""
        return RunFolder(self.settings.folder(self.settings.data.name, self.key), IMAGES)

    def items(self) -> Sequence[str]:
        return self.settings.data.ids

    def images_of(self, item: str) -> int:
        return 1

    def plan(self, todo: Collection[str]) -> list[Batch]:
        """Batches of equal canvases; whole ones, since neighbours change last bits."""
        data, ids = self.settings.data, self.settings.data.ids
        sizes = [self.resolved.preprocess.canvas_size(size) for size in check_files(data)]
        if self.settings.label_255 is None:
            check_not_masks(data)
        planned = [tuple(ids[index] for index in batch) for batch in plan(sizes, self.settings.batch_size)]
        wanted = set(todo)
        return [batch for batch in planned if wanted.intersection(batch)]

    def is_current(self, item: str, record: Record) -> bool:
        """Whether image and ground truth are the same, and the files that are asked for are there."""
        settings, files = self.settings, record.get("files", ())
        return (
            hashes(settings.data, item) == (record["image_sha256"], record["truth_sha256"])
            and set(settings.save) <= set(record.get("save", ()))
            and all((self.folder.path / name).is_file() for name in files)
        )

    def open(self, device: str) -> Worker:
        return SegmentationWorker(self.resolved, self.key, self.folder.path, self.kind, device)

    def on_this_machine(self) -> SegmentationTask:
        return SegmentationTask.of(self.settings, self.kind)


def _key(settings: Evaluation, kind: str) -> dict[str, Any]:
    """What the numbers and pictures depend on besides the net and the method."""
    data, crf = settings.data, settings.crf_settings()
    key: dict[str, Any] = {
        "crf": None if crf is None else asdict(crf),
        "batch_size": settings.batch_size,
        "threads": settings.threads if settings.device == "cpu" else None,
    }
    if settings.switch:
        key["switch"] = True
    if settings.corrupt is not None:
        key["corrupt"] = str(Corruption.named(settings.corrupt))
    if isinstance(settings.label_255, int):
        key["label_255"] = settings.label_255
    if kind == "images":  # which ones they are is left open: more may be added to a run later
        key["labels"] = data.has_truth
        if settings.palette is not None:
            key["palette"] = settings.palette.tolist()
        return key
    ids_sha256 = sha256_of_text("\n".join(data.ids))
    return {**key, "data": data.name, "images": len(data.ids), "ids_sha256": ids_sha256}


class _RunningScore:
    """The mean IU so far, for the progress bar."""

    def __init__(self, eps: Sequence[float]) -> None:
        self._eps = eps
        # Room for any number of classes: only the net knows it, and it may be loaded elsewhere.
        self._sums = np.zeros((1 + len(eps), 1, IGNORE, IGNORE), np.int64)

    def __call__(self, records: Iterable[Record]) -> str:
        for record in records:
            for entry, total in zip([record["base"], *record["gp"]], self._sums):
                add_sparse(entry.get("confusion", ()), total[0])
        if not self._sums.any():
            return ""
        base, *after = [100 * mean_iu(sums) for sums in self._sums]
        best = int(np.argmax(after))
        return f"mean IU {base:.2f}, {after[best] - base:+.2f} at eps {self._eps[best]:g}"
