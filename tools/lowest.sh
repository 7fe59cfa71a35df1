#!/usr/bin/env bash
# Run tests (all of tests/unit unless arguments for pytest are given) on the lowest versions that the parts allow, in
# .lowest-venv. Only what the parts ask for is lowered; pytest and its helpers are as new as goes with that.
set -euo pipefail
cd "$(dirname "$0")/.."

projects=(proto libs/common libs/client services/gcs services/raylet services/object-manager)
python=.lowest-venv/bin/python
.venv/bin/uv venv --quiet --clear --python .venv/bin/python .lowest-venv
arguments=()
for project in "${projects[@]}"; do
    arguments+=(--editable "$project")
done
.venv/bin/uv pip install --quiet --python "$python" --resolution lowest-direct "${arguments[@]}"
lowest=$(mktemp)
trap 'rm -f "$lowest"' EXIT
.venv/bin/uv pip freeze --python "$python" --exclude-editable >"$lowest"
.venv/bin/uv pip install --quiet --python "$python" --constraint "$lowest" \
    cryptography hypothesis joblib mypy packaging pandas pytest pytest-asyncio pytest-timeout pytest-xdist testcontainers
echo "lowest versions: $(paste -sd' ' "$lowest")"
if [ $# = 0 ]; then
    set -- -n 2 --dist loadfile tests/unit --ignore tests/unit/proto # of the compiler, which users do not have
fi
exec "$python" -m pytest -q -m "not soak" "$@"
