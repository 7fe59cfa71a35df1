#!/usr/bin/env bash
# See to it that the tests find a real Prometheus: the one on PATH, else the system's package. Without one the tests that
# scrape with it are skipped, and say so.
set -euo pipefail

tell() {
    echo "Prometheus for the tests: $(command -v prometheus) ($(prometheus --version 2>&1 | head -n 1))"
    exit 0
}

install_package() {
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
    export DEBIAN_FRONTEND=noninteractive
    # The package's own service would take the default port for nothing.
    export RUNLEVEL=1
    apt-get update -qq && apt-get install -y -qq --no-install-recommends prometheus
}

command -v prometheus >/dev/null && tell
if install_package >/dev/null 2>&1 && command -v prometheus >/dev/null; then
    tell
fi
echo "Prometheus for the tests: none. Install it with 'apt-get install prometheus', or put the binary of"
echo "https://prometheus.io/download on PATH; until then the tests that scrape with it are skipped."
