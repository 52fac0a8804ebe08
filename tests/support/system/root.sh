# Sourced by the scripts beside it: root's rights, for packages and for the tests' own Docker Engine.

# Sets as_root, the words in front of a command that needs root. Fails where root's rights cannot be
# had; a password is asked for at a terminal only.
find_root() {
    as_root=()
    [ "$(id -u)" -ne 0 ] || return 0
    command -v sudo > /dev/null || return 1
    sudo -n true 2> /dev/null || { [ -t 0 ] && sudo -v; } || return 1
    as_root=(sudo)
}
