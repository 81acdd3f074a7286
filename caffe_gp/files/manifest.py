"""What a package's manifest.json lists, with entries of one's own in their place."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def entries(path: Path, variable: str, field: str) -> list[dict[str, Any]]:
    """The list ``field`` of the manifest at ``path``, then that of the file that ``variable`` names.

    Later entries take the place of earlier ones of the same name.
    """
    paths = [path, Path(os.environ[variable])] if os.environ.get(variable) else [path]
    return [entry for one in paths for entry in json.loads(one.read_text(encoding="utf-8"))[field]]
