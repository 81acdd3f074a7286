"""The Caffe file formats as one table: every message, field, number, default and enum.

Notation, one message a block, its name at the left margin:

    Name
        enum Kind A=0 B=1                an enum nested in the message
        3 pad uint32*; 5 group uint32 = 1

A field is ``number name type [= default]``; fields are separated by ``;`` or a new line. After the
type, ``*`` means repeated, ``+`` repeated and packed on the wire, ``!`` required. ``#`` starts a
comment. Names, numbers, types, defaults and the fields' order are those of BVLC Caffe 1.0 (commit
9b89154), so that a caffemodel, solverstate, mean file or LMDB record written by either is read by the
other.

Between type and default, a word says of a fork's field in a message of BVLC's what becomes of it:

    ignored    it changes how fast or where something is computed, not what
    refused    it changes what is computed, and nothing here does so: the file is read, but no net or
               solver is built with it (unless it has its default)

A fork's field without such a word is heeded.

Fields of Caffe's forks. A prototxt of a fork holds only names, so the forks' messages can all live
in one schema. Their field *numbers* cannot: DeepLab v2 gave 143..147 to interp, seg_accuracy,
mat_write and dense_crf, the numbers BVLC uses for input, crop, parameter and recurrent. The fork
fields below therefore carry numbers of our own, from ``FORK_NUMBERS`` (10000) up, and no binary of a
fork is ever parsed with this schema: ``load.py`` reads layer names and blobs, whose numbers never moved.
(NVIDIA's raw values of a BlobProto do have their own numbers: whoever reads those reads them as such.)
Every fork's field of LayerParameter is one of V1LayerParameter, too (``messages.py``): a prototxt of 2014
may be any fork's. Where two forks have a field of one name, it has a form that both read: ``resize_param``
is repeated for MobileNet-YOLO's sake, ``engine`` has the values of all.
Sources of the fork fields: DeepLab v1 (V1 types from 10000, hole, has_label), DeepLab v2 (ImageSegData,
Interp, SegAccuracy, MatWrite, DenseCRF), CRF-RNN (MultiStageMeanfield, V1 types 40..42), SegNet and ENet
(BN with scale/shift fillers, Upsample, DenseImageData, class weights), PSPNet (BN with slope/bias fillers,
ceil_mode), DeconvNet (Unpooling, V1 types), ShuffleNet, waifu2x-caffe (CropCenter), SSD, TextBoxes,
FaceBoxes, OpenCV, Fast R-CNN, R-FCN, PVANet and MobileNet-YOLO (detection, ReLU6, Upsample).
"""

from __future__ import annotations

#: Numbers from here up are ours; a field below it has Caffe's own number.
FORK_NUMBERS = 10000
#: Of the fields that programs add to LayerParameter (``own_fields.py``), from the first to before the second.
OWN_FIELDS = 1 << 28, 1 << 29

TOP_LEVEL_ENUMS = {
    "Phase": (("TRAIN", 0), ("TEST", 1)),
    # NVIDIA's, of values in files and in memory.
    "Type": (("DOUBLE", 0), ("FLOAT", 1), ("FLOAT16", 2), ("INT", 3), ("UINT", 4), ("BOOL", 5)),
}

SCHEMA = """
# ---------------------------------------------------------------- data
BlobShape
    1 dim int64+
BlobProto
    7 shape BlobShape; 5 data float+; 6 diff float+; 8 double_data double+
    9 double_diff double+; 1 num int32 = 0; 2 channels int32 = 0; 3 height int32 = 0
    4 width int32 = 0
    10 raw_data_type Type; 11 raw_diff_type Type; 12 raw_data bytes; 13 raw_diff bytes    # NVIDIA
BlobProtoVector
    1 blobs BlobProto*
Datum
    1 channels int32; 2 height int32; 3 width int32; 4 data bytes; 5 label int32
    6 float_data float*; 7 encoded bool = false

# ---------------------------------------------------------------- nets
NetParameter
    1 name string; 3 input string*; 8 input_shape BlobShape*; 4 input_dim int32*
    5 force_backward bool = false; 6 state NetState; 7 debug_info bool = false
    100 layer LayerParameter*; 2 layers V1LayerParameter*
    # NVIDIA
    10000 default_forward_type Type ignored = FLOAT; 10001 default_backward_type Type ignored = FLOAT
    10002 default_forward_math Type ignored = FLOAT; 10003 default_backward_math Type ignored = FLOAT
    10004 global_grad_scale float ignored = 1; 10005 default_conv_algos_override string ignored
    10006 reduce_buckets int32 ignored = 6; 10007 default_cudnn_math_override int32 ignored = -1
    # Intel
    10008 engine string ignored =; 10009 compile_net_state CompileNetState refused
    10010 bn_stats_batch_size uint32 refused = 0; 10011 multinode MultinodeParameter ignored
NetState
    1 phase Phase = TEST; 2 level int32 = 0; 3 stage string*
NetStateRule
    1 phase Phase; 2 min_level int32; 3 max_level int32; 4 stage string*; 5 not_stage string*
ParamSpec
    enum DimCheckMode STRICT=0 PERMISSIVE=1
    1 name string; 2 share_mode DimCheckMode; 3 lr_mult float = 1; 4 decay_mult float = 1
FillerParameter
    enum VarianceNorm FAN_IN=0 FAN_OUT=1 AVERAGE=2
    1 type string = constant; 2 value float = 0; 3 min float = 0; 4 max float = 1
    5 mean float = 0; 6 std float = 1; 7 sparse int32 = -1; 8 variance_norm VarianceNorm = FAN_IN
    10000 scale float refused = 1                              # Intel's msra
LayerParameter
    1 name string; 2 type string; 3 bottom string*; 4 top string*; 10 phase Phase
    5 loss_weight float*; 6 param ParamSpec*; 7 blobs BlobProto*; 11 propagate_down bool*
    8 include NetStateRule*; 9 exclude NetStateRule*
    100 transform_param TransformationParameter; 101 loss_param LossParameter
    102 accuracy_param AccuracyParameter; 103 argmax_param ArgMaxParameter
    139 batch_norm_param BatchNormParameter; 141 bias_param BiasParameter
    148 clip_param ClipParameter; 104 concat_param ConcatParameter
    105 contrastive_loss_param ContrastiveLossParameter
    106 convolution_param ConvolutionParameter; 144 crop_param CropParameter
    107 data_param DataParameter; 108 dropout_param DropoutParameter
    109 dummy_data_param DummyDataParameter; 110 eltwise_param EltwiseParameter
    140 elu_param ELUParameter; 137 embed_param EmbedParameter; 111 exp_param ExpParameter
    135 flatten_param FlattenParameter; 112 hdf5_data_param HDF5DataParameter
    113 hdf5_output_param HDF5OutputParameter; 114 hinge_loss_param HingeLossParameter
    115 image_data_param ImageDataParameter; 116 infogain_loss_param InfogainLossParameter
    117 inner_product_param InnerProductParameter; 143 input_param InputParameter
    134 log_param LogParameter; 118 lrn_param LRNParameter
    119 memory_data_param MemoryDataParameter; 120 mvn_param MVNParameter
    145 parameter_param ParameterParameter; 121 pooling_param PoolingParameter
    122 power_param PowerParameter; 131 prelu_param PReLUParameter
    130 python_param PythonParameter; 146 recurrent_param RecurrentParameter
    136 reduction_param ReductionParameter; 123 relu_param ReLUParameter
    133 reshape_param ReshapeParameter; 142 scale_param ScaleParameter
    124 sigmoid_param SigmoidParameter; 125 softmax_param SoftmaxParameter
    132 spp_param SPPParameter; 126 slice_param SliceParameter; 147 swish_param SwishParameter
    127 tanh_param TanHParameter; 128 threshold_param ThresholdParameter
    138 tile_param TileParameter; 129 window_data_param WindowDataParameter
    # read only: 10300 to 10399
    10300 annotated_data_param AnnotatedDataParameter; 10301 multibox_loss_param MultiBoxLossParameter
    10302 detection_evaluate_param DetectionEvaluateParameter; 10303 video_data_param VideoDataParameter
    10304 smooth_l1_loss_param SmoothL1LossParameter
    10305 box_annotator_ohem_param BoxAnnotatorOHEMParameter; 10306 roi_align_param ROIAlignParameter
    10307 region_loss_param RegionLossParameter; 10308 yolov3_param Yolov3Parameter
    10309 yolo_seg_param YoloSegParameter
    10310 coeff_schedule_param CoeffScheduleParameter; 10311 augmentation_param AugmentationParameter
    10312 correlation_param CorrelationParameter; 10313 l1_loss_param L1LossParameter
    10314 writer_param WriterParameter; 10315 reader_param ReaderParameter
    10316 mean_param MeanParameter; 10317 resample_param ResampleParameter
    10318 downsample_param DownsampleParameter; 10319 lpq_loss_param LpqLossParameter
    10320 flow_warp_param FlowWarpParameter; 10321 accum_param AccumParameter
    10322 imresize_param ImResizeParameter; 10323 nms_param NmsParameter
    10324 st_param SpatialTransformerParameter; 10325 reverse_param ReverseParameter
    10326 detectnet_groundtruth_param DetectNetGroundTruthParameter
    10327 detectnet_augmentation_param DetectNetAugmentationParameter
    10328 mn_activation_param MnActivationParameter
    10329 mn_grad_compress_param MnParamGradCompressParameter
    10330 spatial_dropout_param SpatialDropoutParameter
    10331 quantization_param QuantizationParameter refused; 10332 split_param SplitParameter
    10333 continuation_indicator_param ContinuationIndicatorParameter
    # of any layer: FlowNet 2; NVIDIA; Intel
    10340 reshape_every_iter bool ignored = true
    10341 forward_type Type ignored = FLOAT; 10342 backward_type Type ignored = FLOAT
    10343 forward_math Type ignored = FLOAT; 10344 backward_math Type ignored = FLOAT
    10345 debug bool ignored = false; 10346 cudnn_math_override int32 ignored = -1
    10347 engine string ignored =; 10348 multinode MultinodeLayerParameter ignored
    # forks
    10000 interp_param InterpParameter; 10001 multi_stage_meanfield_param MultiStageMeanfieldParameter
    10002 seg_accuracy_param SegAccuracyParameter; 10003 mat_write_param MatWriteParameter
    10004 dense_crf_param DenseCRFParameter; 10005 bn_param BNParameter
    10006 upsample_param UpsampleParameter; 10007 dense_image_data_param DenseImageDataParameter
    # of classification and segmentation: 10100 to 10119
    10100 shuffle_channel_param ShuffleChannelParameter; 10101 relu6_param ReLU6Parameter
    10102 mish_param MishParameter; 10103 crop_center_param CropCenterParameter
    10104 unpooling_param UnpoolingParameter
    # of detection: 10200 to 10219
    10200 permute_param PermuteParameter; 10201 norm_param NormalizeParameter
    10202 prior_box_param PriorBoxParameter; 10203 detection_output_param DetectionOutputParameter
    10204 roi_pooling_param ROIPoolingParameter; 10205 psroi_pooling_param PSROIPoolingParameter
    10206 proposal_param ProposalParameter; 10207 reorg_param ReorgParameter
    10208 yolo_detection_output_param YoloDetectionOutputParameter
    10209 yolov3_detection_output_param Yolov3DetectionOutputParameter

# ---------------------------------------------------------------- layers of BVLC Caffe
TransformationParameter
    1 scale float = 1; 2 mirror bool = false; 3 crop_size uint32 = 0; 4 mean_file string
    5 mean_value float*; 6 force_color bool = false; 7 force_gray bool = false
    # SSD; MobileNet-YOLO has several resize_param
    10000 resize_param ResizeParameter* refused; 10001 noise_param NoiseParameter refused
    10002 emit_constraint EmitConstraint ignored; 10003 crop_h uint32 refused = 0
    10004 crop_w uint32 refused = 0; 10005 distort_param DistortionParameter refused
    10006 expand_param ExpansionParameter refused
    # PSPNet
    10010 scale_factors float* refused; 10011 crop_width uint32 refused = 0
    10012 crop_height uint32 refused = 0; 10013 rand_resize float* refused
    10014 rand_rotate float* refused; 10015 gaussian_blur bool refused = false
    10016 rand_aspect_ratio float* refused; 10017 label_scalefactor float* refused
    10018 label_offset float* refused; 10019 rotate90n bool refused = false
    # NVIDIA
    10020 img_rand_resize_lower uint32 refused = 0; 10021 img_rand_resize_upper uint32 refused = 0
    10022 var_sz_img_enabled bool refused = false; 10023 use_gpu_transform bool ignored = false
    10024 random_seed int64 ignored = -1; 10025 display bool ignored = false
    10026 num_labels int32 ignored = 0
    # Intel
    10030 random_resize_param RandomResizeParameter refused
    10031 random_aspect_ratio_param RandomAspectRatioParameter refused
    10032 flow bool refused = false
LossParameter
    enum NormalizationMode FULL=0 VALID=1 BATCH_SIZE=2 NONE=3 PRE_FIXED=10000
    1 ignore_label int32; 3 normalization NormalizationMode = VALID; 2 normalize bool
    10000 weight_by_label_freqs bool = false; 10001 class_weighting float*   # SegNet, ENet
    10002 pre_fixed_normalizer float ignored = 1; 10003 label_smoothing float refused = 0    # Intel
AccuracyParameter
    1 top_k uint32 = 1; 2 axis int32 = 1; 3 ignore_label int32
ArgMaxParameter
    1 out_max_val bool = false; 2 top_k uint32 = 1; 3 axis int32
BatchNormParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    1 use_global_stats bool; 2 moving_average_fraction float = 0.999; 3 eps float = 1e-5
    # NVIDIA; Intel has bias_filler and engine too, and the five behind them
    10000 scale_filler FillerParameter; 10001 bias_filler FillerParameter
    10002 scale_bias bool = false; 10003 engine Engine ignored = DEFAULT
    10004 use_weight_bias bool = true; 10005 bias_term bool = true; 10006 filler FillerParameter
    10007 stats_batch_size uint32 = 0; 10008 relu bool refused = false
BiasParameter
    1 axis int32 = 1; 2 num_axes int32 = 1; 3 filler FillerParameter
ClipParameter
    1 min float!; 2 max float!
ConcatParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    2 axis int32 = 1; 1 concat_dim uint32 = 1
    10000 engine Engine ignored = DEFAULT                      # Intel
ContrastiveLossParameter
    1 margin float = 1; 2 legacy_version bool = false
ConvolutionParameter
    enum CuDNNConvolutionAlgorithmSeeker GET=0 FINDEX=1
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    1 num_output uint32; 2 bias_term bool = true; 3 pad uint32*; 4 kernel_size uint32*
    6 stride uint32*; 18 dilation uint32*; 9 pad_h uint32 = 0; 10 pad_w uint32 = 0
    11 kernel_h uint32; 12 kernel_w uint32; 13 stride_h uint32; 14 stride_w uint32
    5 group uint32 = 1; 7 weight_filler FillerParameter; 8 bias_filler FillerParameter
    15 engine Engine = DEFAULT; 16 axis int32 = 1; 17 force_nd_im2col bool = false
    10000 hole uint32; 10001 hole_h uint32; 10002 hole_w uint32              # DeepLab v1's dilation
    # NVIDIA; Intel
    10003 cudnn_convolution_algo_seeker CuDNNConvolutionAlgorithmSeeker ignored = FINDEX
    10004 conv_algos_override string ignored; 10005 relu bool refused = false
    10006 negative_slope float refused = 0; 10007 conv_algorithm string ignored = direct
CropParameter
    1 axis int32 = 2; 2 offset uint32*
DataParameter
    enum DB LEVELDB=0 LMDB=1
    1 source string; 4 batch_size uint32; 7 rand_skip uint32 = 0; 8 backend DB = LEVELDB
    2 scale float = 1; 3 mean_file string; 5 crop_size uint32 = 0; 6 mirror bool = false
    9 force_encoded_color bool = false; 10 prefetch uint32 = 4
    10000 threads uint32 ignored = 0; 10001 parser_threads uint32 ignored = 0          # NVIDIA
    10002 cache bool ignored = false; 10003 shuffle bool refused = false
DropoutParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    10010 engine Engine ignored = DEFAULT; 10011 random_seed int64 ignored = -1        # NVIDIA
    1 dropout_ratio float = 0.5
    10000 sample_weights_test bool = false                     # SegNet
DummyDataParameter
    1 data_filler FillerParameter*; 6 shape BlobShape*; 2 num uint32*; 3 channels uint32*
    4 height uint32*; 5 width uint32*
EltwiseParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    enum EltwiseOp PROD=0 SUM=1 MAX=2
    1 operation EltwiseOp = SUM; 2 coeff float*; 3 stable_prod_grad bool = true
    10000 engine Engine ignored = DEFAULT                      # Intel
ELUParameter
    1 alpha float = 1
    10000 lambda float refused = 1                             # NVIDIA
EmbedParameter
    1 num_output uint32; 2 input_dim uint32; 3 bias_term bool = true
    4 weight_filler FillerParameter; 5 bias_filler FillerParameter
ExpParameter
    1 base float = -1; 2 scale float = 1; 3 shift float = 0
FlattenParameter
    1 axis int32 = 1; 2 end_axis int32 = -1
HDF5DataParameter
    1 source string; 2 batch_size uint32; 3 shuffle bool = false
HDF5OutputParameter
    1 file_name string
HingeLossParameter
    enum Norm L1=1 L2=2
    1 norm Norm = L1
ImageDataParameter
    enum LabelType NONE=0 IMAGE=1 PIXEL=2                      # ImageSegData of DeepLab
    1 source string; 4 batch_size uint32 = 1; 7 rand_skip uint32 = 0; 8 shuffle bool = false
    9 new_height uint32 = 0; 10 new_width uint32 = 0; 11 is_color bool = true
    2 scale float = 1; 3 mean_file string; 5 crop_size uint32 = 0; 6 mirror bool = false
    12 root_folder string =
    10000 label_type LabelType = IMAGE; 10001 ignore_label int32 = 255
    10002 has_label bool = true                                # DeepLab v1
InfogainLossParameter
    1 source string; 2 axis int32 = 1
InnerProductParameter
    1 num_output uint32; 2 bias_term bool = true; 3 weight_filler FillerParameter
    4 bias_filler FillerParameter; 5 axis int32 = 1; 6 transpose bool = false
InputParameter
    1 shape BlobShape*
LogParameter
    1 base float = -1; 2 scale float = 1; 3 shift float = 0
LRNParameter
    enum NormRegion ACROSS_CHANNELS=0 WITHIN_CHANNEL=1
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    1 local_size uint32 = 5; 2 alpha float = 1; 3 beta float = 0.75
    4 norm_region NormRegion = ACROSS_CHANNELS; 5 k float = 1; 6 engine Engine = DEFAULT
MemoryDataParameter
    1 batch_size uint32; 2 channels uint32; 3 height uint32; 4 width uint32
MVNParameter
    1 normalize_variance bool = true; 2 across_channels bool = false; 3 eps float = 1e-9
ParameterParameter
    1 shape BlobShape
PoolingParameter
    enum PoolMethod MAX=0 AVE=1 STOCHASTIC=2
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    enum RoundMode CEIL=0 FLOOR=1
    1 pool PoolMethod = MAX; 4 pad uint32 = 0; 9 pad_h uint32 = 0; 10 pad_w uint32 = 0
    2 kernel_size uint32; 5 kernel_h uint32; 6 kernel_w uint32; 3 stride uint32 = 1
    7 stride_h uint32; 8 stride_w uint32; 11 engine Engine = DEFAULT
    12 global_pooling bool = false; 13 round_mode RoundMode = CEIL
    10000 ceil_mode bool = true                                # PSPNet; upgraded to round_mode
PowerParameter
    1 power float = 1; 2 scale float = 1; 3 shift float = 0
PReLUParameter
    1 filler FillerParameter; 2 channel_shared bool = false
PythonParameter
    1 module string; 2 layer string; 3 param_str string =; 4 share_in_parallel bool = false
RecurrentParameter
    1 num_output uint32 = 0; 2 weight_filler FillerParameter; 3 bias_filler FillerParameter
    4 debug_info bool = false; 5 expose_hidden bool = false
ReductionParameter
    enum ReductionOp SUM=1 ASUM=2 SUMSQ=3 MEAN=4
    1 operation ReductionOp = SUM; 2 axis int32 = 0; 3 coeff float = 1
ReLUParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    1 negative_slope float = 0; 2 engine Engine = DEFAULT
ReshapeParameter
    1 shape BlobShape; 2 axis int32 = 0; 3 num_axes int32 = -1
ScaleParameter
    1 axis int32 = 1; 2 num_axes int32 = 1; 3 filler FillerParameter; 4 bias_term bool = false
    5 bias_filler FillerParameter
SigmoidParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    1 engine Engine = DEFAULT
SliceParameter
    3 axis int32 = 1; 2 slice_point uint32*; 1 slice_dim uint32 = 1
SoftmaxParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    1 engine Engine = DEFAULT; 2 axis int32 = 1
SPPParameter
    enum PoolMethod MAX=0 AVE=1 STOCHASTIC=2
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    1 pyramid_height uint32; 2 pool PoolMethod = MAX; 6 engine Engine = DEFAULT
SwishParameter
    1 beta float = 1
TanHParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    1 engine Engine = DEFAULT
ThresholdParameter
    1 threshold float = 0
TileParameter
    1 axis int32 = 1; 2 tiles int32
WindowDataParameter
    1 source string; 2 scale float = 1; 3 mean_file string; 4 batch_size uint32
    5 crop_size uint32 = 0; 6 mirror bool = false; 7 fg_threshold float = 0.5
    8 bg_threshold float = 0.5; 9 fg_fraction float = 0.25; 10 context_pad uint32 = 0
    11 crop_mode string = warp; 12 cache_images bool = false; 13 root_folder string =

# ---------------------------------------------------------------- layers of the forks
InterpParameter                                                # DeepLab v2, PSPNet
    1 height int32 = 0; 2 width int32 = 0; 3 zoom_factor int32 = 1; 4 shrink_factor int32 = 1
    5 pad_beg int32 = 0; 6 pad_end int32 = 0
MultiStageMeanfieldParameter                                   # CRF-RNN; required there: 3..6
    enum Mode POTTS=0
    1 compatibility_mode Mode = POTTS; 2 threshold float; 3 theta_alpha float = 10
    4 theta_beta float = 10; 5 theta_gamma float = 10; 6 num_iterations uint32 = 1
    7 spatial_filter_weight float = 1; 8 bilateral_filter_weight float = 1
    9 forced_spatial_filter_weight float; 10 forced_bilateral_filter_weight float
    19 spatial_filter_weights_str string; 20 bilateral_filter_weights_str string
    29 force_cpu bool = false
SegAccuracyParameter                                           # DeepLab v2
    enum AccuracyMetric PixelAccuracy=0 ClassAccuracy=1 PixelIOU=2
    1 metric AccuracyMetric = PixelAccuracy; 2 ignore_label int32*; 3 reset bool = true
MatWriteParameter                                              # DeepLab v2
    1 prefix string; 2 source string =; 3 strip int32 = 0; 4 period int32 = 1
DenseCRFParameter                                              # DeepLab v2
    1 max_iter int32 = 10; 2 pos_xy_std float*; 3 pos_w float*; 4 bi_xy_std float*
    5 bi_rgb_std float*; 6 bi_w float*; 7 output_probability bool = true
BNParameter                                 # SegNet, ENet: 1..3; PSPNet: 4..8; an ENet port: 9, 10
    enum BNMode LEARN=0 INFERENCE=1
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
    1 scale_filler FillerParameter; 2 shift_filler FillerParameter; 3 bn_mode BNMode = LEARN
    4 slope_filler FillerParameter; 5 bias_filler FillerParameter; 6 momentum float = 0.9
    7 eps float = 1e-5; 8 frozen bool = false; 9 scale float; 10 shift float
    11 engine Engine = DEFAULT
UpsampleParameter                                              # SegNet, ENet; YOLO's has scale alone
    1 scale uint32 = 2; 2 scale_h uint32; 3 scale_w uint32; 4 pad_out_h bool = false
    5 pad_out_w bool = false; 6 upsample_h uint32; 7 upsample_w uint32
DenseImageDataParameter                                        # SegNet, ENet
    1 source string; 2 batch_size uint32; 3 rand_skip uint32 = 0; 4 shuffle bool = false
    5 new_height uint32 = 0; 6 new_width uint32 = 0; 7 is_color bool = true; 8 mean_file string
    9 root_folder string =; 10 mirror bool = false; 11 crop_width uint32 = 0
    12 crop_height uint32 = 0; 13 label_divide_factor uint32 = 1
ShuffleChannelParameter                                        # ShuffleNet
    1 group uint32 = 1
ReLU6Parameter                                                 # MobileNet-YOLO's ReLUParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
    1 negative_slope float = 0; 2 engine Engine = DEFAULT
MishParameter                                                  # the YOLO ports
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
    1 engine Engine = DEFAULT
CropCenterParameter                                            # waifu2x-caffe
    1 crop_size uint32*
UnpoolingParameter                                             # DeconvNet
    enum UnpoolMethod MAX=0 AVE=1 TILE=2
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
    1 unpool UnpoolMethod = MAX; 2 kernel_size uint32; 3 stride uint32 = 1; 4 pad uint32 = 0
    5 kernel_h uint32; 6 kernel_w uint32; 7 stride_h uint32; 8 stride_w uint32; 9 pad_h uint32 = 0
    10 pad_w uint32 = 0; 11 engine Engine = DEFAULT; 12 unpool_size uint32; 13 unpool_h uint32
    14 unpool_w uint32

# ---------------------------------------------------------------- messages of the forks that are only read
# SSD: training, evaluation, data
AnnotatedDataParameter                                         # MobileNet-YOLO: from 4
    enum AnnotationType BBOX=0
    1 batch_sampler BatchSampler*; 2 label_map_file string; 3 anno_type AnnotationType
    4 yolo_data_type int32 = 0; 5 yolo_data_jitter float = 0.3; 6 train_diffcult bool = false
    10000 seg_scales uint32
BatchSampler
    1 use_original_image bool = true; 2 sampler Sampler; 3 sample_constraint SampleConstraint
    4 max_sample uint32; 5 max_trials uint32 = 100
Sampler
    1 min_scale float = 1; 2 max_scale float = 1; 3 min_aspect_ratio float = 1
    4 max_aspect_ratio float = 1
SampleConstraint
    1 min_jaccard_overlap float; 2 max_jaccard_overlap float; 3 min_sample_coverage float
    4 max_sample_coverage float; 5 min_object_coverage float; 6 max_object_coverage float
ResizeParameter
    enum Resize_mode WARP=1 FIT_SMALL_SIZE=2 FIT_LARGE_SIZE_AND_PAD=3
    enum Pad_mode CONSTANT=1 MIRRORED=2 REPEAT_NEAREST=3
    enum Interp_mode LINEAR=1 AREA=2 NEAREST=3 CUBIC=4 LANCZOS4=5
    1 prob float = 1; 2 resize_mode Resize_mode = WARP; 3 height uint32 = 0; 4 width uint32 = 0
    5 pad_mode Pad_mode = CONSTANT; 6 pad_value float*; 7 interp_mode Interp_mode*
    8 height_scale uint32 = 0; 9 width_scale uint32 = 0
SaltPepperParameter
    1 fraction float = 0; 2 value float*
NoiseParameter
    1 prob float = 0; 2 hist_eq bool = false; 3 inverse bool = false; 4 decolorize bool = false
    5 gauss_blur bool = false; 6 jpeg float = -1; 7 posterize bool = false; 8 erode bool = false
    9 saltpepper bool = false; 10 saltpepper_param SaltPepperParameter; 11 clahe bool = false
    12 convert_to_hsv bool = false; 13 convert_to_lab bool = false
DistortionParameter
    1 brightness_prob float = 0; 2 brightness_delta float = 0; 3 contrast_prob float = 0
    4 contrast_lower float = 0; 5 contrast_upper float = 0; 6 hue_prob float = 0
    7 hue_delta float = 0; 8 saturation_prob float = 0; 9 saturation_lower float = 0
    10 saturation_upper float = 0; 11 random_order_prob float = 0
ExpansionParameter
    1 prob float = 1; 2 max_expand_ratio float = 1
EmitConstraint
    enum EmitType CENTER=0 MIN_OVERLAP=1
    1 emit_type EmitType = CENTER; 2 emit_overlap float
MultiBoxLossParameter
    enum LocLossType L2=0 SMOOTH_L1=1
    enum ConfLossType SOFTMAX=0 LOGISTIC=1
    enum MatchType BIPARTITE=0 PER_PREDICTION=1
    enum MiningType NONE=0 MAX_NEGATIVE=1 HARD_EXAMPLE=2
    enum CodeType CORNER=1 CENTER_SIZE=2 CORNER_SIZE=3
    1 loc_loss_type LocLossType = SMOOTH_L1; 2 conf_loss_type ConfLossType = SOFTMAX
    3 loc_weight float = 1; 4 num_classes uint32; 5 share_location bool = true
    6 match_type MatchType = PER_PREDICTION; 7 overlap_threshold float = 0.5
    8 use_prior_for_matching bool = true; 9 background_label_id uint32 = 0
    10 use_difficult_gt bool = true; 11 do_neg_mining bool; 12 neg_pos_ratio float = 3
    13 neg_overlap float = 0.5; 14 code_type CodeType = CORNER
    16 encode_variance_in_target bool = false; 17 map_object_to_agnostic bool = false
    18 ignore_cross_boundary_bbox bool = false; 19 bp_inside bool = false
    20 mining_type MiningType = MAX_NEGATIVE; 21 nms_param NonMaximumSuppressionParameter
    22 sample_size int32 = 64; 23 use_prior_for_nms bool = false
DetectionEvaluateParameter
    1 num_classes uint32; 2 background_label_id uint32 = 0; 3 overlap_threshold float = 0.5
    4 evaluate_difficult_gt bool = true; 5 name_size_file string; 6 resize_param ResizeParameter
VideoDataParameter
    enum VideoType WEBCAM=0 VIDEO=1
    1 video_type VideoType = WEBCAM; 2 device_id int32 = 0; 3 video_file string
    4 skip_frames uint32 = 0
AnnotatedDatum                                                 # in data bases
    enum AnnotationType BBOX=0
    1 datum Datum; 2 type AnnotationType; 3 annotation_group AnnotationGroup*
AnnotationGroup
    1 group_label int32; 2 annotation Annotation*
Annotation
    1 instance_id int32 = 0; 2 bbox NormalizedBBox
NormalizedBBox
    1 xmin float; 2 ymin float; 3 xmax float; 4 ymax float; 5 label int32; 6 difficult bool
    7 score float; 8 size float
LabelMap                                                       # a file of its own
    1 item LabelMapItem*
LabelMapItem
    1 name string; 2 label int32; 3 display_name string
# Fast R-CNN, R-FCN, several forks
SmoothL1LossParameter
    1 sigma float = 1
BoxAnnotatorOHEMParameter
    1 roi_per_img uint32!; 2 ignore_label int32 = -1
ROIAlignParameter
    1 pooled_h uint32 = 0; 2 pooled_w uint32 = 0; 3 spatial_scale float = 1; 4 sampling_ratio int32 = -1
# MobileNet-YOLO: training
RegionLossParameter
    1 side int32 = 13; 2 num_class int32 = 20; 3 bias_match int32 = 1; 4 coords int32 = 4
    5 num int32 = 5; 6 softmax int32 = 1; 7 jitter float = 0.2; 8 rescore int32 = 1
    9 object_scale float = 1; 10 class_scale float = 1; 11 noobject_scale float = 0.5
    12 coord_scale float = 5; 13 absolute int32 = 1; 14 thresh float = 0.2; 15 random int32 = 1
    16 biases float*; 17 softmax_tree string; 18 class_map string
Yolov3Parameter
    enum IOULoss IOU=0 GIOU=1 MSE=2 DIOU=3 CIOU=4
    1 side int32 = 13; 2 num_class int32 = 20; 3 num int32 = 5; 4 object_scale float = 1
    5 class_scale float = 1; 6 noobject_scale float = 0.5; 7 coord_scale float = 5
    8 thresh float = 0.2; 10 anchors_scale uint32 = 32; 11 biases float*; 12 mask uint32*
    13 use_logic_gradient bool = false; 14 use_focal_loss bool = false; 15 iou_loss IOULoss = MSE
    16 iou_normalizer float = 0.25; 17 iou_thresh float = 0.5; 18 max_delta float = 10
    19 accumulate bool = true; 20 label_smooth_eps float = 0.1
YoloSegParameter                                               # its numbers and defaults are not known
    1 num_class int32; 2 object_scale float; 3 class_scale float; 4 use_logic_gradient bool
    5 use_hardsigmoid bool
# FlowNet 2
CoeffScheduleParameter
    1 half_life float = 1; 2 initial_coeff float = 1; 3 final_coeff float = 1
AugmentationParameter
    33 crop_width uint32 = 0; 34 crop_height uint32 = 0; 2 write_augmented string =
    3 max_multiplier float = 255; 4 augment_during_test bool = false; 5 recompute_mean uint32 = 0
    6 write_mean string =; 7 mean_per_pixel bool = true; 18 mean float*; 8 mode string = add
    80 bottomwidth uint32 = 0; 81 bottomheight uint32 = 0; 82 num uint32 = 0
    83 chromatic_eigvec float*; 10 mirror RandomGeneratorParameter
    11 translate RandomGeneratorParameter; 12 rotate RandomGeneratorParameter
    13 zoom RandomGeneratorParameter; 14 squeeze RandomGeneratorParameter
    15 translate_x RandomGeneratorParameter; 16 translate_y RandomGeneratorParameter
    35 gamma RandomGeneratorParameter; 36 brightness RandomGeneratorParameter
    37 contrast RandomGeneratorParameter; 38 color RandomGeneratorParameter
    20 lmult_pow RandomGeneratorParameter; 21 lmult_mult RandomGeneratorParameter
    22 lmult_add RandomGeneratorParameter; 23 sat_pow RandomGeneratorParameter
    24 sat_mult RandomGeneratorParameter; 25 sat_add RandomGeneratorParameter
    26 col_pow RandomGeneratorParameter; 27 col_mult RandomGeneratorParameter
    28 col_add RandomGeneratorParameter; 29 ladd_pow RandomGeneratorParameter
    30 ladd_mult RandomGeneratorParameter; 31 ladd_add RandomGeneratorParameter
    32 col_rotate RandomGeneratorParameter; 100 fog_amount RandomGeneratorParameter
    101 fog_size RandomGeneratorParameter; 102 motion_blur_angle RandomGeneratorParameter
    103 motion_blur_size RandomGeneratorParameter; 104 shadow_angle RandomGeneratorParameter
    105 shadow_distance RandomGeneratorParameter; 106 shadow_strength RandomGeneratorParameter
    107 noise RandomGeneratorParameter
RandomGeneratorParameter
    1 rand_type string = uniform; 2 exp bool = false; 4 mean float = 0; 5 spread float = 0
    6 prob float = 1; 7 apply_schedule bool = true; 8 discretize bool = false; 9 multiplier float = 1
CorrelationParameter
    enum CorrelationType MULTIPLY=0 SUBTRACT=1
    2 pad uint32 = 0; 3 kernel_size uint32; 4 max_displacement uint32; 5 stride_1 uint32 = 1
    6 stride_2 uint32 = 1; 7 do_abs bool = false; 8 single_direction int32 = 0
    15 correlation_type CorrelationType = MULTIPLY
L1LossParameter
    1 l2_per_location bool = false; 2 l2_prescale_by_channels bool = false
    3 normalize_by_num_entries bool = false; 4 epsilon float = 1e-2; 3001 plateau float = 0
LpqLossParameter
    4010 pq_episode_starts_at_iter uint32*; 4011 p float*; 4012 q float*; 4013 p_epsilon float = 0
    4014 q_epsilon float = 1e-2; 4016 l2_prescale_by_channels bool = false
    4017 normalize_by_num_entries bool = false
WriterParameter
    1 file string =; 2 folder string =; 3 prefix string =; 4 suffix string =
    5 normalize bool = false; 6 scale float = 1
ReaderParameter
    1 file string!; 2 num uint32 = 1
MeanParameter
    enum MeanOperation ADD=1 SUBTRACT=4
    1 operation MeanOperation!; 2 file string; 3 value float*; 4 mean_scale float = 1
    5 input_scale float = 1; 6 output_scale float = 1
ResampleParameter
    enum ResampleType NEAREST=1 LINEAR=2 CUBIC=3 AREA=4
    1 width uint32; 2 height uint32; 3 type ResampleType = LINEAR; 4 antialias bool = true
    5 factor float = 1
DownsampleParameter
    1 top_height uint32 = 0; 2 top_width uint32 = 0
FlowWarpParameter
    enum FillParameter ZERO=1 NOT_A_NUMBER=2
    1 fill_value FillParameter = ZERO
AccumParameter
    1 top_height uint32 = 0; 2 top_width uint32 = 0; 3 size_divisible_by uint32 = 0
    4 have_reference bool = false
# caffe_rtpose
ImResizeParameter
    1 target_spatial_width uint32 = 368; 2 target_spatial_height uint32 = 368; 3 factor float = 0
    4 start_scale float = 1; 5 scale_gap float = 0.1
NmsParameter
    1 threshold float = 0.5; 2 num_peak uint32 = 100; 3 max_peaks uint32 = 20; 4 num_parts uint32 = 15
# several forks
SpatialTransformerParameter
    1 transform_type string = affine; 2 sampler_type string = bilinear; 3 output_H int32
    4 output_W int32; 5 to_compute_dU bool = true; 6 theta_1_1 double; 7 theta_1_2 double
    8 theta_1_3 double; 9 theta_2_1 double; 10 theta_2_2 double; 11 theta_2_3 double
ReverseParameter
    1 axis int32*
# NVIDIA: DetectNet
DetectNetGroundTruthParameter
    enum GridboxType GRIDBOX_MAX=0 GRIDBOX_MIN=1
    enum CoverageType RECTANGULAR=0
    1 stride uint32 = 4; 2 scale_cvg float = 0.5; 3 gridbox_type GridboxType = GRIDBOX_MAX
    4 max_cvg_len uint32 = 50; 5 min_cvg_len uint32 = 50; 7 coverage_type CoverageType = RECTANGULAR
    8 image_size_x uint32 = 1248; 9 image_size_y uint32 = 384; 11 obj_norm bool = false
    12 crop_bboxes bool = true; 13 object_class DetectNetClassMapping*
DetectNetClassMapping
    1 src uint32!; 2 dst uint32!
DetectNetAugmentationParameter
    1 crop_prob float = 1; 2 shift_x uint32 = 0; 3 shift_y uint32 = 0; 4 scale_prob float = 0.33
    5 scale_min float = 0.7; 6 scale_max float = 1; 7 flip_prob float = 0.33
    8 rotation_prob float = 0.33; 9 max_rotate_degree float = 1; 10 hue_rotation_prob float = 0.33
    11 hue_rotation float = 15; 12 desaturation_prob float = 0.33; 13 desaturation_max float = 0.5
    208 resize_param ResizeParameter; 209 noise_param NoiseParameter
    210 emit_constraint EmitConstraint; 213 distort_param DistortionParameter
    214 expand_param ExpansionParameter
# Intel
CompileNetState
    1 is_init bool = true; 2 bn_scale_remove bool = false; 3 bn_scale_merge bool = false
    4 kept_bn_layers string*
MultinodeParameter
    1 model_parallel MnModelParallelParameter*
    2 compress_layer_type_list MnParamGradCompressLayerTypeList
MnModelParallelParameter
    1 layer_from string!; 2 layer_to string; 3 num_nodes uint32; 4 model_parts uint32
MnParamGradCompressLayerTypeList
    1 layer_type string*
MultinodeLayerParameter
    1 num_nodes uint32; 2 model_parts uint32 = 1
MnActivationParameter
    1 num_nodes_in uint32; 2 num_nodes_out uint32; 3 model_parts_in uint32 = 1
    4 model_parts_out uint32 = 1; 5 need_reduce bool = true
MnParamGradCompressParameter
    1 param_grad_compress_enable bool*
SpatialDropoutParameter
    1 dropout_ratio float = 0.5
QuantizationParameter
    enum Precision DYNAMIC_FIXED_POINT=0
    enum Rounding NEAREST=0
    1 precision Precision = DYNAMIC_FIXED_POINT; 2 rounding_scheme Rounding = NEAREST
    3 bw_layer_in uint32 = 32; 4 bw_layer_out uint32 = 32; 5 bw_params uint32 = 32
    6 fl_layer_in int32*; 7 fl_layer_out int32*; 8 fl_params int32*
    20 scale_in float*; 21 scale_out float*; 22 scale_params float*
SplitParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2 MKL2017=3 MKLDNN=4
    1 engine Engine = DEFAULT
ContinuationIndicatorParameter
    1 time_step uint32 = 0; 2 batch_size uint32 = 0
RandomResizeParameter
    1 min_size uint32 = 0; 2 max_size uint32 = 0; 3 resize_param ResizeParameter
RandomAspectRatioParameter
    1 min_area_ratio float = 0.5; 2 max_area_ratio float = 1; 3 aspect_ratio_change float = 1
    4 max_attempt uint32 = 10; 5 resize_param ResizeParameter

# ---------------------------------------------------------------- layers of the forks: detection
PermuteParameter                                               # SSD, with those up to SaveOutputParameter
    1 order uint32*
NormalizeParameter
    1 across_spatial bool = true; 2 scale_filler FillerParameter; 3 channel_shared bool = true
    4 eps float = 1e-10
PriorBoxParameter                           # SSD, TextBoxes: 1..13; FaceBoxes: 14..16; OpenCV: from 10000
    enum CodeType CORNER=1 CENTER_SIZE=2 CORNER_SIZE=3
    1 min_size float*; 2 max_size float*; 3 aspect_ratio float*; 4 flip bool = true
    5 clip bool = false; 6 variance float*; 7 img_size uint32; 8 img_h uint32; 9 img_w uint32
    10 step float; 11 step_h float; 12 step_w float; 13 offset float = 0.5
    14 fixed_size float*; 15 fixed_ratio float*; 16 density float*
    10000 offset_h float*; 10001 offset_w float*; 10002 width float*; 10003 height float*
    10004 additional_y_offset bool = false
DetectionOutputParameter
    enum CodeType CORNER=1 CENTER_SIZE=2 CORNER_SIZE=3         # that of PriorBoxParameter
    1 num_classes uint32; 2 share_location bool = true; 3 background_label_id int32 = 0
    4 nms_param NonMaximumSuppressionParameter; 5 save_output_param SaveOutputParameter
    6 code_type CodeType = CORNER; 7 keep_top_k int32 = -1; 8 variance_encoded_in_target bool = false
    9 confidence_threshold float; 10 visualize bool = false; 11 visualize_threshold float
    12 save_file string
NonMaximumSuppressionParameter
    1 nms_threshold float = 0.3; 2 top_k int32; 3 eta float = 1
SaveOutputParameter
    1 output_directory string; 2 output_name_prefix string; 3 output_format string
    4 label_map_file string; 5 name_size_file string; 6 num_test_image uint32
    7 resize_param ResizeParameter
ROIPoolingParameter                                            # Fast R-CNN
    1 pooled_h uint32 = 0; 2 pooled_w uint32 = 0; 3 spatial_scale float = 1
PSROIPoolingParameter                                          # R-FCN; required there: all
    1 spatial_scale float; 2 output_dim int32; 3 group_size int32
ProposalParameter                                              # PVANet
    1 feat_stride uint32 = 16; 2 base_size uint32 = 16; 3 min_size uint32 = 16; 4 ratio float*
    5 scale float*; 6 pre_nms_topn uint32 = 6000; 7 post_nms_topn uint32 = 300
    8 nms_thresh float = 0.7
ReorgParameter                                                 # MobileNet-YOLO, with those below
    1 stride uint32; 2 reverse bool = false
YoloDetectionOutputParameter
    1 side uint32 = 13; 2 num_classes uint32 = 20; 3 num_box uint32 = 5; 4 coords uint32 = 4
    5 confidence_threshold float = 0.01; 6 nms_threshold float = 0.45; 7 biases float*
    8 label_map_file string
Yolov3DetectionOutputParameter
    1 num_classes uint32 = 20; 2 num_box uint32 = 3; 3 confidence_threshold float = 0.01
    4 nms_threshold float = 0.45; 5 biases float*; 6 anchors_scale uint32*
    7 mask_group_num uint32 = 2; 8 mask uint32*; 9 gaussian_box bool = false

# ---------------------------------------------------------------- solvers
SolverParameter
    enum SnapshotFormat HDF5=0 BINARYPROTO=1
    enum SolverMode CPU=0 GPU=1
    enum SolverType SGD=0 NESTEROV=1 ADAGRAD=2 RMSPROP=3 ADADELTA=4 ADAM=5
    24 net string; 25 net_param NetParameter; 1 train_net string; 2 test_net string*
    21 train_net_param NetParameter; 22 test_net_param NetParameter*; 26 train_state NetState
    27 test_state NetState*; 3 test_iter int32*; 4 test_interval int32 = 0
    19 test_compute_loss bool = false; 32 test_initialization bool = true; 5 base_lr float
    6 display int32; 33 average_loss int32 = 1; 7 max_iter int32; 36 iter_size int32 = 1
    8 lr_policy string; 9 gamma float; 10 power float; 11 momentum float; 12 weight_decay float
    29 regularization_type string = L2; 13 stepsize int32; 34 stepvalue int32*
    35 clip_gradients float = -1; 14 snapshot int32 = 0; 15 snapshot_prefix string
    16 snapshot_diff bool = false; 37 snapshot_format SnapshotFormat = BINARYPROTO
    17 solver_mode SolverMode = GPU; 18 device_id int32 = 0; 20 random_seed int64 = -1
    40 type string = SGD; 31 delta float = 1e-8; 39 momentum2 float = 0.999
    38 rms_decay float = 0.99; 23 debug_info bool = false; 28 snapshot_after_train bool = true
    30 solver_type SolverType = SGD; 41 layer_wise_reduce bool = true; 42 weights string*
    # SSD
    10000 eval_type string refused = classification; 10001 ap_version string ignored = Integral
    10002 plateau_winsize int32* refused; 10003 show_per_class_result bool ignored = false
    # NVIDIA, today's and that of 2016
    10010 rampup_interval int32 refused = 0; 10011 rampup_lr float refused = 0
    10012 min_lr float refused = 0; 10013 momentum_policy string refused = fixed
    10014 max_momentum float ignored = 0.99; 10015 momentum_power float ignored = 1
    10016 local_lr_auto bool refused = false; 10017 local_gw_ratio float ignored = 0.001
    10018 solver_data_type Type ignored = FLOAT; 10019 store_blobs_in_old_format bool ignored = false
    10020 test_epoch_size int32* refused; 10021 test_interval_epoch float refused
    10022 max_epoch int32 refused; 10023 epoch_size int32 refused
    10024 per_parameter_reduce bool ignored = true
    # Intel
    10030 disabled_update bool refused = false; 10031 engine string ignored =
    10032 warmup_iter int32 refused = 0; 10033 warmup_start_lr float refused = 0
SolverState
    1 iter int32; 2 learned_net string; 3 history BlobProto*; 4 current_step int32 = 0

# ---------------------------------------------------------------- deprecated dialects
V1LayerParameter
    enum LayerType NONE=0 ACCURACY=1 BNLL=2 CONCAT=3 CONVOLUTION=4 DATA=5 DROPOUT=6
    enum LayerType EUCLIDEAN_LOSS=7 FLATTEN=8 HDF5_DATA=9 HDF5_OUTPUT=10 IM2COL=11 IMAGE_DATA=12
    enum LayerType INFOGAIN_LOSS=13 INNER_PRODUCT=14 LRN=15 MULTINOMIAL_LOGISTIC_LOSS=16
    enum LayerType POOLING=17 RELU=18 SIGMOID=19 SOFTMAX=20 SOFTMAX_LOSS=21 SPLIT=22 TANH=23
    enum LayerType WINDOW_DATA=24 ELTWISE=25 POWER=26 SIGMOID_CROSS_ENTROPY_LOSS=27 HINGE_LOSS=28
    enum LayerType MEMORY_DATA=29 ARGMAX=30 THRESHOLD=31 DUMMY_DATA=32 SLICE=33 MVN=34 ABSVAL=35
    enum LayerType SILENCE=36 CONTRASTIVE_LOSS=37 EXP=38 DECONVOLUTION=39
    enum LayerType ELTWISE_ACCURACY=10200 RED_SOFTMAX_LOSS=10201 RED_ACCURACY=10202        # DeconvNet
    enum LayerType WINDOW_SEG_DATA=10203 WINDOW_INST_SEG_DATA=10204 BIN_ACCURACY=10205
    enum LayerType DENSE_IMAGE_DATA=10210 RELU6=10211                          # SegNet; MobileNet-YOLO
    enum LayerType CROP=40 SIMPLE_FAST_MEANFIELD=41 MULTI_STAGE_MEANFIELD=42     # CRF-RNN
    enum LayerType IMAGE_SEG_DATA=10000 INTERP=10001 MAT_WRITE=10002 SEG_ACCURACY=10003    # DeepLab v1
    enum LayerType BN=10100 UPSAMPLE=10101 UNPOOLING=10102                       # SegNet, DeconvNet
    enum DimCheckMode STRICT=0 PERMISSIVE=1
    2 bottom string*; 3 top string*; 4 name string; 32 include NetStateRule*
    33 exclude NetStateRule*; 5 type LayerType; 6 blobs BlobProto*; 1001 param string*
    1002 blob_share_mode DimCheckMode*; 7 blobs_lr float*; 8 weight_decay float*
    35 loss_weight float*; 27 accuracy_param AccuracyParameter; 23 argmax_param ArgMaxParameter
    9 concat_param ConcatParameter; 40 contrastive_loss_param ContrastiveLossParameter
    10 convolution_param ConvolutionParameter; 11 data_param DataParameter
    12 dropout_param DropoutParameter; 26 dummy_data_param DummyDataParameter
    24 eltwise_param EltwiseParameter; 41 exp_param ExpParameter
    13 hdf5_data_param HDF5DataParameter; 14 hdf5_output_param HDF5OutputParameter
    29 hinge_loss_param HingeLossParameter; 15 image_data_param ImageDataParameter
    16 infogain_loss_param InfogainLossParameter; 17 inner_product_param InnerProductParameter
    18 lrn_param LRNParameter; 22 memory_data_param MemoryDataParameter
    34 mvn_param MVNParameter; 19 pooling_param PoolingParameter; 21 power_param PowerParameter
    30 relu_param ReLUParameter; 38 sigmoid_param SigmoidParameter
    39 softmax_param SoftmaxParameter; 31 slice_param SliceParameter
    37 tanh_param TanHParameter; 25 threshold_param ThresholdParameter
    20 window_data_param WindowDataParameter; 36 transform_param TransformationParameter
    42 loss_param LossParameter; 1 layer V0LayerParameter
    10006 strict_dim bool = true                               # DeepLab v1
V0LayerParameter
    enum PoolMethod MAX=0 AVE=1 STOCHASTIC=2
    1 name string; 2 type string; 3 num_output uint32; 4 biasterm bool = true
    5 weight_filler FillerParameter; 6 bias_filler FillerParameter; 7 pad uint32 = 0
    8 kernelsize uint32; 9 group uint32 = 1; 10 stride uint32 = 1; 11 pool PoolMethod = MAX
    12 dropout_ratio float = 0.5; 13 local_size uint32 = 5; 14 alpha float = 1
    15 beta float = 0.75; 22 k float = 1; 16 source string; 17 scale float = 1
    18 meanfile string; 19 batchsize uint32; 20 cropsize uint32 = 0; 21 mirror bool = false
    50 blobs BlobProto*; 51 blobs_lr float*; 52 weight_decay float*; 53 rand_skip uint32 = 0
    54 det_fg_threshold float = 0.5; 55 det_bg_threshold float = 0.5
    56 det_fg_fraction float = 0.25; 58 det_context_pad uint32 = 0
    59 det_crop_mode string = warp; 60 new_num int32 = 0; 61 new_channels int32 = 0
    62 new_height int32 = 0; 63 new_width int32 = 0; 64 shuffle_images bool = false
    65 concat_dim uint32 = 1; 1001 hdf5_output_param HDF5OutputParameter
"""
