#!/usr/bin/env bash
# Says whether the cluster that up.sh boots is up. Exit code 0: up and answering; 1: not.  --quiet: only the exit code.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log process; do . "$CLUSTER_DIR/lib/$lib.sh"; done
if [ "${1:-}" = --quiet ]; then exec >/dev/null 2>&1; fi

[ -d "$RUN/pids" ] && [ -n "$(daemons)" ] || {
  say "cluster: not up"
  exit 1
}
dead=$(dead_daemons)
[ -z "$dead" ] || {
  say "cluster: broken; no longer running: ${dead//$'\n'/, } (logs in $RUN/logs)"
  exit 1
}
kubectl --kubeconfig "$OWN_KUBECONFIG" --request-timeout=10s get --raw /readyz >/dev/null || {
  say "cluster: its API server does not answer (logs in $RUN/logs)"
  exit 1
}
say "cluster: up (KUBECONFIG=$OWN_KUBECONFIG)"
kubectl --kubeconfig "$OWN_KUBECONFIG" get nodes,pods -A
