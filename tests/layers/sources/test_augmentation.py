"""What training changes in pictures by chance."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import caffe
from caffe.errors import NetError, ShapeError
from caffe.layers.sources.augmentation import Augmentation
from caffe.layers.sources.bgr_pictures import resize_to_nearest
from caffe.layers.sources.data_transformer import DataTransformer
from caffe.proto.caffe_pb2 import TransformationParameter
from caffe.proto.text import parse_text

PICTURE = np.random.default_rng(0).integers(0, 256, (3, 12, 18), dtype=np.uint8)


def augmentation(text: str, phase: int = caffe.TRAIN, seed: int = 1) -> Augmentation:
    param = parse_text(text, TransformationParameter())
    return Augmentation(param, phase, np.random.default_rng(seed))


def test_nothing_asked_nothing_done() -> None:
    made = augmentation("")
    np.testing.assert_array_equal(made.colored(made.moved(PICTURE)), PICTURE)


def test_contrast_and_brightness_are_a_factor_and_a_summand() -> None:
    made = augmentation(
        "contrast_adjustment: true min_contrast: 0.5 max_contrast: 1.5 max_brightness_shift: 9 "
        "apply_probability: 1"
    )
    found = made.colored(PICTURE)
    random = np.random.default_rng(1)
    random.random()
    contrast, shift = np.float32(random.uniform(0.5, 1.5)), int(random.integers(-9, 10))
    expected = np.rint(np.clip(PICTURE * contrast + np.float32(shift), 0, 255))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8


def test_colours_are_shifted_all_up_or_all_down() -> None:
    grey = np.full((3, 4, 4), 100, np.uint8)
    signs = set()
    for seed in range(20):
        made = augmentation("max_color_shift: 20 apply_probability: 1", seed=seed)
        shift = made.colored(grey).astype(int)[:, 0, 0] - 100
        assert (np.abs(shift) <= 20).all()
        assert (shift >= 0).all() or (shift <= 0).all()
        signs.add(np.sign(shift.sum()))
    assert signs >= {1, -1}


@pytest.mark.parametrize("chance", [0, 0.5, 1])
def test_changes_are_as_often_as_is_said(chance: float) -> None:
    made = augmentation(f"contrast_adjustment: true apply_probability: {chance}")
    changed = [bool((made.colored(PICTURE) != PICTURE).any()) for _ in range(200)]
    assert np.mean(changed) == pytest.approx(chance, abs=0.12)


def test_blurs_keep_even_pictures_and_soften_others() -> None:
    even = np.full((3, 9, 9), 77, np.uint8)
    softer = 0
    for seed in range(20):
        text = "smooth_filtering: true max_smooth: 8 apply_probability: 1"
        np.testing.assert_array_equal(augmentation(text, seed=seed).colored(even), even)
        softer += augmentation(text, seed=seed).colored(PICTURE).std() < PICTURE.std() - 1
    assert softer > 8


def test_pictures_are_turned_on_a_larger_canvas() -> None:
    made = augmentation("max_rotation_angle: 30 crop_size: 4")
    angle = int(np.random.default_rng(1).integers(-30, 31))
    expected = [
        np.asarray(Image.fromarray(c).rotate(angle, Image.Resampling.BILINEAR, expand=True))
        for c in PICTURE
    ]
    np.testing.assert_array_equal(made.moved(PICTURE), expected)
    assert made.moved(PICTURE).shape[1] > 12


def test_the_shorter_side_is_as_is_said() -> None:
    assert augmentation("min_side: 8").moved(PICTURE).shape == (3, 8, 12)
    assert augmentation("min_side: 8", caffe.TEST).moved(PICTURE).shape == (3, 8, 12)
    made = augmentation("min_side_min: 6 min_side_max: 9 crop_size: 5")
    assert {made.moved(PICTURE).shape[1] for _ in range(60)} == {6, 7, 8, 9}
    untouched = augmentation("min_side_min: 6 min_side_max: 9 crop_size: 5", caffe.TEST)
    assert untouched.moved(PICTURE).shape == PICTURE.shape
    nvidia = augmentation(
        "img_rand_resize_lower: 6 img_rand_resize_upper: 7 crop_size: 5", caffe.TEST
    )
    assert {nvidia.moved(PICTURE).shape[1] for _ in range(30)} == {6, 7}


def test_cutout_is_one_square() -> None:
    picture = np.ones((3, 20, 20), np.float32)
    made = augmentation("cutout_size: 6")
    whole = []
    for _ in range(50):
        copy = picture.copy()
        made.erase(copy)
        gone = copy[0] == 0
        rows, columns = gone.any(1).sum(), gone.any(0).sum()
        # At the border a part of it is outside.
        assert rows <= 6
        assert columns <= 6
        assert gone.sum() == rows * columns > 0
        whole.append(rows * columns == 36)
    assert any(whole)


def test_rectangles_are_erased_within_their_bounds() -> None:
    made = augmentation("erase_prob: 0.7 erase_min_area: 0.1 erase_max_area: 0.2")
    gone = []
    for _ in range(200):
        copy = np.ones((1, 40, 40), np.float32)
        made.erase(copy)
        gone.append(1 - copy.mean())
    erased = [part for part in gone if part]
    assert len(erased) / 200 == pytest.approx(0.7, abs=0.1)
    assert min(erased) > 0.08
    assert max(erased) < 0.22


def test_only_training_changes_colours_and_erases() -> None:
    text = "contrast_adjustment: true apply_probability: 1 cutout_size: 5 erase_prob: 1"
    made = augmentation(text, caffe.TEST)
    np.testing.assert_array_equal(made.colored(PICTURE), PICTURE)
    ones = np.ones((1, 8, 8), np.float32)
    made.erase(ones)
    assert ones.all()


def test_a_transformer_repeats_with_the_seed() -> None:
    text = """crop_size: 6 mirror: true scale: 0.5 mean_value: 9 max_rotation_angle: 20
        min_side_min: 8 min_side_max: 14 contrast_adjustment: true smooth_filtering: true
        max_color_shift: 8 erase_prob: 0.5 cutout_size: 2
        distort_param { brightness_prob: 0.5 brightness_delta: 20 saturation_prob: 0.5
                        saturation_lower: 0.5 saturation_upper: 1.5 }"""
    runs = []
    for _ in range(2):
        caffe.set_random_seed(3)
        made = DataTransformer(parse_text(text, TransformationParameter()), caffe.TRAIN)
        runs.append([made(PICTURE) for _ in range(20)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert runs[0][0].shape == (3, 6, 6)
    assert len({run.tobytes() for run in runs[0]}) == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_rotation_angle: 5", "need crop_size"),
        ("min_side_min: 5 min_side_max: 9", "need crop_size"),
        ("img_rand_resize_lower: 5 img_rand_resize_upper: 9", "need crop_size"),
        ("vertical_stretch_lower: 0.5", "need crop_size"),
        ("apply_probability: 2", "apply_probability must be from 0 to 1"),
        ("erase_min_area: 0.5", "erase_min_area must not be above erase_max_area"),
        ("erase_min_aspect: 0", "erase_min_aspect must be above 0"),
        ("min_contrast: 2", "min_contrast must not be above max_contrast"),
    ],
)
def test_what_does_not_go_together_is_refused(text: str, message: str) -> None:
    with pytest.raises(NetError, match=message):
        augmentation(text)


def test_ssds_resize_param_is_done_at_test_too() -> None:
    text = "resize_param { height: 5 width: 7 interp_mode: NEAREST }"
    made = augmentation(text, caffe.TEST)
    assert made.least_size(12, 18) == (5, 7)
    found = made.moved(PICTURE)
    np.testing.assert_array_equal(found, resize_to_nearest(PICTURE, 5, 7))
    fits = "resize_param { height: 6 width: 6 resize_mode: FIT_SMALL_SIZE }"
    assert augmentation(fits).moved(PICTURE).shape == (3, *augmentation(fits).least_size(12, 18))


def test_floats_are_not_turned() -> None:
    with pytest.raises(ShapeError, match="only pictures of bytes"):
        augmentation("min_side: 4").moved(PICTURE.astype(np.float32))


def test_floats_are_not_coloured_either() -> None:
    floats = PICTURE.astype(np.float32)
    for text in ("max_color_shift: 5", "distort_param { hue_prob: 1 }"):
        made = augmentation(text)
        with pytest.raises(ShapeError, match="only pictures of bytes"):
            made.colored(made.disturbed(floats))
        made = augmentation(text, caffe.TEST)
        assert made.colored(made.disturbed(floats)) is floats


def test_grey_pictures_have_brightness_and_contrast_alone() -> None:
    text = """distort_param { brightness_prob: 1 brightness_delta: 30 contrast_prob: 1
        contrast_lower: 0.5 contrast_upper: 2 OTHERS }"""
    others = "saturation_prob: 1 saturation_upper: 9 random_order_prob: 1"
    grey = PICTURE[:1]
    found = augmentation(text.replace("OTHERS", others)).disturbed(grey)
    assert found.shape == grey.shape
    assert (found != grey).any()
    plain = augmentation(text.replace("OTHERS", "saturation_prob: 1")).disturbed(grey)
    np.testing.assert_array_equal(found, plain)
    assert (augmentation("max_color_shift: 50 apply_probability: 1").colored(grey) != grey).any()
    with pytest.raises(ShapeError, match="not for 4 channels"):
        augmentation("distort_param { }").disturbed(np.zeros((4, 3, 3), np.uint8))


def test_pads_have_one_value_or_one_per_channel() -> None:
    text = """resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD height: 20 width: 20
        pad_value: [1, 2] }"""
    with pytest.raises(ShapeError, match="pad_value has 2 values for a picture of 3 channels"):
        augmentation(text).moved(PICTURE)


def test_proportions_are_kept_in_ssds_single_precision() -> None:
    text = "resize_param { height: 300 width: 300 resize_mode: FIT_SMALL_SIZE }"
    # 300 / (500 / 375) is a little less than 225 in single precision, and rounded down.
    assert augmentation(text.replace("SMALL", "SMALL")).least_size(375, 500) == (300, 400)
    assert augmentation(text).least_size(500, 375) == (400, 300)
    assert augmentation(text).least_size(7, 11) == (300, int(np.float32(11) / np.float32(7) * 300))
