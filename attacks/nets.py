"""Abuses by a prototxt."""

from __future__ import annotations

import os
from pathlib import Path

from attacks.idea import HARM, NETS, SECRET, Attack, Content, written

_BIG = 4294967295  # the largest unsigned number of 32 bits


def data(*dims: int) -> str:
    """An Input layer, 1 x 3 x 8 x 8 unless other dimensions are given."""
    shape = " ".join(f"dim: {n}" for n in dims or (1, 3, 8, 8))
    return f'layer {{ name: "d" type: "Input" top: "d" input_param {{ shape {{ {shape} }} }} }}\n'


def on_data(kind: str, param: str = "", top: str = "t", bottoms: str = 'bottom: "d"') -> str:
    """The same and one layer on it."""
    return data() + _layer(kind, param, top, bottoms)


def _layer(kind: str, param: str = "", top: str = "t", bottoms: str = 'bottom: "d"') -> str:
    tops = f'top: "{top}"' if top else ""
    return f'layer {{ name: "t" type: "{kind}" {bottoms} {tops} {param} }}\n'


def _conv(param: str) -> str:
    return on_data("Convolution", f"convolution_param {{ {param} }}")


def _noise(top: str, most: float, *dims: int) -> str:
    """A DummyData layer of random numbers from 0 up."""
    shape = " ".join(f"dim: {n}" for n in dims)
    param = f'shape {{ {shape} }} data_filler {{ type: "uniform" max: {most} }}'
    return f'layer {{ name: "{top}" type: "DummyData" top: "{top}" dummy_data_param {{ {param} }} }}\n'


def _net(name: str, idea: str, text: Content, expected: str = "NetError") -> Attack:
    return Attack(name, idea, written(f"{name}.prototxt", text), NETS, expected)


# Some hundred bytes that ask for gigabytes, or more.
_GREEDY = {
    "input": data(1, 1, 46340, 46340),
    "input_and_relu": data(1, 1, 46340, 46340) + _layer("ReLU"),
    "dummy_data": 'layer { type: "DummyData" top: "d" dummy_data_param { shape { dim: 2147483647 } } }',
    "memory_data": 'layer { type: "MemoryData" top: "d" top: "l" memory_data_param { batch_size: 60000 '
    "channels: 30 height: 300 width: 300 } }",
    "num_output": _conv("num_output: 700000000 kernel_size: 1"),
    "kernel": _conv("num_output: 1 kernel_size: 26000 pad: 13000"),
    "deconvolution": on_data(
        "Deconvolution", "convolution_param { num_output: 1 kernel_size: 1 stride: 9000 }"
    ),
    "inner_product": on_data("InnerProduct", "inner_product_param { num_output: 20000000 }"),
    "inner_product_transposed": on_data(
        "InnerProduct", "inner_product_param { num_output: 20000000 transpose: true bias_term: false }"
    ),
    "embed": on_data("Embed", "embed_param { num_output: 30000 input_dim: 70000 }"),
    "im2col": on_data("Im2col", "convolution_param { kernel_size: 5000 pad: 5000 }"),
    "lrn": on_data("LRN", f"lrn_param {{ local_size: {_BIG} norm_region: WITHIN_CHANNEL }}"),
    "spp": on_data("SPP", f"spp_param {{ pyramid_height: {_BIG} }}"),
    "spp_12": on_data("SPP", "spp_param { pyramid_height: 12 }"),
    "interp": on_data("Interp", "interp_param { height: 26000 width: 26000 }"),
    "interp_zoom": on_data("Interp", "interp_param { zoom_factor: 3700 }"),
    "upsample": on_data(
        "Upsample",
        "upsample_param { upsample_h: 26000 upsample_w: 26000 }",
        bottoms='bottom: "d" bottom: "d"',
    ),
    "upsample_of_one_bottom": on_data("Upsample", "upsample_param { scale: 3000 }"),
    "unpooling": on_data(
        "Unpooling", "unpooling_param { unpool: AVE kernel_size: 1 unpool_h: 26000 unpool_w: 26000 }"
    ),
    "roi_pooling": data(1, 1, 8, 8)
    + _noise("r", 0, 1, 5)
    + _layer(
        "ROIPooling", "roi_pooling_param { pooled_h: 9000 pooled_w: 9000 }", bottoms='bottom: "d" bottom: "r"'
    ),
    "density": on_data(
        "PriorBox", "prior_box_param { fixed_size: 1 density: 9000 }", bottoms='bottom: "d" bottom: "d"'
    ),
    "density_overflow": on_data(
        "PriorBox", "prior_box_param { fixed_size: 1 density: 3e38 }", bottoms='bottom: "d" bottom: "d"'
    ),
    "tile": on_data("Tile", "tile_param { axis: 1 tiles: 12000000 }"),
    "pooling": on_data("Pooling", "pooling_param { pool: AVE kernel_size: 30000 pad: 29999 stride: 29999 }"),
    "stochastic_pooling": data(1, 3, 2000, 2000)
    + _layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 200 stride: 1 }"),
    "parameter": 'layer { type: "Parameter" top: "p" parameter_param { shape { dim: 2000000000 } } }',
    "lstm": data(2, 2, 3)
    + 'layer { name: "c" type: "DummyData" top: "c" dummy_data_param { shape { dim: 2 dim: 2 } } }'
    + _layer(
        "LSTM",
        'recurrent_param { num_output: 20000 weight_filler { type: "constant" } }',
        bottoms='bottom: "d" bottom: "c"',
    ),
    "mean_field": data(1, 2000, 30, 30)
    + _layer("MultiStageMeanfield", bottoms='bottom: "d" bottom: "d" bottom: "d"'),
    "blobs_together": data(1, 3, 1500, 1500)
    + "".join(
        f'layer {{ name: "r{i}" type: "TanH" bottom: "{f"r{i - 1}" if i else "d"}" top: "r{i}" }}\n'
        for i in range(200)
    ),
}

_SCALAR = 'layer { name: "d" type: "Input" top: "d" input_param { shape { } } }\n'

# What is no number of pixels, filters, ... at all.
_WRONG = {
    "stride_0": _conv("num_output: 1 kernel_size: 3 stride: 0"),
    "pooling_stride_0": on_data("Pooling", "pooling_param { kernel_size: 3 stride: 0 }"),
    "group_0": _conv("num_output: 1 kernel_size: 3 group: 0"),
    "dilation_0": _conv("num_output: 1 kernel_size: 3 dilation: 0"),
    "filler_std": _conv('num_output: 1 kernel_size: 3 weight_filler { type: "gaussian" std: -1 }'),
    "filler_range": _conv('num_output: 1 kernel_size: 3 weight_filler { type: "uniform" min: 1 max: -1 }'),
    "filler_of_nothing": data(1, 3, 8, 0)
    + _layer("InnerProduct", 'inner_product_param { num_output: 3 weight_filler { type: "xavier" } }'),
    "filler_of_a_scalar": data(1, 1, 9)
    + _layer("Bias", 'bias_param { num_axes: 0 filler { type: "positive_unitball" } }'),
    "msra_of_a_scalar": data(1, 1, 9) + _layer("Bias", 'bias_param { num_axes: 0 filler { type: "msra" } }'),
    "arg_max_of_a_scalar": _SCALAR + _layer("ArgMax"),
    "inner_product_of_a_scalar": _SCALAR + _layer("InnerProduct", "inner_product_param { num_output: 2 }"),
    "softmax_of_a_scalar": _SCALAR + _layer("Softmax", "softmax_param { axis: 2 }"),
    "tile_of_a_scalar": _SCALAR + _layer("Tile", "tile_param { tiles: 2 }"),
    "bn_of_nothing": data(8, 7, 0) + _layer("BN", 'bn_param { bias_filler { type: "gaussian" std: -1e30 } }'),
    "shuffle_group_0": on_data("ShuffleChannel", "shuffle_channel_param { group: 0 }"),
    "crop_center": on_data("CropCenter", f"crop_center_param {{ {'crop_size: 4294967295 ' * 4}}}"),
    "crop_center_axes": on_data("CropCenter", f"crop_center_param {{ {'crop_size: 0 ' * 9999}}}"),
    "unpooling_stride_0": on_data("Unpooling", "unpooling_param { kernel_size: 2 stride: 0 unpool_size: 4 }"),
    "unpooling_of_nothing": data(1, 3, 0, 8)
    + _layer("Unpooling", "unpooling_param { unpool: AVE kernel_size: 2 unpool_size: 4 }"),
    "upsample_scale_0": on_data("Upsample", "upsample_param { scale: 0 }"),
    "axpy_of_scalars": _SCALAR + _layer("Axpy", bottoms='bottom: "d" ' * 3),
    "class_weights": on_data(
        "SoftmaxWithLoss",
        f"loss_param {{ weight_by_label_freqs: true {'class_weighting: nan ' * 9999}}}",
        bottoms='bottom: "d" bottom: "d"',
    ),
    "permute_axes": on_data("Permute", f"permute_param {{ order: {_BIG} order: 0 }}"),
    "reorg_stride": on_data("Reorg", f"reorg_param {{ stride: {_BIG} }}"),
    "min_size_nan": on_data(
        "PriorBox", "prior_box_param { min_size: nan }", bottoms='bottom: "d" bottom: "d"'
    ),
    "nms_threshold_nan": on_data(
        "DetectionOutput",
        "detection_output_param { num_classes: 2 nms_param { nms_threshold: nan } }",
        bottoms='bottom: "d" bottom: "d" bottom: "d"',
    ),
    "exp_overflow": on_data("Exp", "exp_param { base: 2 shift: 1e30 }"),
    "input_without_shape": 'layer { name: "d" type: "Input" top: "d" }' + _layer("ArgMax"),
    "shape_overflow": data(0, 2**62, 2**62) + _layer("ReLU"),
    "negative_dimension": data(1, -3, 8, 8) + _layer("ReLU"),
    "two_equal_tops": 'layer { type: "Input" top: "" top: "" }',
    "old_crop_of_stride_0": 'input: "d" input_dim: 1 input_dim: 3 input_dim: 9 input_dim: 9\n'
    'layers { name: "c" type: CONVOLUTION bottom: "d" top: "c" convolution_param { num_output: 3 '
    'kernel_size: 3 stride: 0 } }\nlayers { name: "cr" type: CROP bottom: "c" bottom: "d" top: "cr" }',
}
# These run after all: what they ask for is odd, and means something.
_LOADS = (
    "wrong_filler_of_a_scalar",
    "wrong_msra_of_a_scalar",
    "wrong_exp_overflow",
    "wrong_unpooling_of_nothing",
)

# In place, where the top has another shape than the bottom.
_IN_PLACE = {
    "Convolution": "convolution_param { num_output: 5 kernel_size: 3 }",
    "Deconvolution": "convolution_param { num_output: 5 kernel_size: 3 }",
    "Pooling": "pooling_param { kernel_size: 2 stride: 2 }",
    "InnerProduct": "inner_product_param { num_output: 5 }",
    "Im2col": "convolution_param { kernel_size: 3 }",
    "Interp": "interp_param { zoom_factor: 2 }",
    "Upsample": "upsample_param { scale: 2 }",
    "Unpooling": "unpooling_param { unpool: AVE kernel_size: 2 stride: 2 unpool_size: 16 }",
    "CropCenter": "crop_center_param { crop_size: 0 crop_size: 0 crop_size: 1 crop_size: 1 }",
    "SPP": "spp_param { pyramid_height: 2 }",
    "Tile": "tile_param { axis: 1 tiles: 2 }",
    "ArgMax": "",
    "Embed": "embed_param { num_output: 5 input_dim: 9 }",
    "Flatten": "",
    "Reduction": "",
}

# Layers that read a file that the prototxt names.
_READ = {
    "Data": "data_param {{ source: {0} batch_size: 1 backend: LMDB }}",
    "HDF5Data": "hdf5_data_param {{ source: {0} batch_size: 1 }}",
    "ImageData": "image_data_param {{ source: {0} batch_size: 1 }}",
    "DenseImageData": "dense_image_data_param {{ source: {0} batch_size: 1 }}",
    "WindowData": "window_data_param {{ source: {0} batch_size: 1 }} transform_param {{ crop_size: 2 }}",
    "InfogainLoss": "infogain_loss_param {{ source: {0} }}",
    "MatWrite": 'mat_write_param {{ prefix: "x" source: {0} }}',
}


def _reading(kind: str, what: str) -> Attack:
    """A layer is pointed at a device, a pipe, a folder, a name with a NUL, or a file of another kind."""

    def make(folder: Path) -> Path:
        sources = {"zero": "/dev/zero", "folder": str(folder), "nul": "a\\000b", "pipe": f"{folder}/pipe"}
        sources["other"] = f"{folder}/other"
        os.mkfifo(folder / "pipe")
        (folder / "other").write_text(f"{SECRET}:x:0:0\n" * 3)
        param = _READ[kind].format(f'"{sources[what]}"')
        if kind in ("InfogainLoss", "MatWrite"):
            net = on_data(kind, param, "", 'bottom: "d"' + ' bottom: "d"' * (kind == "InfogainLoss"))
        else:
            net = f'layer {{ name: "d" type: "{kind}" top: "d" top: "l" {param} }}'
        return written("net.prototxt", net)(folder)

    # Any text is a list of names to MatWrite.
    expected = "loads" if (kind, what) == ("MatWrite", "other") else "DataError"
    return Attack(f"source_{what}_{kind}", f"{kind} reads what is no file of its kind", make, NETS, expected)


def _python(name: str, module: str, layer: str = "X") -> Attack:
    """A module beside the prototxt, which leaves a trace if it runs."""

    def make(folder: Path) -> Path:
        (folder / "rpn").mkdir()
        for path in ("evil.py", "rpn/__init__.py", "rpn/proposal_layer.py"):
            (folder / path).write_text(f"open({str(folder / HARM)!r}, 'w')\n")
        net = on_data("Python", f'python_param {{ module: "{module}" layer: "{layer}" }}')
        return written("net.prototxt", net)(folder)

    return Attack(name, "a layer of type Python runs a module in the tools", make, ("tool",), "NetError")


def _writing(kind: str, param: str) -> Attack:
    """A layer that writes a file that the prototxt names."""

    def make(folder: Path) -> Path:
        named = param.format(folder / HARM)
        net = (
            on_data("ReLU", top="s")
            + _layer("Softmax", bottoms='bottom: "s"')
            + _layer(kind, named, "", 'bottom: "s" bottom: "d"')
        )
        return written("net.prototxt", net)(folder)

    return Attack(f"writes_{kind}", f"{kind} writes in the tools", make, ("tool",), "loads")


def _solver(name: str, idea: str, text: str, expected: str) -> Attack:
    def make(folder: Path) -> Path:
        (folder / "net.prototxt").write_text(
            'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 2 dim: 3 } } }'
            + _layer("InnerProduct", "inner_product_param { num_output: 2 }")
            + 'layer { name: "l" type: "Reduction" bottom: "t" top: "l" loss_weight: 1 }'
        )
        return written("solver.prototxt", f'net: "{folder}/net.prototxt" {text}')(folder)

    return Attack(name, idea, make, ("solver",), expected)


def _lmdb(name: str, **fields: int) -> Attack:
    """A data base with one Datum of these sizes."""

    def make(folder: Path) -> Path:
        import lmdb

        from caffe_gp.proto import messages as pb

        datum = pb.Datum(**{"channels": 1, "height": 2, "width": 2, **fields}, data=b"1234")
        with lmdb.open(str(folder / "db"), map_size=1 << 20) as base, base.begin(write=True) as transaction:
            transaction.put(b"0", datum.SerializeToString())
        param = _READ["Data"].format(f'"{folder}/db"')
        net = f'layer {{ name: "d" type: "Data" top: "d" top: "l" {param} }}'
        return written("net.prototxt", net)(folder)

    return Attack(
        name, "an image in a data base whose sizes are wrong", make, ("net", "training_net"), "DataError"
    )


def _chain(layers: int, kind: str = "ReLU", param: str = "", last: str = "") -> str:
    """A layer on a layer on a layer; ``last`` on the last one, whose number stands for {}."""
    rows = [
        f'layer {{ name: "r{i}" type: "{kind}" bottom: "{f"r{i - 1}" if i else "d"}" top: "r{i}" {param} }}'
        for i in range(layers)
    ]
    return data() + "\n".join(rows) + last.format(layers - 1)


def _split_bomb(letters: int, readers: int) -> str:
    name = "n" * letters
    return data().replace('top: "d"', f'top: "{name}"') + "".join(
        f'layer {{ type: "ReLU" bottom: "{name}" top: "{i}" }}\n' for i in range(readers)
    )


_NAMES = 2_900


def _named(name: str, kind: str, bottom: str, top: str, more: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" {more} top: "{top}" }}\n'


def _labels() -> str:
    """Losses, each with a label of its own that no layer makes and that is like many blobs."""
    losses = (_named("l", "SoftmaxWithLoss", "r9", f"l{i}", f'bottom: "y{i}"') for i in range(_NAMES))
    return _chain(_NAMES) + "".join(losses)


def _long_names() -> str:
    """Blobs of long names that are like each other, and a bottom that is like all of them."""
    names = [f"{'score' * 190}{i}" for i in range(1_900)]
    made = (_named("r", "ReLU", one, other) for one, other in zip(["d", *names], names))
    return data() + "".join(made) + _named("s", "Softmax", f"{'score' * 190}x", "s")


_CROP = 'layer {{ name: "crop" type: "Crop" bottom: "r{}" bottom: "d" top: "crop" }}'
_STRIDES = "pooling_param { kernel_size: 1 stride: 4294967291 }"
_MEAN_FIELD = "multi_stage_meanfield_param { num_iterations: 2000000000 }"
_THRICE = 'bottom: "d" bottom: "d" bottom: "d"'

# Time that grows faster than the file.
_SLOW = [
    _net(
        "redos_quotes", "escaped quotes without an end", lambda: 'name: "' + '\\"' * 100_000, "PrototxtError"
    ),
    _net("redos_placeholders", "placeholders without an end", lambda: "${" * 100_000, "PrototxtError"),
    _net("redos_in_string", "the same in a string", lambda: f'name: "{"${" * 30_000}"\n{data()}', "loads"),
    _net("redos_comments", "comments, quotes", lambda: "#'\"" * 60_000 + '\n"' * 60_000, "PrototxtError"),
    _net("deep_text", "messages in messages", lambda: "layer { " * 50_000, "PrototxtError"),
    _net("deep_unknown", "unknown messages in unknown ones", lambda: "a { " * 50_000, "PrototxtError"),
    _net("empty_layers", "a million layers", lambda: "layer{}" * 1_000_000, "PrototxtError"),
    _net(
        "split_long_name", "one long name that many read", lambda: _split_bomb(50_000, 4_000), "PrototxtError"
    ),
    _net("split_many", "an allowed name that very many read", lambda: _split_bomb(1_000, 4_000), "loads"),
    _net(
        "many_inputs",
        "an input and its shape, 50,000 times",
        lambda: "".join(f"input:'a{i}' input_shape{{dim:1}}" for i in range(50_000)),
        "PrototxtError",
    ),
    _net("many_dims", "300,000 dimensions", lambda: "input_dim:1 " * 300_000, "PrototxtError"),
    _net(
        "many_rules",
        "200,000 rules of a layer",
        lambda: "layer{" + "include{stage:'x'}" * 200_000 + "}",
        "PrototxtError",
    ),
    _net(
        "many_rules_allowed", "as many as may be", lambda: "layer{" + "include{stage:'x'}" * 41_000 + "}", ""
    ),
    _net(
        "many_strings", "one string in a million pieces", lambda: "name:" + "''" * 1_000_000, "PrototxtError"
    ),
    _net("many_comments", "2 million comments", lambda: "#\n" * 2_000_000, "PrototxtError"),
    _net("many_lines", "4 million lines", lambda: "\n" * 4_000_000 + "name: 'a'", "PrototxtError"),
    _net(
        "many_escapes",
        "a string of a million escapes",
        lambda: "name:'" + "\\377" * 1_000_000 + "'",
        "PrototxtError",
    ),
    _net(
        "many_escapes_more",
        "and a variable",
        lambda: "name:'${" + "\\377" * 1_000_000 + "'",
        "PrototxtError",
    ),
    _net("line_break_in_name", "a name of two lines", data() + _layer("A\\nB"), "UnknownLayerTypeError"),
    _net("many_labels", "labels that are like many blobs", _labels, ""),
    _net("long_names", "a misspelt bottom among long names", _long_names),
    _net(
        "many_softmaxes",
        "one score that very many Softmaxes read",
        lambda: (
            on_data("ReLU") + "".join(_named(f"p{i}", "Softmax", "t", f"p{i}") for i in range(2 * _NAMES))
        ),
        "",
    ),
    _net(
        "many_of_one_name",
        "numbers that layers of one name would get, taken",
        lambda: (
            data()
            + "".join(
                _named(f"r_{i}", "ReLU", "d", "d") + _named("r", "ReLU", "d", "d") for i in range(2_000)
            )
        ),
        "",
    ),
    _net(
        "many_missing_inputs",
        "blobs that are added up and that no layer makes",
        lambda: "".join(
            _named(f"e{i}", "Eltwise", f"m{i}", f"e{i}", f'bottom: "e{i - 1}"') for i in range(2 * _NAMES)
        ),
        "",
    ),
    _net("deep_net", "3,000 layers", lambda: _chain(3_000), "loads"),
    _net("too_deep_net", "more layers than any net has", lambda: _chain(20_000), "PrototxtError"),
    _net(
        "deep_old_crop", "positions through 2,000 layers", lambda: _chain(2_000, "Pooling", _STRIDES, _CROP)
    ),
    _net(
        "mean_field_iterations",
        "no end of them",
        data() + _layer("MultiStageMeanfield", _MEAN_FIELD, "t", _THRICE),
    ),
    _net(
        "unpooling_windows",
        "a million windows of a million cells",
        data(1, 1, 1000, 1000)
        + _layer("Unpooling", "unpooling_param { unpool: TILE kernel_size: 1000 unpool_size: 1000 }"),
        "loads",
    ),
]

# Boxes that are all kept, so that each is compared with each, and regions of the whole plane.
_BOXES = 150_000
_SLOW += [
    _net(
        "many_boxes",
        "boxes that suppress no other",
        _noise("l", 0, 1, 4 * _BOXES)
        + _noise("c", 1, 1, _BOXES)
        + _noise("p", 1e6, 1, 2, 4 * _BOXES)
        + _layer(
            "DetectionOutput",
            "detection_output_param { num_classes: 1 background_label_id: -1 "
            "nms_param { nms_threshold: 0.99 } }",
            bottoms='bottom: "l" bottom: "c" bottom: "p"',
        ),
    ),
    _net(
        "many_regions",
        "regions of the whole plane",
        data(1, 1, 1000, 1000)
        + _noise("r", 0.9, 200_000, 5)
        + _layer(
            "ROIPooling",
            "roi_pooling_param { pooled_h: 1 pooled_w: 1 spatial_scale: 2000 }",
            bottoms='bottom: "d" bottom: "r"',
        ),
    ),
    _net(
        "many_ratios",
        "aspect ratios that all differ",
        lambda: on_data(
            "PriorBox",
            "prior_box_param { min_size: 3 " + " ".join(f"aspect_ratio: {i}" for i in range(2, 60_000)) + "}",
            bottoms='bottom: "d" bottom: "d"',
        ),
    ),
]

_TEXTS = [
    _net("env_name", "a variable of the environment in a layer's name",
         on_data("ReLU").replace('"t"', '"${CAFFE_GP_ATTACK}"'), "PrototxtError"),
    _net("env_type", "the same as a type", on_data("${CAFFE_GP_ATTACK}"), "UnknownLayerTypeError"),
    _net("control_characters", "a name that clears the terminal", data() + _layer("Nope\\033[2J"),
         "UnknownLayerTypeError"),
    _net("binary", "no text", "\0\1\2" * 100, "PrototxtError"),
]  # fmt: skip


def _table(prefix: str, idea: str, texts: dict[str, str]) -> list[Attack]:
    names = {name: f"{prefix}_{name}" for name in texts}
    return [
        _net(names[name], idea, text, "loads" if names[name] in _LOADS else "NetError")
        for name, text in texts.items()
    ]


_in_place = [
    _net(f"in_place_{kind}", "in place, with another shape", on_data(kind, param, top="d"))
    for kind, param in _IN_PLACE.items()
]

ATTACKS = [
    *_table("greedy", "asks for gigabytes or more", _GREEDY),
    *_table("wrong", "a number that means nothing", _WRONG),
    *_in_place,
    *_SLOW,
    *_TEXTS,
    *(_reading(kind, what) for kind in _READ for what in ("zero", "pipe", "folder", "nul", "other")),
    _python("python_beside", "evil"),
    _python("python_relative", ".evil"),
    _python("python_dots", "os..path"),
    _python("python_built_in", "rpn.proposal_layer", "ProposalLayer"),
    _python("python_of_ours", "caffe_gp.python_layers.evil"),
    _writing("HDF5Output", 'hdf5_output_param {{ file_name: "{}" }}'),
    _writing("MatWrite", 'mat_write_param {{ prefix: "{}" }}'),
    _solver("solver_poly", "a power of a negative number",
            'base_lr: 0.1 lr_policy: "poly" power: 0.5 max_iter: 1 snapshot: 0', "loads"),
    _solver("solver_step_0", "a division by a step size of zero",
            'base_lr: 0.1 lr_policy: "step" gamma: 0.1 stepsize: 0 max_iter: 5', "PrototxtError"),
    _lmdb("datum_negative", height=-2, width=-2),
    _lmdb("datum_huge", channels=2**31 - 1, height=2**31 - 1),
    _lmdb("datum_without_values", channels=5),
]  # fmt: skip
