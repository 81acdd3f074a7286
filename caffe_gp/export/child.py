"""Runs an exported file, without caffe_gp, in a process of its own: ``python child.py FOLDER``.

FOLDER has net.py, net.safetensors, job.json and the inputs; the outputs, and the ONNX file, go there too.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import warnings
from pathlib import Path
from typing import Any


def main(folder: Path) -> None:
    """Do what job.json says."""
    import numpy as np
    import torch

    warnings.simplefilter("ignore")
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    module = _imported(folder / "net.py")
    net = module.load()
    scores: dict[str, Any] = {}
    for name in job["scores"]:
        getattr(net, name).register_forward_pre_hook(lambda _, x, name=name: scores.update({name: x[0]}))
    inputs = []
    with torch.no_grad():
        for i in range(job["examples"]):
            with np.load(folder / f"in{i}.npz") as held:
                inputs.append([torch.from_numpy(held[f"a{k}"]) for k in range(len(held.files))])
            found = [*_outputs(module, net, inputs[i]), *(scores[name] for name in job["scores"])]
            arrays: dict[str, Any] = {f"a{k}": y.numpy() for k, y in enumerate(found)}
            np.savez(folder / f"out{i}.npz", **arrays)
        if job["onnx"]:
            _export_onnx(module, net, job, folder / job["onnx"], inputs[0])


def _imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("exported", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _outputs(module: Any, net: Any, inputs: list) -> list:
    found = net(*inputs)
    return [found[name] for name in module.OUTPUTS] if isinstance(found, dict) else [found]


def _export_onnx(module: Any, net: Any, job: dict, path: Path, inputs: list) -> None:
    import torch

    class Listed(torch.nn.Module):
        """Gives its outputs in a tuple: ONNX knows no dictionaries."""

        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, *values: Any) -> tuple:
            return tuple(_outputs(module, self.net, list(values)))

    torch.onnx.export(
        Listed().eval(),
        tuple(inputs),
        str(path),
        opset_version=job["opset"],
        input_names=list(module.INPUTS),
        output_names=module.OUTPUTS,
        dynamic_axes={name: {int(i): word for i, word in axes.items()} for name, axes in job["axes"].items()},
        dynamo=False,  # the other exporter needs more packages, and takes sizes that agree for fixed ones
    )


if __name__ == "__main__":
    sys.modules["caffe_gp"] = None  # type: ignore[assignment]  # an import of it fails
    sys.path.pop(0)  # this file's folder
    main(Path(sys.argv[1]))
