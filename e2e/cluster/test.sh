#!/usr/bin/env bash
# Runs the tests and ends with one line that counts them.
#
#   test.sh [unit] [clients] [chart] [rules] [e2e]
#
# unit:  cargo test over the workspace; needs no cluster.
# clients: OpenAI's package and a browser against the server on loopback; need no cluster.
# chart: the charts' own tests; need Helm, which is built if it is not there.
# rules: the alerts, by Prometheus's own promtool, which is built if it is not there.
# e2e:   the ignored tests of the e2e crate on a real cluster. A cluster that is up is used and left up; one that is
#        booted for the tests is taken down after them.
# All are run even when an earlier one fails; the exit code says whether all passed.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
cd "$REPO_DIR"

RESULTS=$(mktemp -d)
trap 'rm -rf "$RESULTS"' EXIT
broken=0

# run NAME COMMAND...: show its output and keep it for the count
run() {
  local name=$1 began rc=0
  shift
  began=$(date +%s.%N)
  say "== $name: $*"
  "$@" 2>&1 | tee "$RESULTS/$name.log" || rc=$?
  [ "$rc" = 0 ] || broken=1
  say "== $name: $([ "$rc" = 0 ] && echo passed || echo FAILED) in $(seconds_since "$began") s"
}

unit() { run unit cargo test --workspace --release --locked --no-fail-fast; }

# shellcheck disable=SC2086 # a list of words
clients() { run clients inference-server/tests/clients/run.sh ${CLIENT_ARGS:-}; }

chart() {
  command -v helm >/dev/null || "$CLUSTER_DIR/build.sh" helm
  run chart charts/test.sh
}

rules() {
  command -v promtool >/dev/null || "$CLUSTER_DIR/build.sh" promtool
  run rules charts/rules-test/run.sh
}

# cluster_tests: all test programs of the e2e crate but those that have a part of their own
cluster_tests() {
  local file name
  for file in e2e/tests/*.rs; do
    name=$(basename "$file" .rs)
    case $name in chart | rbac | modes | upgrade) ;; *) printf -- '--test %s ' "$name" ;; esac
  done
}

e2e() {
  local was_up=
  if [ "$CLUSTER" = own ] && "$CLUSTER_DIR/status.sh" --quiet; then was_up=yes; fi
  if "$CLUSTER_DIR/cluster-up.sh" && make --no-print-directory load && "$CLUSTER_DIR/install.sh"; then
    [ "$CLUSTER" != own ] || run cluster "$CLUSTER_DIR/check.sh"
    [ "$CLUSTER" != own ] || "$CLUSTER_DIR/build.sh" prometheus prometheus-adapter
    # shellcheck disable=SC2046,SC2086 # lists of words
    run e2e "$CLUSTER_DIR/with.sh" cargo test --workspace --release --locked --no-fail-fast $(cluster_tests) -- \
      --ignored --test-threads=2 ${ARGS:-}
    [ -n "${ARGS:-}" ] || export PARLANCE_ALL_TESTS=1
    # These change the operator's release, or judge what all others made it do.
    run rbac "$CLUSTER_DIR/with.sh" cargo test --workspace --release --locked --test rbac -- --ignored
    run modes "$CLUSTER_DIR/with.sh" cargo test --workspace --release --locked --test modes -- --ignored
  else
    broken=1
  fi
  [ "$CLUSTER" = kubeconfig ] || [ -n "$was_up" ] || "$CLUSTER_DIR/cluster-down.sh" || broken=1
}

for part in "$@"; do "$part"; done

# Cargo's lines 'test result: ok. 3 passed; 0 failed; ...' and other tools' 'N passed, N failed', added up. A part that
# broke without a count of its own (it did not compile, the cluster did not boot) counts as one failure.
count() {
  cat "$RESULTS"/*.log 2>/dev/null | grep -E '^test result: |^([a-z ]+: )?[0-9]+ passed, [0-9]+ failed' |
    grep -oE "[0-9]+ $1" | awk '{ sum += $1 } END { print sum + 0 }'
}
passed=$(count passed)
failed=$(count failed)
if [ "$broken" = 1 ] && [ "$failed" = 0 ]; then failed=1; fi
say "$passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$broken" = 0 ]
