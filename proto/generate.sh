#!/usr/bin/env bash
# Generate the message classes next to their .proto files (services are bound by descriptor, see ADR 0005).
set -eu
cd "$(dirname "$0")/src"
python="${PYTHON:-python}"
find manta_proto -name '*.proto' -print0 | sort -z | xargs -0 "$python" -m grpc_tools.protoc -I . --python_out=. --pyi_out=.
