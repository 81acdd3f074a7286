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

Fields of Caffe's forks. A prototxt of a fork holds only names, so the forks' messages can all live
in one schema. Their field *numbers* cannot: DeepLab v2 gave 143..147 to interp, seg_accuracy,
mat_write and dense_crf, the numbers BVLC uses for input, crop, parameter and recurrent. The fork
fields below therefore carry numbers of our own, from ``FORK_NUMBERS`` (10000) up, and no binary of a
fork is ever parsed with this schema: ``load.py`` reads layer names and blobs, whose numbers never moved.
Sources of the fork fields: DeepLab v1 (V1 types from 10000, hole, has_label), DeepLab v2 (ImageSegData,
Interp, SegAccuracy, MatWrite, DenseCRF), CRF-RNN (MultiStageMeanfield, V1 types 40..42), SegNet and ENet
(BN with scale/shift fillers, Upsample, DenseImageData, class weights), PSPNet (BN with slope/bias fillers,
ceil_mode), SSD, TextBoxes, FaceBoxes, OpenCV, Fast R-CNN, R-FCN, PVANet and MobileNet-YOLO (detection).
"""

from __future__ import annotations

#: Numbers from here up are ours; a field below it has Caffe's own number.
FORK_NUMBERS = 10000

TOP_LEVEL_ENUMS = {"Phase": (("TRAIN", 0), ("TEST", 1))}

SCHEMA = """
# ---------------------------------------------------------------- data
BlobShape
    1 dim int64+
BlobProto
    7 shape BlobShape; 5 data float+; 6 diff float+; 8 double_data double+
    9 double_diff double+; 1 num int32 = 0; 2 channels int32 = 0; 3 height int32 = 0
    4 width int32 = 0
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
    # forks
    10000 interp_param InterpParameter; 10001 multi_stage_meanfield_param MultiStageMeanfieldParameter
    10002 seg_accuracy_param SegAccuracyParameter; 10003 mat_write_param MatWriteParameter
    10004 dense_crf_param DenseCRFParameter; 10005 bn_param BNParameter
    10006 upsample_param UpsampleParameter; 10007 dense_image_data_param DenseImageDataParameter
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
LossParameter
    enum NormalizationMode FULL=0 VALID=1 BATCH_SIZE=2 NONE=3
    1 ignore_label int32; 3 normalization NormalizationMode = VALID; 2 normalize bool
    10000 weight_by_label_freqs bool = false; 10001 class_weighting float*   # SegNet, ENet
AccuracyParameter
    1 top_k uint32 = 1; 2 axis int32 = 1; 3 ignore_label int32
ArgMaxParameter
    1 out_max_val bool = false; 2 top_k uint32 = 1; 3 axis int32
BatchNormParameter
    1 use_global_stats bool; 2 moving_average_fraction float = 0.999; 3 eps float = 1e-5
BiasParameter
    1 axis int32 = 1; 2 num_axes int32 = 1; 3 filler FillerParameter
ClipParameter
    1 min float!; 2 max float!
ConcatParameter
    2 axis int32 = 1; 1 concat_dim uint32 = 1
ContrastiveLossParameter
    1 margin float = 1; 2 legacy_version bool = false
ConvolutionParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
    1 num_output uint32; 2 bias_term bool = true; 3 pad uint32*; 4 kernel_size uint32*
    6 stride uint32*; 18 dilation uint32*; 9 pad_h uint32 = 0; 10 pad_w uint32 = 0
    11 kernel_h uint32; 12 kernel_w uint32; 13 stride_h uint32; 14 stride_w uint32
    5 group uint32 = 1; 7 weight_filler FillerParameter; 8 bias_filler FillerParameter
    15 engine Engine = DEFAULT; 16 axis int32 = 1; 17 force_nd_im2col bool = false
    10000 hole uint32; 10001 hole_h uint32; 10002 hole_w uint32              # DeepLab v1's dilation
CropParameter
    1 axis int32 = 2; 2 offset uint32*
DataParameter
    enum DB LEVELDB=0 LMDB=1
    1 source string; 4 batch_size uint32; 7 rand_skip uint32 = 0; 8 backend DB = LEVELDB
    2 scale float = 1; 3 mean_file string; 5 crop_size uint32 = 0; 6 mirror bool = false
    9 force_encoded_color bool = false; 10 prefetch uint32 = 4
DropoutParameter
    1 dropout_ratio float = 0.5
DummyDataParameter
    1 data_filler FillerParameter*; 6 shape BlobShape*; 2 num uint32*; 3 channels uint32*
    4 height uint32*; 5 width uint32*
EltwiseParameter
    enum EltwiseOp PROD=0 SUM=1 MAX=2
    1 operation EltwiseOp = SUM; 2 coeff float*; 3 stable_prod_grad bool = true
ELUParameter
    1 alpha float = 1
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
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
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
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
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
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
    1 negative_slope float = 0; 2 engine Engine = DEFAULT
ReshapeParameter
    1 shape BlobShape; 2 axis int32 = 0; 3 num_axes int32 = -1
ScaleParameter
    1 axis int32 = 1; 2 num_axes int32 = 1; 3 filler FillerParameter; 4 bias_term bool = false
    5 bias_filler FillerParameter
SigmoidParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
    1 engine Engine = DEFAULT
SliceParameter
    3 axis int32 = 1; 2 slice_point uint32*; 1 slice_dim uint32 = 1
SoftmaxParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
    1 engine Engine = DEFAULT; 2 axis int32 = 1
SPPParameter
    enum PoolMethod MAX=0 AVE=1 STOCHASTIC=2
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
    1 pyramid_height uint32; 2 pool PoolMethod = MAX; 6 engine Engine = DEFAULT
SwishParameter
    1 beta float = 1
TanHParameter
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
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
BNParameter                                 # SegNet, ENet: 1..3; PSPNet: 4..8; a third kind: 9, 10
    enum BNMode LEARN=0 INFERENCE=1
    enum Engine DEFAULT=0 CAFFE=1 CUDNN=2
    1 scale_filler FillerParameter; 2 shift_filler FillerParameter; 3 bn_mode BNMode = LEARN
    4 slope_filler FillerParameter; 5 bias_filler FillerParameter; 6 momentum float = 0.9
    7 eps float = 1e-5; 8 frozen bool = false; 9 scale float; 10 shift float
    11 engine Engine = DEFAULT
UpsampleParameter                                              # SegNet, ENet
    1 scale uint32 = 2; 2 scale_h uint32; 3 scale_w uint32; 4 pad_out_h bool = false
    5 pad_out_w bool = false; 6 upsample_h uint32; 7 upsample_w uint32
DenseImageDataParameter                                        # SegNet, ENet
    1 source string; 2 batch_size uint32; 3 rand_skip uint32 = 0; 4 shuffle bool = false
    5 new_height uint32 = 0; 6 new_width uint32 = 0; 7 is_color bool = true; 8 mean_file string
    9 root_folder string =; 10 mirror bool = false; 11 crop_width uint32 = 0
    12 crop_height uint32 = 0; 13 label_divide_factor uint32 = 1

# ---------------------------------------------------------------- layers of the forks: detection
PermuteParameter                                               # SSD, with those up to ResizeParameter
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
ResizeParameter
    enum Resize_mode WARP=1 FIT_SMALL_SIZE=2 FIT_LARGE_SIZE_AND_PAD=3
    enum Pad_mode CONSTANT=1 MIRRORED=2 REPEAT_NEAREST=3
    enum Interp_mode LINEAR=1 AREA=2 NEAREST=3 CUBIC=4 LANCZOS4=5
    1 prob float = 1; 2 resize_mode Resize_mode = WARP; 3 height uint32 = 0; 4 width uint32 = 0
    8 height_scale uint32 = 0; 9 width_scale uint32 = 0; 5 pad_mode Pad_mode = CONSTANT
    6 pad_value float*; 7 interp_mode Interp_mode*
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
    enum LayerType CROP=40 SIMPLE_FAST_MEANFIELD=41 MULTI_STAGE_MEANFIELD=42     # CRF-RNN
    enum LayerType IMAGE_SEG_DATA=10000 INTERP=10001 MAT_WRITE=10002 SEG_ACCURACY=10003    # DeepLab v1
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
    # forks
    10000 multi_stage_meanfield_param MultiStageMeanfieldParameter; 10001 interp_param InterpParameter
    10002 bn_param BNParameter; 10003 upsample_param UpsampleParameter
    10004 mat_write_param MatWriteParameter; 10005 seg_accuracy_param SegAccuracyParameter
    10006 strict_dim bool = true
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

#: Fields and enum values that forks added and this schema does not have: name -> fork, for error messages.
FORKS_OF_UNKNOWN_FIELDS = {
    "SSD (weiliu89/caffe)": (
        "annotated_data_param detection_evaluate_param multibox_loss_param "
        "video_data_param resize_param noise_param distort_param "
        "expand_param emit_constraint crop_h crop_w eval_type ap_version plateau_winsize"
    ),
    "DeepLab (xmyqsh/deeplab-v2 and others)": (
        "domain_transform_param unique_label_param adaptive_bias_channel_param bias_channel_param "
        "mat_read_param scale_factors update_global_stats softmaxwithloss_param "
        "weight_source"
    ),
    "PSPNet (hszhao/PSPNet)": "bin_resize_param batch_reduction_param rand_resize rand_rotate rand_blur",
    "SegNet (alexgkendall/caffe-segnet)": "sample_weights_test",
    "ENet (TimoSaemann/caffe-enet)": "spatial_dropout_param",
    "Faster R-CNN (rbgirshick/caffe-fast-rcnn)": "smooth_l1_loss_param",
    "R-FCN (daijifeng001/caffe-rfcn)": "box_annotator_ohem_param",
    "NVIDIA Caffe (NVcaffe)": (
        "forward_type backward_type forward_math backward_math default_forward_type default_backward_type "
        "global_grad_scale rampup_interval rampup_lr"
    ),
    "Intel Caffe": "mkl2017_param batch_norm_stats_batch_size compile_net_state bn_stats_batch_size",
    "Caffe OpenCL (Greentea)": "device buffer mergecrop_param affinity_param",
    "the YOLO ports (eric612/MobileNet-YOLO, ChenYingpeng/caffe-yolov3)": (
        "yolo_seg_param yolov3_param region_loss_param detection_yolov3_param mish_param"
    ),
    "DeconvNet (HyeonwooNoh/caffe)": "unpooling_param upsampling_param",
    "waifu2x-caffe (lltcggie/caffe)": "crop_center_param",
    "FlowNet (lmb-freiburg)": "correlation_param flow_warp_param resample_param l1_loss_param",
    "old Caffe with Depthwise layers": "conv_dw_param depthwise_param",
}

#: The same for layer types.
FORKS_OF_UNKNOWN_TYPES = {
    "SSD (weiliu89/caffe)": ("AnnotatedData DetectionEvaluate MultiBoxLoss VideoData"),
    "SegNet (alexgkendall/caffe-segnet)": "DenseImageData",
    "ENet (TimoSaemann/caffe-enet)": "SpatialDropout",
    "Faster R-CNN (rbgirshick/caffe-fast-rcnn)": "SmoothL1Loss",
    "R-FCN (daijifeng001/caffe-rfcn)": "BoxAnnotatorOHEM",
    "PSPNet (hszhao/PSPNet)": "BinResize BatchReduction",
    "the YOLO ports (eric612/MobileNet-YOLO, ChenYingpeng/caffe-yolov3)": (
        "YoloSeg Yolov3 RegionLoss DetectionOutput2 Mish"
    ),
    "FlowNet (lmb-freiburg)": "Correlation FlowWarp Resample L1Loss",
    "DeconvNet (HyeonwooNoh/caffe)": "Unpooling Upsampling",
    "waifu2x-caffe (lltcggie/caffe)": "CropCenter Axpy",
    "DeepLab (xmyqsh/deeplab-v2 and others)": "DenseCRF DomainTransform UniqueLabel",
    "CRF-RNN (torrvision)": "AutoCrop",
    "ShuffleNet (farmingyard/ShuffleNet)": "ShuffleChannel",
}
FORK_REMEDY = (
    "Such a layer is not available here: cut the net below it (--score), write it as a layer of type "
    "'Python' or, if it only feeds data, put an Input layer in its place"
)


def fork_of_field(name: str) -> str:
    """The fork that a field or enum value is from; '' if it is from none that we know."""
    return _fork_of(name, FORKS_OF_UNKNOWN_FIELDS)


def fork_of_type(layer_type: str) -> str:
    """The fork that a layer type is from; '' if it is from none that we know."""
    return _fork_of(layer_type, FORKS_OF_UNKNOWN_TYPES)


def _fork_of(word: str, table: dict[str, str]) -> str:
    return next((fork for fork, words in table.items() if word in words.split()), "")
