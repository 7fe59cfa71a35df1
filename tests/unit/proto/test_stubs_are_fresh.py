"""The message classes in the tree are what the compiler makes of the .proto files."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

SOURCE = Path(__file__).resolve().parents[3] / "proto/src"
PROTOS = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.proto"))


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stubs")
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", "-I", "."),
            *(f"--python_out={folder}", f"--pyi_out={folder}", *map(str, PROTOS)),
        ],
        cwd=SOURCE,
        check=True,
        timeout=60,
    )
    return folder


def schema(stub: Path) -> descriptor_pb2.FileDescriptorProto:
    """The description of all messages that a stub holds; around it each compiler writes its own frame."""
    for node in ast.walk(ast.parse(stub.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile":
            return descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(node.args[0]))
    raise AssertionError(f"{stub} holds no description")


@pytest.mark.parametrize("proto", PROTOS, ids=str)
def test_a_stub_is_made_from_the_present_proto(proto: Path, generated: Path) -> None:
    stub = proto.with_name(f"{proto.stem}_pb2.py")
    assert schema(SOURCE / stub) == schema(generated / stub), "run make proto"


def test_each_stub_has_a_proto_and_types() -> None:
    stubs = {path.relative_to(SOURCE) for path in SOURCE.rglob("*_pb2.py")}
    assert stubs == {proto.with_name(f"{proto.stem}_pb2.py") for proto in PROTOS}
    assert {path.relative_to(SOURCE).with_suffix(".py") for path in SOURCE.rglob("*_pb2.pyi")} == stubs
