"""Links of the pages: written for a checkout, where they also work, and rewritten for the site."""

from __future__ import annotations

import posixpath
import re
from typing import Callable

from conformance.folders import ROOT

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.S | re.M)

#: Where a page of the site lies in the checkout: docs/, or the root for those below project/.
OUTSIDE = "project/"


def place_of(page: str) -> str:
    """The path in the checkout of a page of the site."""
    return page[len(OUTSIDE) :] if page.startswith(OUTSIDE) else f"docs/{page}"


def rewritten(markdown: str, page: str, is_page: Callable[[str], bool]) -> str:
    """The text with links that lead to the site's pages.

    page      of the site: 'gallery/x.md', or 'project/benchmarks/results/gp.md'
    is_page   whether the site has a page or file of this name
    A link to a script of the gallery leads to its page, one to another file of the checkout becomes its text:
    the site does not have the source. One that leads nowhere stays, for mkdocs to complain of.
    """

    def link(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        path, hash_, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target) or not path:
            return match[0]
        base = place_of(page)
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(base), path))
        for name in _names_on_the_site(wanted):
            if is_page(name):
                relative = posixpath.relpath(name, posixpath.dirname(page) or ".")
                return f"{mark}[{text}]({relative}{hash_}{anchor})"
        if (ROOT / wanted).exists():
            return text if "`" in text or "/" not in text else f"`{text}`"
        return match[0]

    pieces = _FENCED.split(markdown)
    return "".join(piece if index % 2 else _LINK.sub(link, piece) for index, piece in enumerate(pieces))


def _names_on_the_site(path: str) -> list[str]:
    """What a path of the checkout may be called on the site, the most wanted first."""
    if not path.startswith("docs/"):
        inside = f"{OUTSIDE}{path}"
        return [inside, f"{inside}/README.md"]
    inside = path[len("docs/") :]
    stem, dot, ending = inside.rpartition(".")
    if inside.startswith("gallery/") and ending in ("py", "ipynb"):
        return [f"{stem}.md"]
    return [inside, f"{inside}/README.md"]
