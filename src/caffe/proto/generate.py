"""Make ``caffe_pb2.py`` and ``caffe_pb2.pyi`` from ``caffe.proto``.

Run ``python src/caffe/proto/generate.py`` after a change of the schema; it needs grpcio-tools.

protoc's own Python output refuses to run on an older protobuf than its own, and registers the
schema for the whole process, where it clashes with a program's own ``caffe_pb2``. So only the
schema's description is taken from protoc, and the module around it is written here.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

PROTO = "caffe/proto/caffe.proto"
MODULE = '''\
"""Caffe's messages. Made from caffe.proto by generate.py; change that file instead."""

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

# A pool of its own: another caffe.proto may be loaded in the same process.
DESCRIPTOR = descriptor_pool.DescriptorPool().AddSerializedFile(
{description}
)

for _enum in DESCRIPTOR.enum_types_by_name.values():
    globals()[_enum.name] = enum_type_wrapper.EnumTypeWrapper(_enum)
    globals().update((_value.name, _value.number) for _value in _enum.values)

for _message in DESCRIPTOR.message_types_by_name.values():
    globals()[_message.name] = message_factory.GetMessageClass(_message)
    globals()[_message.name].__module__ = __name__
'''

STUB = """\
# Made from caffe.proto by generate.py.
# ruff: noqa
# fmt: off
"""


def compile_schema(source: Path) -> tuple[bytes, str]:
    """The schema as a serialized FileDescriptorProto, and its type stub.

    Parameters
    ----------
    source : Path
        The folder that holds ``caffe/proto/caffe.proto``.
    """
    from grpc_tools import protoc

    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder, "description")
        arguments = [f"-I{source}", f"--descriptor_set_out={description}", f"--pyi_out={folder}"]
        if protoc.main(["protoc", *arguments, PROTO]) != 0:
            raise SystemExit(f"protoc refuses {source / PROTO}")
        files = descriptor_pb2.FileDescriptorSet.FromString(description.read_bytes())
        stub = Path(folder, PROTO).with_name("caffe_pb2.pyi").read_text("utf-8")
    # protoc leaves open what a mapping that stands for a message maps.
    stub = stub.replace("_Mapping]", "_Mapping[str, _Any]]")
    stub = stub.replace("import ClassVar as", "import Any as _Any, ClassVar as")
    for message in files.file[0].message_type:
        for field in message.field:
            field.ClearField("json_name")
    return files.file[0].SerializeToString(deterministic=True), stub


def main() -> None:
    """Write both files beside the schema."""
    source = Path(__file__).resolve().parents[2]
    description, stub = compile_schema(source)
    lines = [f"    {description[at : at + 64]!r}" for at in range(0, len(description), 64)]
    target = (source / PROTO).with_name("caffe_pb2.py")
    target.write_text(MODULE.format(description="\n".join(lines)), "utf-8")
    target.with_suffix(".pyi").write_text(STUB + stub, "utf-8")
    print(f"{target}: {len(description)} bytes of schema", file=sys.stderr)


if __name__ == "__main__":
    main()
