#!/usr/bin/env bash
# Compiles the server's library for aarch64 on x86-64, and runs its tests under QEMU: once as a processor with every instruction that QEMU
# knows, once as one that lacks those for bf16 and eight bits. Says nothing of speed.
#
# The compiler, and Rust's library for aarch64 of the same version, are those of Debian testing. They come from the mirror that this
# machine's apt uses, and are unpacked in the cache, not installed.
#
#   aarch64.sh [FILTER...]      default: kernels::
set -euo pipefail
# shellcheck disable=SC1091
. "$(dirname "${BASH_SOURCE[0]}")/../../e2e/cluster/env.sh"
# shellcheck disable=SC1090
for lib in log debian; do . "$CLUSTER_DIR/lib/$lib.sh"; done

CACHE=$PARLANCE_CACHE/aarch64
ROOT=$CACHE/root
TARGET=aarch64-unknown-linux-gnu
: "${CARGO_HOME:=$HOME/.cargo}"
export CACHE ROOT TARGET CARGO_HOME REPO_DIR
# dash is the shell of build scripts.
PACKAGES=(base-files coreutils dash rustc cargo gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
toolchain=$(sed -n 's/^channel = "\(.*\)"/\1/p' "$REPO_DIR/rust-toolchain.toml")

case $(uname -sm) in
  "Linux x86_64") ;;
  "Linux aarch64") fail "this machine is an aarch64: 'make unit-test' runs these tests on it" ;;
  *) fail "this needs Linux on x86_64; found $(uname -sm)" ;;
esac
command -v apt-get >/dev/null || fail "the compiler is in Debian's packages, and this machine has no apt"
own_mounts=(unshare --mount)
[ "$(id -u)" = 0 ] || own_mounts=(unshare --user --map-root-user --mount)
"${own_mounts[@]}" true || fail "the compiler needs a mount namespace, which this user may not make here; root may"
need debian-archive-keyring test -f /usr/share/keyrings/debian-archive-keyring.gpg
need qemu-user has qemu-aarch64
install_missing

# apt_here COMMAND...: apt with lists, settings and packages of its own. A mirror may have stood still for a while: what it has is
# signed all the same.
apt_here() {
  apt-get -y -o Dir="$CACHE/apt" -o Dir::State::status="$CACHE/apt/status" -o APT::Sandbox::User="$(id -un)" \
    -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64 \
    -o APT::Install-Recommends=false -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false "$@"
}

unpack() {
  local archives=$CACHE/apt/var/cache/apt/archives mirror package
  mirror=$(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' | head -n 1)
  [ -n "$mirror" ] || fail "apt knows no mirror of Debian's; is this a Debian, and was 'apt-get update' run?"
  rm -rf "$CACHE/apt" "$ROOT"
  mkdir -p "$CACHE"/apt/etc/apt/{apt.conf.d,preferences.d,sources.list.d} "$CACHE/apt/var/lib/apt/lists/partial" "$archives/partial" "$ROOT"
  : >"$CACHE/apt/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror testing main" >"$CACHE/apt/etc/apt/sources.list"
  apt_here update
  apt_here install --download-only "${PACKAGES[@]}"
  cd "$archives"
  apt_here download libstd-rust-dev:arm64 # without what it needs on an aarch64
  # The first has the links that the others are unpacked through.
  for package in base-files_*.deb *.deb; do dpkg-deb -x "$package" "$ROOT"; done
  ln -s gcc "$ROOT/usr/bin/cc" # as installing it would have done
  rm -rf "$CACHE/apt"
}

# in_root COMMAND...: where those packages are all there is, but for the repository, what cargo downloaded and what it builds
in_root() {
  # shellcheck disable=SC2016 # that bash has them from its environment
  "${own_mounts[@]}" bash -euc '
    for path in "$REPO_DIR" "$CARGO_HOME" "$CACHE/target" /dev /proc; do
      mkdir -p "$path" "$ROOT$path"
      mount --rbind "$path" "$ROOT$path"
    done
    exec chroot "$ROOT" env -i --chdir="$REPO_DIR" PATH=/usr/bin HOME="$HOME" CARGO_HOME="$CARGO_HOME" CARGO_TARGET_DIR="$CACHE/target" \
      CARGO_BUILD_TARGET="$TARGET" CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
      CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc "$@"' bash "$@"
}

unpacked_from="Rust $toolchain or newer: ${PACKAGES[*]}"
if [ "$(cat "$CACHE/unpacked" 2>/dev/null)" != "$unpacked_from" ]; then
  step "unpacking a compiler for aarch64 from Debian testing" "$LOGS/aarch64.log" unpack
  echo "$unpacked_from" >"$CACHE/unpacked"
fi
cd "$REPO_DIR"
cargo fetch --locked --target "$TARGET" --target x86_64-unknown-linux-gnu
# Nothing is measured here: the dependencies need not be fast.
tests=$(in_root cargo test --release --locked --offline -p inference-server --lib --no-run \
  --config 'profile.release.package."*".opt-level=1' --message-format json-render-diagnostics |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
[ $# -gt 0 ] || set -- kernels::
cd inference-server
for cpu in max cortex-a53; do
  say "on QEMU's processor \"$cpu\":"
  qemu-aarch64 -cpu "$cpu" -L "$ROOT/usr/aarch64-linux-gnu" "$tests" "$@"
done
