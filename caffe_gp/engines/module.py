"""A ``torch.nn.Module`` as a net: the few calls that guided perturbations make of one.

    wrapped = wrap_module(module, example, blob="backbone.layer3", score="out")
    result = GuidedPerturbation(wrapped, blob="backbone.layer3")(images, eps)

Its blobs are the input, one inner module's output if it is named, and the scores; besides them features,
which are handed out and not perturbed. A pass from the inner blob runs the whole module with that output put
in its place: so any module can be wrapped, and the layers before are computed again. The gradient is
autograd's, from the scores to the blob; parameters get none.
"""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator, Mapping, NamedTuple, NoReturn, Sequence, Union

import numpy as np
import torch

from caffe_gp.engines.user_code import said_by
from caffe_gp.errors import CaffeGPError, DataError, NetError, OutOfMemoryError, UsageError, did_you_mean
from caffe_gp.gp.perturbed_net import refuse_pickle
from caffe_gp.one_thread import OneThread

Score = Union[str, int, Callable[[Any], torch.Tensor], None]
#: What a module's dictionary of outputs calls the scores: torchvision's and Hugging Face's names.
_SCORES = ("out", "logits")
_MOST_NAMES = 8  # that a message lists
#: In front of a module's name: what goes into it, as features.
INPUT_OF = "input of "
_AGAIN = 1e-3  # by which two passes may differ, of the largest score


@dataclass(repr=False)
class WrappedModule:
    """What ``GuidedPerturbation`` takes for a loaded net.

    net, data, score   the net and the names of its image and score blobs
    device             where it computes; engine: 'torch'
    features           blobs that neighbours are found by, where nobody says which
    changes, warnings  sentences about it, as ``GPNet`` has
    placing, own_size  None: a module does not say where its scores lie in the image, or what size it wants
    one_size           False: nor that it takes no other
    """

    net: ModuleNet
    data: str
    score: str
    device: str
    features: tuple[str, ...] = ()
    changes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    engine: str = "torch"
    placing: None = None
    own_size: None = None
    one_size: bool = False

    def __repr__(self) -> str:
        blobs = (f"{name} {tuple(blob.shape)}" for name, blob in self.net.blobs.items())
        return f"<WrappedModule {self.net.title}: {' -> '.join(blobs)}; {self.device}>"

    def __reduce__(self) -> NoReturn:
        refuse_pickle("a wrapped module", "wrap_module")


def wrap_module(
    module: torch.nn.Module,
    example: Any,
    *,
    blob: str | None = None,
    score: Score = None,
    channels_last: bool = False,
    features: Sequence[str] = (),
) -> WrappedModule:
    """Make a module ready for guided perturbations; it is put in evaluation mode.

    module    takes images (N, C, H, W) and gives scores, (N, C) or (N, C, H, W), before any Softmax
    example   images that it takes, of any number and size: a tensor or an array
    blob      the inner module whose output may be perturbed, by its dotted name ('backbone.layer3')
    score     where the scores are if the module gives several things: the key of a dictionary, the index in a
              tuple, the dotted name of an inner module, or a function of the output
    channels_last   feed images in that memory format
    features  of a classifier: what ``NeighbourPerturbation`` compares images by, inner modules whose output
              it is, or 'input of NAME'; default: what goes into the last inner module with parameters
    Computes where the module's parameters are, in float32, with autocast off. Raises UsageError for names
    that there are not, NetError for a module that does something else than that, fails, or gives other scores
    when it is asked again.
    """
    if not isinstance(module, torch.nn.Module):
        raise UsageError(f"wrap_module takes a torch.nn.Module, found {type(module).__name__}")
    kinds = {one.dtype for one in module.parameters() if one.is_floating_point()} - {torch.float32}
    if kinds:
        raise UsageError(f"the module has parameters of {sorted(map(str, kinds))}: call module.float() first")
    module.eval()
    net = ModuleNet(module, _as_images(example), blob, score, channels_last, features)
    return WrappedModule(net, "data", "score", str(net.device), net.features)


class ModuleBlob:
    """Values and their gradient; the names are pycaffe's."""

    def __init__(self, values: torch.Tensor) -> None:
        self.tensor = values
        self.gradient: torch.Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, ...)."""
        return tuple(self.tensor.shape)

    @property
    def data(self) -> np.ndarray:
        """The values: a view on the CPU, else a copy that cannot be written to."""
        return _shown(self.tensor)

    @property
    def diff(self) -> np.ndarray:
        """The gradient, likewise."""
        if self.gradient is None:
            self.gradient = torch.zeros_like(self.tensor, memory_format=torch.contiguous_format)
        return _shown(self.gradient)

    def reshape(self, *shape: int) -> None:
        """Change the shape; new values are zeros."""
        if tuple(shape) != self.shape:
            self.tensor, self.gradient = self.tensor.new_zeros(shape), None

    def read_data(self) -> np.ndarray:
        """The values, to be read at once."""
        return self.tensor.cpu().numpy()

    def copy_data(self, values: np.ndarray) -> None:
        """Set the values."""
        self.tensor = _taken(values, self)

    def read_diff(self) -> np.ndarray:
        """The gradient, to be read at once."""
        return self.diff if self.gradient is None else self.gradient.cpu().numpy()

    def copy_diff(self, values: np.ndarray) -> None:
        """Set the gradient."""
        self.gradient = _taken(values, self)

    def zero_diff(self) -> None:
        """Set the gradient to zeros."""
        self.gradient = None


class _Layer(NamedTuple):
    type: str
    bottoms: tuple[int, ...]
    tops: tuple[int, ...]


class ModuleNet:
    """The part of pycaffe's ``Net`` that the drivers use: see ``gp.pycaffe.Net``."""

    def __init__(
        self,
        module: torch.nn.Module,
        images: torch.Tensor,
        blob: str | None,
        score: Score,
        channels_last: bool,
        features: Sequence[str] = (),
    ) -> None:
        self._module, self._channels_last = module, channels_last
        self.title = type(module).__qualname__
        self.one_thread = OneThread("this module")
        self.device = next((one.device for one in module.parameters()), images.device)
        self._named = dict(module.named_modules())
        self._inner = blob
        self._score_name = score if isinstance(score, str) and score in self._named else None
        self._score = score
        if blob is not None:
            self._find(blob, "blob")
        names = ["data", *([blob] if blob is not None else []), "score"]
        if len(set(names)) < len(names):
            raise UsageError(f"an inner blob called {blob!r} would hide the net's own blob of that name")
        self._chain = tuple(names)  # what leads from the images to the scores; features do not
        self._blobs: dict[str, ModuleBlob] = OrderedDict()
        self._blobs["data"] = ModuleBlob(images.to(self.device))
        self._graph: tuple[torch.Tensor, dict[str, torch.Tensor]] | None = None
        self._only: str | None = None
        for name in names[1:]:
            self._blobs[name] = ModuleBlob(torch.zeros(0))
        self.features: tuple[str, ...] = ()
        with self._last_with_parameters() as last:
            self._run(from_inner=False, wanted=())
        self._check_scores()
        self._add_features(features, last[-1] if last else None)
        first = self._blobs["score"].tensor
        self._run(from_inner=False, wanted=())
        self._check_again(first)

    # ---- structure

    @property
    def inputs(self) -> list[str]:
        """The image blob."""
        return ["data"]

    @property
    def outputs(self) -> list[str]:
        """The score blob."""
        return ["score"]

    @property
    def blobs(self) -> Mapping[str, ModuleBlob]:
        """By name."""
        return self._blobs

    @property
    def params(self) -> dict[str, list[Any]]:
        """None are shown: no gradient reaches them."""
        return {}

    @property
    def layers(self) -> list[_Layer]:
        """The input, and the module, in two parts if an inner blob is named."""
        count = len(self._chain)
        tops: list[tuple[int, ...]] = [(k,) for k in range(1, count)]
        tops[-1] += tuple(range(count, len(self._blobs)))
        return [_Layer("Input", (), (0,)), *(_Layer("Module", (k,), made) for k, made in enumerate(tops))]

    @property
    def _layer_names(self) -> list[str]:
        return ["input", *(f"{one} to {other}" for one, other in zip(self._chain, self._chain[1:]))]

    @property
    def _blob_names(self) -> list[str]:
        return list(self._blobs)

    def _bottom_ids(self, layer: int) -> tuple[int, ...]:
        return self.layers[layer].bottoms

    def _top_ids(self, layer: int) -> tuple[int, ...]:
        return self.layers[layer].tops

    # ---- passes

    @contextmanager
    def only_diffs(self, name: str) -> Iterator[None]:
        """Within it forwards prepare this blob's gradient, and backwards compute no other."""
        before, self._only = self._only, name
        try:
            yield
        finally:
            self._only = before

    def forward(
        self, blobs: Sequence[str] | None = None, start: str | None = None, end: str | None = None
    ) -> Mapping[str, np.ndarray]:
        """Run the module; from the inner blob on if the pass starts there."""
        self._forward(self._layer_names.index(start) if start is not None else 0, len(self.layers) - 1)
        return {"score": self._blobs["score"].data}

    def _forward(self, start: int, end: int) -> float:
        with self.one_thread:
            # A pass from a blob on is mostly the last one: its gradient is prepared if somebody asks for it.
            self._run(from_inner=start > 1, wanted=() if start else self._wanted())
        return 0.0

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None
    ) -> Mapping[str, np.ndarray]:
        """From the score's diff to the diffs of the other blobs."""
        self._backward(len(self.layers) - 1, self._layer_names.index(end) if end is not None else 0)
        return {"data": self._blobs["data"].diff}

    def _backward(self, start: int, end: int) -> None:
        with self.one_thread:
            wanted = [name for name in self._wanted() if self._blob_names.index(name) >= end - 1]
            if self._graph is None or not set(wanted) <= set(self._graph[1]):
                self._run(from_inner=end > 1, wanted=wanted)
            assert self._graph is not None
            score, leaves = self._graph
            self._graph = None
            seed = self._blobs["score"].gradient
            found: Sequence[torch.Tensor | None] = [None] * len(wanted)
            if score.requires_grad and seed is not None:
                starts = [leaves[name] for name in wanted]
                found = torch.autograd.grad(score, starts, seed.reshape(score.shape), allow_unused=True)
            for name, gradient in zip(wanted, found):
                self._blobs[name].gradient = gradient

    def _wanted(self) -> tuple[str, ...]:
        return (self._only,) if self._only is not None else self._chain[:-1]

    def _run(self, from_inner: bool, wanted: Sequence[str]) -> None:
        """One pass of the module; ``wanted``: blobs whose gradient it prepares."""
        leaves: dict[str, torch.Tensor] = {}
        caught: dict[str, list[torch.Tensor]] = {}

        def passed_on(name: str, values: torch.Tensor) -> torch.Tensor:
            """A copy, since modules that work in place may follow."""
            self._blobs[name].tensor = values.detach()
            if name in wanted:
                leaves[name] = values = values if values.requires_grad else values.detach().requires_grad_()
            return values.clone()

        def put(_: Any, __: Any, output: Any) -> torch.Tensor:
            caught.setdefault("blob", []).append(self._tensor(output, f"the inner module '{self._inner}'"))
            blob = self._blobs[str(self._inner)]
            values = blob.tensor if from_inner else caught["blob"][0]
            if values.shape != caught["blob"][0].shape:
                raise NetError(
                    f"blob '{self._inner}' of shape {blob.shape}: for these images the module gives "
                    f"{tuple(caught['blob'][0].shape)}"
                )
            return passed_on(str(self._inner), values)

        def take(_: Any, __: Any, output: Any) -> None:
            caught.setdefault("score", []).append(self._tensor(output, f"the module '{self._score_name}'"))

        def keep(name: str, values: Any) -> None:
            # A copy: modules that work in place may follow.
            caught.setdefault(name, []).append(self._tensor(values, f"features '{name}'").detach().clone())

        hooks = [self._hook_of(name, keep) for name in self.features if name not in self._chain]
        if self._inner is not None:
            hooks.append(self._named[self._inner].register_forward_hook(put))
        if self._score_name is not None:
            hooks.append(self._named[self._score_name].register_forward_hook(take))
        learning = [one for one in self._module.parameters() if one.requires_grad]
        for one in learning:
            one.requires_grad_(False)
        try:
            with torch.set_grad_enabled(bool(wanted)), torch.autocast(self.device.type, enabled=False):
                output = self._called(passed_on("data", self._images()))
        finally:
            for hook in hooks:
                hook.remove()
            for one in learning:
                one.requires_grad_(True)
        kept = [(name, name.replace(INPUT_OF, "", 1)) for name in self.features if name not in self._chain]
        for what, name in (("blob", self._inner), ("score", self._score_name), *kept):
            times = len(caught.get(what, ()))
            if name is not None and times != 1:
                raise NetError(f"the inner module '{name}' runs {times} times in a pass, expected once")
        for what, _ in kept:
            self._blobs[what].tensor = caught[what][0]
        score = caught["score"][0] if self._score_name is not None else self._score_of(output)
        self._blobs["score"].tensor = score.detach()
        self._graph = (score, leaves) if wanted else None

    def _called(self, images: torch.Tensor) -> Any:
        try:
            return self._module(images)
        except CaffeGPError:
            raise
        except Exception as error:  # anybody's code
            shape = " x ".join(map(str, images.shape))
            if isinstance(error, MemoryError) or "memory" in str(error):
                raise OutOfMemoryError(
                    f"the module {self.title} ran out of memory on images of {shape}: try smaller images or "
                    f"a smaller batch ({said_by(error)})"
                ) from error
            raise NetError(f"the module {self.title} fails on images of {shape}: {said_by(error)}") from error

    def _hook_of(self, name: str, keep: Callable[[str, Any], None]) -> Any:
        if name.startswith(INPUT_OF):
            module = self._named[name[len(INPUT_OF) :]]
            return module.register_forward_pre_hook(lambda _, inputs: keep(name, (*inputs, None)[0]))
        return self._named[name].register_forward_hook(lambda _, __, output: keep(name, output))

    @contextmanager
    def _last_with_parameters(self) -> Iterator[list[str]]:
        """Names of inner modules with parameters of their own, as they run: the list grows."""
        ran: list[str] = []
        hooks = [
            one.register_forward_hook(lambda _, __, ___, name=name: ran.append(name))
            for name, one in self._named.items()
            if name and next(one.parameters(recurse=False), None) is not None
        ]
        try:
            yield ran
        finally:
            for hook in hooks:
                hook.remove()

    def _add_features(self, names: Sequence[str], last: str | None) -> None:
        """The features that are asked for, else of a classifier what goes into the ``last`` inner module."""
        labels_images = set(self._blobs["score"].shape[2:]) <= {1}
        found = tuple(names) or ((f"{INPUT_OF}{last}",) if labels_images and last is not None else ())
        for name in found:
            if name not in self._chain:
                self._find(name[len(INPUT_OF) :] if name.startswith(INPUT_OF) else name, "features")
                self._blobs[name] = ModuleBlob(torch.zeros(0))
        self.features = found

    def _check_again(self, first: torch.Tensor) -> None:
        scores = self._blobs["score"].tensor
        if not torch.allclose(scores, first, rtol=0, atol=_AGAIN * max(float(first.abs().max()), 1e-30)):
            raise NetError(
                f"the module {self.title} gives other scores for the same images when asked again, by up to "
                f"{float((scores - first).abs().max()):.3g}: something in it is random in evaluation mode, "
                "like F.dropout without training=self.training, so labels before and after are not comparable"
            )

    def _images(self) -> torch.Tensor:
        images = self._blobs["data"].tensor
        return images.contiguous(memory_format=torch.channels_last) if self._channels_last else images

    # ---- what the module gives

    def _score_of(self, output: Any) -> torch.Tensor:
        if callable(self._score):
            return self._tensor(self._score(output), "the function given as score")
        if isinstance(output, Mapping):
            return self._tensor(output[self._key_of(output)], "the module")
        if isinstance(output, (tuple, list)):
            if self._score is None and len(output) == 1:
                return self._tensor(output[0], "the module")
            index = self._score  # a command line has text only
            index = int(index) if isinstance(index, str) and index.isdecimal() else index
            if not isinstance(index, int) or not -len(output) <= index < len(output):
                raise UsageError(
                    f"the module gives {len(output)} things: say with score= which one the scores are, 0 to "
                    f"{len(output) - 1}; found {self._score!r}"
                )
            return self._tensor(output[index], "the module")
        if self._score is not None:
            self._find(str(self._score), "score")
        return self._tensor(output, "the module")

    def _key_of(self, output: Mapping[Any, Any]) -> Any:
        if self._score is None:
            found = [key for key in _SCORES if key in output] or list(output)
            if len(found) == 1:
                return found[0]
        if self._score in output:
            return self._score
        raise UsageError(
            f"the module gives {', '.join(map(str, list(output)[:_MOST_NAMES]))}: say with score= which one "
            f"the scores are; found {self._score!r}"
        )

    def _find(self, name: str, option: str) -> None:
        if name not in self._named or not name:
            known = [one for one in self._named if one]
            raise UsageError(
                f"{option}={name!r}: the module has no inner module of that name{did_you_mean(name, known)} "
                f"(among them: {', '.join(known[:_MOST_NAMES])})"
            )

    @staticmethod
    def _tensor(values: Any, what: str) -> torch.Tensor:
        if not isinstance(values, torch.Tensor) or values.dtype != torch.float32:
            found = values.dtype if isinstance(values, torch.Tensor) else type(values).__name__
            raise NetError(f"{what} gives {found}, expected a float32 tensor")
        return values

    def _check_scores(self) -> None:
        scores = self._blobs["score"].tensor
        if scores.dim() not in (2, 4) or scores.shape[0] != self._blobs["data"].shape[0]:
            raise NetError(
                f"the scores are of shape {tuple(scores.shape)}: expected (N, classes) or (N, classes, H, W)"
            )
        total = scores.sum(1)
        if scores.shape[1] > 1 and bool((scores >= 0).all()) and bool(((total - 1).abs() < 1e-3).all()):
            raise NetError(
                "the scores are probabilities, which sum to 1: the module ends with a Softmax; name with "
                "score= the inner module before it"
            )


def _as_images(example: Any) -> torch.Tensor:
    images = torch.as_tensor(np.asarray(example) if not isinstance(example, torch.Tensor) else example)
    if not images.is_floating_point() or images.dim() < 2 or 0 in images.shape:
        raise DataError(
            f"example: expected images (N, C, H, W) of floats, found {images.dtype} of {tuple(images.shape)}"
        )
    return images.detach().to(torch.float32)


def _shown(values: torch.Tensor) -> np.ndarray:
    array = values.detach().cpu().numpy()
    if values.device.type != "cpu":
        array.flags.writeable = False
    return array


def _taken(values: np.ndarray, blob: ModuleBlob) -> torch.Tensor:
    if values.shape != blob.shape:
        raise DataError(f"values of shape {values.shape} for a blob of shape {blob.shape}")
    return torch.from_numpy(np.array(values, np.float32)).to(blob.tensor.device)
