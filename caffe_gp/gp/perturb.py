"""Guided perturbations of an image, or of an inner blob, with the net's own labels.

One call is three steps (section 3 of the paper)::

    step 1   forward
    step 2   write the error signal of the pseudo labels to the diff of the score blob; backward to the blob
    step 3   blob += eps * sign(diff); forward again from the blob

The diff does not depend on eps, so a list of n values costs n + 2 passes. On a GPU of the embedded Caffe
probabilities, signal, signs and the moved blob stay there; the formulas are the same.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Iterator, Sequence

import numpy as np

from caffe_gp.errors import DataError, NetError, UsageError, ZeroGradientError, check_array
from caffe_gp.gp import encodings, steps
from caffe_gp.gp.passes import view_layers
from caffe_gp.gp.perturbed_net import PerturbedNet
from caffe_gp.gp.pycaffe import AnyNet, Net, data_on_device, read_data, write_data
from caffe_gp.gp.result import GPResult, Opinions, gp_result
from caffe_gp.one_thread import in_one_thread

Progress = Callable[[int, int, str], None]
Watch = Callable[[int, np.ndarray], None]


class GuidedPerturbation(PerturbedNet):
    """Perturbs one blob of a net along the sign of its error signal and labels the result.

    net         a ``caffe.Net`` of either engine, or what ``engines.load_net`` returns
    score       blob of class scores, (N, C, H, W) or (N, C); default: the bottom of the net's Softmax, or
                its only output
    blob        the blob to perturb: the input ('data') or an inner one ('pool3')
    encoding    one of ``encodings.ENCODINGS``, or a function: of the probabilities y -> a distribution l, or
                of scores and probabilities (z, y) -> the error signal at the score, all of them (N, C, ...)
    step        one of ``steps.STEPS``, or a function of the diff: see ``steps.direction``
    threshold   of the encoding 'thresholded-onehot'
    iterations  number of steps of size eps; the pseudo labels are taken anew before each
    inject      'score' (eq. 5) or 'softmax-output'; default: 'score', but 'softmax-output' for 'soft'
    seed        of the random encoding
    on_progress called as ``on_progress(done, total, what)`` after every pass
    allow_zero_gradient   leave a blob whose diff is zero everywhere as it is, instead of raising
    debug       raise NetError if a step leaves every confidence as it was

    ``repr`` shows the settings. Raises NetError when the blobs do not suit, UsageError for bad settings.
    """

    def __init__(
        self,
        net: AnyNet,
        *,
        score: str | None = None,
        blob: str = "data",
        encoding: encodings.Encoding = "onehot",
        iterations: int = 1,
        inject: str | None = None,
        seed: int = 0,
        step: steps.Step = "sign",
        threshold: float | None = None,
        on_progress: Progress | None = None,
        allow_zero_gradient: bool = False,
        debug: bool = False,
    ) -> None:
        if not _is_whole(iterations) or iterations < 1:
            raise UsageError(f"iterations must be a whole number of at least 1, found {iterations!r}")
        if not _is_whole(seed) or not 0 <= seed < 2**32:
            raise UsageError(f"seed must be a whole number in 0..2**32-1, found {seed!r}")
        self.inject = encodings.check_choice(encoding, inject)
        encodings.checked_threshold(encoding, threshold)
        steps.check_step(step)
        self.encoding, self.iterations, self.seed = encoding, iterations, seed
        self.step, self.threshold = step, threshold
        self.on_progress, self.allow_zero_gradient, self.debug = on_progress, allow_zero_gradient, debug
        super().__init__(net, score=score, blob=blob)
        self._prob = _softmax_top(self.net, self.score)

    def __repr__(self) -> str:
        threshold = "" if self.threshold is None else f", threshold={self.threshold:g}"
        return (
            f"GuidedPerturbation(score={self.score!r}, blob={self.blob!r}, encoding={self.encoding!r}"
            f"{threshold}, iterations={self.iterations}, inject={self.inject!r}, step={self.step!r}, "
            f"seed={self.seed})"
        )

    @in_one_thread
    def __call__(
        self,
        images: np.ndarray,
        eps: float | Sequence[float],
        labels: np.ndarray | None = None,
        valid: np.ndarray | None = None,
        keep_probabilities: bool = False,
        on_probabilities: Watch | None = None,
        keep_scores: bool = False,
        keep_blob: bool = False,
        keep_diff: bool = False,
    ) -> GPResult:
        """Run the method on a batch of preprocessed images of one size.

        images   (N, C, H, W) float32, what the net's input blob expects; the net is reshaped if need be
        eps      one step size or a list, in units of the blob (grey levels at the input of most nets)
        labels   (N, H, W) integers, 255 ignored; for the encoding 'ground-truth' only
        valid    (N, H, W) bool at the score's size: where False nothing is sent back, and, if it has the
                 input's size and the input is perturbed, nothing is added. Default: the whole canvas.
        on_probabilities   called as ``on_probabilities(k, y)`` with the probabilities (N, C, H, W) before the
                 perturbation, k = 0, and after that of eps[k - 1]: a view that the next pass overwrites. For
                 what needs them all but not all at once.
        keep_probabilities, keep_scores, keep_blob, keep_diff   what the result holds: see ``GPResult``
        Raises DataError for images, steps, labels or masks that do not fit, ZeroGradientError (see
        there), NetError.
        """
        values = _step_sizes(eps)
        images = np.asarray(images)
        if valid is not None:
            check_array(valid, "the mask of valid pixels", "b")
        clock = _Clock(self.on_progress, total=2 + len(values) + (self.iterations - 1) * 2 * len(values))
        seeds = self._seeds(images)

        # Step 1: the net's own opinion.
        self.set_images(images)
        with clock("forward"):
            self.restart.whole()
        probabilities = self._probabilities()
        scores = self._scores if keep_scores else None
        base = Opinions(1, keep_probabilities, scores)
        base.add(probabilities)
        if on_probabilities is not None:
            on_probabilities(0, np.asarray(probabilities))

        # Step 2: the error signal of the pseudo labels, pushed back to the blob.
        signal = self._signal(probabilities, labels, valid, seeds, iteration=0)
        direction = self._push_back(signal, valid, clock)
        start = self._start()
        diff = self.diff().copy() if keep_diff else None

        # Step 3: one small step along its sign, for every eps, and the rest of the net again.
        after = Opinions(len(values), keep_probabilities, scores)
        steps_taken = self._after(after, start, direction, values, labels, valid, seeds, clock)
        perturbations: list[np.ndarray] = []
        moved_blobs: list[np.ndarray] = []
        for k, (probabilities, moved) in enumerate(steps_taken):
            perturbations.append(moved)
            if keep_blob:
                moved_blobs.append(np.array(read_data(self.net.blobs[self.blob]), order="C"))
            if on_probabilities is not None:
                on_probabilities(k + 1, np.asarray(probabilities))
            if self.debug:
                self._check_moved(base.confidence[0], after.confidence[k], values[k], moved)
        result = gp_result(eps, values, base, after, perturbations, clock.seconds, clock.passes)
        if keep_blob:
            result.base_blob = np.asarray(start)
            result.blob = moved_blobs[0] if np.ndim(eps) == 0 else np.stack(moved_blobs)
        result.diff = diff
        return result

    @in_one_thread
    def more(
        self,
        result: GPResult,
        images: np.ndarray,
        eps: float | Sequence[float],
        held: bool = False,
        keep_probabilities: bool = False,
        keep_scores: bool = False,
    ) -> GPResult:
        """Other steps from what an earlier call found: a pass for each, since base and diff do not change.

        result   of a call on ``images`` with keep_blob and keep_diff, made with this net, blob, encoding and
                 step; the iterations may have been others. It is not changed
        images   those of that call
        held     nothing but ``result``'s call and calls of ``more`` for it has used the net since. Without
                 that an inner blob costs one pass more, by which the net gets its images back
        Returns a result with the base of ``result``. Raises DataError for a result that kept too little, and
        the errors of a call. Not for the encoding 'ground-truth' or a mask.
        """
        values = _step_sizes(eps)
        if result.base_blob is None or result.diff is None:
            raise DataError("more steps need a result of a call with keep_blob=True and keep_diff=True")
        images = np.asarray(images)
        again = not held and self.blob != self.input  # from the input all is computed anyway
        total = int(again) + len(values) + (self.iterations - 1) * 2 * len(values)
        clock = _Clock(self.on_progress, total=total)
        if not held:
            self.set_images(images)
        if again:
            with clock("forward"):
                self.restart.whole()
        base = Opinions(1, False)
        base.labels, base.confidence = result.base_labels[np.newaxis], result.base_confidence[np.newaxis]
        after = Opinions(len(values), keep_probabilities, self._scores if keep_scores else None)
        direction = steps.direction(self.step, result.diff)
        seeds = self._seeds(images)
        taken = self._after(after, result.base_blob, direction, values, None, None, seeds, clock)
        perturbations = [moved for _, moved in taken]
        found = gp_result(eps, values, base, after, perturbations, clock.seconds, clock.passes)
        found.base_probabilities, found.base_scores = result.base_probabilities, result.base_scores
        found.base_blob, found.diff = result.base_blob, result.diff
        return found

    # ---- the parts of a step

    def _after(
        self,
        after: Opinions,
        start: np.ndarray,
        direction: np.ndarray,
        values: Sequence[float],
        labels: np.ndarray | None,
        valid: np.ndarray | None,
        seeds: Callable[[int], list[list[int]]] | None,
        clock: _Clock,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Step 3 for every eps, and its opinion into ``after``: probabilities, and what eps multiplied.

        The probabilities are a view that the next pass overwrites.
        """
        for value in values:
            moved = direction
            probabilities = self._step(start, value, moved, clock)
            for iteration in range(1, self.iterations):
                signal = self._signal(probabilities, labels, valid, seeds, iteration)
                moved = moved + self._push_back(signal, valid, clock)
                probabilities = self._step(start, value, moved, clock)
            after.add(probabilities)
            yield probabilities, moved

    def _probabilities(self) -> np.ndarray:
        """Softmax of the score, (N, C, ...): a view where the net computes it, valid until the next pass."""
        if self._prob is not None:
            blob = self.net.blobs[self._prob]
            stays = encodings.can_stay_on_device(self.encoding, tuple(blob.shape))
            y = data_on_device(blob) if stays else None
            if y is None:
                y = blob.data
            # A Softmax over another axis than 1 is of no use here; one pixel tells.
            total = np.asarray(y[0].reshape(y.shape[1], -1)[:, 0]).sum()
            if abs(total - 1) < 1e-3:
                return y
            if self.found_score and np.isfinite(total):
                raise NetError(
                    f"the Softmax '{self._prob}' has the classes of '{self.score}' on another axis than 1, "
                    "where guided perturbations need them: name the blob of class scores with score="
                )
        return encodings.softmax(self._scores())

    def _signal(
        self,
        y: np.ndarray,
        truth: np.ndarray | None,
        valid: np.ndarray | None,
        seeds: Callable[[int], list[list[int]]] | None,
        iteration: int,
    ) -> np.ndarray:
        signal = encodings.signal_of(
            self.encoding,
            self.inject,
            y,
            self._scores,
            truth=truth,
            seeds=seeds(iteration) if seeds else None,
            threshold=self.threshold,
        )
        if valid is not None:
            expected = y.shape[:1] + y.shape[2:]
            if valid.shape != expected:
                raise DataError(f"valid mask of shape {valid.shape}, the net's scores need {expected}")
            signal *= valid[:, np.newaxis]
        return signal

    def _scores(self) -> np.ndarray:
        """What the Softmax gets, (N, C, ...): to be read at once."""
        return np.ascontiguousarray(read_data(self.net.blobs[self.score]))

    def _push_back(self, signal: np.ndarray, valid: np.ndarray | None, clock: _Clock) -> np.ndarray:
        """The direction at the blob for an error signal at the score."""
        self.set_signal(signal)
        with clock("backward"):
            self.restart.backward()
        direction = steps.direction(self.step, self.diff(on_device=self.step == "sign"))
        if not direction.any() and not self.allow_zero_gradient:
            raise ZeroGradientError(self.why_no_gradient("" if signal.any() else self._why_no_signal()))
        if valid is not None and self.blob == self.input and valid.shape[1:] == direction.shape[2:]:
            direction *= valid[:, np.newaxis]
        return direction

    def _start(self) -> np.ndarray:
        """A copy of the blob's value, beside its diff."""
        blob = self.net.blobs[self.blob]
        start = data_on_device(blob) if self.step == "sign" else None
        return np.array(read_data(blob), order="C") if start is None else start.copy()

    def _step(self, start: np.ndarray, eps: float, direction: np.ndarray, clock: _Clock) -> np.ndarray:
        """Probabilities with ``eps * direction`` added to the blob's first value."""
        step = direction.astype(np.float32)
        step *= np.float32(eps)
        step += start
        write_data(self.net.blobs[self.blob], step)
        with clock("forward_perturbed"):
            self.restart.forward()
        return self._probabilities()

    def _seeds(self, images: np.ndarray) -> Callable[[int], list[list[int]]] | None:
        if self.encoding != "random-onehot":
            return None
        images = np.asarray(images, dtype=np.float32)
        return lambda iteration: encodings.image_seeds(images, self.seed, iteration)

    # ---- messages

    def _why_no_signal(self) -> str:
        return (
            f"the error signal at '{self.score}' (encoding '{self.encoding}') is: every pixel is ignored or "
            "masked, or the Softmax is saturated (probabilities of exactly 0 and 1: are the images scaled as "
            "the net expects?)"
        )

    def _check_moved(self, base: np.ndarray, now: np.ndarray, eps: float, direction: np.ndarray) -> None:
        if eps and direction.any() and np.array_equal(base, now):
            raise NetError(
                f"blob '{self.blob}' was moved by {eps:g} but no confidence at '{self.score}' changed: eps "
                f"is below the float32 resolution of the blob, or layer '{self.restart.first_reader}' does "
                "not reach the score"
            )


def _softmax_top(net: Net, score: str) -> str | None:
    """Blob with the Softmax over classes of ``score`` if the net computes one, not in place."""
    layers = view_layers(net)
    copies = {score}.union(
        *[layer.tops for layer in layers if layer.type == "Split" and layer.bottoms[0] == score]
    )
    shape = tuple(net.blobs[score].shape)
    for layer in reversed(layers):
        if layer.type == "Softmax" and layer.bottoms[0] in copies and layer.tops[0] != score:
            if tuple(net.blobs[layer.tops[0]].shape) == shape:
                return layer.tops[0]
    return None


def _step_sizes(eps: float | Sequence[float]) -> tuple[float, ...]:
    given: Any = eps.tolist() if isinstance(eps, np.ndarray) and eps.ndim < 2 else eps
    values = list(given) if isinstance(given, (list, tuple, range)) else [given]
    numbers = (int, float, np.integer, np.floating)
    if not values or not all(
        isinstance(one, numbers) and not isinstance(one, bool) and np.isfinite(one) for one in values
    ):
        raise DataError(f"eps must be a finite number or a list of them, found {eps!r}")
    return tuple(map(float, values))


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


class _Clock:
    """Times passes by kind and reports progress."""

    def __init__(self, on_progress: Progress | None, total: int) -> None:
        self.seconds: dict[str, float] = {"forward": 0.0, "backward": 0.0, "forward_perturbed": 0.0}
        self.passes: dict[str, int] = {"forward": 0, "backward": 0, "forward_perturbed": 0}
        self._on_progress, self._total, self._done, self._kind = on_progress, total, 0, ""

    def __call__(self, kind: str) -> _Clock:
        self._kind = kind
        return self

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.seconds[self._kind] += time.perf_counter() - self._start
        self.passes[self._kind] += 1
        self._done += 1
        if error is None and self._on_progress is not None:
            self._on_progress(self._done, self._total, self._kind)
