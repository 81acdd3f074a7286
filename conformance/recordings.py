"""Recordings of cases in one .npz a family: all numbers in one flat array and an index in JSON."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def save(path: Path, results: dict[str, dict[str, Any]], compress: bool = False) -> None:
    """``results``: case name -> {'fingerprint', 'error' or ('structure', 'arrays')}. Atomic."""
    index, chunks, offset = {}, [], 0
    for name, result in results.items():
        entry = {key: value for key, value in result.items() if key != "arrays"}
        entry["arrays"] = []
        for key, array in result.get("arrays", {}).items():
            entry["arrays"].append([key, list(array.shape), offset])
            chunks.append(np.asarray(array, np.float32).ravel())
            offset += array.size
        index[name] = entry
    flat = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    text = np.frombuffer(json.dumps(index, separators=(",", ":")).encode(), np.uint8)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        (np.savez_compressed if compress else np.savez)(file, values=flat, index=text)
    os.replace(partial, path)


def load(path: Path) -> dict[str, dict[str, Any]]:
    """What ``save`` was given."""
    with np.load(str(path)) as file:
        flat, index = file["values"], json.loads(file["index"].tobytes().decode())
    for entry in index.values():
        entry["arrays"] = {
            key: flat[offset : offset + int(np.prod(shape, dtype=np.int64))].reshape(shape)
            for key, shape, offset in entry["arrays"]
        }
    return index
