#!/usr/bin/env bash
# Brings image archives into the cluster in use.
#
#   load-images.sh [ARCHIVE...]    default: Parlance's two, and the bundled model's
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log root select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
[ $# -gt 0 ] || set -- "$IMAGES/parlance-operator.tar" "$IMAGES/parlance-server.tar" "$IMAGES/parlance-model.tar"

# push ARCHIVE: to the registry that IMAGE_REGISTRY names, with whichever client is at hand
push() {
  local name
  name=$IMAGE_REGISTRY/$(basename "$1" .tar):$IMAGE_TAG
  if command -v skopeo >/dev/null; then
    skopeo copy "oci-archive:$1" "docker://$name"
  elif docker info >/dev/null 2>&1; then
    docker load -i "$1"
    docker push "$name"
  else
    fail "to push $1 to $name, skopeo or Docker is needed (skopeo is a Debian package)"
  fi
}

import() {
  local archive
  for archive in "$@"; do "$BIN/ctr" -a "$CONTAINERD_SOCK" -n k8s.io images import --local "$archive"; done
}

case $CLUSTER in
  own)
    as_root "$@"
    [ -S "$CONTAINERD_SOCK" ] || fail "the cluster is not up: run 'make cluster-up'"
    step "bringing $# images into the cluster's containerd" "$RUN/logs/import.log" import "$@"
    ;;
  kind)
    for archive in "$@"; do kind load image-archive "$archive" --name "$KIND_CLUSTER"; done
    ;;
  kubeconfig)
    context=$(kubectl config current-context)
    if [ -n "${IMAGE_REGISTRY:-}" ]; then
      for archive in "$@"; do push "$archive"; done
    elif [[ $context == kind-* ]] && command -v kind >/dev/null; then
      for archive in "$@"; do kind load image-archive "$archive" --name "${context#kind-}"; done
    else
      say "images: this cluster was not made here, so load these archives into its nodes yourself, or set"
      say "  IMAGE_REGISTRY to a registry that it pulls from and run again:"
      for archive in "$@"; do say "    $archive"; done
    fi
    ;;
esac
