#!/bin/bash
# `make test`: system packages, then lint and the tests that need no Docker Engine while the engine
# and its images are prepared, then the tests that do. Ends with a line per step; every step runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
results=test-results
python=.venv/bin/python
mkdir -p "$results"
failed=()
# An engine of the tests' own, and Chromium beside it, need root's rights.
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo --preserve-env)

begin() { printf '\n== %s  [%d min %02d s]\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }
run() {
    local name=$1
    shift
    begin "$name"
    "$@" < /dev/null || failed+=("$name")
}

begin 'system packages'
bash tests/support/system/install.sh

begin 'the tests'"'"' Docker Engine and base image are prepared in the background'
engine_log=$results/engine.log
# With a signal that it answers by stopping its engine, which background jobs ignore otherwise.
env --default-signal=INT setsid nice -n 5 "${as_root[@]}" "$python" -m tests.support.engine prepare \
    > "$engine_log" 2>&1 < /dev/null &
engine=$!
trap 'kill -INT -- "-$engine" 2> /dev/null || true' EXIT

run 'lint' make lint
run 'tests without an engine' "$python" -m pytest -m 'not engine and not browser'

begin 'waiting for the engine'
tail --pid="$engine" -n +1 -f "$engine_log" || true
engine_ready=yes
if ! wait "$engine"; then
    engine_ready=
    [ "${CI:-}" != true ] || failed+=('preparing the engine')
    echo "no Docker Engine for the tests; see $engine_log" >&2
fi
trap - EXIT

selection='engine or browser'
if [ -z "$engine_ready" ] && [ "${CI:-}" != true ]; then
    selection='browser and not engine'
fi
run 'tests with engine and browser' "${as_root[@]}" "$python" -m pytest -m "$selection"

if [ "${#failed[@]}" -gt 0 ]; then
    begin "FAILED: $(IFS=,; echo "${failed[*]}")"
    exit 1
fi
begin 'everything passed'
