# shellcheck shell=bash
# Which cluster the targets use: the one that KUBECONFIG names; else kind, where kind and a Docker engine are present;
# else our own, built and booted on this machine.

same_file() { [ "$(readlink -f "$1")" = "$(readlink -f "$2")" ]; }

# select_cluster: set CLUSTER to kubeconfig, kind or own, and KUBECONFIG to its file
select_cluster() {
  if [ -n "${PARLANCE_CLUSTER:-}" ]; then
    CLUSTER=$PARLANCE_CLUSTER
  elif [ -n "${KUBECONFIG:-}" ] && ! same_file "$KUBECONFIG" "$OWN_KUBECONFIG" && ! same_file "$KUBECONFIG" "$KIND_KUBECONFIG"; then
    CLUSTER=kubeconfig
  elif command -v kind >/dev/null && docker info >/dev/null 2>&1; then
    CLUSTER=kind
  else
    CLUSTER=own
  fi
  case $CLUSTER in
    kubeconfig) [ -n "${KUBECONFIG:-}" ] || fail "PARLANCE_CLUSTER=kubeconfig needs KUBECONFIG" ;;
    kind) KUBECONFIG=$KIND_KUBECONFIG ;;
    own) KUBECONFIG=$OWN_KUBECONFIG ;;
    *) fail "PARLANCE_CLUSTER is '$CLUSTER'; it can be own, kind or kubeconfig" ;;
  esac
  export KUBECONFIG CLUSTER
}

# say_cluster: one line that tells a person which cluster is used, and why
say_cluster() {
  case $CLUSTER in
    kubeconfig) say "cluster: the one that KUBECONFIG=$KUBECONFIG names (unset KUBECONFIG to use one made here)" ;;
    kind) say "cluster: kind, named $KIND_CLUSTER (kind and Docker are present; PARLANCE_CLUSTER=own boots one without them)" ;;
    own) say "cluster: our own, booted on this machine (KUBECONFIG=$KUBECONFIG)" ;;
  esac
}

# ensure_clients: for a cluster that is not ours, build only the client programs that this machine lacks
ensure_clients() {
  local name missing=()
  command -v kubectl >/dev/null || missing+=(kubernetes)
  for name in helm grpcurl; do command -v "$name" >/dev/null || missing+=("$name"); done
  [ ${#missing[@]} = 0 ] || "$CLUSTER_DIR/build.sh" "${missing[@]}"
}
