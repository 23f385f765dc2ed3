#!/usr/bin/env bash
# Checks that the cluster in use does what the tests rely on: routing, names, volumes, security admission, metrics,
# autoscaling, fake nodes, the log of writes. Works in a namespace of its own, and removes it.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
[ "$CLUSTER" = own ] || fail "these checks are about the cluster that is booted here; the one in use is: $CLUSTER"
NAMESPACE=cluster-check
OUTPUT=$(mktemp)
passed=0
failed=0

cleanup() {
  kubectl delete namespace "$NAMESPACE" --wait=false >/dev/null 2>&1 || true
  kubectl delete node cluster-check-gpu >/dev/null 2>&1 || true
  rm -f "$OUTPUT"
}
trap cleanup EXIT

# check DESCRIPTION COMMAND...
check() {
  local what=$1
  shift
  if "$@" >"$OUTPUT" 2>&1; then
    passed=$((passed + 1))
    say "ok      $what"
  else
    failed=$((failed + 1))
    say "FAILED  $what: $(tail -c 300 "$OUTPUT")"
  fi
}

k() { kubectl --namespace "$NAMESPACE" "$@"; }
inside() { k exec box -- timeout 10 "$@"; }
eventually() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 1
  done
}

refuses_root() { ! k run root --image=localhost/busybox:dev --image-pull-policy=Never -- true; }
names_nothing_outside() { (inside nslookup example.org "$DNS_SERVICE_IP" 2>&1 || true) | grep NXDOMAIN; }
scaled_out() { [ "$(k get deployment web -o 'jsonpath={.status.readyReplicas}')" -ge 2 ]; }
gpu_pod_runs() { [ "$(k get pod gpu -o 'jsonpath={.spec.nodeName} {.status.phase}')" = "cluster-check-gpu Running" ]; }
volume_is_gone() { ! kubectl get persistentvolume "$volume" && ! ls -d "$RUN/local-path/$volume"_*; }

kubectl create namespace "$NAMESPACE" >/dev/null
kubectl label namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted >/dev/null
sed "s#@NAMESPACE@#$NAMESPACE#g" "$CLUSTER_DIR/config/check.yaml" | kubectl apply -f - >/dev/null

check "the node is ready" kubectl wait --for=condition=Ready "node/$NODE" --timeout=60s
check "a Deployment under the restricted security standard is ready" k rollout status deployment/web --timeout=90s
check "the same standard refuses a pod that may be root" refuses_root
check "a claim is bound and a pod that runs as 65532 writes to its volume" k wait --for=condition=Ready pod/box --timeout=90s
address=$(k get service web -o 'jsonpath={.spec.clusterIP}')
check "a Service answers on its address, asked from this machine" curl -sf -m 5 "http://$address/"
check "a Service answers on its address, asked from a pod" inside wget -q -O - "http://$address/"
check "a Service answers by its short name" inside wget -q -O - http://web/
check "a Service answers by its full name" inside wget -q -O - "http://web.$NAMESPACE.svc.cluster.local/"
check "a NodePort answers on the node's address" curl -sf -m 5 "http://$PARLANCE_NODE_IP:30080/"
check "an outside name is answered at once, with a no" names_nothing_outside
check "a pod reaches the API server" inside nc -w 3 "$API_SERVICE_IP" 443 </dev/null
check "logs can be read" k logs box
check "a fake GPU node runs a GPU pod" eventually 30 gpu_pod_runs
check "the metrics API knows the pods" eventually 60 k top pod
(k exec deployment/web -- timeout 60 sh -c 'while :; do :; done' >/dev/null 2>&1 &)
check "an autoscaler scales out on CPU" eventually 90 scaled_out
check "the log of writes has the namespace's Deployment" grep -q "/namespaces/$NAMESPACE/deployments.*\"verb\":\"create\"" "$RUN/logs/audit.log"
volume=$(k get persistentvolumeclaim data -o 'jsonpath={.spec.volumeName}')
check "the namespace can be deleted" kubectl delete namespace "$NAMESPACE" --timeout=120s
check "its volume goes with it" eventually 60 volume_is_gone

say "cluster check: $passed passed, $failed failed"
[ "$failed" = 0 ]
