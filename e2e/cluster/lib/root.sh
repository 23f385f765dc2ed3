# shellcheck shell=bash
# Booting a node needs root. as_root re-runs the calling script under sudo when it must, and says so.

as_root() {
  [ "$(id -u)" != 0 ] || return 0
  command -v sudo >/dev/null || fail "$(basename "$0") needs root: run it as root, or install sudo"
  say "$(basename "$0") needs root; asking sudo"
  exec sudo --preserve-env=PARLANCE_CACHE,PARLANCE_NODE_IP,PARLANCE_POD_CIDR,PARLANCE_SERVICE_CIDR "$0" "$@"
}

# give_to_user PATH...: under sudo, let the person who asked own what they must be able to read
give_to_user() {
  [ -z "${SUDO_UID:-}" ] || chown "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" "$@"
}
