#!/usr/bin/env bash
# Records what the pictures show: services on the cluster in use, callers, and a Prometheus that looks at both for MINUTES (15). The operator
# must be there (install.sh). Out: $PARLANCE_CACHE/dashboards/record, which draw.sh draws from. Takes its two namespaces away at the end.
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck disable=SC1091
. "$HERE/../../../e2e/cluster/env.sh"
# shellcheck disable=SC1090
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
[ "$CLUSTER" = own ] || fail "record.sh needs our own cluster: its pods must reach this machine, and one of them is killed"
[ -x "$BIN/prometheus" ] || "$CLUSTER_DIR/build.sh" prometheus
MINUTES=${MINUTES:-15}
RECORD=$PARLANCE_CACHE/dashboards/record
MODEL=$REPO_DIR/models/whisper-nano-digits
WEB=$PARLANCE_NODE_IP:18091
rm -rf "$RECORD"
mkdir -p "$RECORD"
jobs=()

finish() {
  local job
  for job in "${jobs[@]}"; do kill "$job" 2>/dev/null || true; done
  wait
  kubectl delete namespace speech lab --ignore-not-found --wait=false
}
trap finish EXIT

for namespace in speech lab; do kubectl create namespace "$namespace" --dry-run=client --output yaml | kubectl apply --filename -; done
sed -e "s#RULES#$REPO_DIR/charts/parlance/rules#" -e "s#KUBECONFIG#$KUBECONFIG#" -e "s#GPUS#$WEB#" \
  "$HERE/prometheus.yaml" >"$RECORD/prometheus.yaml"
"$BIN/prometheus" --config.file="$RECORD/prometheus.yaml" --storage.tsdb.path="$RECORD/data" --web.listen-address=127.0.0.1:19090 \
  >"$RECORD/prometheus.log" 2>&1 &
jobs+=($!)
"$HERE/traffic.py" "$MODEL/samples" "$MODEL" "$WEB" "$MINUTES" >"$RECORD/traffic.log" 2>&1 &
traffic=$!
jobs+=("$traffic")

apply_from() { sed "s#ADDRESS#http://$WEB#" "$HERE/services.yaml" | kubectl apply --filename - --selector "from=$1"; }
scale() { kubectl --namespace speech patch transcriptionservice calls --type merge --patch "{\"spec\": {\"replicas\": $1}}"; }

# restart_one: kills the server in a pod of `calls`, as the kernel does when memory is short
restart_one() {
  local container
  container=$(kubectl --namespace speech get pods --selector parlance.dev/name=calls \
    --output 'jsonpath={.items[0].status.containerStatuses[0].containerID}')
  "$BIN/ctr" -a "$CONTAINERD_SOCK" -n k8s.io task kill -s SIGKILL "${container#containerd://}"
}

certificate() {
  openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=contracts -addext subjectAltName=DNS:contracts.speech.svc \
    -keyout "$RECORD/tls.key" -out "$RECORD/tls.crt" 2>"$RECORD/openssl.log"
  kubectl --namespace speech create secret tls contracts-tls --cert "$RECORD/tls.crt" --key "$RECORD/tls.key"
}

misheard() {
  kubectl --namespace lab create configmap misheard --from-file="a.wav=$MODEL/samples/three-digits-16k.wav" --from-literal=a.txt="Quite other words."
}

# minute N: what happens then
minute() {
  case $1 in
    0 | 2 | 3 | 4 | 5 | 8) apply_from "$1" ;;
    1) certificate && apply_from 1 ;;
    6) misheard && apply_from 6 ;;
    7) scale 3 ;;
    9) restart_one ;;
    11) kubectl --namespace lab delete modeldeployment digits-next ;;
    12) scale 2 ;;
    *) ;;
  esac
}

date +%s >"$RECORD/from"
for ((now = 0; now < MINUTES; now++)); do
  say "minute $now"
  minute "$now" || say "minute $now: that failed"
  date +%s >"$RECORD/to"
  sleep 60
done
date +%s >"$RECORD/to"
wait "$traffic"
cat "$RECORD/traffic.log"
