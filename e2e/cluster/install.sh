#!/usr/bin/env bash
# Installs the two charts in the cluster in use, with the images that load-images.sh brought there, and waits until the
# operator runs. Installed already: upgrades it.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
cd "$REPO_DIR"
NAMESPACE=parlance-system

install_operator() {
  helm upgrade --install parlance charts/parlance --namespace "$NAMESPACE" --wait --timeout 3m \
    --set "image.repository=$OPERATOR_REPOSITORY" --set "image.tag=$IMAGE_TAG" \
    --set "serverImage.repository=$SERVER_REPOSITORY" --set "serverImage.tag=$IMAGE_TAG" || {
    kubectl --namespace "$NAMESPACE" describe pods
    kubectl --namespace "$NAMESPACE" logs --tail 20 --selector app.kubernetes.io/component=operator
    return 1
  }
}

restart() {
  kubectl --namespace "$NAMESPACE" rollout restart deployment
  kubectl --namespace "$NAMESPACE" rollout status deployment --timeout 3m
}

step "helm upgrade --install parlance-crds" "$LOGS/helm-crds.log" \
  helm upgrade --install parlance-crds charts/parlance-crds --namespace "$NAMESPACE" --create-namespace --wait --take-ownership
before=$(helm --namespace "$NAMESPACE" list --short --filter '^parlance$')
step "helm upgrade --install parlance" "$LOGS/helm.log" install_operator
if [ -n "$before" ]; then # the tag is the same at every build: an operator that was there still runs the former image
  step "restarting the operator" "$LOGS/helm.log" restart
fi
