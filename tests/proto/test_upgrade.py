"""Old forms of nets and solvers become today's, as Caffe's own upgrade has it."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from caffe.errors import CaffeWarning, ParseError
from caffe.proto import caffe_pb2, upgrade_v0, upgrade_v1
from caffe.proto.files import parse_net, read_net, read_solver
from caffe.proto.text import format_text, parse_text
from caffe.proto.upgrade import upgrade_net, upgrade_solver


def net_of(text: str) -> caffe_pb2.NetParameter:
    return parse_text(text, caffe_pb2.NetParameter())


def check(old: str, new: str) -> None:
    given = net_of(old)
    before = caffe_pb2.NetParameter()
    before.CopyFrom(given)
    upgraded = upgrade_net(given)
    assert upgraded == net_of(new)
    assert given == before
    assert upgrade_net(upgraded) == upgraded


def test_v0_layers_padding_and_transformation() -> None:
    check(
        """
        name: "old" force_backward: true
        layers { layer { name: "data" type: "data" source: "db" meanfile: "mean" batchsize: 5
                         cropsize: 7 mirror: true scale: 0.5 rand_skip: 3 } top: "data" }
        layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
        layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 3 stride: 2 group: 2
                         biasterm: false weight_filler { type: "gaussian" std: 0.1 }
                         blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0 }
                 bottom: "pad1" top: "conv1" }
        layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 }
                 bottom: "conv1" top: "pool1" }
        layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.5 k: 2 }
                 bottom: "pool1" top: "norm1" }
        layers { layer { name: "ip" type: "innerproduct" num_output: 9 bias_filler { value: 1 }
                         blobs { num: 1 data: 4 } }
                 bottom: "norm1" top: "ip" }
        layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.3 } bottom: "ip" top: "ip" }
        """,
        """
        name: "old" force_backward: true
        layer { name: "data" type: "Data" top: "data"
                data_param { source: "db" batch_size: 5 rand_skip: 3 }
                transform_param { scale: 0.5 mean_file: "mean" crop_size: 7 mirror: true } }
        layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
                param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
                convolution_param { num_output: 4 kernel_size: 3 stride: 2 group: 2 pad: 2
                                    bias_term: false weight_filler { type: "gaussian" std: 0.1 } } }
        layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
                pooling_param { pool: AVE kernel_size: 3 } }
        layer { name: "norm1" type: "LRN" bottom: "pool1" top: "norm1"
                lrn_param { local_size: 3 alpha: 0.1 beta: 0.5 k: 2 } }
        layer { name: "ip" type: "InnerProduct" bottom: "norm1" top: "ip"
                inner_product_param { num_output: 9 bias_filler { value: 1 } }
                blobs { num: 1 data: 4 } }
        layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip"
                dropout_param { dropout_ratio: 0.3 } }
        """,
    )


def test_v0_data_layers_of_other_kinds() -> None:
    check(
        """
        layers { layer { name: "i" type: "images" source: "s" batchsize: 2 shuffle_images: true
                         new_height: 8 new_width: 9 } top: "i" }
        layers { layer { name: "w" type: "window_data" source: "s" batchsize: 2
                         det_fg_threshold: 0.6 det_bg_threshold: 0.4 det_fg_fraction: 0.3
                         det_context_pad: 16 det_crop_mode: "square" } top: "w" }
        layers { layer { name: "c" type: "concat" concat_dim: 0 } bottom: "i" bottom: "w" top: "c" }
        layers { layer { name: "o" type: "hdf5_output" hdf5_output_param { file_name: "f" } }
                 bottom: "c" }
        """,
        """
        layer { name: "i" type: "ImageData" top: "i"
                image_data_param { source: "s" batch_size: 2 shuffle: true
                                   new_height: 8 new_width: 9 } }
        layer { name: "w" type: "WindowData" top: "w"
                window_data_param { source: "s" batch_size: 2 fg_threshold: 0.6 bg_threshold: 0.4
                                    fg_fraction: 0.3 context_pad: 16 crop_mode: "square" } }
        layer { name: "c" type: "Concat" bottom: "i" bottom: "w" top: "c"
                concat_param { concat_dim: 0 } }
        layer { name: "o" type: "HDF5Output" bottom: "c" hdf5_output_param { file_name: "f" } }
        """,
    )


def test_v1_layers() -> None:
    check(
        """
        layers { name: "data" type: IMAGE_DATA top: "data" include { phase: TRAIN }
                 image_data_param { source: "s" scale: 2 mirror: true }
                 transform_param { crop_size: 4 } }
        layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" loss_weight: 3
                 param: "w" blobs_lr: 1 blobs_lr: 2 weight_decay: 4
                 blob_share_mode: STRICT blob_share_mode: PERMISSIVE
                 convolution_param { num_output: 3 } blobs { shape { dim: 1 } data: 5 } }
        layers { name: "loss" type: SOFTMAX_LOSS bottom: "conv" loss_param { ignore_label: 1 }
                 exclude { stage: "x" } }
        """,
        """
        layer { name: "data" type: "ImageData" top: "data" include { phase: TRAIN }
                image_data_param { source: "s" }
                transform_param { crop_size: 4 scale: 2 mirror: true } }
        layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" loss_weight: 3
                param { name: "w" share_mode: STRICT lr_mult: 1 decay_mult: 4 }
                param { share_mode: PERMISSIVE lr_mult: 2 }
                convolution_param { num_output: 3 } blobs { shape { dim: 1 } data: 5 } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" loss_param { ignore_label: 1 }
                exclude { stage: "x" } }
        """,
    )


def test_v2_data_layers_keep_their_own_transformation() -> None:
    net = net_of('layer { type: "Data" data_param { scale: 2 } }')
    assert upgrade_net(net) == net


def test_input_fields_become_one_layer_at_the_front() -> None:
    check(
        'input: "a" input: "b" input_dim: [1, 2, 3, 4, 5, 6, 7, 8] layer { name: "r" bottom: "a" }',
        """
        layer { name: "input" type: "Input" top: "a" top: "b"
                input_param { shape { dim: [1, 2, 3, 4] } shape { dim: [5, 6, 7, 8] } } }
        layer { name: "r" bottom: "a" }
        """,
    )
    check(
        'input: "a" input_shape { dim: 2 dim: 9 } layers { name: "r" type: RELU bottom: "a" }',
        """
        layer { name: "input" type: "Input" top: "a" input_param { shape { dim: 2 dim: 9 } } }
        layer { name: "r" type: "ReLU" bottom: "a" }
        """,
    )


def test_inputs_without_extents_are_dropped() -> None:
    check('input: "a" layer { name: "r" }', 'layer { name: "r" }')


def test_batch_norm_with_three_learning_rates() -> None:
    check(
        """
        layer { type: "BatchNorm" param { lr_mult: 1 name: "m" } param {} param { decay_mult: 2 } }
        """,
        """
        layer { type: "BatchNorm" param { lr_mult: 0 decay_mult: 0 name: "m" }
                param { lr_mult: 0 decay_mult: 0 } param { lr_mult: 0 decay_mult: 0 } }
        """,
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('layers { name: "a" type: RELU } layer { name: "b" }', "both 'layers'.*'a'.*'b'"),
        ('layers { layer { name: "a" type: "cnv" } }', "'a'.*'cnv'.*conv, data"),
        ('layers { layer { name: "a" type: "relu" } } layers { name: "b" }', "'b'.*V1.*V0"),
        ('layers { layer { name: "a" type: "conv" } bottom: "x" }', "'a'.*'x'"),
        (
            'input: "x" layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }'
            'layers { layer { name: "r" type: "relu" } bottom: "p" top: "r" }',
            "'r'.*'p'.*conv or pool",
        ),
        ('input: "a" input: "b" input_dim: [1, 2, 3, 4, 5]', "2 inputs.*four"),
        ('input: "a" input: "b" input_shape { dim: 1 }', "2 inputs.*1 input_shape"),
    ],
)
def test_what_cannot_be_upgraded_is_named(text: str, words: str) -> None:
    with pytest.raises(ParseError, match=words):
        parse_net(text)


def test_v0_field_of_another_type_is_reported() -> None:
    with pytest.warns(CaffeWarning, match="'c'.*'conv' has no 'local_size'"):
        net = parse_net('layers { layer { name: "c" type: "conv" local_size: 3 } }')
    assert net == net_of('layer { name: "c" type: "Convolution" }')


def test_every_v0_and_v1_type_has_a_successor() -> None:
    numbers = caffe_pb2.V1LayerParameter.LayerType.items()
    assert {name for name, _ in numbers} == set(upgrade_v1.LAYER_TYPES)
    assert set(upgrade_v0.LAYER_TYPES.values()) <= set(upgrade_v1.LAYER_TYPES)
    assert all(upgrade_v1.layer_type(number) for name, number in numbers if name != "NONE")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"),
    ],
)
def test_solver_type(old: str, new: str) -> None:
    solver = parse_text(f"solver_type: {old} base_lr: 1", caffe_pb2.SolverParameter())
    assert upgrade_solver(solver) == caffe_pb2.SolverParameter(type=new, base_lr=1)
    assert solver.HasField("solver_type")


def test_solver_with_both_types_is_refused() -> None:
    solver = caffe_pb2.SolverParameter(type="SGD", solver_type="ADAM")
    with pytest.raises(ParseError, match="solver_type"):
        upgrade_solver(solver)


def test_every_published_text_is_read_and_upgraded(shared: Path) -> None:
    texts = sorted((shared / "models").rglob("*.prototxt"))
    assert len(texts) > 200
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaffeWarning)
        for path in texts:
            if "solver" in path.name:
                solver = read_solver(path)
                assert not solver.HasField("solver_type"), path
                continue
            net = read_net(path)
            assert net.layer, path
            assert upgrade_net(net) == net, path
            assert all(layer.type for layer in net.layer), path


def test_published_nets_have_the_layers_that_caffe_builds(shared: Path) -> None:
    structure = json.loads((shared / "goldens" / "structure.json").read_text())
    for name, built in structure.items():
        net = read_net(shared / "models" / name)
        ours = [
            (layer.name, layer.type)
            for layer in net.layer
            if not any(rule.HasField("phase") and rule.phase == 0 for rule in layer.include)
        ]
        theirs = zip(built["layer_names"], built["layer_types"], strict=True)
        assert ours == [(layer, kind) for layer, kind in theirs if kind != "Split"], name


def test_v1_texts_of_forks_are_upgraded() -> None:
    net = parse_net(
        """layers { name: "i" type: INTERP bottom: "x" top: "y" interp_param { zoom_factor: 2 } }
        layers { name: "b" type: BN bottom: "y" top: "z" bn_param { bn_mode: INFERENCE } }
        layers { name: "u" type: UNPOOLING bottom: "z" bottom: "m" top: "u"
                 unpooling_param { unpool: MAX unpool_size: 14 } }
        layers { name: "a" type: SEG_ACCURACY bottom: "u" bottom: "label" top: "a"
                 seg_accuracy_param { ignore_label: 255 } }"""
    )
    assert [layer.type for layer in net.layer] == ["Interp", "BN", "Unpooling", "SegAccuracy"]
    assert net.layer[2].unpooling_param.unpool_size == 14
    assert net.layer[0].interp_param.zoom_factor == 2


@pytest.mark.filterwarnings("ignore::caffe.errors.CaffeWarning")
def test_a_field_that_v1_layers_do_not_know_is_todays_field() -> None:
    text = """layers { name: "bn" bottom: "x" top: "y" later_param { most: 3 }
        batch_norm_param { eps: 0.5 scale_first: true } }"""
    net = parse_net(text)
    assert net.layer[0].batch_norm_param.eps == 0.5
    written = format_text(net)
    assert "later_param" in written
    assert "scale_first" in written
    assert parse_net(written) == net
