"""Mean-field inference of a dense CRF, unrolled, forward and backward (CRF-RNN; Zheng et al., ICCV 2015).

Every step takes the probabilities p of the last scores q, filters them with the kernels K_k, mixes classes
with matrices M_k and starts from the unary scores u again:

    q <- u - sum_k M_k (K_k softmax(q))

M_k is the product of CRF-RNN's compatibility matrix and its weights of the kernel. Mixing classes and
filtering pixels commute, so classes are mixed on the lattice's corners.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Mapping, Sequence

import numpy as np

from caffe_gp.crf.kernels import Array, Kernel
from caffe_gp.crf.rows import NumpyRows, Rows

#: CRF-RNN runs 5 in training and 10 in use; each keeps its scores for the backward.
MAX_ITERATIONS = 1000


class MeanField:
    """CRF-RNN's MultiStageMeanfield: T steps with a spatial and a bilateral kernel and learned matrices.

    iterations    T, at least 1
    theta_alpha   the bilateral kernel's standard deviation in pixels
    theta_beta    its standard deviation in units of the image blob
    theta_gamma   the spatial kernel's standard deviation in pixels
    arrays        what the arrays are, see Rows

    M_k = C W_k with the compatibility matrix C and the kernel's weights W_k. Kernels are normalised after
    filtering. Any number of images, classes and pixels.
    """

    def __init__(
        self,
        iterations: int,
        theta_alpha: float,
        theta_beta: float,
        theta_gamma: float,
        arrays: Rows = NumpyRows,
    ) -> None:
        self.iterations = iterations
        self.theta_alpha, self.theta_beta, self.theta_gamma = theta_alpha, theta_beta, theta_gamma
        self._arrays = arrays
        self._spatial: tuple[tuple[int, int], Kernel] | None = None  # of a size
        self._steps: list[Steps] = []  # one an image; kept for their memory

    def forward(
        self,
        unary: Array,
        initial: Array,
        image: Array,
        spatial_weights: Array,
        bilateral_weights: Array,
        compatibility: Array,
        *,
        learn: bool = True,
    ) -> Array:
        """Scores q_T, (N, L, H, W) float32.

        unary, initial   scores u and q_0, (N, L, H, W) float32
        image            (N, C, H, W) float32, in the units of theta_beta
        matrices         W_s, W_b and C, (L, L) float32 each
        learn            whether ``backward`` will be asked for the matrices' diffs (takes memory)
        """
        arrays = self._arrays
        classes, height, width = unary.shape[1:]
        if self._spatial is None or self._spatial[0] != (height, width):
            self._spatial = (height, width), arrays.spatial_kernel(height, width, self.theta_gamma)
        self._weights = spatial_weights, bilateral_weights
        self._compatibility = compatibility
        mixes = [arrays.matrix(-(compatibility @ weights).T) for weights in self._weights]
        self._steps = self._steps[: len(unary)]
        self._steps += [Steps(arrays) for _ in unary[len(self._steps) :]]
        tops = []
        for steps, u, q, picture in zip(self._steps, unary, initial, image):
            kernels = self._spatial[1], arrays.bilateral_kernel(picture, self.theta_alpha, self.theta_beta)
            rows = steps.forward(
                kernels,
                mixes,
                arrays.rows(u),
                arrays.rows(q),
                classes,
                self.iterations,
                remember=True,
                learn=learn,
            )
            tops.append(arrays.maps(rows, u.shape))
        return arrays.stack(tops)

    def backward(self, diff: Array) -> tuple[Array, Array, Array, Array, Array]:
        """Diffs of unary and initial (N, L, H, W) and of W_s, W_b and C (L, L) from that of q_T.

        The last three are None after ``forward(learn=False)``. The image gets none: CRF-RNN stops there.
        """
        arrays = self._arrays
        classes = diff.shape[1]
        unaries, initials, products = [], [], []
        for steps, d in zip(self._steps, diff):
            unary, initial, outer = steps.backward(arrays.rows(d))
            unaries.append(arrays.maps(unary, d.shape))
            initials.append(arrays.maps(initial, d.shape))
            products.append([product[:classes, :classes] for product in outer])
        d_maps = arrays.stack(unaries), arrays.stack(initials)
        if not products[0]:
            return (*d_maps, None, None, None)
        # With M_k = C W_k and G_k the diff of M_k: dW_k = C^T G_k and dC = sum_k G_k W_k^T.
        spatial, bilateral = (sum(images) for images in zip(*products))
        d_compatibility = spatial @ self._weights[0].T + bilateral @ self._weights[1].T
        return (*d_maps, self._compatibility.T @ spatial, self._compatibility.T @ bilateral, d_compatibility)


class Steps:
    """The steps over one image, in rows (pixels, classes); ``arrays`` as in MeanField."""

    def __init__(self, arrays: Rows) -> None:
        self._arrays = arrays
        self._kernels: Sequence[Kernel] = ()
        self._mixes: Sequence[Array] = ()
        self._probabilities: list[Array] = []  # p of every iteration
        self._blurred: list[list[Array]] = []  # and what each kernel blurred, on its corners
        self._memory: dict[str, Array] = {}

    def forward(
        self,
        kernels: Sequence[Kernel],
        mixes: Sequence[Array],
        unary: Array,
        initial: Array,
        classes: int,
        iterations: int,
        *,
        remember: bool = False,
        learn: bool = False,
    ) -> Array:
        """q after the iterations, in memory that the next call overwrites.

        kernels          the K_k
        mixes            the -M_k^T, as wide as the rows
        classes          how many columns of the rows are classes
        remember         keep what ``backward`` needs; ``learn``: for the diffs of the M_k too
        """
        self._kernels, self._mixes = kernels, mixes
        self._blurred = []
        q = self._rows_like(unary, "q")
        for step in range(iterations):
            p = self._rows_like(unary, f"p{step}" if remember else "p")
            self._arrays.softmax(q if step else initial, classes, p)
            self._arrays.copy(unary, q)
            blurred = []
            for kernel, mix in zip(kernels, mixes):
                lattice = kernel.lattice
                rows = lattice.blur(lattice.splat(p, kernel.into))
                if learn:
                    blurred.append(rows + 0)
                lattice.slice(lattice.mix(rows, mix), kernel.out_of, q)
            self._blurred.append(blurred)
        self._probabilities = [self._memory[f"p{step}"] for step in range(iterations)] if remember else []
        return q

    def backward(self, diff: Array) -> tuple[Array, Array, list[Array]]:
        """Diffs of unary, of initial and, after ``forward(learn=True)``, of every M_k.

        Overwrites ``diff``; the diffs are in memory that the next call overwrites.
        """
        d_unary = self._rows_like(diff, "d_unary")
        d_unary[:] = 0
        d_mixes = [0 for _ in self._mixes] if any(self._blurred) else []
        d_p = self._rows_like(diff, "d_p")
        for p, blurred in zip(reversed(self._probabilities), reversed(self._blurred)):
            d_unary += diff
            d_p[:] = 0
            for k, (kernel, mix) in enumerate(zip(self._kernels, self._mixes)):
                lattice = kernel.lattice
                rows = lattice.splat(diff, kernel.out_of)
                if blurred:
                    d_mixes[k] = d_mixes[k] - self._arrays.outer(rows, blurred[k])
                lattice.slice(lattice.blur(lattice.mix(rows, mix.T), reverse=True), kernel.into, d_p)
            self._arrays.softmax_backward(p, d_p)
            diff, d_p = d_p, diff
        return d_unary, diff, d_mixes

    def _rows_like(self, rows: Array, name: str) -> Array:
        """Memory for rows, the same at every call while the size stays: fresh memory is slow to come by."""
        memory = self._memory.get(name)
        if memory is None or memory.shape != rows.shape:
            memory = self._memory[name] = self._arrays.empty_like(rows)
        return memory


@dataclass(frozen=True)
class MeanFieldParameters:
    """The fields of ``multi_stage_meanfield_param`` that count. ValueError for impossible values.

    Weights before training: numbers of the text, one a class or one for all; the weight if the text is empty.
    """

    num_iterations: int = 1
    theta_alpha: float = 10
    theta_beta: float = 10
    theta_gamma: float = 10
    spatial_filter_weight: float = 1
    bilateral_filter_weight: float = 1
    spatial_filter_weights_str: str = ""
    bilateral_filter_weights_str: str = ""

    def __post_init__(self) -> None:
        if not 1 <= self.num_iterations <= MAX_ITERATIONS:
            raise ValueError(f"num_iterations must be in 1 to {MAX_ITERATIONS}, found {self.num_iterations}")
        for name in ("theta_alpha", "theta_beta", "theta_gamma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, found {getattr(self, name)}")

    @classmethod
    def of_fields(cls, values: Mapping[str, Any]) -> MeanFieldParameters:
        """From the fields that a description sets; those that no layer reads are left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})

    def mean_field(self, arrays: Rows = NumpyRows) -> MeanField:
        """What does the work."""
        return MeanField(self.num_iterations, self.theta_alpha, self.theta_beta, self.theta_gamma, arrays)

    def initial_matrices(self, classes: int) -> list[np.ndarray]:
        """W_s, W_b and C before training, (L, L) float32: diagonal weights, and -1 for equal labels (Potts).

        ValueError for a text with another count of numbers than ``classes``, or with other words.
        """
        matrices = []
        for name in ("spatial_filter_weight", "bilateral_filter_weight"):
            text = getattr(self, f"{name}s_str")
            try:
                numbers = [float(word) for word in text.replace(",", " ").split()] or [getattr(self, name)]
            except ValueError as error:
                raise ValueError(f"{name}s_str: {error}") from None
            if len(numbers) not in (1, classes):
                raise ValueError(f"{name}s_str: expected {classes} numbers (classes), found {len(numbers)}")
            matrices.append(np.diag(np.full(classes, numbers, np.float32)))
        return [*matrices, -np.eye(classes, dtype=np.float32)]
