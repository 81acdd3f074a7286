"""The one net that everybody looks through, and what it is asked: one pass at a time.

net = SharedNet(NetSettings.of_model("digits"))
look = net.look(net.read("photo.png"), Method(net.input, "onehot", 1))
look = net.at(look, eps=2.0)          # one pass: base and diff are in the look
look = net.curve(look)                # and a click: net.click(look, 0.5, 0.5)
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Sequence

import numpy as np

from caffe_gp import engines
from caffe_gp.datasets.class_names import CAMVID, CAMVID_COLOURS, DIGIT_SCENES
from caffe_gp.datasets.digit_scenes import PALETTE
from caffe_gp.errors import DataError, NetError, UsageError
from caffe_gp.evaluation.choose_eps import find_eps
from caffe_gp.evaluation.settings import NetSettings
from caffe_gp.explore.look import Curve, Look, Method, Pixel
from caffe_gp.gp import ENCODINGS as ALL_ENCODINGS
from caffe_gp.gp import GPResult, GuidedPerturbation
from caffe_gp.gp.passes import TruncatedPass, view_layers
from caffe_gp.images.label_maps import read_label_png
from caffe_gp.images.placing import is_picture_of
from caffe_gp.images.preprocess import Canvas, Preprocess
from caffe_gp.images.reading import image_size
from caffe_gp.models import zoo
from caffe_gp.report.pictures import display_size, resize, resize_labels

#: Those that need nothing but the net: no ground truth, no threshold.
ENCODINGS = tuple(name for name in ALL_ENCODINGS if name not in ("ground-truth", "thresholded-onehot"))
MAX_ITERATIONS = 5
#: Steps of the curve, in shares of the usual step; the slider ends where they end.
SHARES = tuple(share / 2 for share in range(-6, 7))
#: The longer side, in pixels, at which a net is fed that takes any size; and of pictures on the page.
WORKING, DISPLAY = 512, 640
MAX_SCORES = 256 << 20  # bytes that a curve's scores may take; above, a click computes its pixel's anew
_COLOURS = {DIGIT_SCENES: PALETTE, CAMVID: CAMVID_COLOURS}


class SharedNet:
    """A net of some settings, loaded. Threads may share it: passes wait for each other.

    settings   their blob is what the page begins with; eps: a list of one step for that blob, or 'auto'
    working    longer side at which larger pictures are fed, where the net does not fix a size
    input, blobs     names of the input blob and of all that can be moved, the input first
    classes, names   number and names of the classes
    palette    (n, 3) uint8 RGB, or None: VOC's
    Raises the errors of ``settings.source`` and of opening the net.
    """

    def __init__(
        self,
        settings: NetSettings,
        *,
        working: int = WORKING,
        threads: int | None = None,
        palette: np.ndarray | None = None,
    ) -> None:
        source = settings.source()
        engines.load_caffe(settings.engine, settings.device, threads, deterministic=settings.deterministic)
        self.settings, self.preprocess, self.working = settings, source.preprocess, working
        self._net = source.open(settings.device)
        self._lock = threading.Lock()
        self._methods: dict[Method, GuidedPerturbation] = {}
        self._usual: dict[str, tuple[float, str]] = {}
        self._held: object = None  # the diff of the base that the net's blobs still hold
        first = GuidedPerturbation(self._net, blob=source.blob(settings.blob))
        self.input, self.score, self.first_blob = first.input, first.score, first.blob
        self.blobs = _movable(first)
        self.classes = int(first.net.blobs[first.score].shape[1])
        names = settings.class_names(self.classes)
        self.names = names or [f"class {label}" for label in range(self.classes)]
        known = _COLOURS.get(tuple(names or ()))
        self.palette = palette if palette is not None or known is None else np.array(known, np.uint8)
        self.changes = list(self._net.changes)

    @property
    def title(self) -> str:
        """What the net is called on the page."""
        model = self.settings.model
        return zoo.get(model).title if model is not None else self.settings.net_name()

    def method(self, blob: str, encoding: str, iterations: int) -> Method:
        """The method of these names. UsageError for what the page does not offer."""
        if blob not in self.blobs or encoding not in ENCODINGS:
            raise UsageError(f"no blob '{blob}' or no encoding '{encoding}' is offered here")
        if iterations not in range(1, MAX_ITERATIONS + 1):
            raise UsageError(f"iterations are 1 to {MAX_ITERATIONS}, found {iterations}")
        return Method(blob, encoding, iterations)

    # ---- pictures

    def read(self, path: str | Path, name: str, truth: str | Path | None = None) -> Look:
        """A picture as the net is fed, and at display size; no net is run.

        name   for messages and the page; truth: a label map of its size
        DataError for a file that is no image, or too large.
        """
        try:
            size = image_size(path)
            feed = self._feed(size)
            canvas = feed.load(path)
        except DataError as error:
            raise DataError(str(error).replace(str(path), name)) from None
        shown = display_size(canvas.image.shape, DISPLAY)
        labels = None if truth is None else resize_labels(read_label_png(truth, self.classes), shown)
        canvas = Canvas(canvas.data, resize(canvas.image, shown), canvas.valid)
        return Look(name, size, feed, canvas, labels)

    def _feed(self, size: Sequence[int]) -> Preprocess:
        """How a picture of this size is fed: reduced if it is large and the net takes any size."""
        feed = self.preprocess
        if feed.resize:
            return feed
        most = self.working if feed.pad_to is None else min(feed.pad_to)
        return replace(feed, resize=most) if max(size) > most else feed

    # ---- what the net says

    def look(self, look: Look, method: Method, eps: float | None = None) -> Look:
        """The picture before and after: at ``eps``, or at the step that is usual for the blob.

        Forward, backward and a step; only the step where the look has the same blob and encoding.
        """
        with self._lock:
            if not method.same_diff(look.method):
                look = self._begin(look, method)
            return self._at(look, method, look.usual if eps is None else eps)

    def at(self, look: Look, eps: float) -> Look:
        """The same at another eps: one pass, and for an inner blob one more if others were here meanwhile."""
        assert look.method is not None
        with self._lock:
            return self._at(look, look.method, eps)

    def curve(self, look: Look) -> Look:
        """The same with the curve over eps; a pass for each of its steps unless the look has it."""
        with self._lock:
            return look if look.curve is not None else replace(look, curve=self._curve(look))

    def click(self, look: Look, x: float, y: float) -> Look:
        """The same with the scores of one pixel across eps; x and y are 0..1 from the left and top.

        No pass where the curve keeps its scores, else one for each of its steps.
        """
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise UsageError(f"a place in the picture lies in 0..1 both ways, found {x}, {y}")
        look = self.curve(look)
        assert look.curve is not None
        pixel = look.place(x, y)
        if pixel is None:
            return replace(look, pixel=None, pixel_scores=None)
        with self._lock:
            return replace(look, pixel=pixel, pixel_scores=self._pixel_scores(look, pixel))

    # ---- passes; the lock is held

    def _begin(self, look: Look, method: Method) -> Look:
        gp = self._gp(method)
        self._held = None
        found = gp(
            look.images, 0.0, keep_blob=True, keep_diff=True, keep_probabilities=True, keep_scores=True
        )
        self._check_scores(look, found)
        if found.base_labels[0].size > 1:
            found.base_probabilities = None
        found.blob = found.probabilities = found.scores = None
        self._held = found.diff
        look = replace(look, placing=self._net.placing, base=found)
        usual, note = self._usual_eps(look, method)
        return replace(look, usual=usual, note=note, curve=None, pixel_scores=None)

    def _at(self, look: Look, method: Method, eps: float) -> Look:
        after = self._more(look, method, [eps], keep_probabilities=look.whole)
        single = replace(
            after,
            labels=after.labels[0],
            confidence=after.confidence[0],
            perturbation=after.perturbation[0],
            probabilities=None if after.probabilities is None else after.probabilities[0],
        )
        return look.with_result(method, eps, single, None)

    def _more(self, look: Look, method: Method, eps: Sequence[float], **keep: bool) -> GPResult:
        assert look.base is not None
        held, self._held = self._held is look.base.diff, None  # until this has ended well
        found = self._gp(method).more(look.base, look.images, eps, held=held, **keep)
        self._held = look.base.diff
        return found

    def _curve(self, look: Look) -> Curve:
        assert look.base is not None and look.base.base_scores is not None and look.method is not None
        eps = np.array([share * look.usual for share in SHARES])
        others = eps[eps != 0]
        keep = look.base.base_scores.nbytes * len(eps) <= MAX_SCORES
        found = self._more(look, look.method, others.tolist(), keep_scores=keep)
        at = int(np.searchsorted(eps, 0.0))
        confidence = [look.mean(one[0]) for one in found.confidence]
        confidence.insert(at, look.mean(found.base_confidence[0]))
        scores = None
        if found.scores is not None:
            scores = np.insert(found.scores[:, 0], at, look.base.base_scores[0], axis=0)
        return Curve(eps, np.array(confidence), scores, sum(found.passes.values()))

    def _pixel_scores(self, look: Look, pixel: Pixel) -> np.ndarray:
        assert look.curve is not None and look.base is not None and look.method is not None
        rows = slice(None)
        place = (pixel.row, pixel.column) if look.base.base_labels.ndim == 3 else ()
        if look.curve.scores is not None:
            return look.curve.scores[(rows, rows, *place)]
        found = []
        for eps in look.curve.eps.tolist():  # one after the other: together they are too large
            scores = look.base.base_scores
            if eps != 0:
                scores = self._more(look, look.method, [eps], keep_scores=True).scores
                scores = None if scores is None else scores[0]
            assert scores is not None
            found.append(scores[(0, rows, *place)].copy())
        return np.stack(found)

    def _gp(self, method: Method) -> GuidedPerturbation:
        if method not in self._methods:
            self._methods[method] = GuidedPerturbation(
                self._net,
                score=self.score,
                blob=method.blob,
                encoding=method.encoding,
                iterations=method.iterations,
            )
        return self._methods[method]

    def _usual_eps(self, look: Look, method: Method) -> tuple[float, str]:
        """A step that suits the blob and where it comes from: found once, on the first picture."""
        if method.blob not in self._usual:
            self._usual[method.blob] = self._choose(look, method)
        return self._usual[method.blob]

    def _choose(self, look: Look, method: Method) -> tuple[float, str]:
        settings = self.settings
        if settings.eps != "auto" and method.blob == self.first_blob:
            return float(settings.eps[0]), settings.eps_source()
        model = zoo.get(settings.model) if settings.model is not None else None
        if model is not None and model.eps is not None and method.blob == self.input:
            return model.eps, model.eps_source
        unit = self.preprocess.grey_level if method.blob == self.input else 1.0

        onehot = Method(method.blob, "onehot", 1)

        def measure(steps: Sequence[float]) -> tuple[float, Sequence[float]]:
            if onehot.same_diff(method):
                found = self._more(look, onehot, steps)
            else:
                self._held = None
                found = self._gp(onehot)(look.images, steps)
            return look.mean(found.base_confidence[0]), [look.mean(one[0]) for one in found.confidence]

        try:
            return find_eps(measure, unit).eps, f"chosen without labels on {look.name}"
        except DataError as error:
            return unit, f"a guess: {error}"

    def _check_scores(self, look: Look, found: GPResult) -> None:
        scores, size = found.base_labels.shape[1:], look.canvas.data.shape[1:]
        if found.base_labels[0].size > 1 and self._net.placing is None and not is_picture_of(scores, size):
            raise NetError(
                f"the scores '{self.score}' are {' x '.join(map(str, scores))} for an input of "
                f"{' x '.join(map(str, size))}: they are no picture of it; name another blob (--score)"
            )


def _movable(gp: GuidedPerturbation) -> list[str]:
    """The blobs between input and scores that a perturbation may move, in the order of the net."""
    blobs = [gp.input]
    for layer in view_layers(gp.net):
        if layer.type == "Split":
            continue
        for top in layer.tops:
            if top in blobs or top == gp.score:
                continue
            try:
                TruncatedPass(gp.net, top, gp.score)
            except NetError:
                continue
            blobs.append(top)
    return blobs
