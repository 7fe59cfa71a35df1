#!/usr/bin/env bash
# Generate the message classes next to their .proto files (services are bound by descriptor, see ADR 0005).
#
# By the compiler of the lowest protobuf that manta-proto allows: classes made by a newer one refuse an older library.
set -eu
cd "$(dirname "$0")/src"
python="${PYTHON:-python}"
find manta_proto -name '*.proto' -print0 | sort -z |
    xargs -0 "$python" -m uv run --quiet --isolated --no-project --python "$python" \
        --with grpcio-tools==1.63.0 --with 'setuptools<80' \
        python -m grpc_tools.protoc -I . --python_out=. --pyi_out=.
