#!/usr/bin/env bash
# Measures the operator on the cluster in use, with KWOK's fake nodes; a cluster that it boots is taken down again.
#
#   bench-operator.sh [--services 1000] [--nodes 200] [--namespaces 20] [--pairs 50]
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
[ "$CLUSTER" = own ] || fail "this needs our own cluster, which has KWOK and an audit log: unset KUBECONFIG, or set PARLANCE_CLUSTER=own"
cd "$REPO_DIR"
was_up=
if "$CLUSTER_DIR/status.sh" --quiet; then was_up=yes; fi
"$CLUSTER_DIR/cluster-up.sh"
make --no-print-directory load
"$CLUSTER_DIR/install.sh"
cargo build --workspace --release --locked --quiet --example bench_operator
rc=0
"$CLUSTER_DIR/with.sh" "${CARGO_TARGET_DIR:-target}/release/examples/bench_operator" "$@" || rc=$?
[ -n "$was_up" ] || "$CLUSTER_DIR/cluster-down.sh"
exit "$rc"
