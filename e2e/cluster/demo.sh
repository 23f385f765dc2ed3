#!/usr/bin/env bash
# make demo: from a checkout to the words of a recording, on a real Kubernetes cluster. Every step says what it does; the
# cluster stays up afterwards, to look around in.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
cd "$REPO_DIR"
RECORDINGS=models/whisper-nano-digits/samples

await_service() {
  kubectl wait --for=condition=Ready transcriptionservice/quickstart --timeout 5m || {
    kubectl describe transcriptionservice/quickstart
    kubectl get pods,persistentvolumeclaims,events
    kubectl --namespace parlance-system logs --tail 30 --selector app.kubernetes.io/component=operator
    return 1
  }
}

# transcribe_one: the words spoken in a recording and the words that the service heard, side by side
transcribe_one() {
  local file words port_forward='' address reply
  IFS=$'\t' read -r file words < <(python3 - "$RECORDINGS/samples.jsonl" <<'PYTHON'
import json, sys
sample = json.loads(open(sys.argv[1]).readline())
print(sample["file"], sample["text"], sep="\t")
PYTHON
  )
  if [ "$CLUSTER" = own ]; then # this machine is the node: the Service's own address works
    address=$(kubectl get service quickstart --output 'jsonpath={.spec.clusterIP}:{.spec.ports[?(@.name=="grpc")].port}')
  else
    kubectl port-forward service/quickstart 50051:grpc >"$LOGS/port-forward.log" 2>&1 &
    port_forward=$!
    address=127.0.0.1:50051
    sleep 3
  fi
  say "  grpcurl -plaintext -d '{\"audio\": \"<$file>\"}' $address parlance.v1.Transcription/Transcribe"
  reply=$(printf '{"audio": "%s"}' "$(base64 -w0 "$RECORDINGS/$file")" |
    grpcurl -plaintext -max-time 60 -d @ "$address" parlance.v1.Transcription/Transcribe)
  [ -z "$port_forward" ] || kill "$port_forward"
  say "  spoken:      $words"
  say "  transcribed: $(python3 -c 'import json, sys; print(json.load(sys.stdin).get("text", "").strip())' <<<"$reply")"
}

began=$(date +%s.%N)
say "1/6 a cluster"
"$CLUSTER_DIR/cluster-up.sh"

say "2/6 Parlance's images"
step "building the operator and the inference server (first time: some minutes)" "$LOGS/cargo-build.log" \
  cargo build --release --locked -p operator -p inference-server -p kubectl-parlance
"$CLUSTER_DIR/parlance-images.sh"
"$CLUSTER_DIR/load-images.sh"

say "3/6 the operator, installed by Helm"
"$CLUSTER_DIR/install.sh"

say "4/6 kubectl apply -f examples/quickstart.yaml"
kubectl apply -f examples/quickstart.yaml
step "waiting until the TranscriptionService is ready" "$LOGS/demo-wait.log" await_service

say "5/6 a recording, transcribed over gRPC"
transcribe_one

say "6/6 what is in the cluster now"
kubectl get transcriptionservices,modeldeployments,deployments,pods,services,persistentvolumeclaims
cat <<END

Done in $(seconds_since "$began") s. The cluster stays up. To look around:
  export KUBECONFIG=$KUBECONFIG PATH=$BIN:\$PATH
  kubectl describe tsvc quickstart
  kubectl get events
To take it down and leave nothing behind:  make cluster-down
END
