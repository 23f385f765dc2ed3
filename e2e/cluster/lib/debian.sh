# shellcheck shell=bash
# Debian packages: note what is missing, then install it all at once. Wants env.sh and lib/log.sh.

missing=()

has() { command -v "$1"; }

# need PACKAGE TEST...: remember PACKAGE unless TEST succeeds
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}

# as_root COMMAND...
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    command -v sudo >/dev/null || fail "please run as root: $*"
    sudo "$@"
  fi
}

# update_packages: a fresh machine has no package lists yet, and an old list names packages that are gone
update_packages() {
  command -v apt-get >/dev/null || fail "please install what these Debian packages hold, then try again: ${missing[*]}"
  step "updating the list of Debian packages" "$LOGS/apt.log" as_root apt-get update
}

# install_packages PACKAGE...
install_packages() {
  step "installing Debian packages: $*" "$LOGS/apt.log" \
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# install_missing: install what `need` remembered
install_missing() {
  [ ${#missing[@]} -gt 0 ] || return 0
  update_packages
  install_packages "${missing[@]}"
}
