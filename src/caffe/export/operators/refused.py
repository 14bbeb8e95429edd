"""Layers without a form in ONNX, and why."""

from __future__ import annotations

from ...layers.registry import registry
from ..onnx_graph import refuse

TRAINING = "it is for training and testing; name the outputs that are wanted, before it"
WRITING = "it writes files; name the outputs that are wanted, without it"
SEARCHING = "what it gives is found step by step, each from the one before, which operators cannot"

REASONS = {
    "Accuracy": TRAINING,
    "BoxAnnotatorOHEM": TRAINING,
    "BoxOutput": "its boxes are thinned out by a rule that NonMaxSuppression has not",
    "CTCGreedyDecoder": SEARCHING,
    "CTCLoss": TRAINING,
    "CenterLoss": TRAINING,
    "ContrastiveLoss": TRAINING,
    "CtcLoss": TRAINING,
    "DenseCRF": SEARCHING,
    "DetectionEvaluate": TRAINING,
    "EuclideanLoss": TRAINING,
    "EvalDetection": TRAINING,
    "HDF5Output": WRITING,
    "HingeLoss": TRAINING,
    "InfogainLoss": TRAINING,
    "L1Loss": TRAINING,
    "LabelsequenceAccuracy": TRAINING,
    "LpqLoss": TRAINING,
    "MarginInnerProduct": "it needs the labels, which are there at training alone",
    "MatWrite": WRITING,
    "MultiBoxLoss": TRAINING,
    "MultiStageMeanfield": SEARCHING,
    "MultinomialLogisticLoss": TRAINING,
    "RegionLoss": TRAINING,
    "SegAccuracy": TRAINING,
    "SigmoidCrossEntropyLoss": TRAINING,
    "SmoothL1Loss": TRAINING,
    "SmoothL1LossOHEM": TRAINING,
    "SoftmaxWithLoss": TRAINING,
    "SoftmaxWithLossOHEM": TRAINING,
    "WeightedSoftmaxWithLoss": TRAINING,
}

for _name, _reason in REASONS.items():
    refuse(_reason, registry()[_name])
