"""A net with its method, labelling batches of image files before and after the perturbation."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ContextManager, Sequence

import numpy as np

from caffe_gp.engines.sizes import largest_size, max_bytes, memory_for
from caffe_gp.errors import CaffeGPError, NetError, OutOfMemoryError, UsageError
from caffe_gp.evaluation.confusion import confusion, sparse
from caffe_gp.evaluation.settings import Resolved
from caffe_gp.evaluation.views import MeanOfViews, views_named
from caffe_gp.gp import GPResult, GuidedPerturbation
from caffe_gp.gp.adapt import Adaptation
from caffe_gp.gp.perturb import Watch
from caffe_gp.gp.result import Opinions
from caffe_gp.images.label_maps import IGNORE
from caffe_gp.images.placing import is_picture_of, words
from caffe_gp.images.preprocess import Canvas
from caffe_gp.surgery.batch_norms import TENT, normalised

_NET_OPTIONS = ("score", "stages", "level", "inputs", "defines")
CHANGES = ("changed_pixels", "fixed_pixels", "broken_pixels")  # against the base, which has none itself


class Labeller:
    """The net of some settings, loaded.

    gp, preprocess   the method and how images are fed
    classes          channels of the score blob
    net              what ``engines.open_net`` gave; ``net.changes`` says what was done to it
    """

    def __init__(self, resolved: Resolved, device: str | None = None) -> None:
        """Load the net. Raises the errors of ``engines.open_net`` and ``GuidedPerturbation``."""
        self.settings = settings = resolved.settings
        self.net = resolved.open_net(device)
        self.preprocess = resolved.preprocess
        self.gp = GuidedPerturbation(
            self.net,
            blob=settings.blob,
            encoding=settings.encoding,
            iterations=settings.iterations,
            inject=settings.inject,
            seed=settings.seed,
            step=settings.step,
            threshold=settings.threshold,
        )
        self._views = views_named(settings.average)
        self._adaptation: Adaptation | None = None
        if settings.adapt is not None:
            names = normalised(self.net.prepared.net)
            tent = settings.adapt == TENT
            self._adaptation = Adaptation(
                self.net,
                batch_norms=names.batch_norms,
                scales=names.scales if tent else (),
                steps=settings.tent_steps if tent else 0,
                rate=settings.tent_rate,
            )
        self._said = any("label maps" in change for change in self.net.changes)
        self.classes: int = self.net.net.blobs[self.gp.score].data.shape[1]

    def label(
        self,
        canvases: Sequence[Canvas],
        truths: Sequence[np.ndarray | None],
        keep_probabilities: bool = False,
        on_probabilities: Watch | None = None,
    ) -> GPResult:
        """Perturb a batch of images of one canvas size; truths are used by encoding 'ground-truth' only.

        With other views the result has the means of their probabilities, and the perturbation of the image.
        """
        if not self._views:
            return self._pass(canvases, truths, keep_probabilities, on_probabilities)
        mean = MeanOfViews(canvases, self.net.placing)
        passes = [self._pass(canvases, truths, False, mean.plain())]
        for view in self._views:
            shown = [view.canvas(canvas, self.preprocess, self.net.one_size) for canvas in canvases]
            seen = [truth if truth is None else view.truth(truth) for truth in truths]
            passes.append(self._pass(shown, seen, False, mean.of(view, shown)))
        return _of_views(passes, mean.means(), keep_probabilities, on_probabilities)

    def _pass(
        self,
        canvases: Sequence[Canvas],
        truths: Sequence[np.ndarray | None],
        keep_probabilities: bool,
        on_probabilities: Watch | None,
    ) -> GPResult:
        labels = None
        if self.settings.encoding == "ground-truth":
            pairs = [(truth, canvas) for truth, canvas in zip(truths, canvases) if truth is not None]
            labels = np.stack([self.preprocess.labels_to_canvas(truth, canvas) for truth, canvas in pairs])
        images = np.stack([canvas.data for canvas in canvases])
        try:
            with self._adapted(canvases, images):
                return self.gp(
                    images,
                    self.settings.eps,
                    labels=labels,
                    keep_probabilities=keep_probabilities,
                    on_probabilities=on_probabilities,
                )
        except OutOfMemoryError as error:
            raise self._with_largest_size(error, images) from error
        except NetError as error:
            raise self._with_own_size(error, images.shape[2:]) from error

    def _adapted(self, canvases: Sequence[Canvas], images: np.ndarray) -> ContextManager[None]:
        if self._adaptation is None:
            return nullcontext()
        for canvas in canvases:
            if canvas.valid != canvas.data.shape[1:]:
                raise UsageError(
                    "adapt takes statistics of whole images, and these are padded (--pad-to, or a scaled "
                    "view of a net of one size): padding would count as image"
                )
        return self._adaptation.to(images)

    def _with_largest_size(self, error: NetError, images: np.ndarray) -> NetError:
        """The error, with the size that fits if one image alone does not."""
        settings, net = self.settings, self.net
        height, width = images.shape[2:]
        if len(images) > 1 or settings.module or net.engine != "torch" or net.device != "cpu":
            return error
        options = {name: getattr(settings, name) for name in _NET_OPTIONS}
        try:
            limit = max_bytes()
            needs = memory_for(settings.prototxt, (width, height), settings.blob, **options).backward
            # Where it is less than may be taken, others have taken the rest.
            limit = min(limit, needs - 1)
            found = largest_size(settings.prototxt, (width, height), limit, settings.blob, **options)
        except CaffeGPError:
            return error
        if found is None:
            return error
        return type(error)(f"{error}. Images of {found[0]} x {found[1]} fit: --resize {found[0]},{found[1]}")

    def _with_own_size(self, error: NetError, size: Sequence[int]) -> NetError:
        """The error, with the net's own size if images of another were given."""
        if self.net.own_size is None:
            return error
        height, width = self.net.own_size
        if (height, width) == tuple(size) or "shape" not in str(error):
            return error
        return type(error)(
            f"{error}. The images are {size[1]} x {size[0]} here, the net's own input is {width} x {height}: "
            f"--resize {width},{height} may help"
        )

    def said_of_sizes(self, result: GPResult, canvas: Canvas) -> str:
        """What is done with label maps of another size than the canvas, the first time; else ''.

        NetError for scores that are no picture of the canvas.
        """
        if result.base_labels.ndim != 3:
            return ""
        scores, size = result.base_labels.shape[1:], canvas.data.shape[1:]
        if self.net.placing is None and not is_picture_of(scores, size):
            raise NetError(
                f"the scores '{self.gp.score}' are {scores[1]} x {scores[0]} for an input of {size[1]} x "
                f"{size[0]}: a layer like Reshape has put pixels elsewhere; name the blob before it (--score)"
            )
        if self._said:
            return ""
        said = words(scores, size, self.net.placing)
        self._said = bool(said)
        return said

    def maps(self, result: GPResult, i: int, canvas: Canvas) -> list[np.ndarray]:
        """Label maps of image ``i`` in its own pixels: base, then for every eps (or just class numbers)."""
        return self._in_image([labels[i] for labels in [result.base_labels, *result.labels]], canvas)

    def switched_maps(self, result: GPResult, i: int, canvas: Canvas) -> list[np.ndarray]:
        """For every eps, the label of the surer of both passes at each pixel."""
        return self._in_image([labels[i] for labels in result.switched_labels], canvas)

    def _in_image(self, maps: Sequence[np.ndarray], canvas: Canvas) -> list[np.ndarray]:
        if maps[0].ndim != 2:
            return list(maps)
        placing = self.net.placing
        return [self.preprocess.labels_to_image(labels, canvas, placing) for labels in maps]


def _of_views(
    passes: Sequence[GPResult], means: Sequence[np.ndarray], keep: bool, watch: Watch | None
) -> GPResult:
    """The result of several views: labels and confidences of their mean probabilities, base first."""
    base, after = Opinions(1, keep), Opinions(len(means) - 1, keep)
    for k, mean in enumerate(means):
        (after if k else base).add(mean)
        if watch is not None:
            watch(k, mean)
    return replace(
        passes[0],
        base_labels=base.labels[0],
        base_confidence=base.confidence[0],
        base_probabilities=None if base.probabilities is None else base.probabilities[0],
        labels=after.labels,
        confidence=after.confidence,
        probabilities=after.probabilities,
        seconds={kind: sum(one.seconds[kind] for one in passes) for kind in passes[0].seconds},
        passes={kind: sum(one.passes[kind] for one in passes) for kind in passes[0].passes},
    )


def scores_of(labels: np.ndarray, truth: np.ndarray | None, base: np.ndarray, classes: int) -> dict[str, Any]:
    """The numbers of one label map (H, W), or of one class, that a record keeps.

    changed_pixels   pixels whose label is not ``base``'s
    confusion        with ground truth: see ``confusion.sparse``
    fixed_pixels, broken_pixels   likewise: changed ones that are right now, or were; ignored ones not counted
    """
    if labels.ndim == 0:
        return {"label": int(labels)}
    changed = labels != base
    scores: dict[str, Any] = {"changed_pixels": int(changed.sum())}
    if truth is not None:
        changed &= truth != IGNORE
        scores["fixed_pixels"] = int((changed & (labels == truth)).sum())
        scores["broken_pixels"] = int((changed & (base == truth)).sum())
        truth = np.where(labels == IGNORE, IGNORE, truth)  # pixels that lie outside of the scores
        scores["confusion"] = sparse(confusion(truth, labels, classes))
    return scores
