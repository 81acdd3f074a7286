"""Plots as <svg> elements inside a page: named for screen readers, in the page's own text colour."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

_BLACK = re.compile(r"(stroke|fill): #000000")
_ID = re.compile(r'(\bid="|url\(#|href="#)')


def inline(svg: str, name: str, title: str) -> str:
    """The <svg> element of a file that matplotlib wrote, as wide as what it stands in.

    name    unique in the page; title: what the plot shows
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    head, rest = svg[: svg.index(">")], svg[svg.index(">") :]
    for attribute in ("width", "height"):
        head = re.sub(rf' {attribute}="[^"]*"', "", head)
    head += f' role="img" class="plot" aria-labelledby="{name}-title"'
    # Several plots in one page: their identifiers must differ.
    rest = _ID.sub(rf"\g<1>{name}-", rest)
    title = f'<title id="{name}-title">{escape(title)}</title>'
    return head + ">" + title + _BLACK.sub(r"\1: currentColor", rest[1:])
