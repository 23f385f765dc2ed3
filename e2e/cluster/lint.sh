#!/usr/bin/env bash
# Every check that is not a test: formatting, clippy, documentation, licences and sources of dependencies, shell scripts,
# charts. Runs all of them and fails if any did.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$CLUSTER_DIR/lib/log.sh"
cd "$REPO_DIR"
failed=()

# check NAME COMMAND...
check() {
  local name=$1
  shift
  say "== $name: $*"
  "$@" || failed+=("$name")
}

documentation() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet; }

shell_scripts() {
  command -v shellcheck >/dev/null || {
    say "shellcheck is missing (it is a Debian package)"
    return 1
  }
  git ls-files -z '*.sh' .ci/run kubectl-parlance/kubectl_complete-parlance | xargs -0 shellcheck
}

dependencies() {
  local deny=$PARLANCE_CACHE/cargo/bin/cargo-deny
  if command -v cargo-deny >/dev/null; then deny=cargo-deny; fi
  "$deny" check bans licenses sources || return 1
  # The advisories need a database from outside: where it cannot be reached, the other checks still count.
  if "$deny" check advisories 2>"$LOGS/advisories.log"; then return 0; fi
  if grep -qiE 'failed to fetch|failed to clone|could not.*(fetch|connect|resolve)' "$LOGS/advisories.log"; then
    say "advisories: not checked, their database cannot be reached from here"
  else
    cat "$LOGS/advisories.log"
    return 1
  fi
}

# What a build without the feature `cuda` is made of.
without_cuda() {
  local tree
  tree=$(cargo tree --locked -p inference-server --edges normal --prefix none) || return 1
  ! grep -E '^(tract-cuda|tract-gpu|cudarc) ' <<<"$tree"
}

charts() { helm lint --strict charts/parlance*/; }

check formatting cargo fmt --all --check
check clippy cargo clippy --workspace --all-targets --locked -- -D warnings
check documentation documentation
check "shell scripts" shell_scripts
check "no CUDA in the usual build" without_cuda
command -v helm >/dev/null || "$CLUSTER_DIR/build.sh" helm
check charts charts
command -v cargo-deny >/dev/null || [ -x "$PARLANCE_CACHE/cargo/bin/cargo-deny" ] ||
  step "installing cargo-deny into the cache" "$LOGS/cargo-deny.log" cargo install --locked --root "$PARLANCE_CACHE/cargo" cargo-deny
check dependencies dependencies

[ ${#failed[@]} = 0 ] || fail "lint: ${#failed[@]} of 7 checks failed: ${failed[*]}"
say "lint: 7 checks passed"
