#!/bin/bash
# Installs what the tests need from the system: on Debian and Ubuntu, as root or with sudo. Quick when
# nothing is missing. Elsewhere it lists what is missing, and fails if CI=true.
# `install.sh bench` installs the data path's peers for the benchmark as well.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/root.sh"

group=${1:-tests}

# What is needed: <command that shows it is there> <package> <what for>
needs() {
    cat <<'NEEDS'
git             git              projects from git repositories
ip              iproute2         the tests' own Docker Engine
iptables        iptables         the tests' own Docker Engine
setpriv         util-linux       running servers without root
dockerd         docker.io        the tests' own Docker Engine
docker-registry docker-registry  pulling images
debootstrap     debootstrap      a base image without a registry
docker-compose  docker-compose   compose.yaml
apache2         apache2-bin      the Apache front
httxt2dbm       apache2-utils    a second writer of the route file
@libgdbm        libgdbm6         the route file
@dbm.gnu        python3-gdbm     a second reader of the route file
@postgres       postgresql       the database, besides SQLite
prometheus      prometheus       metrics, as Prometheus reads them
openssl         openssl          certificates of the tests
gcc             gcc              compiling the data path
@Python.h       python3-dev      compiling the data path
@node           nodejs           configurable-http-proxy, to compare with; 20 or newer
php             php-cli          the signer of links for PHP
npm             npm              installing configurable-http-proxy
chromium        chromium         pages, as people see them
@fonts          fonts-dejavu-core pages, as people see them
@seccomp        libseccomp2      pages, while engines make networks
NEEDS
    [ "$group" = bench ] || return 0
    cat <<'NEEDS'
nginx           nginx            the benchmark's upstream, and a peer
haproxy         haproxy          a peer in the benchmark
wrk             wrk              the benchmark's load
NEEDS
}

present() {
    local path=$PATH:/usr/sbin:/sbin
    case $1 in
        @libgdbm) compgen -G '/usr/lib/*/libgdbm.so.6*' > /dev/null || compgen -G '/usr/lib*/libgdbm.so.6*' > /dev/null ;;
        @dbm.gnu) /usr/bin/python3 -c 'import dbm.gnu' 2> /dev/null ;;
        @node) node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2> /dev/null ;;
        @Python.h) compgen -G '/usr/include/python3*/Python.h' > /dev/null ;;
        @postgres) compgen -G '/usr/lib/postgresql/*/bin/postgres' > /dev/null ;;
        @seccomp) compgen -G '/usr/lib/*/libseccomp.so.2*' > /dev/null || compgen -G '/usr/lib*/libseccomp.so.2*' > /dev/null ;;
        @fonts) compgen -G '/usr/share/fonts/truetype/*/*.ttf' > /dev/null ;;
        docker-compose) PATH=$path command -v docker-compose > /dev/null || docker compose version > /dev/null 2>&1 ;;
        *) PATH=$path command -v "$1" > /dev/null ;;
    esac
}

missing() {
    local check package purpose
    while read -r check package purpose; do
        present "$check" || printf '%s (%s)\n' "$package" "$purpose"
    done < <(needs)
}

install_packages() {
    local log policy=/usr/sbin/policy-rc.d made_policy=
    printf 'installing from the distribution: %s\n' "$*"
    if [ ! -e "$policy" ]; then
        # Packages must not start their services: the tests run servers of their own.
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" > /dev/null
        "${as_root[@]}" chmod 755 "$policy"
        made_policy=yes
    fi
    log=$(mktemp)
    local status=0
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
        -o Acquire::Retries=3 -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "$@" \
        < /dev/null 2>&1 | tee "$log" | grep -E '^(Need to get|Setting up|E:|W:)' || status=${PIPESTATUS[0]}
    [ -z "$made_policy" ] || "${as_root[@]}" rm -f "$policy"
    [ "$status" -eq 0 ] || tail -n 30 "$log" >&2
    rm -f "$log"
    return "$status"
}

mapfile -t lacking < <(missing)
[ "${#lacking[@]}" -gt 0 ] || exit 0

if command -v apt-get > /dev/null && find_root; then
    printf 'refreshing the package lists\n'
    # A broken third-party source must not stop the tests; a missing package is told below.
    "${as_root[@]}" apt-get update -q -o Acquire::Retries=3 < /dev/null > /dev/null || true
    packages=()
    for entry in "${lacking[@]}"; do
        # Where a release has no package of that name, others may still be installed.
        if apt-cache show --no-all-versions "${entry%% *}" > /dev/null 2>&1; then
            packages+=("${entry%% *}")
        fi
    done
    [ "${#packages[@]}" -eq 0 ] || install_packages "${packages[@]}" || true
    mapfile -t lacking < <(missing)
fi

if [ "${#lacking[@]}" -gt 0 ]; then
    printf 'missing on this machine; the tests need:\n' >&2
    printf '  %s\n' "${lacking[@]}" >&2
    if command -v apt-get > /dev/null; then
        printf 'as root: apt-get install %s\n' "${lacking[*]%% *}" >&2
    fi
    [ "${CI:-}" != true ] || exit 1
    printf 'going on without; tests that need them are skipped\n' >&2
fi
