#!/usr/bin/env bash
# Boots a real single-node Kubernetes cluster on this machine from the programs that build.sh made, and waits until it
# works. Says so and stops when it already runs; cleans up first after one that crashed. down.sh undoes all of it.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log root process pki control-plane node host; do . "$CLUSTER_DIR/lib/$lib.sh"; done

mkdir -p "$LOGS" # before it is root's
as_root "$@"
exec 9>"$PARLANCE_CACHE/run.lock"
flock -w 300 9 || fail "another cluster-up or cluster-down has been running for five minutes"

if [ -e "$RUN" ]; then
  if "$CLUSTER_DIR/status.sh" --quiet; then
    say "cluster: already up (KUBECONFIG=$OWN_KUBECONFIG)"
    exit 0
  fi
  say "cluster: an earlier one did not end well; cleaning up after it"
  PARLANCE_LOCKED=1 "$CLUSTER_DIR/down.sh"
fi

[ -x "$BIN/kubelet" ] && [ -f "$IMAGES/cluster-busybox.tar" ] || fail "the cluster's programs are not built: run 'make cluster-up'"
say "cluster: booting on this machine (node $PARLANCE_NODE_IP, pods $PARLANCE_POD_CIDR, services $PARLANCE_SERVICE_CIDR)"
check_host

# A boot that fails shows why and leaves nothing behind but its logs.
booted=
give_up() {
  [ -z "$booted" ] || return 0
  say "cluster: the boot failed"
  local log
  for log in $(dead_daemons); do
    say "--- $log ended; the end of its log:"
    tail -n 25 "$RUN/logs/$log.log" | cut -c1-300
  done
  rm -rf "$LOGS/failed-boot"
  cp -r "$RUN/logs" "$LOGS/failed-boot" && give_to_user -R "$LOGS/failed-boot" && say "all logs of this boot: $LOGS/failed-boot"
  PARLANCE_LOCKED=1 "$CLUSTER_DIR/down.sh"
}

began=$(date +%s.%N)
mkdir -p "$RUN"/{pids,logs,pki,config,etcd}
trap give_up EXIT

record_host
prepare_network
(make_pki) >"$RUN/logs/pki.log" 2>&1
give_to_user "$OWN_KUBECONFIG"
write_configs
install -m 600 /dev/null "$RUN/logs/audit.log"
give_to_user "$RUN/logs/audit.log"

export KUBECONFIG=$OWN_KUBECONFIG
start_etcd
start_apiserver
start_controller_manager
start_scheduler
start_containerd
wait_for 60 "containerd answers" "$BIN/ctr" -a "$CONTAINERD_SOCK" version
import_images
wait_for 120 "the API server is ready" kubectl get --raw /readyz
start_kubelet
start_proxy
start_kwok
apply_addons
wait_for 120 "the node is ready" node_ready
wait_for 180 "CoreDNS is available" deployment_ready kube-system coredns
wait_for 180 "the volume provisioner is available" deployment_ready local-path-storage local-path-provisioner
wait_for 180 "the metrics API answers" kubectl top node "$NODE"
[ -z "$(dead_daemons)" ] || exit 1

booted=yes
say "cluster: up in $(seconds_since "$began") s (Kubernetes $("$BIN/kubelet" --version | cut -d' ' -f2))"
say "  export KUBECONFIG=$OWN_KUBECONFIG PATH=$BIN:\$PATH"
