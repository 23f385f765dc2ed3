#!/usr/bin/env bash
# Checks that this machine has what building and testing Parlance needs, and installs what is missing from Debian's
# packages. Says what it does; does nothing when nothing is missing.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$CLUSTER_DIR/lib/log.sh"
. "$CLUSTER_DIR/lib/debian.sh"
. "$CLUSTER_DIR/lib/go.sh"

[ "$(uname -s)" = Linux ] || fail "this needs Linux; found $(uname -s)"
case $(uname -m) in
  x86_64 | aarch64) ;;
  *) fail "this needs x86_64 or aarch64; found $(uname -m)" ;;
esac

# --- Debian packages --------------------------------------------------------------------------------------------------

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

[ -z "${lists:-}" ] || [ ${#missing[@]} -gt 0 ] || update_packages
install_missing

# --- Rust: rust-toolchain.toml names the version, rustup installs it --------------------------------------------------

if ! command -v cargo >/dev/null; then
  if apt-cache policy rustup 2>/dev/null | grep -q 'Candidate: [0-9]'; then
    install_packages rustup
  else
    fail "cargo was not found, and this Debian has no rustup package: please install Rust with rustup (see the Rust project's site), then try again"
  fi
fi
cd "$REPO_DIR" # where rust-toolchain.toml makes rustup install the version that it names
step "Rust $(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)" "$LOGS/rust.log" cargo --version

# --- Go: the version that the pinned modules name ---------------------------------------------------------------------

use_go
say "Go: $(go env GOVERSION)"
