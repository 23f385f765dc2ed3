#!/usr/bin/env bash
# make demo: from a checkout to the words of a recording, on a real Kubernetes cluster. Every step says what it does; the
# cluster stays up afterwards, to look around in.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select install; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
cd "$REPO_DIR"
RECORDINGS=models/whisper-nano-digits/samples

began=$(date +%s.%N)
say "1/6 a cluster"
"$CLUSTER_DIR/cluster-up.sh"

say "2/6 Parlance's images"
step "building the operator and the inference server (first time: some minutes)" "$LOGS/cargo-build.log" \
  cargo build --release --locked -p operator -p inference-server
"$CLUSTER_DIR/parlance-images.sh"
"$CLUSTER_DIR/load-images.sh"

say "3/6 the operator, installed by Helm"
install_parlance

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
