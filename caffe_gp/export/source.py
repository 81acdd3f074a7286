"""A built net as the text of one Python file, and its parameters."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from typing import Any, Iterator, Sequence

import torch
from torch import nn

import caffe_gp
from caffe_gp.export.description import unmapped
from caffe_gp.export.layers import NotMapped, Site, write
from caffe_gp.export.names import Identifiers, literal

_LOCALS = ("self", "torch", "nn", "F")


@dataclass
class Source:
    """What is exported.

    text    of the Python file
    inputs, outputs   blobs
    state   the state dict of its Net
    scores  module that makes probabilities of an output -> blob that it reads: probabilities that are 0 and 1
            tell little of what they were made from
    fixed   axes of the inputs along which it is right for the exported size only
    """

    text: str
    inputs: list[str]
    outputs: list[str]
    state: dict[str, torch.Tensor]
    scores: dict[str, str]
    fixed: set[int]


def source_of(net: Any, param: Any, ends: Sequence[str]) -> Source:
    """Write a net of the embedded Caffe.

    net      built from ``param`` with its weights
    ends     the blobs that the module returns: one tensor, or a dictionary of several
    Raises NetError that lists the layers that have no counterpart.
    """
    attributes = Identifiers(dir(nn.Module()), "layer")
    variables = Identifiers(_LOCALS, "blob")
    inputs = list(net.inputs)
    of_blob = {blob: variables.new(blob) for blob in inputs}
    arguments = ", ".join(of_blob[blob] for blob in inputs)
    made: list[str] = []  # of __init__
    body: list[str] = []  # of forward
    state: dict[str, torch.Tensor] = {}
    helpers: dict[str, type] = {}
    renamed: dict[str, str] = {}
    shared: dict[Any, str] = {}  # module of the layer that had these parameters first
    scores: dict[str, str] = {}
    fixed: set[int] = set()
    missing = []
    for layer, site in _sites(net, param):
        if layer.type == "Input":
            continue
        try:
            written = write(site)
        except NotMapped as error:
            missing.append((layer, str(error)))
        if missing:
            continue
        fixed.update(written.fixes)
        bottoms = [of_blob[blob] for blob in layer.bottom]
        for top in layer.top:
            if top not in of_blob:
                of_blob[top] = variables.new(top)
        module = ""
        if written.module:
            key = (written.module, *(blob.data_ptr() for blob in site.blobs))
            module = shared.get(key, "") if site.blobs else ""
            if not module:
                module = shared[key] = attributes.new(layer.name)
                made.append(f"self.{module} = {written.module}")
                state.update((f"{module}.{name}", values) for name, values in written.state.items())
                if module != layer.name:
                    renamed[module] = layer.name
            if (
                layer.type in ("Softmax", "Sigmoid")
                and layer.top[0] in ends
                and layer.top[0] != layer.bottom[0]
            ):
                scores[module] = layer.bottom[0]
            if written.helper is not None:
                helpers[written.helper.__name__] = written.helper
        call = written.call.format(*bottoms, m=f"self.{module}")
        tops = ", ".join(of_blob[top] for top in layer.top)
        if call != tops:
            body.append(f"{tops} = {call}")
    if missing:
        raise unmapped(param, missing)
    returned = (
        of_blob[ends[0]]
        if len(ends) == 1
        else "{" + ", ".join(f"{literal(end)}: {of_blob[end]}" for end in ends) + "}"
    )
    shapes = {blob: tuple(net.blobs[blob].shape) for blob in inputs}
    sources = "".join(f"\n\n{inspect.getsource(helper)}" for helper in helpers.values())
    used = "".join([sources, *made, *body])
    text = _FILE.format(
        typing="from typing import Any\n" if "Any" in used else "",
        functional="import torch.nn.functional as F\n" if "F." in used else "",
        version=caffe_gp.__version__,
        name=literal(param.name[:200]),
        inputs=literal(shapes),
        outputs=literal(list(ends)),
        renamed=_dictionary(renamed),
        helpers=sources,
        made="\n".join(f"        {line}" for line in made) or "        pass",
        arguments=arguments,
        body="\n".join(f"        {line}" for line in [*body, f"return {returned}"]),
    )
    return Source(text, inputs, list(ends), _apart(state), scores, fixed)


def _apart(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The parameters on the CPU, none in another's memory, as safetensors wants them."""
    found, seen = {}, set()
    for name, values in state.items():
        values = values.detach().cpu().contiguous()
        found[name] = values.clone() if values.data_ptr() in seen else values
        seen.add(values.data_ptr())
    return found


def _dictionary(values: dict[str, str]) -> str:
    lines = "".join(f"    {literal(key)}: {literal(value)},\n" for key, value in values.items())
    return f"{{\n{lines}}}" if lines else "{}"


def _sites(net: Any, param: Any) -> Iterator[tuple[Any, Site]]:
    """The layers of the description beside those of the net, which has Splits of its own between them."""
    built = enumerate(zip(net.layers, net._layer_names))
    for layer in param.layer:
        i, one = next(
            (i, one) for i, (one, name) in built if name == layer.name and one.layer_param.type == layer.type
        )
        bottoms, tops = ([blob.shape for blob in blobs] for blobs in (net._bottoms[i], net._tops[i]))
        compute = partial(_top_of, one, net._bottoms[i], net._tops[i])
        yield (
            layer,
            Site(one.layer_param, one, bottoms, tops, [blob.data_tensor for blob in one.blobs], compute),
        )


def _top_of(layer: Any, bottoms: Any, tops: Any) -> torch.Tensor:
    layer.forward(bottoms, tops)
    return tops[0].data_tensor


_FILE = '''"""A Caffe net as a PyTorch module, exported by caffe_gp {version}.

    net = load()          # with the weights that lie beside this file
    scores = net(images)  # float32, prepared as for the Caffe net: see INPUTS

It needs torch, and safetensors for load().
"""

from pathlib import Path
{typing}
import torch
{functional}from torch import nn

NAME = {name}
#: Blobs that go in, with the shapes that the net was exported with, and that come out.
INPUTS = {inputs}
OUTPUTS = {outputs}
#: Modules that are named otherwise than Caffe's layers.
LAYERS = {renamed}
{helpers}

class Net(nn.Module):
    """Layer by layer as in the prototxt. Several outputs come as a dictionary by their blobs' names."""

    def __init__(self):
        super().__init__()
{made}

    def forward(self, {arguments}):
{body}


def load(weights=None):
    """The net, ready to compute, with the parameters of a .safetensors file; by default this file's."""
    from safetensors.torch import load_file

    with torch.device("meta"):
        net = Net()
    path = Path(__file__).with_suffix(".safetensors") if weights is None else weights
    net.load_state_dict(load_file(path), assign=True)
    return net.eval()
'''
