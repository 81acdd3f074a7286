"""docs/modules.md: its examples run as they are printed."""

from __future__ import annotations

import re

import pytest

from conformance.folders import ROOT

pytest.importorskip("torch", reason="the page is about torch's modules")

EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs/modules.md").read_text(encoding="utf-8"), re.S)


@pytest.mark.parametrize(
    "example, printed", list(zip(EXAMPLES, ["<GPResult of 2 x 48 x 64", "(1, 3, 64, 64)"]))
)
def test_example(example, printed, capsys):
    exec(compile(example, "docs/modules.md", "exec"), {})
    assert capsys.readouterr().out.startswith(printed)
