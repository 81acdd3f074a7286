"""RNN, LSTM and LSTMUnit.

Caffe unrolls a recurrent layer into an inner net with one copy of the step for each time; here the same
sums are written as a loop. Time is axis 0 of the first bottom, streams (independent sequences) axis 1.

Bottoms: x (T, N, ...); cont (T, N), 0 where a sequence begins and 1 where it goes on; optionally a static
input (N, ...) that every step sees; with ``expose_hidden`` the initial state, (1, N, num_output) for each
state blob. Tops: the outputs (T, N, num_output); with ``expose_hidden`` the final state.

Without ``expose_hidden`` the state is kept from one forward to the next, so that a sequence may be longer
than T. Backward does not reach into the earlier forward, nor into an exposed initial state (Caffe's rule).
As in Caffe, backward always computes the gradients of x, of the static input and of all parameters.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from caffe_gp.caffe import mode
from caffe_gp.caffe.blob import Blob
from caffe_gp.caffe.filler import fill
from caffe_gp.caffe.layers.base import Layer
from caffe_gp.caffe.layers.registry import register

log = logging.getLogger(__name__)


class _RecurrentLayer(Layer):
    """Checks, shapes, state and the input transform, which RNN and LSTM share."""

    num_states: int  # state blobs: h, or h and c
    num_gates: int  # rows of the input transform for each output

    def __init__(self, layer_param: Any, phase: int) -> None:
        super().__init__(layer_param, phase)
        exposed = self.num_states if layer_param.recurrent_param.expose_hidden else 0
        self.min_bottom, self.max_bottom, self.exact_num_top = 2 + exposed, 3 + exposed, 1 + exposed

    def setup(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        self.param = self.layer_param.recurrent_param
        self.num_output = self.param.num_output
        if self.num_output < 1:
            raise self.error("recurrent_param.num_output must be positive")
        assert self.min_bottom is not None
        self.has_static = len(bottom) > self.min_bottom
        if len(bottom[0].shape) < 2:
            raise self.error(f"bottom[0] must have the axes time and stream, found {bottom[0].shape}")
        self.num_steps = bottom[0].shape[0]
        self._state: list[torch.Tensor] = []
        if not self.blobs:
            self.add_parameters(bottom[0].count_from(2), bottom[2].count_from(1) if self.has_static else 0)
        self.param_propagate_down = [True] * len(self.blobs)

    def add_parameters(self, num_input: int, num_static: int) -> None:
        """W_x (gates * num_output, num_input), its bias, W_static if there is a static input, W_h."""
        rows = self.num_gates * self.num_output
        self.add_parameter(self.param.weight_filler, rows, num_input)
        self.add_parameter(self.param.bias_filler, rows)
        if self.has_static:
            self.add_parameter(self.param.weight_filler, rows, num_static)
        self.add_parameter(self.param.weight_filler, rows, self.num_output)

    def add_parameter(self, filler: Any, *shape: int) -> None:
        """Append a parameter blob and fill it."""
        fill(self.blobs.add_blob(*shape), filler)

    def allow_force_backward(self, bottom_index: int) -> bool:
        """No gradient for the continuation marks."""
        return bottom_index != 1

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """(T, N, num_output). NetError where bottoms disagree, or T is not what it was in setup."""
        steps, streams = bottom[0].shape[:2]
        if steps != self.num_steps:
            raise self.error(f"the number of time steps cannot change: {self.num_steps} before, now {steps}")
        if bottom[1].shape != (steps, streams):
            raise self.error(
                f"bottom[1] (continuation marks) must be {(steps, streams)}, found {bottom[1].shape}"
            )
        if self.has_static and bottom[2].shape[:1] != (streams,):
            raise self.error(f"bottom[2] (static input) must have {streams} rows, found {bottom[2].shape}")
        state_shape = (1, streams, self.num_output)
        for blob in bottom[2 + self.has_static :]:
            if blob.shape != state_shape:
                raise self.error(f"an exposed initial state must be {state_shape}, found {blob.shape}")
        top[0].reshape(steps, streams, self.num_output)
        for blob in top[1:]:
            blob.reshape(*state_shape)

    def reset(self) -> None:
        """Forget the state: the next forward starts from zeros."""
        self._state = []

    def initial_state(self, bottom: Sequence[Blob]) -> list[torch.Tensor]:
        """The state blobs (N, num_output) before the first step."""
        streams = bottom[0].shape[1]
        if self.param.expose_hidden:
            return [blob.data_tensor.reshape(streams, -1).clone() for blob in bottom[2 + self.has_static :]]
        states = []
        for i in range(self.num_states):
            state = torch.zeros(streams, self.num_output, device=mode.device())
            if self._state:  # when the number of streams changed, the first ones go on
                kept = self._state[i][:streams]
                state[: len(kept)] = kept
            states.append(state)
        return states

    def finish_forward(self, outputs: torch.Tensor, states: list[torch.Tensor], top: Sequence[Blob]) -> None:
        """Write the tops and keep the final state."""
        top[0].data_tensor = outputs.contiguous()
        if self.param.expose_hidden:
            for blob, state in zip(top[1:], states, strict=True):
                blob.data_tensor = state[None].clone()
        else:
            self._state = [state.clone() for state in states]
        if self.param.debug_info:
            log.info("layer '%s': mean |output| %g", self.name, outputs.abs().mean().item())

    def transform_input(self, bottom: Sequence[Blob]) -> torch.Tensor:
        """What x and the static input add to every step, (T, N, gates * num_output)."""
        steps, streams = bottom[0].shape[:2]
        x = bottom[0].data_tensor.reshape(steps * streams, -1)
        weights, bias = self.blobs[0].data_tensor, self.blobs[1].data_tensor
        total = torch.addmm(bias, x, weights.t()).view(steps, streams, -1)
        if self.has_static:
            total += bottom[2].data_tensor.reshape(streams, -1) @ self.blobs[2].data_tensor.t()
        return total

    def transform_input_backward(self, gates_diff: torch.Tensor, bottom: Sequence[Blob]) -> None:
        """Gradients of x, the static input and their parameters from those of ``transform_input``."""
        steps, streams, rows = gates_diff.shape
        x = bottom[0].data_tensor.reshape(steps * streams, -1)
        flat = gates_diff.reshape(steps * streams, rows)
        self.blobs[0].diff_tensor += flat.t() @ x
        self.blobs[1].diff_tensor += flat.sum(0)
        bottom[0].diff_tensor = (flat @ self.blobs[0].data_tensor).view(bottom[0].shape)
        if self.has_static:
            over_time = gates_diff.sum(0)
            self.blobs[2].diff_tensor += over_time.t() @ bottom[2].data_tensor.reshape(streams, -1)
            bottom[2].diff_tensor = (over_time @ self.blobs[2].data_tensor).view(bottom[2].shape)


@register("RNN")
class RNNLayer(_RecurrentLayer):
    """``h_t = tanh(W_hh cont_t h_{t-1} + W_xh x_t + b_h [+ W_xh_static s])``, ``o_t = tanh(W_ho h_t + b_o)``.

    Parameters: W_xh (n, I), b_h (n), [W_xh_static (n, S)], W_hh (n, n), W_ho (n, n), b_o (n).
    """

    num_states = 1
    num_gates = 1

    def add_parameters(self, num_input: int, num_static: int) -> None:
        """The recurrent ones, then W_ho and b_o."""
        super().add_parameters(num_input, num_static)
        self.add_parameter(self.param.weight_filler, self.num_output, self.num_output)
        self.add_parameter(self.param.bias_filler, self.num_output)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        w_hh, w_ho, b_o = (blob.data_tensor for blob in self.blobs[-3:])
        cont = bottom[1].data_tensor.unsqueeze(-1)
        (h,) = self.initial_state(bottom)
        self._continued, hidden = [], []
        for added, go_on in zip(self.transform_input(bottom), cont, strict=True):
            self._continued.append(go_on * h)
            h = torch.tanh(torch.addmm(added, self._continued[-1], w_hh.t()))
            hidden.append(h)
        self._hidden = torch.stack(hidden)
        self._outputs = torch.tanh(self._hidden @ w_ho.t() + b_o)
        self.finish_forward(self._outputs.clone(), [h], top)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        w_hh, w_ho, _ = (blob.data_tensor for blob in self.blobs[-3:])
        cont = bottom[1].data_tensor.unsqueeze(-1)
        before_tanh = top[0].diff_tensor * (1 - self._outputs**2)
        flat = before_tanh.reshape(-1, self.num_output)
        self.blobs[-2].diff_tensor += flat.t() @ self._hidden.reshape(-1, self.num_output)
        self.blobs[-1].diff_tensor += flat.sum(0)
        from_outputs = before_tanh @ w_ho
        gates_diff = torch.empty_like(from_outputs)
        later = torch.zeros_like(from_outputs[0])  # gradient of h_t that comes from step t + 1
        for t in reversed(range(self.num_steps)):
            gates_diff[t] = (from_outputs[t] + later) * (1 - self._hidden[t] ** 2)
            later = gates_diff[t] @ w_hh * cont[t]
        flat = gates_diff.reshape(-1, self.num_output)
        self.blobs[-3].diff_tensor += flat.t() @ torch.cat(self._continued)
        self.transform_input_backward(gates_diff, bottom)


@register("LSTM")
class LSTMLayer(_RecurrentLayer):
    """Long short-term memory: an LSTMUnit on ``W_xc x_t + b_c [+ W_xc_static s] + W_hc cont_t h_{t-1}``.

    Parameters: W_xc (4n, I), b_c (4n), [W_xc_static (4n, S)], W_hc (4n, n); rows are input, forget and
    output gate, then the candidate. State blobs are h, then c.
    """

    num_states = 2
    num_gates = 4

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        w_hc = self.blobs[-1].data_tensor.t()
        cont = bottom[1].data_tensor.unsqueeze(-1)
        h, c = self.initial_state(bottom)
        self._continued, self._steps, hidden = [], [], []
        for added, go_on in zip(self.transform_input(bottom), cont, strict=True):
            self._continued.append(go_on * h)
            step = _UnitStep(c, torch.addmm(added, self._continued[-1], w_hc), go_on)
            h, c = step.h, step.c
            hidden.append(h)
            self._steps.append(step)
        self.finish_forward(torch.stack(hidden), [h, c], top)

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        w_hc = self.blobs[-1].data_tensor
        cont = bottom[1].data_tensor.unsqueeze(-1)
        top_diff = top[0].diff_tensor
        gates_diff = top_diff.new_empty(*top_diff.shape[:2], 4 * self.num_output)
        h_later = torch.zeros_like(top_diff[0])
        c_later = torch.zeros_like(top_diff[0])
        for t in reversed(range(self.num_steps)):
            c_later, gates_diff[t] = self._steps[t].backward(c_later, top_diff[t] + h_later)
            h_later = gates_diff[t] @ w_hc * cont[t]
        flat = gates_diff.reshape(-1, 4 * self.num_output)
        self.blobs[-1].diff_tensor += flat.t() @ torch.cat(self._continued)
        self.transform_input_backward(gates_diff, bottom)


class _UnitStep:
    """One LSTM step: ``c = f c_prev + i g``, ``h = o tanh(c)``, with f = 0 where a sequence begins."""

    def __init__(self, c_prev: torch.Tensor, gates: torch.Tensor, cont: torch.Tensor) -> None:
        i, f, o, g = gates.chunk(4, dim=-1)
        self.c_prev = c_prev
        self.i, self.f, self.o, self.g = i.sigmoid(), cont * f.sigmoid(), o.sigmoid(), g.tanh()
        self.c = self.f * c_prev + self.i * self.g
        self.tanh_c = self.c.tanh()
        self.h = self.o * self.tanh_c

    def backward(self, c_diff: torch.Tensor, h_diff: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of c_prev and of the gates. For f Caffe's f (1 - f), exact where cont is 0 or 1."""
        c_total = c_diff + h_diff * self.o * (1 - self.tanh_c**2)
        gates = (
            c_total * self.g * self.i * (1 - self.i),
            c_total * self.c_prev * self.f * (1 - self.f),
            h_diff * self.tanh_c * self.o * (1 - self.o),
            c_total * self.i * (1 - self.g**2),
        )
        return c_total * self.f, torch.cat(gates, dim=-1)


@register("LSTMUnit")
class LSTMUnitLayer(Layer):
    """One step of an LSTM. Bottoms: c_prev (1, N, n), gates (1, N, 4n), cont (1, N). Tops: c, h (1, N, n)."""

    exact_num_bottom = 3
    exact_num_top = 2

    def allow_force_backward(self, bottom_index: int) -> bool:
        """No gradient for the continuation marks."""
        return bottom_index != 2

    def reshape(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        """Tops like c_prev. NetError where shapes do not fit."""
        shapes = [blob.shape for blob in bottom]
        c = shapes[0]
        if len(c) != 3 or c[0] != 1 or shapes[1] != (1, c[1], 4 * c[2]) or shapes[2] != (1, c[1]):
            raise self.error(f"expected bottoms (1, N, n), (1, N, 4n) and (1, N), found {shapes}")
        for blob in top:
            blob.reshape(*c)

    def forward(self, bottom: Sequence[Blob], top: Sequence[Blob]) -> None:
        c_prev, gates, cont = (blob.data_tensor for blob in bottom)
        self._step = _UnitStep(c_prev.clone(), gates, cont.unsqueeze(-1))
        top[0].data_tensor = self._step.c.clone()
        top[1].data_tensor = self._step.h.clone()

    def backward(self, top: Sequence[Blob], propagate_down: Sequence[bool], bottom: Sequence[Blob]) -> None:
        """Gradients of c_prev and the gates, both if either is wanted."""
        if propagate_down[2]:
            raise self.error("Cannot backpropagate to sequence indicators.")
        if propagate_down[0] or propagate_down[1]:
            diffs = self._step.backward(top[0].diff_tensor, top[1].diff_tensor)
            bottom[0].diff_tensor, bottom[1].diff_tensor = diffs[0].contiguous(), diffs[1].contiguous()
