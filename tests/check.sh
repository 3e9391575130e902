#!/usr/bin/env bash
# Lint, layers, types and the tests that need no server: under a minute on two cores. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
types=$(mktemp)
trap 'rm -f "$types"' EXIT
say() { printf '\n%s\n' "== $*"; }

say "format and lint"
ruff format --check --quiet .
ruff check --quiet .
say "layers"
lint-imports --no-cache | tail -n 10
say "types, beside the unit and property tests"
pyright >"$types" 2>&1 &
checking=$!
failed=0
pytest -q tests/unit tests/property "$@" || failed=1
wait "$checking" || failed=1
tail -n 12 "$types"
exit $failed
