"""Executes a notebook: its results and pictures into the current folder, its text to stdout.

python -m website.notebooks docs/gallery/sweep_eps.ipynb
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient


def main(source: Path) -> None:
    """Raises nbclient's CellExecutionError for a cell that fails."""
    notebook: Any = nbformat.read(source, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    nbformat.write(notebook, source.name)
    number = 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                Path(f"{source.stem}_{number}.png").write_bytes(base64.b64decode(data["image/png"]))
                number += 1
            elif output.output_type == "stream" and output.name == "stdout":
                sys.stdout.write(output.text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
