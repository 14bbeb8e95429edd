"""Every field of transform_param in every layer that reads pictures: done, refused, or told of."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.errors import CaffeWarning, NetError
from caffe.layers.sources.transform_fields import check_samplers, check_values
from caffe.proto.caffe_pb2 import (
    AnnotatedDataParameter,
    AnnotatedDatum,
    Datum,
    TransformationParameter,
)
from caffe.proto.text import parse_text
from tests.helpers.sources import save_picture, write_lmdb

STRETCHED = "crop_size: 4 vertical_stretch_upper: 1 horizontal_stretch_upper: 1 "
DRAWN = "crop_size: 4 img_rand_resize_upper: 9 img_rand_resize_lower: "
RATIO = f"{DRAWN}9 rand_resize_ratio_lower: 1 rand_resize_ratio_upper: "
ADJUSTED = "contrast_adjustment: true apply_probability: 1 "
SMOOTHED = "smooth_filtering: true apply_probability: 1 "
ERASED = "erase_prob: 1 "
VERTICAL = "vertical_stretch_lower: 1 vertical_stretch_upper: 3"
HORIZONTAL = "horizontal_stretch_lower: 1 horizontal_stretch_upper: 3"
LARGER = "crop_size: 4 allow_upscale: true img_rand_resize_lower: 20 img_rand_resize_upper: 20"

CASES: dict[str, tuple[str, str]] = {
    "scale": ("", "scale: 2"),
    "mirror": ("", "mirror: true"),
    "crop_size": ("", "crop_size: 4"),
    "mean_file": ("", 'mean_file: "FOLDER/mean.binaryproto"'),
    "mean_value": ("", "mean_value: 9"),
    "force_color": ("", "force_color: true"),
    "force_gray": ("", "force_gray: true"),
    "resize_param": ("", "resize_param { height: 5 width: 6 }"),
    "noise_param": ("", "noise_param { inverse: true }"),
    "distort_param": ("", "distort_param { brightness_prob: 1 brightness_delta: 50 }"),
    "expand_param": ("", "expand_param { max_expand_ratio: 3 }"),
    "emit_constraint": ("", "emit_constraint { emit_type: MIN_OVERLAP emit_overlap: 1 }"),
    "crop_h": ("", "crop_w: 5 crop_h: 4"),
    "crop_w": ("", "crop_h: 4 crop_w: 5"),
    "min_side": ("", "min_side: 6"),
    "min_side_min": ("crop_size: 4", "crop_size: 4 min_side_max: 9 min_side_min: 9"),
    "min_side_max": ("crop_size: 4", "crop_size: 4 min_side_min: 9 min_side_max: 9"),
    "img_rand_resize_lower": (f"{DRAWN}9", f"{DRAWN}4"),
    "img_rand_resize_upper": ("crop_size: 4", f"{DRAWN}9"),
    "rand_resize_ratio_lower": (f"{RATIO}2", f"{RATIO}2".replace("lower: 1", "lower: 2")),
    "rand_resize_ratio_upper": (f"{DRAWN}9", f"{RATIO}2"),
    "vertical_stretch_lower": (STRETCHED, f"{STRETCHED} vertical_stretch_lower: 0.5"),
    "vertical_stretch_upper": ("crop_size: 4", f"crop_size: 4 allow_upscale: true {VERTICAL}"),
    "horizontal_stretch_lower": (STRETCHED, f"{STRETCHED} horizontal_stretch_lower: 0.5"),
    "horizontal_stretch_upper": ("crop_size: 4", f"crop_size: 4 allow_upscale: true {HORIZONTAL}"),
    "interpolation_algo_down": (f"{DRAWN}9", f"{DRAWN}9 interpolation_algo_down: INTER_AREA"),
    "interpolation_algo_up": (
        LARGER,
        f"{LARGER} interpolation_algo_up: INTER_NEAREST",
    ),
    "allow_upscale": (f"crop_size: 4 {VERTICAL}", f"crop_size: 4 {VERTICAL} allow_upscale: true"),
    "random_seed": ("mirror: true", "mirror: true random_seed: 5"),
    "max_rotation_angle": ("crop_size: 4", "crop_size: 4 max_rotation_angle: 40"),
    "contrast_adjustment": ("", "contrast_adjustment: true"),
    "contrast_brightness_adjustment": ("", "contrast_brightness_adjustment: true"),
    "min_contrast": (ADJUSTED, f"{ADJUSTED} min_contrast: 0.1"),
    "max_contrast": (ADJUSTED, f"{ADJUSTED} max_contrast: 2"),
    "max_brightness_shift": (ADJUSTED, f"{ADJUSTED} max_brightness_shift: 90"),
    "smooth_filtering": ("", "smooth_filtering: true apply_probability: 1"),
    "max_smooth": (SMOOTHED, f"{SMOOTHED} max_smooth: 2"),
    "max_color_shift": ("", "max_color_shift: 40"),
    "apply_probability": ("max_color_shift: 40", "max_color_shift: 40 apply_probability: 0"),
    "cutout_size": ("", "cutout_size: 3"),
    "erase_prob": ("", "erase_prob: 1"),
    "erase_min_area": (ERASED, f"{ERASED} erase_min_area: 0.4"),
    "erase_max_area": (ERASED, f"{ERASED} erase_max_area: 0.05"),
    "erase_min_aspect": (ERASED, f"{ERASED} erase_min_aspect: 1"),
    "use_gpu_transform": ("", "use_gpu_transform: true"),
    "debug_params": ("", "debug_params: true"),
}
"""For each field a text without it, and one in which it changes what comes out."""

ABOUT_NO_VALUES = {"use_gpu_transform", "debug_params"}

STRETCHING = {name for name in CASES if name.endswith(("_stretch_lower", "_stretch_upper"))}
RESIZED = STRETCHING | {
    name
    for name in CASES
    if name.startswith(("min_side", "img_rand", "rand_resize", "interpolation", "allow_upscale"))
}
TURNED = RESIZED | {"max_rotation_angle"}
BOXES = {"expand_param", "emit_constraint"}
HEEDED_BY_WINDOWS = {"mirror", "crop_size", "mean_file", "mean_value", "random_seed"}

REFUSED: dict[str, set[str]] = {
    "AnnotatedData": TURNED | {"crop_size", "crop_h", "crop_w"},
    "DenseImageData": TURNED | {"resize_param"},
    "ImageSegData": TURNED | {"resize_param"},
    "ImageLabelmapData": TURNED | {"resize_param"},
    "WindowData": set(CASES) - HEEDED_BY_WINDOWS - ABOUT_NO_VALUES - {"scale", "force_color"},
}

TOLD: dict[str, set[str]] = {
    "Data": BOXES,
    "AnnotatedData": set(),
    "ImageData": BOXES | {"force_gray"},
    "DenseImageData": BOXES | {"force_gray"},
    "ImageSegData": BOXES | {"force_gray"},
    "ImageLabelmapData": BOXES | {"force_gray"},
    "WindowData": {"scale"},
}

ALREADY_SO = {kind: {"force_color"} for kind in TOLD if kind not in ("Data", "AnnotatedData")}
"""Where pictures are read in colour in any case."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures in every form that the layers read."""
    rgb = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    save_picture(tmp_path / "a.png", rgb)
    save_picture(tmp_path / "labels.png", rgb[:, :, 0] // 16)
    (tmp_path / "images.txt").write_text("a.png 1\n")
    (tmp_path / "pairs.txt").write_text("a.png labels.png\n")
    (tmp_path / "windows.txt").write_text(
        f"# 0\n{tmp_path}/a.png\n3\n10\n12\n2\n5 0.9 2 3 9 8\n0 0 0 0 9 9\n"
    )
    mean = caffe.proto.caffe_pb2.BlobProto(num=1, channels=3, height=10, width=12)
    mean.data.extend([7] * 360)
    (tmp_path / "mean.binaryproto").write_bytes(mean.SerializeToString())
    return tmp_path


def stored(folder: Path, rgb: np.ndarray) -> None:
    png = io.BytesIO()
    Image.fromarray(rgb).save(png, "PNG")
    datum = Datum(data=png.getvalue(), encoded=True)
    annotated = AnnotatedDatum(datum=datum, type=AnnotatedDatum.BBOX)
    for corner in (0.1, 0.4):
        box = annotated.annotation_group.add(group_label=1).annotation.add().bbox
        box.xmin = box.ymin = corner
        box.xmax = box.ymax = corner + 0.5
    write_lmdb(folder / "datums", {b"0": datum.SerializeToString()})
    write_lmdb(folder / "boxes", {b"0": annotated.SerializeToString()})


def message(kind: str, folder: Path, cuts: bool) -> str:
    """The layer's own message."""
    if kind == "Data":
        return f'data_param {{ source: "{folder}/datums" batch_size: 1 backend: LMDB }}'
    if kind == "AnnotatedData":
        # Parts would not be as large as the mean.
        samplers = "batch_sampler { sampler { max_scale: 0.8 min_scale: 0.8 } max_trials: 1 }"
        return f"""data_param {{ source: "{folder}/boxes" batch_size: 1 backend: LMDB }}
            annotated_data_param {{ {samplers if cuts else ""} }}"""
    if kind == "WindowData":
        return f"""window_data_param {{ source: "{folder}/windows.txt" batch_size: 4
            fg_threshold: 0.5 bg_threshold: 0.5 }}"""
    source = "images.txt" if kind == "ImageData" else "pairs.txt"
    name = "dense_image_data_param" if kind == "DenseImageData" else "image_data_param"
    return f"""{name} {{ source: "{folder}/{source}" root_folder: "{folder}/"
        batch_size: 1 }}"""


def batches(kind: str, folder: Path, transform: str, cuts: bool = False) -> list[np.ndarray]:
    """What the layer gives in some batches."""
    caffe.set_random_seed(2)
    text = transform.replace("FOLDER", str(folder))
    if kind == "WindowData" and "crop_size" not in text:
        text += " crop_size: 6"
    net = caffe.Net(
        f'layer {{ name: "in" type: "{kind}" top: "data" top: "label" '
        f"{message(kind, folder, cuts)} transform_param {{ {text} }} }}",
        caffe.TRAIN,
    )
    rows = 4 if kind == "WindowData" else 1
    return [net.forward()[top].copy() for _ in range(8 // rows) for top in ("data", "label")]


def differ(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return any(a.shape != b.shape or (a != b).any() for a, b in zip(one, other, strict=True))


def test_there_is_a_case_for_every_field() -> None:
    assert set(CASES) == set(TransformationParameter.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("kind", TOLD)
def test_every_field_is_done_or_refused_or_told_of(kind: str, folder: Path) -> None:
    pytest.importorskip("lmdb")
    color = np.asarray(Image.open(folder / "a.png"))
    stored(folder, color)
    refused = REFUSED.get(kind, set())
    plain: dict[tuple[str, bool], list[np.ndarray]] = {}
    for field, (without, with_it) in CASES.items():
        if field == "force_color" and kind in ("Data", "AnnotatedData"):
            continue
        if field in refused:
            with pytest.raises(NetError, match=rf"layer 'in' \({kind}\).*") as caught:
                batches(kind, folder, with_it)
            assert any(name in str(caught.value) and name in with_it for name in CASES), field
            continue
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            cuts = field == "emit_constraint"
            if (without, cuts) not in plain:
                plain[without, cuts] = batches(kind, folder, without, cuts)
            del told[:]
            changed = batches(kind, folder, with_it, cuts)
        tellings = [str(w.message) for w in told if w.category is CaffeWarning]
        if field in TOLD[kind]:
            expected = f"layer 'in' ({kind}): transform_param.{field} does nothing"
            assert any(expected in line for line in tellings), field
        else:
            assert not tellings, field
        does_nothing = ABOUT_NO_VALUES | TOLD[kind] | ALREADY_SO.get(kind, set())
        assert differ(plain[without, cuts], changed) == (field not in does_nothing), field


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("min_contrast: 0.5", "min_contrast does nothing without contrast_adjustment or"),
        ("max_smooth: 3", "max_smooth does nothing without smooth_filtering"),
        ("erase_max_area: 0.1", "erase_max_area does nothing without erase_prob"),
        ("min_side_max: 9", "min_side_max does nothing without min_side_min"),
        ("allow_upscale: true", "allow_upscale does nothing without img_rand_resize_lower or"),
    ],
)
def test_what_is_not_switched_on_is_told_of(text: str, message: str, folder: Path) -> None:
    layer = re.escape("layer 'in' (ImageData): transform_param.")
    with pytest.warns(CaffeWarning, match=layer + message):
        batches("ImageData", folder, text)


def test_what_is_switched_off_is_not_told_of(folder: Path) -> None:
    batches("ImageData", folder, "contrast_adjustment: false min_contrast: 0.5 crop_h: 0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("resize_param { height: 9 }", "resize_param needs height and width"),
        ("resize_param { height: 9 width: 9 prob: 2 }", "resize_param.prob must be from 0 to 1"),
        ("distort_param { hue_prob: -1 }", "distort_param.hue_prob must be from 0 to 1, not -1"),
        ("distort_param { hue_delta: inf }", "distort_param.hue_delta must be at least 0, not inf"),
        (
            "distort_param { saturation_prob: 1 saturation_lower: 1 }",
            "saturation_lower must not be above saturation_",
        ),
        ("distort_param { contrast_prob: 0.5 }", "0 makes pictures black"),
        ("expand_param { max_expand_ratio: nan }", "max_expand_ratio must be at least 1, not nan"),
        ("expand_param { prob: 1.5 max_expand_ratio: 2 }", "expand_param.prob must be from 0 to 1"),
        ("max_contrast: nan contrast_adjustment: true", "min_contrast must not be above"),
        ("erase_prob: nan", "erase_prob must be from 0 to 1, not nan"),
    ],
)
def test_values_that_cannot_be_are_refused(text: str, message: str) -> None:
    with pytest.raises(NetError, match=re.escape(message)):
        check_values(parse_text(text, TransformationParameter()))


def test_what_is_refused_is_named_with_its_layer(folder: Path) -> None:
    with pytest.raises(NetError, match=r"layer 'in' \(ImageData\).*resize_param needs height"):
        batches("ImageData", folder, "resize_param { height: 9 }")


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ("min_scale: 0", "batch_sampler 2: sampler.min_scale must be above 0"),
        ("max_scale: 1.5", "sampler.max_scale must be above 0 and at most 1, not 1.5"),
        ("min_scale: 0.9 max_scale: 0.3", "min_scale must not be above max_scale"),
        ("min_aspect_ratio: 0", "sampler.min_aspect_ratio must be above 0"),
        ("max_aspect_ratio: inf", "sampler.max_aspect_ratio must be above 0, not inf"),
    ],
)
def test_samplers_that_can_draw_nothing_are_refused(sampler: str, message: str) -> None:
    text = f"batch_sampler {{ }} batch_sampler {{ sampler {{ {sampler} }} }}"
    samplers = parse_text(text, AnnotatedDataParameter()).batch_sampler
    with pytest.raises(NetError, match=re.escape(message)):
        check_samplers(samplers)
