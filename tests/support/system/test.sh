#!/bin/bash
# `make test`: system packages, then three runs beside each other: tests that need a Docker Engine,
# tests of the whole that need none, and lint with all others. The first share one engine and its
# names, so they follow one another. Ends with a line per step; every step runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
source tests/support/system/root.sh
# Where the packages put what servers need, and Debian's users do not look.
export PATH=$PATH:/usr/sbin:/sbin
results=test-results
python=.venv/bin/python
mkdir -p "$results"
failed=()
declare -A beside=()

begin() { printf '\n== %s  [%d min %02d s]\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }
run() {
    local name=$1
    shift
    begin "$name"
    "$@" < /dev/null || failed+=("$name")
}
log_of() { printf '%s/%s.log' "$results" "${1// /-}"; }
# Each as a group of its own, which an interrupt from the keyboard does not reach and clean_up does (by
# SIGTERM: where this script is in the background, SIGINT is ignored).
# Not without the terminal: sudo would ask for its password once more.
begin_beside() {
    local name=$1
    shift
    begin "$name, in the background"
    set -m
    "$@" > "$(log_of "$name")" 2>&1 < /dev/null &
    set +m
    beside[$name]=$!
}
await_beside() {
    local name=$1
    begin "$name"
    tail --pid="${beside[$name]}" -n +1 -f "$(log_of "$name")" || true
    wait "${beside[$name]}" || failed+=("$name")
    unset "beside[$name]"
}
clean_up() {
    local group
    for group in "${beside[@]}"; do
        "${as_root[@]}" kill -TERM -- "-$group" 2> /dev/null || continue
        wait "$group" || true
    done
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

pytest=("$python" -m pytest --durations=15)
whole=tests/end_to_end
with_an_engine() {
    if ! "${as_root[@]}" "$python" -m tests.support.images prepare; then
        echo 'no Docker Engine for the tests'
        [ "${CI:-}" != true ] || return 1
        return 0
    fi
    "${as_root[@]}" "${pytest[@]}" -p no:cacheprovider -m engine
}

begin_beside 'tests with an engine' with_an_engine
# As long as all others; they wait for pages and servers most of the time.
begin_beside 'tests of the whole' "${pytest[@]}" -p no:cacheprovider -m 'not engine' "$whole"
run 'lint' make lint
run 'other tests without an engine' "${pytest[@]}" -m 'not engine' --ignore="$whole"
run 'the data path, compiled' make compiled
await_beside 'tests of the whole'
await_beside 'tests with an engine'

if [ "${#failed[@]}" -gt 0 ]; then
    begin "FAILED: $(IFS=,; echo "${failed[*]}")"
    exit 1
fi
begin 'everything passed'
