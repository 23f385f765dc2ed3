#!/usr/bin/env bash
# Stops the cluster that up.sh booted and takes away everything it left on the machine: processes, mounts, network links
# and namespaces, nftables, cgroups, settings and files. Prints what it could not remove, and fails if that is anything.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log root process host; do . "$CLUSTER_DIR/lib/$lib.sh"; done

if [ ! -e "$RUN" ]; then
  say "cluster: not up"
  exit 0
fi
as_root "$@"
if [ -z "${PARLANCE_LOCKED:-}" ]; then # up.sh calls this with the lock held
  exec 9>"$PARLANCE_CACHE/run.lock"
  flock -w 300 9 || fail "another cluster-up or cluster-down has been running for five minutes"
  [ -e "$RUN" ] || exit 0 # another cluster-down was faster
fi
began=$(date +%s.%N)

# End every container through its runtime, while that still runs.
stop_containers() {
  [ -S "$CONTAINERD_SOCK" ] && pid_of containerd >/dev/null || return 0
  local ctr=("$BIN/ctr" -a "$CONTAINERD_SOCK" -n k8s.io) task
  for task in $("${ctr[@]}" tasks ls -q 2>/dev/null); do "${ctr[@]}" tasks kill -s KILL "$task" 2>/dev/null || true; done
  for task in $("${ctr[@]}" tasks ls -q 2>/dev/null); do "${ctr[@]}" tasks rm -f "$task" >/dev/null 2>&1 || true; done
}

# Whatever still runs a program of this cluster, by its path: shims, and daemons whose pid file was lost.
stop_strays() {
  local exe
  for exe in /proc/[0-9]*/exe; do
    case $(readlink "$exe" 2>/dev/null) in
      "$BIN"/containerd* | "$BIN"/runc* | "$BIN"/kube-* | "$BIN"/kubelet* | "$BIN"/etcd* | "$BIN"/kwok*)
        kill -KILL "$(cut -d/ -f3 <<<"$exe")" 2>/dev/null || true
        ;;
    esac
  done
}

unmount_all() {
  local try path
  for try in 1 2 3; do
    awk -v run="$RUN/" 'index($2, run) == 1 { print $2 }' /proc/mounts | sort -r | while read -r path; do
      umount -l "$path" 2>/dev/null || true
    done
  done
}

stop 2 kwok kubelet kube-proxy kube-scheduler kube-controller-manager
stop_containers
stop 3 containerd
stop 1 kube-apiserver etcd # their state is thrown away
stop_strays
kill_pods
unmount_all
restore_network
restore_sysctls
restore_cgroups
restore_folders
left=$(leftovers)
rm -rf --one-file-system "$RUN"
[ ! -e "$RUN" ] || left+=" $RUN"
if [ -n "$left" ]; then
  say "cluster: down, but this is left:"
  say "$left"
  exit 1
fi
say "cluster: down in $(seconds_since "$began") s; nothing is left"
