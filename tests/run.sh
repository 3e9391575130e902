#!/usr/bin/env bash
# The whole suite: lint, types, unit, property; the line on real engines; the story on a real cluster.
# Arguments go to pytest. The closing line counts everything.
set -uo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
results=$(mktemp -d)
# The story on the cluster takes down what it brought up before anything else ends.
trap 'wait; rm -rf "$results"' EXIT
trap 'exit 130' INT
failed=0

stage() {
    printf '\n== %s (%s)\n' "$1" "$(date +%H:%M:%S)"
    shift
    "$@" || failed=1
}

stage "what this machine needs" python -m fleetmeter_cluster needs --install
((failed)) && exit 1
stage "lint, layers, types, unit, property" bash tests/check.sh --junitxml="$results/check.xml" "$@"
stage "binaries and images of the cluster" python -m fleetmeter_cluster prepare
# Both wait more than they work, so they run side by side.
pytest -q tests/e2e --junitxml="$results/e2e.xml" "$@" >"$results/e2e.log" 2>&1 &
story=$!
# A file's tests stay together, for they share engines.
stage "integration on real Kafka, Postgres, Mosquitto, API server; faults: kills, stops and cuts under load" \
    pytest -q -n 3 --dist loadfile tests/integration tests/faults --junitxml="$results/engines.xml" "$@"
stage "end to end: a real cluster, beside the others" wait "$story"
cat "$results/e2e.log"
python tests/count.py "$results" || failed=1
exit $failed
