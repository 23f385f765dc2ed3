# shellcheck shell=bash
# What the cluster takes from the machine, and how it is given back: check first, write down what was there, change,
# restore. Everything that is not inside $PARLANCE_CACHE and not a process is in this file.

# --- checks: nothing is changed ---------------------------------------------------------------------------------------

check_host() {
  # Entering a mount namespace, as runc does for `kubectl exec`, leaves a chroot: it would find itself outside the container.
  [ "$(nsenter --mount=/proc/self/ns/mnt stat -c %d:%i /)" = "$(stat -c %d:%i /)" ] ||
    fail "this is a chroot, where containers would not be contained; use a machine, a VM or a container"
  check_tools
  check_cgroups
  check_nobody_else
  check_addresses
  check_ports
  check_room
}

check_tools() {
  local tool
  for tool in ip nft openssl python3 flock ss; do
    command -v "$tool" >/dev/null || fail "$tool is missing: run e2e/cluster/prerequisites.sh"
  done
  nft list tables >/dev/null 2>&1 ||
    fail "nftables does not work here (is CAP_NET_ADMIN missing, or the kernel without it?): $(nft list tables 2>&1 | head -1)"
  # a unix socket's path has at most 107 characters
  [ ${#CONTAINERD_SOCK} -lt 95 ] || fail "PARLANCE_CACHE is too long a path for a socket: $PARLANCE_CACHE"
}

check_cgroups() {
  local controller
  for controller in cpu memory pids; do
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
      grep -qw "$controller" /sys/fs/cgroup/cgroup.controllers
    else
      [ -d "/sys/fs/cgroup/$controller" ]
    fi || fail "the cgroup controller '$controller' is not available under /sys/fs/cgroup; a kubelet needs it"
  done
}

check_nobody_else() {
  local exe
  for exe in /proc/[0-9]*/exe; do
    case $(readlink "$exe" 2>/dev/null) in
      "$BIN"/*) ;;
      */kubelet | */kube-proxy | */k3s | */k0s)
        fail "a Kubernetes node already runs on this machine ($(readlink "$exe")): set KUBECONFIG to use that cluster, or stop it"
        ;;
    esac
  done
  local table
  for table in "ip kube-proxy" "inet $NFT_TABLE"; do
    # shellcheck disable=SC2086 # a family and a name
    ! nft list table $table >/dev/null 2>&1 ||
      fail "the nftables table '$table' exists already: another cluster uses it, or left it behind (nft delete table $table)"
  done
  local link
  for link in "$NODE_BRIDGE" "$POD_BRIDGE"; do
    ! ip link show "$link" >/dev/null 2>&1 || fail "a network link named $link exists already: remove it (ip link delete $link)"
  done
}

check_addresses() {
  local clash
  clash=$(ip -4 -o route show table all | python3 -c '
import ipaddress, sys
ours = {"PARLANCE_NODE_IP": sys.argv[1] + "/32", "PARLANCE_POD_CIDR": sys.argv[2], "PARLANCE_SERVICE_CIDR": sys.argv[3]}
for line in sys.stdin:
    words = [w for w in line.split() if w not in ("local", "broadcast", "unicast", "blackhole", "unreachable")]
    try:
        route = ipaddress.ip_network(words[0], strict=False)
    except ValueError:
        continue
    for name, network in ours.items():
        if route.prefixlen and route.overlaps(ipaddress.ip_network(network)):
            sys.exit(print(f"this machine already routes {words[0]}, which overlaps {name}={network}: set {name} to a free range"))
' "$PARLANCE_NODE_IP" "$PARLANCE_POD_CIDR" "$PARLANCE_SERVICE_CIDR")
  [ -z "$clash" ] || fail "$clash"
}

check_ports() {
  local listening port
  listening=$(ss -Hltn | awk '{ print $4 }')
  for port in 12379 12380 10247 10248 10249 10256 10257 10259; do
    ! grep -qE "^(127\.0\.0\.1|0\.0\.0\.0|\*|\[::\]):$port\$" <<<"$listening" ||
      fail "port $port on 127.0.0.1 is taken: $(ss -Hltnp "sport = :$port" | awk '{ print $6 }' | head -1)"
  done
  for port in 6443 10250; do
    ! grep -qE "^(0\.0\.0\.0|\*|\[::\]):$port\$" <<<"$listening" ||
      fail "port $port is taken on every address: $(ss -Hltnp "sport = :$port" | awk '{ print $6 }' | head -1)"
  done
}

check_room() {
  local memory
  memory=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
  [ "$memory" -ge 2048 ] || fail "only $memory MiB of memory are free; the cluster and what runs in it need 2048"
}

# --- changes ----------------------------------------------------------------------------------------------------------

# Settings that the kubelet, the bridge plugin or these scripts change.
SYSCTLS=(
  net/ipv4/ip_forward net/bridge/bridge-nf-call-iptables vm/overcommit_memory vm/panic_on_oom
  kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes
)
# Folders outside ours that Kubernetes writes to whatever it is told.
FOREIGN=(
  /var/lib/kubelet /var/lib/cni /var/log/containers /var/log/pods /run/containerd /run/netns /run/mount /etc/cni /opt/cni
)

record_host() {
  local path
  load_bridge_filter
  for path in "${SYSCTLS[@]}"; do
    [ ! -f "/proc/sys/$path" ] || echo "$path $(cat "/proc/sys/$path")"
  done >"$RUN/config/sysctls.before"
  for path in "${FOREIGN[@]}"; do
    [ ! -e "$path" ] || echo "$path"
  done >"$RUN/config/folders.before"
}

# Answers between two pods of this node must pass the address translation too, which needs bridged packets to be seen.
load_bridge_filter() {
  [ ! -e /proc/sys/net/bridge/bridge-nf-call-iptables ] || return 0
  command -v modprobe >/dev/null && modprobe br_netfilter 2>/dev/null ||
    fail "the kernel module br_netfilter is needed and could not be loaded (modprobe br_netfilter)"
  echo br_netfilter >"$RUN/config/modules.loaded"
}

prepare_network() {
  # The node's address is on a bridge without ports: unlike a dummy link, every kernel has bridges.
  ip link add "$NODE_BRIDGE" type bridge
  ip address add "$PARLANCE_NODE_IP/32" dev "$NODE_BRIDGE"
  ip link set "$NODE_BRIDGE" up
  echo 1 >/proc/sys/net/ipv4/ip_forward
  echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables
  # Forwarding is on now, for pods: what comes from a pod may reach this machine and other pods, and nothing beyond;
  # and nothing from outside may reach a pod.
  nft -f - <<NFT
table inet $NFT_TABLE {
  chain forward {
    type filter hook forward priority -10; policy accept;
    iifname "$POD_BRIDGE" oifname != "$POD_BRIDGE" drop
    oifname "$POD_BRIDGE" iifname != "$POD_BRIDGE" drop
  }
}
NFT
  open_firewall
}

# Firewalls that drop by default (Docker's, ufw's) would drop what pods send each other and this machine.
dropping_chains() {
  nft -j list chains 2>/dev/null | python3 -c '
import json, sys
for item in json.load(sys.stdin)["nftables"]:
    chain = item.get("chain", {})
    if chain.get("policy") == "drop" and chain.get("hook") in ("input", "forward") and chain["table"] != sys.argv[1]:
        print(chain["family"], chain["table"], chain["name"])
' "$NFT_TABLE"
}

open_firewall() {
  local chain
  dropping_chains | while read -r chain; do
    say "  letting the cluster's pods through the firewall chain '$chain'"
    # shellcheck disable=SC2086 # family, table, name
    nft insert rule $chain iifname "$POD_BRIDGE" counter accept comment "\"$NFT_TABLE\""
  done
}

# --- and back ---------------------------------------------------------------------------------------------------------

close_firewall() {
  local chain handle
  dropping_chains | while read -r chain; do
    # shellcheck disable=SC2086
    nft -a list chain $chain | sed -n "s/.*comment \"$NFT_TABLE\".*# handle \([0-9]*\)\$/\1/p" | while read -r handle; do
      nft delete rule $chain handle "$handle"
    done
  done
}

restore_network() {
  close_firewall
  local link table
  for link in "$POD_BRIDGE" "$NODE_BRIDGE"; do ip link delete "$link" 2>/dev/null || true; done
  for table in "inet $NFT_TABLE" "ip kube-proxy" "ip6 kube-proxy" "inet cni_hostport"; do
    # shellcheck disable=SC2086 # a family and a name
    nft delete table $table 2>/dev/null || true
  done
}

restore_sysctls() {
  local path value
  [ -f "$RUN/config/sysctls.before" ] || return 0
  while read -r path value; do
    [ "$(cat "/proc/sys/$path")" = "$value" ] || echo "$value" >"/proc/sys/$path"
  done <"$RUN/config/sysctls.before"
  [ ! -f "$RUN/config/modules.loaded" ] || xargs -n1 modprobe -r <"$RUN/config/modules.loaded" 2>/dev/null || true
}

# The kubelet keeps every container under a cgroup of this name (where systemd does it, the name has a suffix).
pod_cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name kubepods; }

# kill_pods: what still runs in a pod's cgroup, whoever started it (the runtime that should end it may have died)
kill_pods() {
  local try folder pids
  for try in 1 2 3; do
    pids=$(for folder in $(pod_cgroups); do find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null; done | sort -u)
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086 # a list of numbers
    kill -KILL $pids 2>/dev/null || true
    sleep 0.3 # the kernel takes a moment to empty the cgroups of killed processes
  done
}

restore_cgroups() {
  local try folder
  for try in 1 2 3; do
    for folder in $(pod_cgroups); do find "$folder" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
    [ -n "$(pod_cgroups)" ] || return 0
    sleep 0.3
  done
}

# Take away only what was not there before.
restore_folders() {
  local path pod
  # ours even in folders that were there: what the CNI plugins noted for each pod, and links to our pods' logs
  for path in /var/lib/cni/results/parlance-*-eth0; do
    [ -e "$path" ] || continue
    pod=${path##*/parlance-}
    rm -f "$path" "/var/lib/cni/results/cni-loopback-${pod%-eth0}-lo"
  done
  find /var/log/containers /var/log/pods -lname "$RUN/*" -delete 2>/dev/null || true
  [ -f "$RUN/config/folders.before" ] || return 0
  for path in "${FOREIGN[@]}"; do
    grep -qxF "$path" "$RUN/config/folders.before" || [ ! -e "$path" ] ||
      find "$path" -xdev -depth \( -type d -empty -o -type s -o -type f -empty \) -delete
  done
}

# leftovers: anything of ours that is still on the machine, one a line
leftovers() {
  local exe path
  for exe in /proc/[0-9]*/exe; do
    path=$(readlink "$exe" 2>/dev/null) || continue
    case $path in
      "$BIN"/kube-* | "$BIN"/kubelet* | "$BIN"/etcd* | "$BIN"/containerd* | "$BIN"/kwok* | "$BIN"/runc*)
        echo "process $(cut -d/ -f3 <<<"$exe") $path"
        ;;
    esac
  done
  grep -F " $RUN" /proc/mounts || true
  ip -o link | grep -E " ($POD_BRIDGE|$NODE_BRIDGE)[:@]" || true
  nft list tables 2>/dev/null | grep -E "inet $NFT_TABLE|kube-proxy|cni_hostport" || true
  pod_cgroups
  find /var/lib/cni/results -name 'parlance-*' 2>/dev/null || true
  [ ! -f "$RUN/config/folders.before" ] || for path in "${FOREIGN[@]}"; do
    grep -qxF "$path" "$RUN/config/folders.before" || [ ! -e "$path" ] || find "$path"
  done
}
