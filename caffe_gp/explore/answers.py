"""What the page's events ask for, and what is answered: texts by the name of the part of the page.

Knows nothing of gradio. Every argument may be anything, since whoever reaches the server can send it.
"""

from __future__ import annotations

import math
from functools import wraps
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Sequence

from caffe_gp.errors import CaffeGPError, DataError, UsageError
from caffe_gp.explore import parts
from caffe_gp.explore.examples import Example
from caffe_gp.explore.look import Look, Method
from caffe_gp.explore.net import SHARES, SharedNet
from caffe_gp.explore.seats import Seats
from caffe_gp.files.below import is_below

#: Parts of the page -> what they show now: 'state', 'shown', 'classes', 'curves' texts, 'eps' the slider.
Answer = Dict[str, Any]

_STEPS = 60  # of the slider, to each side of 0
_GONE = "your picture was put aside, since others came: choose one again"


def _told(method: Callable[..., Answer]) -> Callable[..., Answer]:
    """The method; a CaffeGPError becomes a message on the page."""

    @wraps(method)
    def answer(*given: Any) -> Answer:
        try:
            return method(*given)
        except CaffeGPError as error:
            return {"state": parts.problem(str(error))}

    return answer


class Answers:
    """One server's answers.

    uploads   the folder of uploads: a picture that is not in it is refused, whatever a client says
    """

    def __init__(self, net: SharedNet, examples: Sequence[Example], seats: Seats, uploads: Path) -> None:
        self._net, self._examples, self._seats, self._uploads = net, examples, seats, uploads

    @_told
    def first(self, user: str, *method: Any) -> Answer:
        """A new page: the first example."""
        if not self._examples:
            return {"state": "<p class='soft'>Upload a picture to begin.</p>"}
        return self._example(user, 0, method)

    @_told
    def example(self, user: str, clicked: Mapping[str, Any], *method: Any) -> Answer:
        """A press on a thumbnail."""
        return self._example(user, clicked.get("example"), method)

    def _example(self, user: str, number: Any, method: Sequence[Any]) -> Answer:
        if type(number) is not int or not 0 <= number < len(self._examples):
            raise UsageError("there is no such example")
        one = self._examples[number]
        return self._new(user, self._net.read(one.path, one.name, one.truth), method)

    @_told
    def upload(self, user: str, path: Any, *method: Any) -> Answer:
        """A picture of the user's."""
        if not isinstance(path, str) or not is_below(Path(path), self._uploads):
            raise DataError("this is not a file that was uploaded")
        return self._new(user, self._net.read(path, Path(path).name), method)

    @_told
    def again(self, user: str, eps: Any, *method: Any) -> Answer:
        """Another blob, encoding or number of iterations."""
        look, chosen = self._look(user), self._method(method)
        other = look.method is None or look.method.blob != chosen.blob
        return self._kept(user, self._net.look(look, chosen, None if other else _number(eps)), slider=other)

    @_told
    def move(self, user: str, eps: Any) -> Answer:
        """Another eps."""
        return self._kept(user, self._net.at(self._look(user), _number(eps)))

    @_told
    def curves(self, user: str) -> Answer:
        """What follows the pictures: the curves. They are computed once for a picture and a method."""
        look = self._seats.get(user)
        if look is None or look.method is None:  # the message about why is on the page already
            return {}
        look = self._net.curve(look)
        if look.whole and look.pixel_scores is None:
            look = self._net.click(look, 0.5, 0.5)
        elif look.pixel is not None and look.pixel_scores is None:
            look = self._net.click(look, look.pixel.x, look.pixel.y)
        self._seats.put(user, look)
        return {"curves": parts.curves(self._net, look)}

    @_told
    def click(self, user: str, clicked: Mapping[str, Any]) -> Answer:
        """A press on a picture: the scores of that pixel."""
        look = self._look(user)
        if look.method is None:
            raise UsageError(_GONE)
        look = self._net.click(look, _number(clicked.get("x")), _number(clicked.get("y")))
        self._seats.put(user, look)
        answer = {"shown": parts.shown_pictures(self._net, look), "curves": parts.curves(self._net, look)}
        if look.pixel is None:
            answer["state"] = parts.problem("the net's scores do not reach that pixel")
        return answer

    def leave(self, user: str) -> None:
        """The page was closed."""
        self._seats.leave(user)

    # ---- pieces

    def _look(self, user: str) -> Look:
        look = self._seats.get(user)
        if look is None:
            raise UsageError(_GONE)
        return look

    def _method(self, method: Sequence[Any]) -> Method:
        blob, encoding, iterations = method
        number = _number(iterations)
        return self._net.method(blob, encoding, int(number) if number == int(number) else 0)

    def _new(self, user: str, look: Look, method: Sequence[Any]) -> Answer:
        return self._kept(user, self._net.look(look, self._method(method)), slider=True)

    def _kept(self, user: str, look: Look, slider: bool = False) -> Answer:
        self._seats.put(user, look)
        answer: Answer = {
            "state": parts.picture_line(look) + parts.said(self._net, look),
            "shown": parts.shown_pictures(self._net, look),
            "classes": parts.classes(self._net, look),
        }
        if slider:
            most = SHARES[-1] * look.usual
            answer["eps"] = {
                "minimum": -most,
                "maximum": most,
                "step": most / _STEPS,
                "value": look.eps,
                "info": f"{look.usual:g} is usual here: {look.note}",
            }
        return answer


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise UsageError("a finite number is needed")
    return float(value)
