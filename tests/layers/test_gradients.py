"""Every layer's gradient agrees with finite differences."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import caffe
from caffe.layers.registry import registry
from caffe.phases import TEST
from tests.helpers.gradient import check_gradient

WITHOUT_GRADIENT = {
    "Accuracy": "counts",
    "ContinuationIndicator": "marks time steps",
    **dict.fromkeys(("CTCDecoder", "CTCGreedyDecoder", "CtcDecoder"), "gives labels"),
    "LabelsequenceAccuracy": "counts",
    "ArgMax": "gives places",
    "Threshold": "is flat wherever it has a derivative",
    "BoxAnnotatorOHEM": "chooses labels",
    "PriorBox": "looks at shapes alone",
    **dict.fromkeys(
        ("BoxOutput", "DetectionOutput", "Proposal", "RPROI", "YoloDetectionOutput"),
        "chooses boxes",
    ),
    **dict.fromkeys(("Yolo", "Yolov3DetectionOutput"), "chooses boxes"),
    **dict.fromkeys(("DetectionEvaluate", "EvalDetection", "SegAccuracy"), "counts"),
    "Region": "chooses boxes",
    "Resample": "is one that FlowNet 2 gives none",
    "DataAugmentation": "is one that FlowNet 2 gives none",
    "RegionLoss": "has darknet's gradient, which has a test of its own",
    **dict.fromkeys(
        (
            "AnnotatedData",
            "Data",
            "DenseImageData",
            "DummyData",
            "HDF5Data",
            "ImageData",
            "ImageLabelmapData",
            "ImageSegData",
            "Input",
            "MatRead",
            "MemoryData",
            "WindowData",
        ),
        "has no bottoms",
    ),
    **dict.fromkeys(("HDF5Output", "MatWrite"), "has no tops"),
    "DenseCRF": "is one that DeepLab gives none",
    "Parameter": "has a test of its own below",
    "Python": "is written by its user",
}
"""Layer types that are not checked, and why."""


@dataclass(eq=False)
class Case:
    """One layer: its type, the rest of its text, its bottoms, and options of the check."""

    type: str
    text: str
    bottoms: list[np.ndarray]
    options: dict[str, Any] = field(default_factory=dict)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed + 7 * len(shape)).normal(size=shape)


def positive(*shape: int) -> np.ndarray:
    return np.abs(normal(*shape)) + 0.2


def distinct(*shape: int, seed: int = 0) -> np.ndarray:
    """No two values are near one another, so that no step changes which is the largest."""
    count = int(np.prod(shape))
    values = np.random.default_rng(seed).permutation(count).reshape(shape)
    return (values - count / 2 + 0.25) / 4


def probabilities(*shape: int) -> np.ndarray:
    values = positive(*shape)
    return values / values.sum(axis=1, keepdims=True)


def labels(*values: float, shape: tuple[int, ...] | None = None) -> np.ndarray:
    return np.array(values, dtype=np.float64).reshape(shape or (len(values),))


def case(layer_type: str, text: str, *bottoms: np.ndarray, **options: Any) -> Case:
    return Case(layer_type, text, list(bottoms), options)


SOFTMAX_LABELS = labels(2, 0, 1, 3, 1, 0, 2, 2, shape=(2, 1, 2, 2))
CONT = labels(0, 0, 1, 1, 1, 0, shape=(3, 2))
REGIONS = np.array([[0, 0.1, 0.2, 6.3, 8.4], [1, 2.2, 1.1, 9.7, 5.3], [1, -2, 3.3, 3.1, 14]])
PRIORS = np.array(
    [[[0.1, 0.1, 0.4, 0.5, 0.3, 0.2, 0.8, 0.7, 0.5, 0.4, 0.9, 0.95], [0.1, 0.1, 0.2, 0.2] * 3]]
)
TRUE_BOXES = labels(
    *(0, 1, 0, 0.12, 0.08, 0.45, 0.52, 0), *(1, 2, 0, 0.52, 0.38, 0.88, 0.9, 0), shape=(1, 1, 2, 8)
)

CASES = [
    # Element by element.
    case("AbsVal", "", normal(2, 3, 2), kinks=[0]),
    case("BNLL", "", 3 * normal(2, 3, 2)),
    case("Clip", "clip_param { min: -0.5 max: 0.8 }", normal(2, 3, 2), kinks=[-0.5, 0.8]),
    case("Dropout", "dropout_param { dropout_ratio: 0.4 }", normal(3, 4)),
    case("Dropout", "", normal(3, 4), phase=TEST),
    case("Dropout", "", normal(3, 4), in_place=True),
    case("ELU", "elu_param { alpha: 0.7 }", normal(2, 3, 2), kinks=[0]),
    case("Exp", "exp_param { base: 2 scale: 0.5 shift: 0.3 }", normal(2, 3, 2)),
    case("Exp", "", normal(2, 3), in_place=True),
    case("Log", "log_param { base: 10 scale: 2 shift: 1 }", positive(2, 3, 2)),
    case("PReLU", "", normal(2, 3, 2, 2), kinks=[0]),
    case("PReLU", "prelu_param { channel_shared: true }", normal(2, 3, 2), kinks=[0]),
    case("Power", "power_param { power: 3 scale: -0.5 shift: 2 }", normal(2, 3, 2)),
    case("Power", "power_param { power: 0.5 }", positive(2, 3)),
    case("Power", "power_param { power: 2 scale: 3 }", normal(2, 3)),
    case("Power", "power_param { power: 1 scale: 3 }", normal(2, 3)),
    case("ReLU", "", normal(2, 3, 2), kinks=[0]),
    case("ReLU", "relu_param { negative_slope: 0.1 }", normal(2, 3, 2), kinks=[0], in_place=True),
    case("Sigmoid", "", normal(2, 3, 2)),
    case("Sigmoid", "", normal(2, 3, 2), in_place=True),
    case("Swish", "swish_param { beta: 1.5 }", normal(2, 3, 2)),
    case("TanH", "", normal(2, 3, 2)),
    case("TanH", "", normal(2, 3, 2), in_place=True),
    # Several bottoms.
    case("BatchReindex", "", normal(4, 2, 3), labels(2, 0, 0, 3, 2), check_bottoms=[0]),
    case("Bias", "", normal(2, 3, 2, 2)),
    case("Bias", "bias_param { axis: 0 }", normal(2, 3, 2), normal(2, 3)),
    case("Concat", "concat_param { axis: 1 }", normal(2, 1, 3), normal(2, 2, 3)),
    case(
        "Eltwise",
        "eltwise_param { operation: SUM coeff: 2 coeff: -0.5 }",
        normal(2, 3),
        normal(2, 3, seed=1),
    ),
    case(
        "Eltwise",
        "eltwise_param { operation: PROD }",
        normal(2, 3),
        normal(2, 3, seed=1),
        normal(2, 3, seed=2),
    ),
    case(
        "Eltwise",
        "eltwise_param { operation: MAX }",
        distinct(2, 6),
        distinct(2, 6, seed=1) + 0.1,
        distinct(2, 6, seed=2) + 0.17,
    ),
    case("Filter", "", normal(4, 2, 3), labels(1, 0, 1, 1), check_bottoms=[0]),
    case("Scale", "scale_param { bias_term: true }", normal(2, 3, 2, 2)),
    case("Scale", "scale_param { axis: 0 }", normal(2, 3, 2), normal(2, 3)),
    # Shapes.
    case("Crop", "crop_param { offset: 1 }", normal(1, 2, 4, 5), normal(1, 2, 2, 3)),
    case("Flatten", "", normal(2, 3, 2)),
    case("Reshape", "reshape_param { shape { dim: 0 dim: -1 } }", normal(2, 3, 2)),
    case("Silence", "", normal(2, 3)),
    case("Slice", 'top: "a" top: "b" slice_param { slice_point: 1 }', normal(2, 3, 2)),
    case("Split", 'top: "a" top: "b"', normal(2, 3)),
    case("Tile", "tile_param { axis: 1 tiles: 3 }", normal(2, 2, 2)),
    # Convolutions and products.
    case(
        "Convolution",
        "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 2 }",
        normal(1, 2, 5, 4),
    ),
    case(
        "Convolution",
        "convolution_param { num_output: 2 kernel_h: 2 kernel_w: 3 dilation: 2 bias_term: false }",
        normal(1, 2, 4, 6),
    ),
    case(
        "Deconvolution",
        "convolution_param { num_output: 4 kernel_size: 3 stride: 2 pad: 1 group: 2 }",
        normal(1, 2, 3, 2),
    ),
    case("Im2col", "convolution_param { kernel_size: 2 stride: 2 pad: 1 }", normal(1, 2, 4, 3)),
    case(
        "Embed", "embed_param { num_output: 3 input_dim: 5 }", labels(4, 0, 4, 2), check_bottoms=[]
    ),
    case("InnerProduct", "inner_product_param { num_output: 4 }", normal(2, 3, 2)),
    case(
        "InnerProduct",
        "inner_product_param { num_output: 4 axis: 2 transpose: true bias_term: false }",
        normal(2, 3, 2),
    ),
    # Windows and statistics.
    case(
        "BatchNorm",
        "",
        normal(3, 2, 2, 2),
        params=[np.zeros(2), np.zeros(2), np.zeros(1)],
        check_params=[],
    ),
    case(
        "BatchNorm",
        "",
        normal(3, 2, 2, 2),
        phase=TEST,
        params=[normal(2), positive(2), np.array([2.0])],
        check_params=[],
    ),
    case("LRN", "lrn_param { local_size: 3 alpha: 2 beta: 0.6 k: 1.5 }", normal(2, 5, 2, 2)),
    case(
        "LRN",
        "lrn_param { local_size: 3 alpha: 2 norm_region: WITHIN_CHANNEL }",
        normal(1, 2, 4, 3),
    ),
    case("MVN", "", normal(2, 3, 2, 2)),
    case("MVN", "mvn_param { across_channels: true }", normal(2, 3, 2, 2)),
    case("MVN", "mvn_param { normalize_variance: false }", normal(2, 3, 2, 2)),
    case("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 }", distinct(1, 2, 5, 6)),
    case(
        "Pooling",
        "pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",
        normal(1, 2, 5, 6),
    ),
    case(
        "Pooling",
        "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }",
        positive(1, 2, 4, 4),
        # Which value is drawn depends on the values; the gradient is that of the value drawn.
        tolerance=1e-5,
    ),
    case("SPP", "spp_param { pyramid_height: 2 }", distinct(1, 2, 4, 5)),
    case("SPP", "spp_param { pyramid_height: 2 pool: AVE }", normal(1, 2, 4, 5)),
    *(
        case(
            "Reduction",
            f"reduction_param {{ operation: {operation} axis: 1 coeff: 0.7 }}",
            normal(2, 3, 2),
            kinks=[0],
        )
        for operation in ("SUM", "ASUM", "SUMSQ", "MEAN")
    ),
    case("Softmax", "", normal(2, 4, 2)),
    case("Softmax", "softmax_param { axis: -1 }", normal(2, 3, 4), in_place=True),
    # Detectors.
    case("Normalize", "norm_param { eps: 0.1 }", normal(2, 3, 2, 2)),
    case(
        "Normalize",
        "norm_param { across_spatial: false channel_shared: false }",
        normal(2, 3, 2, 2),
    ),
    case("Permute", "permute_param { order: 0 order: 2 order: 1 }", normal(2, 3, 2, 2)),
    case("Reorg", "reorg_param { stride: 2 }", normal(2, 4, 2, 4)),
    case("Reorg", "reorg_param { stride: 2 reverse: true }", normal(1, 4, 2, 3)),
    case("RegionYolo", "region_yolo_param { num: 2 classes: 2 }", normal(1, 14, 2, 2)),
    case(
        "ROIPooling",
        "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 }",
        distinct(2, 2, 5, 6),
        REGIONS,
    ),
    case(
        "PSROIPooling",
        "psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 0.5 }",
        normal(2, 8, 5, 6),
        REGIONS,
    ),
    *(
        case(
            "ROIAlign",
            f"{field} {{ pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 }}",
            normal(2, 2, 5, 6),
            REGIONS,
        )
        for field in ("roi_align_param", "roi_pooling_param")
    ),
    # Recurrent.
    case(
        "LSTM",
        "recurrent_param { num_output: 2 }",
        normal(3, 2, 3),
        CONT,
        check_bottoms=[0],
    ),
    case(
        "LSTM",
        'top: "h" top: "hT" top: "cT" recurrent_param { num_output: 2 expose_hidden: true }',
        normal(3, 2, 3),
        CONT,
        normal(2, 2),
        normal(1, 2, 2),
        normal(1, 2, 2, seed=1),
        check_bottoms=[0, 2],
        weighted_tops=[0],
    ),
    case("LSTMUnit", "", normal(1, 2, 3), normal(1, 2, 12), labels(1, 0, shape=(1, 2))),
    case("RNN", "recurrent_param { num_output: 2 }", normal(3, 2, 3), CONT, check_bottoms=[0]),
    # Layers of forks.
    case("ReLU", "relu_param { relu6: true }", 6 * normal(2, 3, 2), kinks=[0, 6], in_place=True),
    case("ReLU6", "", 6 * normal(2, 3, 2), kinks=[0, 6]),
    case("Mish", "", normal(2, 3, 2)),
    case("HardSigmoid", "", 3 * normal(2, 3, 2), kinks=[-2.5, 2.5]),
    case("HardSwish", "", 3 * normal(2, 3, 2), kinks=[-3, 3]),
    case("Axpy", "", normal(2, 3), normal(2, 3, 2, 2), normal(2, 3, 2, 2, seed=1)),
    case("Add", "", normal(2, 1, 3), normal(4, 1)),
    case("Mul", "", normal(2, 1, 3), normal(4, 1)),
    case("Mul", "mul_param { mul_shape: 3 }", normal(2, 3)),
    case("ShuffleChannel", "shuffle_channel_param { group: 2 }", normal(1, 6, 2)),
    case("Reverse", "", normal(3, 2)),
    case("Transpose", "transpose_param { dim: 1 dim: 0 }", normal(3, 2)),
    case("DepthToSpace", "depth_to_space_param { block_size: 2 }", normal(1, 2, 1, 4)),
    case("Padding", "padding_param { pad_beg: 1 pad_end: 2 }", normal(1, 1, 2, 2)),
    case("Padding", "padding_param { pad_beg: -1 }", normal(1, 1, 3, 3)),
    case("Pad", "pad_param { paddings: 1 paddings: 0 paddings: 0 paddings: 2 }", normal(2, 2)),
    case("PixelShuffle", "pixel_shuffle_param { upscale_factor: 2 }", normal(1, 4, 2, 2)),
    case(
        "PassThrough",
        "pass_through_param { block_height: 1 block_width: 2 }",
        normal(1, 2, 2, 4),
    ),
    case("Accum", "accum_param { size_divisible_by: 4 }", normal(2, 1, 3, 2), normal(2, 2, 2, 3)),
    case(
        "Accum",
        "accum_param { have_reference: true }",
        normal(1, 2, 3, 2),
        normal(1, 1, 2, 4),
        check_bottoms=[0],
    ),
    case("Interp", "", normal(1, 2, 3, 4), normal(1, 1, 5, 3), check_bottoms=[0]),
    case(
        "MultiStageMeanfield",
        "multi_stage_meanfield_param { num_iterations: 2 theta_alpha: 3 theta_beta: 1 "
        "theta_gamma: 1 spatial_filter_weight: 0.5 bilateral_filter_weight: 0.3 }",
        normal(1, 2, 3, 2),
        normal(1, 2, 3, 2, seed=1),
        normal(1, 3, 3, 2, seed=2),
        check_bottoms=[0, 1],
    ),
    case(
        "DeformablePSROIPooling",
        "deformable_psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 0.5 "
        "part_size: 2 sample_per_part: 2 }",
        normal(2, 8, 5, 4),
        REGIONS,
        normal(3, 4, 2, 2),
        check_bottoms=[0, 2],
    ),
    case("Interp", "interp_param { zoom_factor: 3 pad_beg: -1 }", normal(1, 2, 3, 4)),
    case("Upsample", "", normal(1, 1, 2, 2), labels(0, 3, 9, 14, shape=(1, 1, 2, 2))),
    case("Upsample", "upsample_param { scale: 3 }", normal(1, 2, 2, 2)),
    case(
        "Unpooling",
        "unpooling_param { unpool_size: 4 }",
        normal(1, 1, 2, 2),
        labels(0, 3, 9, 14, shape=(1, 1, 2, 2)),
    ),
    case("UpsampleDarknet", "upsample_darknet_param { stride: 2 }", normal(1, 2, 2, 2)),
    case(
        "ResizeBilinear",
        "resize_bilinear_param { output_height: 5 output_width: 2 half_pixel_centers: true }",
        normal(1, 3, 3, 2),
    ),
    case(
        "ResizeNearestNeighbor",
        "resize_nearest_neighbor_param { scale_height: 2 output_width: 2 }",
        normal(1, 3, 3, 2),
    ),
    *(
        case(kind, "convolution_param { num_output: 2 kernel_size: 2 }", normal(1, 2, 3, 3))
        for kind in ("ConvolutionDepthwise", "DepthwiseConvolution")
    ),
    case(
        "Convolution",
        "convolution_param { num_output: 2 kernel_size: 2 stride: 2 pad_l: 1 pad_b: 2 }",
        normal(1, 2, 3, 3),
    ),
    case(
        "Pooling",
        "pooling_param { kernel_size: 3 stride: 2 pad_l: 1 pad_b: 2 ceil_mode: false }",
        distinct(1, 2, 5, 6),
    ),
    case(
        "Pooling",
        "pooling_param { pool: AVE_EXC_PAD kernel_size: 3 stride: 2 pad_type: 1 }",
        normal(1, 2, 5, 6),
    ),
    case(
        "BatchNorm",
        "batch_norm_param { scale_bias: true }",
        normal(3, 2, 2, 2),
        params=[np.zeros(2), np.zeros(2), np.ones(1), normal(2), normal(2, seed=1)],
        check_params=[3, 4],
    ),
    case(
        "BatchNorm",
        "batch_norm_param { add_eps_before_sqrt: false eps: 0.1 }",
        normal(3, 2, 2, 2),
        params=[np.zeros(2), np.zeros(2), np.zeros(1)],
        check_params=[],
    ),
    case(
        "BN",
        "bn_param { slope_filler { value: 1 } }",
        normal(3, 2, 2, 2),
        params=[normal(1, 2), normal(1, 2, seed=1), np.zeros((1, 2)), np.ones((1, 2))],
        check_params=[0, 1],
    ),
    case(
        "BN",
        "bn_param { frozen: true }",
        normal(3, 2, 2, 2),
        params=[normal(1, 2), normal(1, 2, seed=1), normal(1, 2, seed=2), positive(1, 2)],
        check_params=[],
    ),
    case("BN", "bn_param { bn_mode: LEARN }", normal(3, 2, 2, 2)),
    case("BN", "bn_param { bn_mode: INFERENCE }", normal(3, 2, 2, 2)),
    case(
        "BN",
        "bn_param { decay: 0.1 axis: 2 }",
        normal(3, 2, 2, 2),
        params=[normal(1, 1, 2, 1, seed=seed) for seed in range(4)],
        check_params=[0, 1],
    ),
    case("Lstm", "lstm_param { num_output: 2 }", normal(3, 2, 3)),
    case(
        "Lstm",
        "lstm_param { num_output: 2 batch_size: 2 }",
        normal(6, 3),
        labels(0, 0, 1, 0, 1, 1),
    ),
    case("CtcLoss", "", normal(4, 2, 3), labels(1, 2, 2, 0, shape=(2, 2))),
    case(
        "Correlation",
        "correlation_param { kernel_size: 3 max_displacement: 2 stride_1: 2 stride_2: 2 pad: 2 }",
        normal(1, 2, 4, 5),
        normal(1, 2, 4, 5, seed=1),
    ),
    case(
        "Correlation1D",
        "correlation_param { kernel_size: 1 max_displacement: 2 pad: 2 single_direction: -1 }",
        normal(1, 2, 3, 5),
        normal(1, 2, 3, 5, seed=1),
    ),
    case("NormalizeBBox", "normalize_bbox_param { channel_shared: false }", normal(2, 3, 2, 2)),
    case("ChannelNorm", "", normal(2, 3, 2, 2)),
    case("Mean", "mean_param { operation: ADD value: 2 input_scale: 3 }", normal(2, 3, 2, 2)),
    case("LpqLoss", "lpq_loss_param { p: 2 q: 0.4 }", normal(2, 3, 2), normal(2, 3, 2, seed=1)),
    # Clips, faces, and maps looked up between places.
    *(
        case(kind, f"convolution_param {{ num_output: 2 {sizes} }}", normal(1, 2, 3, 4, 4))
        for kind in ("Convolution3D", "Deconvolution3D")
        for sizes in ("kernel_size: 3 kernel_depth: 2 pad: 1 temporal_pad: 1 stride: 2",)
    ),
    *(
        case(
            kind,
            "convolution_param { num_output: 2 kernel_shape { dim: 2 dim: 1 dim: 3 } "
            "stride_shape { dim: 1 dim: 2 dim: 1 } pad_shape { dim: 0 dim: 0 dim: 1 } }",
            normal(1, 2, 3, 4, 4),
        )
        for kind in ("NdConvolution", "NdDeconvolution")
    ),
    *(
        case(
            kind,
            f"pooling_param {{ pool: {pool} kernel_shape {{ dim: 2 dim: 2 dim: 3 }} "
            "stride_shape { dim: 1 dim: 2 dim: 2 } pad_shape { dim: 0 dim: 1 dim: 1 } }",
            distinct(1, 2, 3, 4, 5),
        )
        for kind, pool in (("Pooling3D", "MAX"), ("NdPooling", "AVE"))
    ),
    case("SpatialDropout", "", normal(3, 4, 2, 2)),
    *(
        case(
            "MarginInnerProduct",
            f"margin_inner_product_param {{ num_output: 3 type: {kind} base: 2 }}",
            normal(2, 4),
            labels(1, 2),
        )
        for kind in ("SINGLE", "DOUBLE", "QUADRUPLE")
    ),
    case(
        "CenterLoss",
        "center_loss_param { num_output: 3 }",
        normal(2, 4),
        labels(1, 2),
        check_params=[],
    ),
    case(
        "InnerProduct",
        "inner_product_param { num_output: 3 normalize: true }",
        normal(2, 4),
    ),
    case(
        "SpatialTransformer",
        "st_param { output_H: 3 output_W: 4 theta_1_2: 0.1 }",
        normal(2, 2, 4, 5),
        np.array([[0.81, 0.133, 0.217, 0.707, 0.053], [1.117, -0.229, 0.13, 0.61, 0.31]]),
    ),
    case(
        "DeformableConvolution",
        "deformable_convolution_param { num_output: 2 kernel_size: 2 deformable_group: 2 }",
        normal(1, 2, 3, 4),
        0.3 * np.tanh(normal(1, 16, 2, 3)) + 0.5,
    ),
    *(
        case(
            kind,
            "local_param { num_output: 2 kernel_size: 2 stride: 2 pad: 1 }",
            normal(2, 2, 3, 4),
        )
        for kind in ("Local", "LocalConvolution")
    ),
    *(
        case(kind, "", normal(4, 2, 3), labels(1, 2, 2, 0, shape=(2, 2)))
        for kind in ("WarpCTC", "WarpCtc", "WarpCTCLoss", "WarpCtcLoss")
    ),
    case(
        "CTCLoss",
        "",
        normal(4, 2, 3),
        labels(0, 0, 1, 1, 1, 1, 1, 1, shape=(4, 2)),
        labels(1, 0, 0, -1, -1, -1, -1, -1, shape=(4, 2)),
    ),
    case("FlowWarp", "", normal(1, 2, 3, 4), 0.8 * normal(1, 2, 3, 4, seed=1) + 0.013),
    # Losses.
    case(
        "ContrastiveLoss",
        "contrastive_loss_param { margin: 2 }",
        normal(4, 3),
        normal(4, 3, seed=1),
        labels(1, 0, 1, 0),
    ),
    case(
        "ContrastiveLoss",
        "contrastive_loss_param { margin: 6 legacy_version: true }",
        normal(4, 3),
        normal(4, 3, seed=1),
        labels(1, 0, 1, 0),
    ),
    case("EuclideanLoss", "", normal(3, 2), normal(3, 2, seed=1)),
    case("HingeLoss", "", distinct(3, 4), labels(1, 3, 0)),
    case("HingeLoss", "hinge_loss_param { norm: L2 }", distinct(3, 4), labels(1, 3, 0)),
    case(
        "InfogainLoss",
        "",
        normal(3, 4),
        labels(1, 3, 0),
        positive(1, 1, 4, 4),
        check_bottoms=[0],
    ),
    case("MultinomialLogisticLoss", "", probabilities(3, 4), labels(1, 3, 0)),
    case("SigmoidCrossEntropyLoss", "", normal(3, 2), labels(1, 0, 0.3, 1, 0, 1, shape=(3, 2))),
    case(
        "SigmoidCrossEntropyLoss",
        "loss_param { ignore_label: 0 normalization: VALID }",
        normal(3, 2),
        labels(1, 0, 1, 1, 0, 1, shape=(3, 2)),
    ),
    case("L1Loss", "", distinct(3, 2), distinct(3, 2, seed=1) + 0.1),
    case(
        "L1Loss",
        "l1_loss_param { l2_per_location: true normalize_by_num_entries: true }",
        normal(2, 3, 2, 2),
        normal(2, 3, 2, 2, seed=1),
    ),
    *(
        case(
            "MultiBoxLoss",
            f"multibox_loss_param {{ num_classes: 3 {text} }}",
            normal(2, 12),
            normal(2, 9),
            PRIORS,
            TRUE_BOXES,
        )
        for text in (
            "code_type: CENTER_SIZE",
            "code_type: CENTER_SIZE loc_loss_type: L2 encode_variance_in_target: true",
            "code_type: CORNER conf_loss_type: LOGISTIC mining_type: NONE loc_weight: 2",
            "code_type: CORNER_SIZE mining_type: HARD_EXAMPLE sample_size: 2",
        )
    ),
    case("SmoothL1Loss", "", normal(3, 2), normal(3, 2, seed=1)),
    case(
        "SmoothL1Loss",
        "smooth_l1_loss_param { sigma: 2 }",
        normal(3, 2),
        normal(3, 2, seed=1),
        normal(3, 2, seed=2),
        normal(3, 2, seed=3),
    ),
    case("SmoothL1LossOHEM", "", normal(3, 2), normal(3, 2, seed=1), normal(3, 2, seed=2)),
    case("SoftmaxWithLoss", "", normal(2, 4, 2, 2), SOFTMAX_LABELS),
    case(
        "SoftmaxWithLoss",
        "loss_param { ignore_label: 2 weight_by_label_freqs: true class_weighting: "
        "[0.5, 3, 9, 0.1] }",
        normal(2, 4, 2, 2),
        SOFTMAX_LABELS,
    ),
    case(
        "WeightedSoftmaxWithLoss",
        "loss_param { ignore_label: 2 } softmax_param { pos_cid: 1 pos_mult: 3 }",
        normal(2, 4, 2, 2),
        SOFTMAX_LABELS,
        np.abs(normal(2, 1, 2, 2, seed=3)),
    ),
    case(
        "SoftmaxWithLossOHEM",
        'top: "a" top: "b" top: "c" loss_param { ignore_label: 2 }',
        normal(2, 4, 2, 2),
        SOFTMAX_LABELS,
        weighted_tops=[0],
    ),
    case(
        "SoftmaxWithLoss",
        "loss_param { ignore_label: 2 normalization: BATCH_SIZE }",
        normal(2, 4, 2, 2),
        SOFTMAX_LABELS,
    ),
]


def name(one: Case) -> str:
    place = [other for other in CASES if other.type == one.type].index(one)
    return one.type if not place else f"{one.type}-{place + 1}"


@pytest.mark.parametrize("one", CASES, ids=name)
def test_backward_agrees_with_finite_differences(one: Case) -> None:
    bottoms = " ".join(f'bottom: "b{i}"' for i in range(len(one.bottoms)))
    check_gradient(f'type: "{one.type}" {bottoms} {one.text}', one.bottoms, **one.options)


def test_the_gradient_of_a_parameter_is_its_tops() -> None:
    net = caffe.Net(
        """layer { name: "p" type: "Parameter" top: "p"
                    parameter_param { shape { dim: 2 dim: 3 } } }
            layer { name: "s" type: "Reduction" bottom: "p" top: "s" loss_weight: 1
                    reduction_param { operation: SUMSQ } }""",
        caffe.TRAIN,
    )
    values = net.params["p"][0].data
    values[...] = normal(2, 3)
    net.forward()
    net.backward()
    np.testing.assert_allclose(net.params["p"][0].diff, 2 * values, rtol=1e-6)


def test_no_layer_with_a_gradient_is_left_out() -> None:
    checked = {one.type for one in CASES}
    assert not checked & set(WITHOUT_GRADIENT)
    # Other tests may have registered layers of their own.
    own = {kind for kind, layer in registry().items() if layer.__module__.startswith("caffe.")}
    missing = sorted(own - checked - set(WITHOUT_GRADIENT))
    assert not missing, "give these a case in CASES, or a reason in WITHOUT_GRADIENT"


def test_the_check_finds_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        registry()["Sigmoid"], "backward", lambda self, diffs, tops, inputs, needs: [diffs[0]]
    )
    with pytest.raises(AssertionError, match=r"Sigmoid, bottom 0\[.*finite differences"):
        check_gradient('type: "Sigmoid" bottom: "b"', [normal(2, 3)])
