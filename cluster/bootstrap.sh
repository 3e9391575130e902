#!/usr/bin/env bash
# Make .venv from uv.lock, with nothing but a Python 3.11 or newer: uv itself comes from the package index.
set -euo pipefail
cd "$(dirname "$0")/.."
cache=${FLEETMETER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fleetmeter}
uv_version=0.13.9
say() { printf '%s\n' "fleetmeter: $*" >&2; }

python=$(command -v python3 || true)
if [[ -z $python ]] || ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    say "Python 3.11 or newer is needed and was not found as python3. Install it (Debian 12, Ubuntu 24.04: apt-get install python3)."
    exit 1
fi

if [[ ! -x $cache/uv-$uv_version/bin/uv ]]; then
    say "bringing uv $uv_version, the installer that reads uv.lock (about 10 s)"
    mkdir -p "$cache"
    rm -rf "$cache/uv-$uv_version.part"
    if ! "$python" -m venv "$cache/uv-$uv_version.part" >/dev/null 2>&1; then
        if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
            say "python3 cannot make virtual environments here. Install the package python3-venv, then run this again."
            exit 1
        fi
        say "installing the Debian package python3-venv"
        log=$cache/python3-venv.log
        if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3-venv; } >"$log" 2>&1; then
            tail -n 5 "$log" >&2
            say "python3-venv could not be installed; apt-get's words are in $log. Put that right, then run this again."
            exit 1
        fi
        rm -rf "$cache/uv-$uv_version.part"
        "$python" -m venv "$cache/uv-$uv_version.part"
    fi
    "$cache/uv-$uv_version.part/bin/python" -m pip install --quiet --disable-pip-version-check "uv==$uv_version"
    mv "$cache/uv-$uv_version.part" "$cache/uv-$uv_version"
fi

say "making .venv from uv.lock"
"$cache/uv-$uv_version/bin/uv" sync --frozen --quiet --python "$python"
touch .venv
