#!/usr/bin/env bash
# See to it that the tests find a real redis-server: the system's, else its package.
set -euo pipefail

tell() {
    echo "redis for the tests: $(command -v redis-server) ($(redis-server --version | cut -d ' ' -f 1-3))"
    exit 0
}

install_package() {
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
    export DEBIAN_FRONTEND=noninteractive
    # The package's own service would take the default port for nothing.
    export RUNLEVEL=1
    apt-get update -qq && apt-get install -y -qq redis-server
}

command -v redis-server >/dev/null && tell
install_package >/dev/null 2>&1 && tell
echo "the tests need redis-server: install it (apt-get install redis-server) and run this again" >&2
exit 1
