#!/usr/bin/env bash
# Resolve what all parts and the development tools need anew, and write constraints.txt: exact versions with hashes, for
# every supported Python, and no address of an index.
set -euo pipefail
cd "$(dirname "$0")/.."

projects=(proto libs/common libs/client services/gcs services/raylet services/object-manager)
.venv/bin/uv pip compile --quiet --no-header --no-annotate --no-emit-index-url \
    --no-emit-package manta-common --no-emit-package manta-proto \
    --universal --python-version 3.11 --generate-hashes --upgrade --group dev \
    --output-file constraints.txt "${projects[@]/%//pyproject.toml}"
git --no-pager diff --stat -- constraints.txt
