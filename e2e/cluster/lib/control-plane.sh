# shellcheck shell=bash
# etcd, kube-apiserver, kube-controller-manager, kube-scheduler. The apiserver listens on the node's address only, the
# others on loopback only.

start_etcd() {
  # The state is thrown away with the cluster, so nothing waits for the disk.
  start etcd "$BIN/etcd" --name parlance --data-dir "$RUN/etcd" --unsafe-no-fsync --log-level warn \
    --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
    --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
    --initial-cluster parlance=http://127.0.0.1:12380
}

start_apiserver() {
  local flags=(
    --etcd-servers=http://127.0.0.1:12379
    --bind-address="$PARLANCE_NODE_IP" --secure-port=6443 --advertise-address="$PARLANCE_NODE_IP"
    --service-cluster-ip-range="$PARLANCE_SERVICE_CIDR" --service-node-port-range=30000-32767
    --allow-privileged=true --authorization-mode='Node,RBAC' --anonymous-auth=false
    --enable-admission-plugins=NodeRestriction # besides the defaults, PodSecurity among them
    --client-ca-file="$PKI/ca.crt"
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key"
    --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key"
    --kubelet-certificate-authority="$PKI/ca.crt" --kubelet-preferred-address-types=InternalIP
    --service-account-issuer=https://kubernetes.default.svc.cluster.local
    --service-account-key-file="$PKI/service-accounts.pub"
    --service-account-signing-key-file="$PKI/service-accounts.key"
    # what the metrics API needs: requests passed on to another server, in the caller's name
    --requestheader-client-ca-file="$PKI/front-ca.crt" --requestheader-allowed-names=front-proxy-client
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group
    --requestheader-extra-headers-prefix=X-Remote-Extra-
    --proxy-client-cert-file="$PKI/front.crt" --proxy-client-key-file="$PKI/front.key"
    --enable-aggregator-routing=true
    --audit-policy-file="$RUN/config/audit-policy.yaml" --audit-log-path="$RUN/logs/audit.log"
    --audit-log-maxsize=500 --audit-log-maxbackup=1
    --shutdown-delay-duration=0s --profiling=false
  )
  start kube-apiserver "$BIN/kube-apiserver" "${flags[@]}"
}

start_controller_manager() {
  local config=$RUN/kube-controller-manager.kubeconfig
  local flags=(
    --kubeconfig="$config" --authentication-kubeconfig="$config" --authorization-kubeconfig="$config"
    --leader-elect=false --bind-address=127.0.0.1 --cert-dir="$RUN/kube-controller-manager"
    --use-service-account-credentials=true --root-ca-file="$PKI/ca.crt"
    --service-account-private-key-file="$PKI/service-accounts.key"
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key"
    --requestheader-client-ca-file="$PKI/front-ca.crt"
    --kube-api-qps=200 --kube-api-burst=400 --flex-volume-plugin-dir="$RUN/volume-plugins"
    # autoscaling that a test can wait for
    --horizontal-pod-autoscaler-sync-period=5s --horizontal-pod-autoscaler-cpu-initialization-period=20s
    --horizontal-pod-autoscaler-initial-readiness-delay=5s --horizontal-pod-autoscaler-downscale-stabilization=30s
  )
  start kube-controller-manager "$BIN/kube-controller-manager" "${flags[@]}"
}

start_scheduler() {
  local config=$RUN/kube-scheduler.kubeconfig
  start kube-scheduler "$BIN/kube-scheduler" \
    --kubeconfig="$config" --authentication-kubeconfig="$config" --authorization-kubeconfig="$config" \
    --leader-elect=false --bind-address=127.0.0.1 --cert-dir="$RUN/kube-scheduler" \
    --kube-api-qps=200 --kube-api-burst=400
}
