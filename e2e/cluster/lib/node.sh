# shellcheck shell=bash
# The node: containerd, kubelet, kube-proxy, and KWOK for nodes that are only pretended.

# fill FILE: a file of config/ or manifests/ with its @PLACEHOLDERS@ replaced
fill() {
  sed -e "s#@RUN@#$RUN#g; s#@BIN@#$BIN#g; s#@PKI@#$PKI#g; s#@NODE@#$NODE#g; s#@NODE_IP@#$PARLANCE_NODE_IP#g" \
    -e "s#@POD_BRIDGE@#$POD_BRIDGE#g; s#@POD_CIDR@#$PARLANCE_POD_CIDR#g; s#@DNS_SERVICE_IP@#$DNS_SERVICE_IP#g" \
    -e "s#@CONTAINERD_SOCK@#$CONTAINERD_SOCK#g; s#@SNAPSHOTTER@#$(snapshotter)#g" "$1"
}

# overlayfs cannot lie on every filesystem (inside a container it is often refused): then layers are copied.
snapshotter() {
  [ -f "$RUN/config/snapshotter" ] || {
    local probe=$RUN/config/overlay-probe
    mkdir -p "$probe"/{lower,upper,work,merged}
    if mount -t overlay overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" "$probe/merged" 2>/dev/null; then
      umount "$probe/merged"
      echo overlayfs >"$RUN/config/snapshotter"
    else
      echo native >"$RUN/config/snapshotter"
    fi
    rm -rf "$probe"
  }
  cat "$RUN/config/snapshotter"
}

write_configs() {
  mkdir -p "$RUN"/cni/{net.d,ipam} "$RUN"/{local-path,podlogs}
  fill "$CLUSTER_DIR/config/cni.conflist" >"$RUN/cni/net.d/10-parlance.conflist"
  local name
  for name in containerd.toml kubelet.yaml kube-proxy.yaml audit-policy.yaml; do
    fill "$CLUSTER_DIR/config/$name" >"$RUN/config/$name"
  done
  : >"$RUN/config/resolv.conf" # pods ask CoreDNS, and CoreDNS asks nobody outside
}

start_containerd() { start containerd "$BIN/containerd" -c "$RUN/config/containerd.toml"; }

import_images() {
  local archive
  for archive in "$IMAGES"/cluster-*.tar; do
    "$BIN/ctr" -a "$CONTAINERD_SOCK" -n k8s.io images import --local "$archive"
  done >>"$RUN/logs/import.log" 2>&1
}

start_kubelet() {
  start kubelet "$BIN/kubelet" --config="$RUN/config/kubelet.yaml" --kubeconfig="$RUN/kubelet.kubeconfig" \
    --root-dir="$RUN/kubelet" --cert-dir="$RUN/kubelet-pki" --hostname-override="$NODE" --node-ip="$PARLANCE_NODE_IP" \
    --node-labels=parlance.dev/real=true --housekeeping-interval=5s
}

start_proxy() { start kube-proxy "$BIN/kube-proxy" --config="$RUN/config/kube-proxy.yaml"; }

# KWOK plays the kubelet for nodes that carry its annotation, and for no others. Without such a node it rests. A node whose Lease
# is not renewed counts as lost after 50 s, and its pods as not ready: KWOK renews it at a quarter of the duration.
start_kwok() {
  start kwok "$BIN/kwok" --kubeconfig="$OWN_KUBECONFIG" --config="$BIN/kwok-stages.yaml" \
    --manage-all-nodes=false --manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake \
    --node-lease-duration-seconds=120 --node-ip="$PARLANCE_NODE_IP" --cidr=10.250.0.0/16 --server-address=127.0.0.1:10247
}

apply_addons() {
  local name
  for name in coredns local-path metrics-server; do
    fill "$CLUSTER_DIR/manifests/$name.yaml" | kubectl apply -f -
  done >>"$RUN/logs/addons.log" 2>&1
}

node_ready() { kubectl get node "$NODE" --no-headers | grep -q ' Ready'; }
deployment_ready() { kubectl -n "$1" get deployment "$2" --no-headers | grep -q ' 1/1 '; }
