"""Which fork of Caffe a file comes from, by the names in it, and what becomes of what is foreign."""

from __future__ import annotations

import re
from typing import Any, Iterator, Sequence

from . import messages as pb
from .schema import FORK_NUMBERS
from .upgrade import V1_TYPES

#: BVLC Caffe 1.0's layer types.
BVLC_TYPES = frozenset(
    """
    AbsVal Accuracy ArgMax BatchNorm BatchReindex Bias BNLL Clip Concat ContrastiveLoss Convolution Crop
    Data Deconvolution Dropout DummyData Eltwise ELU Embed EuclideanLoss Exp Filter Flatten HDF5Data
    HDF5Output HingeLoss Im2col ImageData InfogainLoss InnerProduct Input Log LRN LSTM LSTMUnit
    MemoryData MultinomialLogisticLoss MVN Parameter Pooling Power PReLU Python Reduction ReLU Reshape
    RNN Scale Sigmoid SigmoidCrossEntropyLoss Silence Slice Softmax SoftmaxWithLoss Split SPP Swish TanH
    Threshold Tile WindowData
    """.split()
)

#: What forks added, a fork a block: layer types, fields of a layer ('permute_param'), fields within
#: ('bn_param.frozen'), of a net or solver, and values of enums. 'Upsample/2' is the type with two bottoms. A
#: fork that took over another's layers as a whole has its own names only.
FORKS = """
SSD (weiliu89/caffe)
    AnnotatedData DetectionEvaluate DetectionOutput MultiBoxLoss Normalize Permute PriorBox SmoothL1Loss
    VideoData annotated_data_param detection_evaluate_param detection_output_param multibox_loss_param
    norm_param permute_param prior_box_param video_data_param transform_param.resize_param
    transform_param.noise_param transform_param.distort_param transform_param.expand_param
    transform_param.emit_constraint transform_param.crop_h transform_param.crop_w eval_type ap_version
    plateau_winsize show_per_class_result
FaceBoxes (lippman1125/faceboxes_lqy)
    prior_box_param.fixed_size prior_box_param.fixed_ratio prior_box_param.density
OpenCV's importer
    prior_box_param.additional_y_offset prior_box_param.offset_h prior_box_param.offset_w
    prior_box_param.width prior_box_param.height
DeepLab v2 (deeplab-public-ver2)
    ImageSegData Interp SegAccuracy MatWrite MatRead DenseCRF DomainTransform UniqueLabel interp_param
    seg_accuracy_param mat_write_param mat_read_param dense_crf_param domain_transform_param
    unique_label_param adaptive_bias_channel_param bias_channel_param softmaxwithloss_param
    update_global_stats weight_source image_data_param.label_type image_data_param.ignore_label
    transform_param.scale_factors
DeepLab v1 (deeplab-public)
    ImageSegData Interp SegAccuracy MatWrite DenseCRF interp_param seg_accuracy_param mat_write_param
    dense_crf_param convolution_param.hole convolution_param.hole_h convolution_param.hole_w
    image_data_param.has_label strict_dim
CRF-RNN (torrvision/crfasrnn)
    MultiStageMeanfield SimpleFastMeanfield AutoCrop multi_stage_meanfield_param
PSPNet and ICNet (hszhao)
    BN Interp ImageSegData SegAccuracy BatchReduction BinResize bn_param bn_param.slope_filler
    bn_param.bias_filler bn_param.momentum bn_param.eps bn_param.frozen interp_param seg_accuracy_param
    batch_reduction_param bin_resize_param pooling_param.ceil_mode transform_param.scale_factors
    transform_param.crop_width transform_param.crop_height transform_param.rand_resize
    transform_param.rand_rotate transform_param.gaussian_blur transform_param.rand_aspect_ratio
    transform_param.label_scalefactor transform_param.label_offset transform_param.rotate90n rand_blur
SegNet (alexgkendall/caffe-segnet)
    BN Upsample/2 DenseImageData bn_param bn_param.scale_filler bn_param.shift_filler bn_param.bn_mode
    upsample_param upsample_param.scale_h upsample_param.scale_w upsample_param.pad_out_h
    upsample_param.pad_out_w upsample_param.upsample_h upsample_param.upsample_w dense_image_data_param
    loss_param.weight_by_label_freqs loss_param.class_weighting dropout_param.sample_weights_test
ENet (TimoSaemann/caffe-enet)
    BN Upsample/2 DenseImageData SpatialDropout bn_param bn_param.scale_filler bn_param.shift_filler
    bn_param.bn_mode upsample_param upsample_param.scale upsample_param.upsample_h
    upsample_param.upsample_w dense_image_data_param loss_param.weight_by_label_freqs
    loss_param.class_weighting spatial_dropout_param
DeconvNet (HyeonwooNoh/caffe)
    Unpooling UnPooling Upsampling BN EltwiseAccuracy RedSoftmaxLoss RedAccuracy WindowSegData
    WindowInstSegData BinAccuracy unpooling_param upsampling_param bn_param bn_param.scale_filler
    bn_param.shift_filler bn_param.bn_mode
Faster R-CNN (rbgirshick/caffe-fast-rcnn)
    ROIPooling SmoothL1Loss roi_pooling_param smooth_l1_loss_param
R-FCN (daijifeng001/caffe-rfcn)
    PSROIPooling BoxAnnotatorOHEM ROIPooling SmoothL1Loss SmoothL1LossOHEM SoftmaxWithLossOHEM
    psroi_pooling_param box_annotator_ohem_param roi_pooling_param smooth_l1_loss_param
PVANet (sanghoon/caffe)
    Proposal ROIPooling SmoothL1Loss proposal_param roi_pooling_param
SENet (hujie-frank/SENet)
    Axpy
ShuffleNet (farmingyard/ShuffleNet)
    ShuffleChannel ConvolutionDepthwise DepthwiseConvolution shuffle_channel_param
depthwise convolution (yonghenglh6/DepthwiseConvolution)
    DepthwiseConvolution
ports of YOLO (eric612/MobileNet-YOLO and others)
    Upsample/1 upsample_param upsample_param.scale Reorg Mish ReLU6 YoloDetectionOutput
    Yolov3DetectionOutput DetectionOutput2 RegionLoss Yolov3 YoloSeg LaneData DepthwiseConvolution
    AnnotatedData reorg_param mish_param relu6_param yolo_detection_output_param
    yolov3_detection_output_param detection_yolov3_param region_loss_param yolov3_param yolo_seg_param
    annotated_data_param annotated_data_param.yolo_data_type annotated_data_param.yolo_data_jitter
    annotated_data_param.train_diffcult annotated_data_param.seg_scales transform_param.resize_param
    transform_param.noise_param transform_param.distort_param transform_param.expand_param
    transform_param.emit_constraint
waifu2x-caffe (lltcggie/caffe)
    CropCenter Axpy crop_center_param
FlowNet 2 (lmb-freiburg/flownet2)
    Correlation Correlation1D FlowWarp Resample Accum Downsample Mean ChannelNorm NegReLU L1Loss LpqLoss
    DataAugmentation FlowAugmentation GenerateAugmentationParameters BlackAugmentation CustomData
    ImgReader FloatReader FLOWriter FloatWriter ImgWriter coeff_schedule_param augmentation_param
    correlation_param l1_loss_param lpq_loss_param writer_param reader_param mean_param resample_param
    downsample_param flow_warp_param accum_param black_augmentation_param reshape_every_iter
OpenPose (CMU-Perceptual-Computing-Lab/caffe_rtpose)
    ImResize Nms CPMData imresize_param nms_param
NVIDIA Caffe (NVIDIA/caffe)
    L1Loss DetectNetTransformation detectnet_groundtruth_param detectnet_augmentation_param trt_param
    forward_type backward_type forward_math backward_math debug cudnn_math_override default_forward_type
    default_backward_type default_forward_math default_backward_math global_grad_scale
    default_conv_algos_override reduce_buckets default_cudnn_math_override batch_norm_param.scale_filler
    batch_norm_param.bias_filler batch_norm_param.scale_bias batch_norm_param.engine
    convolution_param.cudnn_convolution_algo_seeker convolution_param.conv_algos_override
    data_param.threads data_param.parser_threads data_param.cache data_param.shuffle
    dropout_param.engine dropout_param.random_seed elu_param.lambda
    transform_param.img_rand_resize_lower transform_param.img_rand_resize_upper
    transform_param.var_sz_img_enabled transform_param.use_gpu_transform transform_param.random_seed
    transform_param.display transform_param.num_labels rampup_interval rampup_lr min_lr momentum_policy
    max_momentum momentum_power local_lr_auto local_gw_ratio solver_data_type store_blobs_in_old_format
    test_epoch_size test_interval_epoch max_epoch epoch_size per_parameter_reduce
Intel Caffe (intel/caffe)
    SpatialDropout ContinuationIndicator MnActivation engine compile_net_state bn_stats_batch_size
    multinode mn_activation_param mn_grad_compress_param spatial_dropout_param quantization_param
    eval_detection_param split_param mkl2017_param continuation_indicator_param batch_norm_param.engine
    batch_norm_param.bias_filler batch_norm_param.filler batch_norm_param.use_weight_bias
    batch_norm_param.bias_term batch_norm_param.stats_batch_size batch_norm_param.relu
    concat_param.engine eltwise_param.engine convolution_param.relu convolution_param.negative_slope
    convolution_param.conv_algorithm data_param.shuffle loss_param.pre_fixed_normalizer
    loss_param.label_smoothing PRE_FIXED transform_param.random_resize_param
    transform_param.random_aspect_ratio_param transform_param.flow weight_filler.scale bias_filler.scale
    MKL2017 MKLDNN disabled_update warmup_iter warmup_start_lr local_lr_auto local_gw_ratio
old Caffe with depthwise layers
    conv_dw_param depthwise_param
Caffe OpenCL (Greentea)
    device buffer mergecrop_param affinity_param
HED (s9xie/hed)
    ImageLabelmapData
Caffe with spatial transformers (happynear, daerduoCarey)
    SpatialTransformer st_param
Caffe for Huawei's Ascend
    Reverse ROIAlign reverse_param roi_align_param
"""


def _read(table: str) -> dict[str, frozenset[str]]:
    blocks = re.split(r"^(?=\S)", table.strip("\n"), flags=re.M)
    named = (block.partition("\n") for block in blocks if block)
    return {fork: frozenset(words.split()) for fork, _, words in named}


_WORDS = _read(FORKS)
_KNOWN = frozenset().union(*_WORDS.values())
_SHOWN = 3  # forks that one sentence names
_VALUES = ("MKL2017", "MKLDNN", "PRE_FIXED")

WRITE_IT = (
    'write the layer yourself (caffe_gp.caffe.register_layer, or type: "Python"; see '
    "docs/layers_of_your_own.md)"
)


# ---- whose a name is


def forks_of(words: Sequence[str]) -> dict[str, list[str]]:
    """Forks that have these names, each with those that it explains, as few forks as possible.

    Of several that explain the same, all are named in one key. Names of no known fork are under ''.
    """
    left, found = list(dict.fromkeys(words)), {}
    while left:
        explained = {fork: [word for word in left if word in own] for fork, own in _WORDS.items()}
        best = max(explained.values(), key=len)
        if not best:
            found[""] = left
            break
        equals = [fork for fork, own in explained.items() if own == best]
        found[_either(equals[:_SHOWN])] = best
        left = [word for word in left if word not in best]
    return found


def _either(forks: Sequence[str]) -> str:
    return " or ".join([", ".join(forks[:-1]), forks[-1]] if len(forks) > 1 else forks)


def fork_of(name: str) -> str:
    """The forks that a layer type, or the name of a field or enum value, is from; '' if none is known."""
    if name in BVLC_TYPES:
        return ""
    words = sorted(word for word in _KNOWN if word.split("/")[0].rpartition(".")[2] == name)
    return next(iter(forks_of(words[:1])), "")


def layer_types() -> dict[str, set[str]]:
    """The layer types of each fork that BVLC Caffe does not have."""
    found = {
        fork: {word.split("/")[0] for word in words if word[0].isupper() and word not in _VALUES}
        for fork, words in _WORDS.items()
    }
    return {fork: kinds for fork, kinds in found.items() if kinds}


def foreign_names(message: Any) -> list[str]:
    """Names in a NetParameter or SolverParameter that BVLC Caffe does not have, as in ``FORKS``, in order."""
    return list(dict.fromkeys(_names(message)))


def _names(message: Any) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.name in ("layer", "layers"):
            for layer in value:
                yield from _names_of_layer(layer)
        elif field.name in ("net_param", "train_net_param"):
            yield from _names(value)
        elif field.name == "test_net_param":
            for net in value:
                yield from _names(net)
        elif field.number >= FORK_NUMBERS:
            yield field.name


def _names_of_layer(layer: Any) -> Iterator[str]:
    kind = layer.type
    if layer.DESCRIPTOR.name == "V1LayerParameter":
        kind = V1_TYPES.get(pb.V1LayerParameter.LayerType.Name(kind), "")
    if kind and kind not in BVLC_TYPES:
        counted = f"{kind}/{len(layer.bottom)}"
        yield counted if counted in _KNOWN else kind
    for field, value in layer.ListFields():
        if field.number >= FORK_NUMBERS:
            yield field.name
        if field.message_type is not None and field.name.endswith("_param"):
            yield from _names_within(field.name, value)


def _names_within(owner: str, message: Any) -> Iterator[str]:
    for field, value in message.ListFields():
        word = f"{owner}.{field.name}"
        if field.number >= FORK_NUMBERS or word in _KNOWN:
            yield word
        if field.enum_type is not None and not hasattr(value, "append"):
            name = field.enum_type.values_by_number[value].name
            if name in _VALUES:
                yield name
        if field.message_type is not None and field.name.endswith("_filler") and not hasattr(value, "append"):
            yield from _names_within(field.name, value)


# ---- what becomes of it


def unavailable(layer: Any) -> str:
    """What to do about a layer whose type is not available here, other than ``WRITE_IT``."""
    if not layer.bottom:
        return "it brings data: put an Input layer in its place; guided perturbations do so themselves"
    if layer.type.endswith("Loss") or layer.type in ("DetectionEvaluate", "YoloSeg", "Yolov3"):
        return "only training and evaluation need it: remove it"
    return "cut the net below it (--score NAME)"


def unheeded(message: Any, *, but: Sequence[str] = ()) -> list[str]:
    """Set fields that would change what is computed, and do not here: 'convolution_param.relu', ...

    message   a NetParameter without regard to its layers, a LayerParameter or a SolverParameter
    but       fields of the message that are not looked into
    """
    return [
        name for name, mark in _marked(message, "") if mark == "refused" and name.split(".")[0] not in but
    ]


def remove_ignored(message: Any) -> list[str]:
    """Remove the set fields that change nothing, in place; their names, as of ``unheeded``."""
    return [name for name, mark in list(_marked(message, "", remove="ignored")) if mark == "ignored"]


def _marked(message: Any, prefix: str, remove: str = "") -> Iterator[tuple[str, str]]:
    """(name, mark) of the set fields that the schema marks, at every depth but a net's layers.

    remove   those with this mark are removed
    """
    for field, value in message.ListFields():
        if field.name in ("layer", "layers", "net_param", "train_net_param", "test_net_param", "blobs"):
            continue
        mark = pb.MARKS.get((message.DESCRIPTOR.name, field.name))
        if mark and (mark == remove or _says_something(field, value)):
            yield f"{prefix}{field.name}", mark
            if mark == remove:
                message.ClearField(field.name)
        elif field.message_type is not None:
            for one in value if hasattr(value, "add") else [value]:
                yield from _marked(one, f"{prefix}{field.name}.", remove)


def _says_something(field: Any, value: Any) -> bool:
    """Whether a set field, or one in it, has another value than its default."""
    if hasattr(value, "append"):
        return field.message_type is None or any(_any_says_something(one) for one in value)
    return bool(
        _any_says_something(value) if field.message_type is not None else value != field.default_value
    )


def _any_says_something(message: Any) -> bool:
    return any(_says_something(field, value) for field, value in message.ListFields())


def whose(name: str) -> str:
    """'a field of SSD (weiliu89/caffe)' for a name as ``unheeded`` gives it."""
    parts = name.split(".")
    words = (".".join(parts[i:]) for i in (0, -2, -1))  # 'inner_product_param.weight_filler.scale'
    known = next((word for word in words if word in _KNOWN), "")
    fork = next(iter(forks_of([known]))) if known else ""
    return f"a field of {fork}" if fork else "a field of a fork of Caffe"
