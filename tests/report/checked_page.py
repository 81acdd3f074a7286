"""What every page must be: valid HTML that stands alone, named pictures, scoped heads, folded provenance."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

# No page is larger: pictures in it are few and of screen size.
MOST_BYTES = 20_000_000


def checked_page(path: Path) -> Any:
    """Parse a page (an ElementTree) and assert what holds of all of them; skips without html5lib."""
    html5lib = pytest.importorskip("html5lib")
    content = path.read_bytes()
    assert len(content) < MOST_BYTES
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    root = parser.parse(content)
    assert root.get("lang") and len(root.findall(".//h1")) == 1 and root.find(".//title").text.strip()
    for image in root.iter("img"):
        assert image.get("alt") is not None and image.get("width") and image.get("height")
        assert image.get("src").startswith("data:image/")
    svgs = [element for element in root.iter() if str(element.tag).endswith("}svg")]
    for svg in svgs:
        title = next(element for element in svg if str(element.tag).endswith("title"))
        assert svg.get("role") == "img" and svg.get("aria-labelledby") == title.get("id") and title.text
    ids = Counter(element.get("id") for element in root.iter() if element.get("id"))
    assert not [name for name, count in ids.items() if count > 1]
    for table in root.iter("table"):
        heads = list(table.iter("th"))
        assert heads and all(head.get("scope") in ("col", "row") for head in heads)
        columns = len(table.findall("./thead/tr/th"))
        assert all(len(list(row)) == columns for row in table.iter("tr"))
    for caption in root.iter("figcaption"):
        text = "".join(caption.itertext()).strip()
        assert text[0].isupper() or not text[0].isalpha(), text
    for link in root.iter("a"):
        target = unquote(link.get("href"))
        assert (path.parent / target).exists() or target == "../index.html", target
    assert not list(root.iter("script")) and b"@import" not in content and b"http://" not in _own(content)
    return root


def _own(content: bytes) -> bytes:
    """Without the names of XML's and SVG's own namespaces, which nothing fetches."""
    return content.replace(b"http://www.w3.org/", b"").replace(b'"http://', b'"')
