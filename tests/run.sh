#!/usr/bin/env bash
# The whole suite: lint, types, unit, property; the line on real engines; the story on a real cluster.
# Arguments go to pytest. The closing line counts everything.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
trap 'exit 130' INT
failed=0
computing=(tests/faults/test_commit_model.py tests/faults/test_planted_bugs.py tests/integration/test_right_month.py)

stage() {
    printf '\n== %s (%s)\n' "$1" "$(date +%H:%M:%S)"
    shift
    "$@" || failed=1
}

stage "what this machine needs" python -m fleetmeter_cluster needs --install
((failed)) && exit 1
stage "lint, layers, types, unit, property" bash tests/check.sh --junitxml="$results/check.xml" "$@"
stage "binaries and images of the cluster" python -m fleetmeter_cluster prepare
# Four at once, since most of them wait for engines. Those that share engines stay together (tests/conftest.py).
stage "integration on real Kafka, Postgres, Mosquitto, API server; faults: kills, stops and cuts under load" \
    pytest -q -n 4 --no-loadscope-reorder tests/faults tests/integration "${computing[@]/#/--ignore=}" \
    --junitxml="$results/engines.xml" "$@"
# A cluster waits half of its time; what only computes uses the other half.
stage "end to end: a real cluster; beside it the tests that only compute" \
    pytest -q -n 2 --no-loadscope-reorder tests/e2e "${computing[@]}" --junitxml="$results/e2e.xml" "$@"
python tests/count.py "$results" || failed=1
exit $failed
