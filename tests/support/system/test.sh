#!/bin/bash
# `make test`: system packages, then lint and the tests that need no Docker Engine while the engine
# and its images are prepared, then the tests that do. Ends with a line per step; every step runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
source tests/support/system/root.sh
# Where the packages put what servers need, and Debian's users do not look.
export PATH=$PATH:/usr/sbin:/sbin
results=test-results
python=.venv/bin/python
mkdir -p "$results"
failed=()
engine=
beside=

begin() { printf '\n== %s  [%d min %02d s]\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }
run() {
    local name=$1
    shift
    begin "$name"
    "$@" < /dev/null || failed+=("$name")
}
begin_beside() {
    beside_name=$1
    shift
    begin "$beside_name, in the background"
    "$@" > "$results/beside.log" 2>&1 < /dev/null &
    beside=$!
}
await_beside() {
    wait "$beside" || failed+=("$beside_name")
    beside=
    begin "$beside_name: ended"
    cat "$results/beside.log"
}
clean_up() {
    [ -z "$beside" ] || kill -TERM "$beside" 2> /dev/null || true
    if [ -n "$engine" ] && "${as_root[@]}" kill -TERM -- "-$engine" 2> /dev/null; then
        wait "$engine" || true
    fi
    # What root made in this folder would be in the user's way from then on.
    [ "${#as_root[@]}" -eq 0 ] \
        || "${as_root[@]}" find . -xdev ! -user "$(id -u)" -exec chown --no-dereference --reference=. {} + || true
}

begin 'system packages'
bash tests/support/system/install.sh

# An engine of the tests' own needs root's rights. With root's own home, so that nothing comes to lie
# in the user's; without any rights the user may still reach an engine that runs already.
trap clean_up EXIT
find_root || true
if [ "${#as_root[@]}" -gt 0 ]; then
    as_root=(sudo --preserve-env --set-home env --unset=XDG_{CACHE,CONFIG,DATA,STATE}_HOME --unset=XDG_RUNTIME_DIR)
fi

begin 'the tests'"'"' Docker Engine and base image are prepared in the background'
engine_log=$results/engine.log
# As a group of its own, which an interrupt from the keyboard does not reach and clean_up does (by
# SIGTERM: in a background job children ignore SIGINT). Not
# without the terminal: sudo would ask for its password once more.
set -m
nice -n 5 "${as_root[@]}" "$python" -m tests.support.images prepare > "$engine_log" 2>&1 < /dev/null &
engine=$!
set +m

run 'lint' make lint
# Two runs beside each other: most tests wait for other programs.
peers=(tests/chp tests/front tests/httpd tests/hub)
without='not engine and not browser'
begin_beside 'tests beside other proxies' \
    "$python" -m pytest -p no:cacheprovider -m "$without" "${peers[@]}"
run 'tests without an engine' "$python" -m pytest -m "$without" "${peers[@]/#/--ignore=}"
await_beside

run 'the data path, compiled' make compiled

begin 'waiting for the engine'
tail --pid="$engine" -n +1 -f "$engine_log" || true
engine_ready=yes
if ! wait "$engine"; then
    engine_ready=
    [ "${CI:-}" != true ] || failed+=('preparing the engine')
    echo "no Docker Engine for the tests; see $engine_log" >&2
fi
engine=

selection='engine or browser'
if [ -z "$engine_ready" ] && [ "${CI:-}" != true ]; then
    selection='browser and not engine'
fi
whole=(tests/app tests/end_to_end)
begin_beside 'tests of the whole with engine and browser' \
    "${as_root[@]}" "$python" -m pytest -p no:cacheprovider -m "$selection" "${whole[@]}"
run 'tests with engine and browser' \
    "${as_root[@]}" "$python" -m pytest -m "$selection" "${whole[@]/#/--ignore=}"
await_beside

if [ "${#failed[@]}" -gt 0 ]; then
    begin "FAILED: $(IFS=,; echo "${failed[*]}")"
    exit 1
fi
begin 'everything passed'
