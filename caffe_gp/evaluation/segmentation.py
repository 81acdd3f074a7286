"""One net on one set of images, before and after guided perturbations, and with a dense CRF behind both.

    images = segmentation.get("voc2012-reduced346")
    run = evaluate(Evaluation.of_model("fcn-32s", data=images, out=Path("out")))
    run.measures(run.base)["mean_iu"], run.gain(0.55)

What ``caffe_gp evaluate`` does, as a function. A run can be stopped and goes on where it stopped, with any
number of workers: batches are planned from the list of images alone and their records are merged by id.
"""

from __future__ import annotations

import os
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Callable, Iterable, Sequence

import numpy as np
from tqdm import tqdm

import caffe_gp
from caffe_gp import engines, proto
from caffe_gp.datasets.segmentation import SegmentationSet
from caffe_gp.errors import CaffeGPError, DataError
from caffe_gp.evaluation import results
from caffe_gp.evaluation.confusion import add_sparse
from caffe_gp.evaluation.results import RunFolder, RunResults
from caffe_gp.evaluation.settings import NetSettings, required
from caffe_gp.evaluation.tuning import mean_iu
from caffe_gp.files.hashes import sha256_of, sha256_of_text
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.images.reading import image_size
from caffe_gp.runs import batches
from caffe_gp.runs.records import as_read_back, check_key

OnRecords = Callable[[Sequence[dict]], None]

__all__ = ["Evaluation", "RunResults", "evaluate"]


@dataclass
class Evaluation(NetSettings):
    """Everything an evaluation is told.

    data      the images and their ground truth
    out       the run's own folder
    by_key    put the run into a folder of ``out`` that is named after its key: many runs share one ``out``
    crf       a name of ``caffe_gp.crf.PRESETS`` or a ``CRFSettings``: label maps behind a dense CRF as well,
              on the unperturbed photograph in its own pixels
    workers   processes on this machine, or actors of ``cluster``
    threads   CPU threads of each worker. They change last bits, so a run keeps to the number it began with;
              default: OMP_NUM_THREADS, else the machine's share
    devices   one worker for each, instead of ``device`` and ``workers``
    cluster   None, or a Ray cluster: 'local', 'auto' or 'ray://host:port' (see ``cluster.py``)
    label_maps   write them too: labels/<base, eps_...>[_crf]/<id>.png, indexed
    """

    data: SegmentationSet = field(default_factory=required)
    out: Path = field(default_factory=required)
    by_key: bool = False
    crf: Any = None
    workers: int = 1
    threads: int | None = None
    devices: tuple[str, ...] = ()
    cluster: str | None = None
    label_maps: bool = False

    def crf_settings(self) -> Any:
        """The CRF's parameters, a ``CRFSettings`` or None; CaffeGPError for an unknown preset."""
        if self.crf is None:
            return None
        from caffe_gp.crf import PRESETS, CRFSettings  # numba takes a while

        if isinstance(self.crf, CRFSettings):
            return self.crf
        if self.crf not in PRESETS:
            raise CaffeGPError(f"unknown CRF preset '{self.crf}'; known are {', '.join(PRESETS)}")
        return PRESETS[self.crf]

    def key(self) -> dict[str, Any]:
        """Every setting that the numbers depend on, to the last bit on one kind of processor."""
        prepared = self.prepare()
        engine = engines.describe(self.engine, self.device)
        crf = self.crf_settings()
        device = self.device.split(":")[0]
        versions = [engine[name] for name in ("engine_version", "torch") if name in engine]
        return {
            "caffemodel_sha256": sha256_of(self.caffemodel),
            "prepared_prototxt_sha256": sha256_of_text(proto.to_text(prepared.net)),
            **self.method(prepared),
            **self.preprocess(prepared).describe(),
            "data": self.data.name,
            "images": len(self.data.ids),
            "ids_sha256": sha256_of_text("\n".join(self.data.ids)),
            "crf": None if crf is None else asdict(crf),
            "batch_size": self.batch_size,
            "engine": engine["engine"],
            "engine_version": ", torch ".join(versions),
            "device": device,
            "threads": self.threads if device == "cpu" else None,
            "version": caffe_gp.__version__,
        }


def evaluate(settings: Evaluation) -> RunResults:
    """Compute what the run's folder does not hold yet, write its reports and return its results.

    Raises the errors of ``engines.load_net``, ``GuidedPerturbation`` and ``Preprocess``; DataError for images
    and label maps, and, naming the setting, for a folder with a run of other settings; EngineError when all
    workers have died. Whatever happens, the same call goes on where this one stopped.
    """
    _check(settings)
    settings = _with_workers(settings)
    key = as_read_back(settings.key())
    folder = _folder(settings, key)
    finished = {}
    if folder.is_begun():
        check_key(folder.path, folder.key(), key)
        finished = _up_to_date(settings, folder)
    todo = _batches_without(settings, finished)
    if todo or not folder.is_reported():
        _compute(settings, folder, key, todo, finished)
        results.write_reports(folder)
    return results.read_run(folder.path)


# ---- before


def _check(settings: Evaluation) -> None:
    settings.check_eps()
    settings.crf_settings()
    if settings.workers < 1 or settings.batch_size < 1 or (settings.threads or 1) < 1:
        raise CaffeGPError("workers, threads and batch_size must be at least 1")
    if settings.encoding == "ground-truth" and not settings.data.has_truth:
        raise DataError(f"encoding 'ground-truth' needs ground truth; set '{settings.data.name}' has none")
    if not settings.data.ids:
        raise DataError(f"set '{settings.data.name}' holds no images")
    if settings.cluster is not None and settings.devices:
        raise CaffeGPError("a cluster chooses its devices itself: give device 'cpu' or 'cuda'")


def _with_workers(settings: Evaluation) -> Evaluation:
    """The settings with the number of workers and their threads decided."""
    if settings.devices:
        settings = replace(settings, device=settings.devices[0], workers=len(settings.devices))
    if settings.threads is None:
        threads = int(engines.describe(settings.engine, settings.device)["threads"])
        if not os.environ.get(engines.THREADS_VARIABLE):
            threads = max(1, threads // settings.workers)
            begun = None if settings.by_key else RunFolder(settings.out)
            if begun is not None and begun.is_begun():
                threads = begun.key()["threads"] or threads
        settings = replace(settings, threads=threads)
    return settings


def _folder(settings: Evaluation, key: dict[str, Any]) -> RunFolder:
    if not settings.by_key:
        return RunFolder(settings.out)
    source = Path(settings.prototxt)
    net = settings.model or f"{source.resolve().parent.name}-{source.stem}"
    return RunFolder(Path(settings.out) / results.keyed_name(net, settings.data.name, key))


def _up_to_date(settings: Evaluation, folder: RunFolder) -> dict[str, dict]:
    """The records whose image, ground truth and label maps are still what they were."""
    found = {}
    for item, record in results.merged(folder.parts()).items():
        files = folder.label_files(item, settings) if settings.label_maps else []
        if results.hashes(settings.data, item) == (record["image_sha256"], record["truth_sha256"]):
            if all(path.is_file() for path in files):
                found[item] = record
    return found


def _batches_without(settings: Evaluation, finished: dict[str, dict]) -> list[tuple[str, ...]]:
    """The planned batches that hold an image without a record; whole, since neighbours change last bits."""
    ids = settings.data.ids
    if len(finished) == len(ids):
        return []
    preprocess = settings.preprocess(settings.prepare())
    sizes = []
    for item in ids:  # missing and broken files are told now, not after hours
        if settings.data.has_truth:
            settings.data.label_file(item)
        sizes.append(preprocess.canvas_size(image_size(settings.data.image(item))))
    planned = batches.plan(sizes, settings.batch_size)
    chosen = [tuple(ids[index] for index in batch) for batch in planned]
    return [batch for batch in chosen if any(item not in finished for item in batch)]


# ---- meanwhile


def _compute(
    settings: Evaluation,
    folder: RunFolder,
    key: dict[str, Any],
    todo: Sequence[tuple[str, ...]],
    finished: dict[str, dict],
) -> None:
    folder.begin(key, settings.data.ids)
    if not todo:
        return
    # In a log file every update is a line of its own.
    on_screen = sys.stderr.isatty()
    with tqdm(
        total=len(settings.data.ids),
        initial=len(finished),
        unit="image",
        disable=settings.quiet,
        file=sys.stderr,
        mininterval=0.2 if on_screen else 10,
    ) as bar:
        score = _RunningScore(settings.eps, finished.values())
        seen = set(finished)

        def on_records(records: Sequence[dict]) -> None:
            new = [record for record in records if record["item"] not in seen]
            seen.update(record["item"] for record in new)
            score.add(new)
            bar.set_postfix_str(score.text(), refresh=False)
            bar.update(len(new))

        if settings.cluster is not None:
            from caffe_gp.runs import cluster

            cluster.compute(settings, folder, key, todo, on_records)
        elif settings.workers > 1 or not _can_compute_here(settings):
            from caffe_gp.runs import pool

            pool.compute(settings, folder, key, todo, on_records)
        else:
            _compute_here(settings, folder, key, todo, on_records)


def _can_compute_here(settings: Evaluation) -> bool:
    """Whether this process computes with the settings' threads: BVLC Caffe keeps those it started with."""
    described = engines.describe(settings.engine, settings.device)
    return described["engine"] == "torch" or int(described["threads"]) == settings.threads


def _compute_here(
    settings: Evaluation,
    folder: RunFolder,
    key: dict[str, Any],
    todo: Sequence[tuple[str, ...]],
    on_records: OnRecords,
) -> None:
    from caffe_gp.evaluation.evaluator import Evaluator

    before = int(engines.describe(settings.engine, settings.device)["threads"])
    engines.load_caffe(settings.engine, settings.device, settings.threads)
    try:
        evaluator = Evaluator(settings, folder)
        if not settings.quiet:
            for change in evaluator.changes:
                tqdm.write(f"  {change}", file=sys.stderr)
        with folder.new_records(evaluator.head(key)) as writer:
            for records in evaluator.run(todo):
                writer.write(*records)
                on_records(records)
    finally:
        engines.load_caffe(settings.engine, settings.device, before)


class _RunningScore:
    """The mean IU so far, for the progress bar."""

    def __init__(self, eps: Sequence[float], records: Iterable[dict]) -> None:
        self._eps = eps
        # Room for any number of classes: only the net knows it, and it may be loaded elsewhere.
        self._sums = np.zeros((1 + len(eps), 1, IGNORE, IGNORE), np.int64)
        self.add(records)

    def add(self, records: Iterable[dict]) -> None:
        for record in records:
            for entry, total in zip([record["base"], *record["gp"]], self._sums):
                add_sparse(entry.get("confusion", ()), total[0])

    def text(self) -> str:
        if not self._sums.any():
            return ""
        base, *after = [100 * mean_iu(sums) for sums in self._sums]
        best = int(np.argmax(after))
        return f"mean IU {base:.2f}, {after[best] - base:+.2f} at eps {self._eps[best]:g}"
