#!/usr/bin/env bash
# make cluster-up: a cluster to use, whichever it is (see lib/select.sh), and the client programs beside it.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
say_cluster
case $CLUSTER in
  own)
    "$CLUSTER_DIR/build.sh"
    "$CLUSTER_DIR/cluster-images.sh"
    "$CLUSTER_DIR/up.sh"
    ;;
  kind)
    ensure_clients
    if kind get clusters 2>/dev/null | grep -qx "$KIND_CLUSTER"; then
      kind export kubeconfig --name "$KIND_CLUSTER" --kubeconfig "$KUBECONFIG"
      say "cluster: kind's $KIND_CLUSTER is already up"
    else
      kind create cluster --name "$KIND_CLUSTER" --kubeconfig "$KUBECONFIG" --wait 180s
    fi
    ;;
  kubeconfig)
    ensure_clients
    kubectl version >/dev/null || fail "the cluster that KUBECONFIG=$KUBECONFIG names does not answer"
    ;;
esac
