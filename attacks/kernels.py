"""Nets for whose first pass numba compiles what is then kept on the disk: it is not to count as theirs."""

from __future__ import annotations

from attacks import nets

MEAN_FIELD = nets.on_data(
    "MultiStageMeanfield",
    "multi_stage_meanfield_param { num_iterations: 1 theta_alpha: 1 theta_beta: 1 theta_gamma: 1 "
    "spatial_filter_weight: 1 bilateral_filter_weight: 1 }",
    bottoms='bottom: "d" bottom: "d" bottom: "d"',
)
LARGE_CONVOLUTION = """force_backward: true input: "d" input_shape { dim: 1 dim: 64 dim: 66 dim: 66 }
layer { type: "Convolution" bottom: "d" top: "c" convolution_param { num_output: 64 kernel_size: 3 pad: 1 } }
layer { type: "Pooling" bottom: "c" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
"""
NETS = (MEAN_FIELD, LARGE_CONVOLUTION)
