#!/usr/bin/env bash
# Runs a command against the cluster in use: with its KUBECONFIG, the client programs in PATH, and what the end-to-end
# tests read (which images to install, where the audit log is, whether KWOK plays fake nodes, other projects' kinds).
#
#   with.sh COMMAND [ARGUMENT...]
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
export PARLANCE_CLUSTER=$CLUSTER
export PARLANCE_OPERATOR_IMAGE=$OPERATOR_REPOSITORY:$IMAGE_TAG PARLANCE_SERVER_IMAGE=$SERVER_REPOSITORY:$IMAGE_TAG
if [ "$CLUSTER" = own ]; then
  export PARLANCE_MODEL_IMAGE=$MODEL_REPOSITORY:$IMAGE_TAG
  export PARLANCE_AUDIT_LOG=$RUN/logs/audit.log PARLANCE_KWOK=1 PARLANCE_BUSYBOX_IMAGE=localhost/busybox:dev
  export PARLANCE_PROMETHEUS_CRDS=$BIN/prometheus-crds.yaml PARLANCE_GATEWAY_CRDS=$BIN/gateway-crds.yaml
  export PARLANCE_CERT_MANAGER_CRDS=$BIN/cert-manager-crds.yaml PARLANCE_KEDA_CRDS=$BIN/keda-crds.yaml
  export PARLANCE_VERTICAL_POD_AUTOSCALER_CRDS=$BIN/vertical-pod-autoscaler-crds.yaml
  export PARLANCE_PROMETHEUS=$BIN/prometheus PARLANCE_PROMETHEUS_ADAPTER=$BIN/prometheus-adapter
fi
exec "$@"
