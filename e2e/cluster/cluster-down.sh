#!/usr/bin/env bash
# make cluster-down: take down what cluster-up made. A cluster that somebody else made is left alone.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
case $CLUSTER in
  own) "$CLUSTER_DIR/down.sh" ;;
  kind)
    kind delete cluster --name "$KIND_CLUSTER" --kubeconfig "$KUBECONFIG"
    rm -f "$KUBECONFIG"
    ;;
  kubeconfig) say "cluster: KUBECONFIG=$KUBECONFIG names one that was not made here; it is left as it is" ;;
esac
