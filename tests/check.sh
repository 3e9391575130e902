#!/usr/bin/env bash
# Lint, layers, types and the tests that need no server: under a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
say() { printf '\n%s\n' "== $*"; }
say "format and lint"
ruff format --check --quiet .
ruff check --quiet .
say "layers"
lint-imports --no-cache --verbose 2>&1 | tail -n 14
say "types"
pyright --warnings | tail -n 12
say "unit and property tests"
pytest -q tests/unit tests/property "$@"
