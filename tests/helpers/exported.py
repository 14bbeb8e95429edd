"""Nets written for others, run by those others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import caffe
from fuzz import engines, layers, other_layers  # noqa: F401 (its makers enter)
from fuzz.layers import LayerCase

Arrays = dict[str, NDArray[np.float32]]

# Layers that fuzz/ has no cases of, by type: settings over what they can say.
CASES: dict[str, list[LayerCase]] = {}


def case(kind: str, settings: str, *shapes: tuple[int, ...], tops: int = 1) -> None:
    """Enter a case of a type."""
    CASES.setdefault(kind, []).append(LayerCase(kind, settings, shapes, tops))


BOXES = "biases: [1, 2, 3, 1]"
F = "filler { type: 'gaussian' std: 1 }"
W = "weight_filler { type: 'gaussian' std: 1 } bias_filler { type: 'gaussian' std: 1 }"

case("Threshold", "threshold_param { threshold: 0.3 }", (2, 3, 4))
case("SpatialDropout", "spatial_dropout_param { dropout_ratio: 0.4 }", (2, 3, 4, 4))
case("Embed", f"embed_param {{ num_output: 4 input_dim: 9 {W} }}", (2, 3))
case("Embed", f"embed_param {{ num_output: 4 input_dim: 9 bias_term: false {W} }}", (2, 3))
case("ArgMax", "", (3, 4, 2, 2))
case("ArgMax", "argmax_param { top_k: 3 out_max_val: true }", (3, 4, 2, 2))
case("ArgMax", "argmax_param { axis: 1 top_k: 2 }", (3, 4, 2))
case("ArgMax", "argmax_param { axis: -1 out_max_val: true }", (3, 4))
case("Reduction", "reduction_param { operation: ASUM axis: 1 coeff: 0.5 }", (3, 4, 2))
case("BatchReindex", "", (3, 4), (5,))
case("Filter", "", (5, 3), (5, 2, 2), (5,), tops=2)
case("Mean", "mean_param { value: 1 value: 2 value: 3 operation: ADD output_scale: 2 }",
     (2, 3, 4, 4))  # fmt: skip
case(
    "Mean",
    "mean_param { operation: SUBTRACT value: 7 mean_scale: 0.1 input_scale: 3 }",
    (2, 3, 4, 4),
)
case("ChannelNorm", "", (2, 3, 4, 5))
case("DepthToSpace", "depth_to_space_param { block_size: 2 data_format: 'NHWC' }", (2, 3, 4, 8))
case("DepthToSpace", "depth_to_space_param { block_size: 2 data_format: 'NCHW' }", (2, 8, 3, 4))
case("DepthToSpace", "depth_to_space_param { block_size: 2 data_format: 'CRD' }", (2, 8, 3, 4))
case("PixelShuffle", "pixel_shuffle_param { upscale_factor: 2 }", (2, 8, 3, 4))
case("PassThrough", "pass_through_param { block_height: 2 block_width: 3 }", (2, 2, 4, 6))
case("Padding", "padding_param { pad_beg: 1 pad_end: 2 pad_value: 0.5 }", (2, 3, 4, 5))
case("Padding", "padding_param { pad_l: -1 pad_t: -2 }", (2, 3, 4, 5))
case("Pad", "pad_param { paddings: [0, 0, 1, 0, 5, 7, 0, 2] constant_values: -1 }", (1, 2, 3, 3))
case("Interp", "interp_param { zoom_factor: 3 shrink_factor: 2 }", (1, 2, 7, 9))
case("Interp", "interp_param { height: 1 width: 9 pad_beg: -1 pad_end: -2 }", (1, 2, 7, 9))
case("Interp", "", (1, 2, 7, 9), (1, 1, 3, 20))
case("Accum", "accum_param { size_divisible_by: 8 }", (1, 2, 7, 9), (1, 1, 3, 4))
case("Accum", "accum_param { have_reference: true }", (1, 2, 7, 9), (1, 1, 3, 4))
case("Upsample", "upsample_param { scale: 3 }", (1, 2, 3, 4))
case("Upsample", "upsample_param { scale: 2 pad_out_h: true pad_out_w: true }", (1, 2, 3, 4))
case("UpsampleDarknet", "upsample_darknet_param { stride: 3 }", (1, 2, 3, 4))
for rule in ("", "align_corners: true", "half_pixel_centers: true", "pytorch_half_pixel: true"):
    case(
        "ResizeBilinear",
        f"resize_bilinear_param {{ data_format: 'NCHW' output_height: 5 output_width: 3 {rule} }}",
        (2, 3, 4, 7),
    )
for rule in ("", "align_corners: true", "half_pixel_centers: true"):
    case(
        "ResizeNearestNeighbor",
        f"resize_nearest_neighbor_param {{ scale_height: 1.5 scale_width: 0.5 {rule} }}",
        (2, 4, 7, 3),
    )
for kind in ("NEAREST", "LINEAR", "CUBIC"):
    case("Resample", f"resample_param {{ type: {kind} width: 5 height: 11 }}", (2, 3, 4, 7))
    case("Resample", f"resample_param {{ type: {kind} factor: 0.4 }}", (2, 3, 9, 8))
case("Local", f"local_param {{ num_output: 3 kernel_size: 3 stride: 2 pad: 1 {W} }}", (2, 3, 5, 6))
case("Local", f"local_param {{ num_output: 2 kernel_size: 2 bias_term: false {W} }}", (1, 3, 4, 4))
C3D = "kernel_size: 3 kernel_depth: 2 pad: 1 temporal_pad: 1 stride: 2 temporal_stride: 1"
case("Convolution3D", f"convolution_param {{ num_output: 4 {C3D} {W} }}", (1, 2, 4, 5, 6))
case("NdConvolution", "convolution_param { num_output: 4 kernel_shape { dim: 1 dim: 2 dim: 3 } "
     f"{W} }}", (1, 2, 4, 5, 6))  # fmt: skip
case("Deconvolution3D", f"convolution_param {{ num_output: 4 {C3D} {W} }}", (1, 2, 4, 5, 6))
WINDOWS = "kernel_size: 2 stride: 3"
for pool in ("MAX", "AVE"):
    case("Pooling3D", f"pooling_param {{ pool: {pool} {C3D} }}", (2, 2, 4, 5, 6))
    case(
        "Pooling", f"pooling_param {{ pool: {pool} kernel_size: 2 pad: 1 stride: 3 }}", (1, 2, 6, 5)
    )
case("Pooling", "pooling_param { pool: AVE kernel_size: 1 stride: 5 }", (1, 2, 3, 3))
case("Pooling", f"pooling_param {{ pool: MAX {WINDOWS} }}", (2, 3, 8, 5), tops=2)
case("LSTMUnit", "", (1, 3, 4), (1, 3, 16), (1, 3), tops=2)
case("Lstm", f"lstm_param {{ num_output: 3 {W} }}", (4, 2, 5))
case("Lstm", f"lstm_param {{ num_output: 3 batch_size: 2 clipping_threshold: 0.1 {W} }}", (8, 5))
case("Lstm", f"lstm_param {{ num_output: 3 {W} }}", (4, 2, 5), (4, 2))
R = f"recurrent_param {{ num_output: 3 {W} expose_hidden: true }}"
case("LSTM", R, (4, 2, 5), (4, 2), (1, 2, 3), (1, 2, 3), tops=3)
case("LSTM", R, (4, 2, 5), (4, 2), (2, 6), (1, 2, 3), (1, 2, 3), tops=3)
case("RNN", R, (4, 2, 5), (4, 2), (1, 2, 3), tops=2)
case("ContinuationIndicator", "continuation_indicator_param { time_step: 3 axis: 0 }", (2, 5))
case("NormalizeBBox", "normalize_bbox_param { across_spatial: true }", (2, 3, 4, 4))
case("BN", f"bn_param {{ bn_mode: LEARN scale_{F} shift_{F} }}", (2, 3, 4, 4), tops=3)
case("BN", f"bn_param {{ bn_mode: INFERENCE scale_{F} shift_{F} }}", (2, 3, 4, 4), tops=2)
case("BN", f"bn_param {{ axis: 2 moving_average: true scale_{F} }}", (2, 3, 4, 4))
case("BN", f"bn_param {{ var_eps: 0.1 moving_average: false scale_{F} }}", (2, 3, 4, 4))
case("BatchNorm", "batch_norm_param { use_global_stats: false }", (3, 4, 2, 2))
COR = "correlation_param { kernel_size: 1 pad: 3 max_displacement: 2"
case("Correlation", f"{COR} stride_1: 1 stride_2: 1 }}", (1, 3, 5, 6), (1, 3, 5, 6))
case("Correlation", f"{COR} stride_1: 2 stride_2: 2 correlation_type: SUBTRACT }}",
     (2, 2, 6, 7), (2, 2, 6, 7))  # fmt: skip
for one in (-1, 0, 1):
    case("Correlation1D", f"{COR} single_direction: {one} }}", (1, 3, 5, 8), (1, 3, 5, 8))
case("FlowWarp", "", (2, 3, 5, 6), (2, 2, 5, 6))
case("FlowWarp", "flow_warp_param { fill_value: NOT_A_NUMBER }", (1, 2, 5, 6), (1, 2, 5, 6))
case("DataAugmentation", "augmentation_param { crop_width: 3 crop_height: 2 mean: 1 mean: 2 }",
     (1, 2, 5, 6))  # fmt: skip
case("SpatialTransformer", "", (2, 3, 5, 6), (2, 6))
case("SpatialTransformer", "st_param { output_H: 3 output_W: 4 theta_1_1: 0.7 theta_2_2: 0.5 }",
     (2, 3, 5, 6), (2, 4))  # fmt: skip
case("DeformableConvolution", "deformable_convolution_param { num_output: 4 kernel_size: 3 pad: 1 "
     f"stride: 2 deformable_group: 2 group: 2 {W} }}", (2, 4, 5, 6), (2, 36, 3, 3))  # fmt: skip
case("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 }",
     (2, 3, 6, 8), (5, 5))  # fmt: skip
case("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.5 "
     "pad_ratio: 0.2 }", (2, 3, 6, 8), (5, 5))  # fmt: skip
case("PSROIPooling", "psroi_pooling_param { spatial_scale: 0.5 output_dim: 2 group_size: 3 }",
     (2, 18, 6, 8), (5, 5))  # fmt: skip
for ratio in (0, 2):
    case("ROIAlign", "roi_align_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 "
         f"sampling_ratio: {ratio} }}", (2, 3, 6, 8), (5, 5))  # fmt: skip
case("ROIAlign", "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.5 "
     "pad_ratio: 0.3 }", (2, 3, 6, 8), (5, 5))  # fmt: skip
DEFORMED = "spatial_scale: 0.5 output_dim: 2 group_size: 3 trans_std: 0.3 sample_per_part: 2"
for offsets in ([], [(5, 4, 4, 4)]):
    case("DeformablePSROIPooling", f"deformable_psroi_pooling_param {{ {DEFORMED} part_size: 4 }}",
         (2, 18, 6, 8), (5, 5), *offsets)  # fmt: skip
case("Proposal", "proposal_param { feat_stride: 16 base_size: 16 min_size: 8 ratio: 1 ratio: 2 "
     "scale: 1 scale: 2 pre_nms_topn: 30 post_nms_topn: 9 nms_thresh: 0.5 }",
     (1, 8, 4, 5), (1, 16, 4, 5), (1, 3), tops=2)  # fmt: skip
case("RPROI", "region_proposal_param { feature_stride: 16 prenms_top: 40 nms_max_out: 12 "
     "iou_threshold: 0.6 min_box_size: 8 } roi_pooling_param { pooled_h: 2 pooled_w: 3 "
     "spatial_scale: 0.0625 }",
     (1, 18, 4, 5), (1, 36, 4, 5), (1, 3, 4, 5), (1, 3), tops=2)  # fmt: skip
case("Unpooling", "unpooling_param { kernel_size: 3 stride: 2 unpool_size: 7 }",
     (2, 3, 3, 3), (2, 3, 3, 3))  # fmt: skip
SSD = "num_classes: 3 nms_param { nms_threshold: 0.4 top_k: 12 }"
for more in (
    "share_location: true keep_top_k: 9 code_type: CENTER_SIZE confidence_threshold: 0.1",
    "share_location: false background_label_id: 2 code_type: CORNER "
    "variance_encoded_in_target: true",
    "share_location: true keep_top_k: 3 background_label_id: -1 code_type: CORNER_SIZE",
    "share_location: true confidence_threshold: 90",
):
    locations = 3 if "share_location: false" in more else 1
    case("DetectionOutput", f"detection_output_param {{ {SSD} {more} }}",
         (2, 80 * locations), (2, 60), (1, 2, 80))  # fmt: skip
FIRST = "objectness_score: 0.2 confidence_threshold: 0.3"
case("DetectionOutput", f"detection_output_param {{ {SSD} {FIRST} }}",
     (1, 80), (1, 60), (1, 2, 80), (1, 40), (1, 80))  # fmt: skip
case("YoloDetectionOutput", "yolo_detection_output_param { num_classes: 3 num_box: 2 "
     "confidence_threshold: 0.2 nms_threshold: 0.3 biases: [1, 2, 3, 1] }",
     (2, 16, 3, 4))  # fmt: skip
case("Yolov3DetectionOutput", "yolov3_detection_output_param { num_classes: 3 num_box: 2 "
     "confidence_threshold: 0.3 nms_threshold: 0.3 biases: [9, 20, 30, 10, 12, 14, 8, 6] "
     "mask: [2, 3, 0, 1] mask_group_num: 2 anchors_scale: [16, 8] }",
     (2, 16, 3, 4), (2, 16, 6, 8))  # fmt: skip
case("Region", "region_param { anchors: '1,2,3,1' classes: 3 coords: 4 num: 2 thresh: 0.2 "
     "nms: 0.3 }", (2, 16, 3, 4))  # fmt: skip
case("Yolo", "", (2, 24, 2, 3), (2, 24, 4, 6), (2, 24, 8, 12))
case("RegionYolo", "region_yolo_param { coords: 4 classes: 3 num: 2 } "
     "flatten_param { axis: 1 end_axis: -1 }", (2, 16, 3, 4))  # fmt: skip

OTHERS: dict[str, LayerCase] = {}
"""One case each of layers that have no form in ONNX, or that nothing is given to."""


def other(kind: str, settings: str, *shapes: tuple[int, ...], tops: int = 1) -> None:
    """Enter the case of such a type."""
    OTHERS[kind] = LayerCase(kind, settings, shapes, tops)


for kind in ("Accuracy", "MultinomialLogisticLoss", "SoftmaxWithLoss"):
    other(kind, "", (4, 3), (4,))
for kind in ("HingeLoss", "SegAccuracy"):
    other(kind, "", (4, 3, 2, 2), (4, 1, 2, 2))
for kind in ("EuclideanLoss", "L1Loss", "SigmoidCrossEntropyLoss", "SmoothL1Loss"):
    other(kind, "", (4, 3), (4, 3))
other("BoxAnnotatorOHEM", "box_annotator_ohem_param { roi_per_img: 2 }",
      (4, 5), (4,), (4,), (4, 8), tops=2)  # fmt: skip
other("BoxOutput", "box_output_param { field_w: 20 field_h: 40 downsample_rate: 8 }", (1, 7, 3, 4))
other("CTCGreedyDecoder", "", (4, 2, 3))
other("CTCLoss", "", (4, 2, 3), (4, 2), (4, 2))
other("CenterLoss", f"center_loss_param {{ num_output: 3 center_{F} }}", (4, 5), (4,))
other("ContrastiveLoss", "", (4, 3), (4, 3), (4, 1))
other("CtcLoss", "ctc_loss_param { alphabet_size: 3 time_step: 4 }", (4, 2, 3), (2, 2))
other("DenseCRF", "dense_crf_param { pos_xy_std: 2 pos_w: 3 max_iter: 3 }", (1, 3, 6, 5), (1, 2))
other("DetectionEvaluate", "detection_evaluate_param { num_classes: 3 background_label_id: 0 }",
      (1, 1, 2, 7), (1, 1, 2, 8))  # fmt: skip
other("EvalDetection", f"eval_detection_param {{ num_class: 3 num_object: 2 side: 3 {BOXES} }}",
      (2, 16, 3, 3), (2, 45))  # fmt: skip
other("InfogainLoss", "", (4, 3), (4,), (1, 1, 3, 3))
other("LabelsequenceAccuracy", "", (2, 3, 5), (2, 4))
other("LpqLoss", "lpq_loss_param { p: 2 q: 0.5 q_epsilon: 0.01 }", (4, 3, 2, 2), (4, 3, 2, 2))
other("MarginInnerProduct", f"margin_inner_product_param {{ num_output: 3 weight_{F} }}",
      (4, 5), (4,))  # fmt: skip
other("MultiBoxLoss", "multibox_loss_param { num_classes: 3 mining_type: MAX_NEGATIVE }",
      (2, 80), (2, 60), (1, 2, 80), (1, 1, 2, 8))  # fmt: skip
other("MultiStageMeanfield", "multi_stage_meanfield_param { num_iterations: 2 theta_alpha: 6 "
      "theta_beta: 5 theta_gamma: 2 }", (1, 3, 4, 4), (1, 3, 4, 4), (1, 3, 4, 4))  # fmt: skip
other("Parameter", "parameter_param { shape { dim: 2 dim: 3 } }")
other("RegionLoss", f"region_loss_param {{ num: 2 num_class: 3 {BOXES} }}", (2, 16, 3, 3), (2, 45))
other("SmoothL1LossOHEM", "", (4, 8), (4, 8), (4, 8), tops=2)
other("SoftmaxWithLossOHEM", "", (4, 3), (4,), tops=3)
other("WeightedSoftmaxWithLoss", "", (4, 3), (4,))


def examples(kind: str) -> Iterator[str]:
    """Yield nets of one layer of a type; those that chance makes need not hold together."""
    yield from (one.net() for one in CASES.get(kind, ()))
    if kind in OTHERS:
        yield OTHERS[kind].net()
    if kind in layers.MAKERS:
        yield from (layers.draw(Random(f"{kind} {seed}"), kind).net() for seed in range(8))


def whole_numbers(kind: str, net: caffe.Net) -> None:
    """Give bottoms that name rows or markers what they can be."""
    rng = np.random.default_rng(5)
    inputs = [net.blobs[name] for name in net.inputs]
    if kind == "Embed":
        inputs[0].data[...] = rng.integers(0, 9, inputs[0].shape)
    elif kind in ("ROIPooling", "PSROIPooling", "DeformablePSROIPooling", "ROIAlign"):
        regions = inputs[1].data
        regions[:, 0] = rng.integers(0, 2, len(regions))
        corners = np.sort(rng.uniform(0, 12, (len(regions), 2, 2)), 1)
        regions[:, 1:] = corners.reshape(len(regions), 4)
    elif kind in ("Proposal", "RPROI"):
        inputs[-1].data[...] = 60, 75, 1
    elif kind == "Unpooling":
        mask = inputs[1].data
        for place in np.ndindex(mask.shape[:2]):
            mask[place] = rng.permutation(49)[: mask[place].size].reshape(mask.shape[2:])
    elif kind == "DetectionOutput":
        low = rng.uniform(0, 0.7, (20, 2))
        boxes = np.concatenate([low, low + rng.uniform(0.1, 0.4, (20, 2))], 1)
        inputs[2].data[0, 0], inputs[2].data[0, 1] = boxes.ravel(), 0.1
        inputs[1].data[...] = rng.uniform(0, 1, inputs[1].shape)
    elif kind == "BatchReindex":
        inputs[1].data[...] = rng.integers(0, 3, inputs[1].shape)
    elif kind in ("Filter", "LSTM", "RNN", "Lstm", "LSTMUnit") and len(inputs) > 1:
        marks = inputs[1] if kind in ("LSTM", "RNN", "Lstm") else inputs[-1]
        marks.data[...] = rng.integers(0, 2, marks.shape)


class Run:
    """A net, its inputs by chance, and what it computes, layer by layer."""

    def __init__(self, text: str, seed: int, kind: str = "", phase: int = caffe.TEST) -> None:
        self.net = caffe.Net(text, phase)
        engines.fill(self.net, seed)
        whole_numbers(kind, self.net)
        self.given = {name: self.net.blobs[name].data.copy() for name in self.net.inputs}
        self.truth: Arrays = {}
        with engines.running("layerwise"):
            self.net.forward()
        self.wanted = {name: self.net.blobs[name].data.copy() for name in self.net.outputs}

    def differences(self, found: Sequence[NDArray[np.float32]]) -> list[str]:
        """What differs by more than rounding."""
        named = dict(zip(self.net.outputs, found, strict=True))
        truth = self.truth or self.wanted
        return [str(one) for one in engines.differences(named, self.wanted, truth)]

    def overflows(self) -> bool:
        """Whether the numbers outgrow float32; the double precision ones are kept."""
        if any(not step.layer.is_pure for step in self.net.inside.steps):
            return False
        self.truth = engines.exact(self.net)
        return any((np.abs(v) > engines.OVERFLOW).any() for v in self.truth.values())


def run_onnx(model: Any, given: Arrays) -> list[NDArray[np.float32]]:
    """Return what ONNX Runtime makes of a model, or of one's file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    source = model if isinstance(model, str) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    found: list[NDArray[np.float32]] = session.run(
        None, {name: values for name, values in given.items() if name in names}
    )
    return found


def run_torch(module: torch.nn.Module, given: Sequence[NDArray[np.float32]]) -> list[Any]:
    """Return what a module makes of arrays, as arrays."""
    with torch.no_grad():
        found = module(*(torch.from_numpy(values.copy()) for values in given))
    found = found if isinstance(found, tuple) else (found,)
    return [tensor.numpy() for tensor in found]
