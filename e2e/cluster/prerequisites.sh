#!/usr/bin/env bash
# Checks that this machine has what building and testing Parlance needs, and installs what is missing from Debian's
# packages. Says what it does; does nothing when nothing is missing.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$CLUSTER_DIR/lib/log.sh"
. "$CLUSTER_DIR/lib/go.sh"

[ "$(uname -s)" = Linux ] || fail "this needs Linux; found $(uname -s)"
case $(uname -m) in
  x86_64 | aarch64) ;;
  *) fail "this needs x86_64 or aarch64; found $(uname -m)" ;;
esac

# --- Debian packages --------------------------------------------------------------------------------------------------

missing=()
# need PACKAGE TEST...: remember PACKAGE unless TEST succeeds
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
has() { command -v "$1"; }

need build-essential has gcc
need pkg-config has pkg-config
need libseccomp-dev test -f /usr/include/seccomp.h          # runc
need nftables has nft                                       # service routing
need iproute2 has ip
need openssl has openssl                                    # the cluster's certificates
need curl has curl
need python3 has python3                                    # image archives
need util-linux has flock
need ca-certificates test -f /etc/ssl/certs/ca-certificates.crt

# build.sh unpacks this one without installing it, so it must at least be in the lists
if ! [ -x "$BIN/busybox-static" ] && ! apt-cache show busybox-static >/dev/null 2>&1; then lists=old; fi

if [ ${#missing[@]} -gt 0 ] || [ -n "${lists:-}" ]; then
  command -v apt-get >/dev/null || fail "please install what these Debian packages hold, then try again: ${missing[*]}"
  if [ "$(id -u)" = 0 ]; then
    sudo=()
  else
    command -v sudo >/dev/null || fail "please run as root: apt-get install ${missing[*]}"
    sudo=(sudo)
  fi
  # A fresh machine has no package lists yet, and an old list names packages that are gone.
  step "updating the list of Debian packages" "$LOGS/apt.log" "${sudo[@]}" apt-get update
  [ ${#missing[@]} = 0 ] || step "installing Debian packages: ${missing[*]}" "$LOGS/apt.log" \
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
fi

# --- Rust: rust-toolchain.toml names the version, rustup installs it --------------------------------------------------

if ! command -v cargo >/dev/null; then
  if apt-cache policy rustup 2>/dev/null | grep -q 'Candidate: [0-9]'; then
    if [ "$(id -u)" = 0 ]; then sudo=(); else sudo=(sudo); fi
    step "installing Debian's rustup" "$LOGS/apt.log" \
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends rustup
  else
    fail "cargo was not found, and this Debian has no rustup package: please install Rust with rustup (see the Rust project's site), then try again"
  fi
fi
cd "$REPO_DIR" # where rust-toolchain.toml makes rustup install the version that it names
step "Rust $(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)" "$LOGS/rust.log" cargo --version

# --- Go: the version that the pinned modules name ---------------------------------------------------------------------

use_go
say "Go: $(go env GOVERSION)"
