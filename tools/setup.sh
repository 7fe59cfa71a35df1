#!/usr/bin/env bash
# Make .venv with every part of Manta installed editable, and the tools of development.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=(proto libs/common libs/client services/gcs services/raylet services/object-manager)
python=.venv/bin/python

fail() {
    echo "make setup: $*" >&2
    exit 1
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if command -v "$candidate" >/dev/null && is_new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "Manta needs Python 3.11 or newer, and $(python3 --version 2>/dev/null || echo 'no python3') is what is here;" \
        "install one (apt-get install python3.11 python3.11-venv, or uv, which brings its own) and run this again"
}

# uv reads the group of development tools from pyproject.toml only since some version.
usable_uv() {
    command -v uv >/dev/null && [[ $(uv pip install --help 2>/dev/null) == *--group* ]] && command -v uv
}

make_environment() {
    if [ -x "$python" ]; then
        is_new_enough "$python" || fail ".venv holds $("$python" --version); remove the folder and run this again"
    elif uv=$(usable_uv); then
        "$uv" venv --quiet --python '>=3.11' .venv
    else
        local found
        found=$(find_python)
        "$found" -m venv .venv || fail "$found cannot make an environment; on Debian: apt-get install python3-venv"
    fi
}

find_installer() {
    if usable_uv; then
        return
    fi
    [ -x .venv/bin/uv ] || "$python" -m pip install --quiet --disable-pip-version-check 'uv>=0.5' >&2
    echo .venv/bin/uv
}

make_environment
installer=$(find_installer)
# Other people's packages in the versions and with the hashes of constraints.txt, hatchling among them, which then builds ours.
"$installer" pip install --quiet --python "$python" --require-hashes --requirement constraints.txt
arguments=()
for part in "${parts[@]}"; do
    arguments+=(--editable "$part")
done
"$installer" pip install --quiet --python "$python" --no-deps --no-build-isolation "${arguments[@]}"
# Every local cluster is a handful of processes that import a few hundred modules; where the environment forbids them to
# write what they compile (PYTHONDONTWRITEBYTECODE), each start would compile all of it again. Some packages carry
# templates that are no valid modules, so compileall's exit code says nothing.
site_packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
env -u PYTHONDONTWRITEBYTECODE "$python" -m compileall -q -j 0 "$site_packages" "${parts[@]/%//src}" >/dev/null || true

# Upstream's wheel has the same import name; with both installed, which one is imported is a matter of chance.
"$python" - <<'CHECK'
import sys
import sysconfig

from ray._distribution import conflict_message, find_upstream

upstream = find_upstream([sysconfig.get_path("purelib")])
if upstream is not None:
    sys.exit(f"make setup: {conflict_message(upstream)}")
CHECK
echo "make setup: .venv is ready ($("$python" --version))"
