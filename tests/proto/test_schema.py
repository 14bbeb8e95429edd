"""The schema has Caffe's names, numbers and defaults, and lives beside another one."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

import caffe.proto.caffe_pb2
from caffe.proto import caffe_pb2, generate
from tests.helpers.places import GOLDENS

FACTS = json.loads((GOLDENS / "caffe_schema.json").read_text())
SOURCE = Path(generate.__file__).parents[2]
FORK_FIELDS = {
    "caffe.BlobProto": {"raw_data_type": 10, "raw_data": 12},
    "caffe.SolverState": {"minimum_loss": 5, "iter_last_event": 6},
}
FIRST_FORK_NUMBER = 1000
FORK_VALUES = {
    "caffe.PoolingParameter.PoolMethod": {"AVE_EXC_PAD": 3, "AVE_TF": 3},
    "caffe.V1LayerParameter.LayerType": {
        "BN": 1000,
        "DENSE_IMAGE_DATA": 1001,
        "INTERP": 1002,
        "PADDING": 1003,
        "PRELU": 1004,
        "RESHAPE": 1005,
        "UPSAMPLE": 1006,
        "CONVOLUTION3D": 1007,
        "POOLING3D": 1008,
        "DECONVOLUTION3D": 1009,
        "VOLUME_DATA": 1010,
        "IMAGE_SEG_DATA": 1011,
        "CROP": 1012,
        "PYTHON": 1013,
        "LSTM": 1014,
        "ROI_POOLING": 1015,
        "SMOOTH_L1_LOSS": 1016,
        "UNPOOLING": 1017,
        "SEG_ACCURACY": 1018,
    },
}
FORK_ENUMS = {
    "caffe.BatchNormParameter",
    "caffe.BlobProto",
    "caffe.ImageDataParameter",
    "caffe.TransformationParameter",
}
"""Messages of BVLC's to which forks added an enum."""


def described() -> descriptor_pb2.FileDescriptorProto:
    return descriptor_pb2.FileDescriptorProto.FromString(caffe_pb2.DESCRIPTOR.serialized_pb)


def field_facts(field: descriptor_pb2.FieldDescriptorProto) -> dict[str, object]:
    label = descriptor_pb2.FieldDescriptorProto.Label.Name(field.label)
    kind = descriptor_pb2.FieldDescriptorProto.Type.Name(field.type)
    facts: dict[str, object] = {
        "name": field.name,
        "number": field.number,
        "label": label.removeprefix("LABEL_").lower(),
        "type": field.type_name.removeprefix(".") or kind.removeprefix("TYPE_").lower(),
    }
    if field.options.packed:
        facts["packed"] = True
    if field.HasField("default_value"):
        facts["default"] = field.default_value
    return facts


def same_default(kind: str, ours: object, wanted: object) -> bool:
    if kind == "float":
        return np.float32(ours) == np.float32(wanted)  # type: ignore[arg-type]
    return ours == (str(wanted).lower() if isinstance(wanted, bool) else str(wanted))


def test_every_message_and_field_is_caffes() -> None:
    ours = {f"caffe.{message.name}": message for message in described().message_type}
    assert set(ours) >= set(FACTS["messages"])
    for name, wanted in FACTS["messages"].items():
        fields = {field.name: field_facts(field) for field in ours[name].field}
        extra = {field: fields.pop(field) for field in set(fields) - {f["name"] for f in wanted}}
        known = FORK_FIELDS.get(name, {})
        assert known.items() <= {field: facts["number"] for field, facts in extra.items()}.items()
        for field, facts in extra.items():
            # What forks added must not read as BVLC's in a binary.
            assert field in known or facts["number"] >= FIRST_FORK_NUMBER, (name, field)
        assert set(fields) == {field["name"] for field in wanted}, name
        for field in wanted:
            mine = fields[field["name"]]
            assert {**mine, "default": None} == {**field, "default": None}, name
            assert ("default" in mine) == ("default" in field), (name, field["name"])
            if "default" in field:
                assert same_default(field["type"], mine["default"], field["default"]), field


def test_every_enum_is_caffes() -> None:
    file = described()
    ours = {f"caffe.{enum.name}": enum for enum in file.enum_type} | {
        f"caffe.{message.name}.{enum.name}": enum
        for message in file.message_type
        for enum in message.enum_type
    }
    for name, wanted in FACTS["enums"].items():
        values = {value.name: value.number for value in ours.pop(name).value}
        assert values == wanted | FORK_VALUES.get(name, {}), name
    messages = {name.rpartition(".")[0] for name in ours}
    assert messages & set(FACTS["messages"]) <= FORK_ENUMS


def test_generated_module_and_stub_are_current() -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    description, _ = generate.compile_schema(SOURCE)
    # A pool of its own spells the defaults as the module's pool does.
    fresh = descriptor_pool.DescriptorPool().AddSerializedFile(description)
    assert fresh.serialized_pb == caffe_pb2.DESCRIPTOR.serialized_pb
    stub = (Path(generate.__file__).parent / "caffe_pb2.pyi").read_text("utf-8")
    for message, fields in FACTS["messages"].items():
        assert f"class {message.removeprefix('caffe.')}(" in stub
        assert all(f"    {field['name']}: " in stub for field in fields)


def test_messages_pickle_and_have_enum_values_where_pycaffe_has_them() -> None:
    net = caffe_pb2.NetParameter(name="net")
    assert pickle.loads(pickle.dumps(net)) == net
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST) == (0, 1)
    assert caffe_pb2.PoolingParameter.PoolMethod.Name(caffe_pb2.PoolingParameter.AVE) == "AVE"
    assert caffe.proto.caffe_pb2 is caffe_pb2


@pytest.mark.parametrize("order", ["ours first", "theirs first"])
@pytest.mark.parametrize("implementation", ["upb", "python"])
def test_another_caffe_schema_loads_beside_ours(order: str, implementation: str) -> None:
    theirs = (
        "from google.protobuf import descriptor_pb2, descriptor_pool, message_factory\n"
        "file = descriptor_pb2.FileDescriptorProto(name='caffe.proto', package='caffe')\n"
        "message = file.message_type.add(name='NetParameter')\n"
        "message.field.add(name='other', number=1, type=9, label=1)\n"
        "pool = descriptor_pool.Default()\n"
        "pool.Add(file) if hasattr(pool, 'Add') else pool.AddSerializedFile("
        "file.SerializeToString())\n"
        "kind = pool.FindMessageTypeByName('caffe.NetParameter')\n"
        "Theirs = message_factory.GetMessageClass(kind)\n"
    )
    ours = "from caffe.proto import caffe_pb2\n"
    program = (ours + theirs if order == "ours first" else theirs + ours) + (
        "assert Theirs(other='x').SerializeToString() == b'\\n\\x01x'\n"
        "assert caffe_pb2.NetParameter(name='y').SerializeToString() == b'\\n\\x01y'\n"
    )
    environment = {
        "PYTHONPATH": str(SOURCE),
        "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": implementation,
    }
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
