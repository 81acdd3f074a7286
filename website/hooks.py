"""What mkdocs calls: adds the generated pages, fills the marked places, rewrites the links."""

from __future__ import annotations

import re
from typing import Any, Iterator

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

from conformance.folders import ROOT
from website import commands, gallery, links, tables

#: What stands in a page in the place of what is made here.
MARKED = {
    "<!-- commands -->": commands.page,
    "<!-- models at a glance -->": tables.models,
    "<!-- time and memory -->": tables.time_and_memory,
    "<!-- option matrix -->": tables.options,
}
_ENTRY = re.compile(
    r"^- \[(?P<title>[^\]]+)\]\((?P<name>\w+)\.(?:py|ipynb)\): (?P<text>(?:.+\n)+?)(?=\n|- )", re.M
)


def on_files(files: Any, config: Any) -> Any:
    """Add the gallery's pages and pictures, and the pages of the navigation that lie outside of docs/."""
    for entry in gallery.entries():
        try:
            text = gallery.page(entry)
        except FileNotFoundError as missing:
            raise PluginError(str(missing)) from None
        files.append(File.generated(config, f"gallery/{entry.stem}.md", content=text))
        for picture in gallery.pictures(entry):
            name = f"gallery/{entry.stem}/{picture.name}"
            files.append(File.generated(config, name, abs_src_path=str(picture)))
    for name in _outside(config.nav):
        path = ROOT / links.place_of(name)
        if not path.exists():
            raise PluginError(f"mkdocs.yml: nav names {name}, and there is no {path}")
        files.append(File.generated(config, name, content=path.read_text(encoding="utf-8")))
        for picture in sorted(path.parent.glob("*.png")):
            inside = f"{links.OUTSIDE}{picture.relative_to(ROOT).as_posix()}"
            if not files.get_file_from_path(inside):
                files.append(File.generated(config, inside, abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Fill the marked places, then rewrite the links."""
    name = page.file.src_uri
    for marker, made in MARKED.items():
        if marker in markdown:
            markdown = markdown.replace(marker, made())
    if name == "gallery/README.md":
        markdown = _ENTRY.sub(_card, markdown)
    return links.rewritten(markdown, name, lambda wanted: files.get_file_from_path(wanted) is not None)


def _outside(nav: Any) -> Iterator[str]:
    """The navigation's pages outside of docs/."""
    if isinstance(nav, str):
        if nav.startswith(links.OUTSIDE):
            yield nav
    else:
        for below in nav.values() if isinstance(nav, dict) else nav:
            yield from _outside(below)


def _card(entry: re.Match[str]) -> str:
    """A line of the gallery's list with its first picture above."""
    path = next(path for path in gallery.entries() if path.stem == entry["name"])
    shown = gallery.pictures(path)
    picture = f"![]({path.stem}/{shown[0].name}){{ loading=lazy }}" if shown else ""
    return f"- {picture}\n\n    [{entry['title']}]({path.name}): {entry['text']}"
