# shellcheck shell=bash
# Parlance in the cluster in use: install it, wait for the quickstart service, and ask that service for a transcript.

install_parlance() {
  step "helm upgrade --install parlance-crds" "$LOGS/helm-crds.log" \
    helm upgrade --install parlance-crds charts/parlance-crds --namespace parlance-system --create-namespace --wait
  local release=charts/parlance existed
  existed=$(helm --namespace parlance-system list --short --filter '^parlance$')
  step "helm upgrade --install parlance" "$LOGS/helm.log" \
    helm upgrade --install parlance "$release" --namespace parlance-system --wait --timeout 3m \
    --set "image.repository=$OPERATOR_REPOSITORY" --set "image.tag=$IMAGE_TAG" \
    --set "serverImage.repository=$SERVER_REPOSITORY" --set "serverImage.tag=$IMAGE_TAG"
  # The tag is the same at every build: an operator that was there already still runs the former image.
  if [ -n "$existed" ]; then
    kubectl --namespace parlance-system rollout restart deployment
    kubectl --namespace parlance-system rollout status deployment --timeout 3m
  fi
}

await_service() {
  kubectl wait --for=condition=Ready transcriptionservice/quickstart --timeout 5m || {
    kubectl describe transcriptionservice/quickstart
    kubectl get pods,persistentvolumeclaims,events
    kubectl --namespace parlance-system logs --tail 30 --selector app.kubernetes.io/name=parlance
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
