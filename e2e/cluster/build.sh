#!/usr/bin/env bash
# Builds every program of the cluster from its pinned Go modules into $PARLANCE_CACHE/bin.
#
#   build.sh [NAME...]    only these (default: all that the cluster needs; promtool, prometheus and prometheus-adapter only by name)
#
# A program is built again only when its module, its flags or the Go version changed. About 15 minutes on two cores from
# nothing, a second when nothing changed.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$CLUSTER_DIR/lib/log.sh"
. "$CLUSTER_DIR/lib/go.sh"

ALL=(kubernetes etcd containerd runc cni coredns local-path-provisioner helm grpcurl glua pause busybox kwok-stages
  prometheus-crds gateway-crds cert-manager-crds keda-crds vertical-pod-autoscaler-crds)

mkdir -p "$BIN" "$STAMPS" "$LOGS"
exec 8>"$PARLANCE_CACHE/build.lock"
flock -n 8 || {
  say "another build is running on this machine; waiting for it"
  flock 8
}
find "$PARLANCE_CACHE" -maxdepth 1 -name 'build.??????' -exec rm -rf {} + # what an interrupted build left
use_go

# --- stamps: what a program was built from ----------------------------------------------------------------------------

# fresh NAME KEY OUTPUT...: was NAME built from KEY, and is every OUTPUT still there?
fresh() {
  local name=$1 key=$2 output
  shift 2
  [ "$(cat "$STAMPS/$name" 2>/dev/null)" = "$key" ] || return 1
  for output in "$@"; do [ -e "$BIN/$output" ] || return 1; done
}

# key ARGUMENT...: a hash of the arguments, the Go version and, on standard input, the pinned module
key() { { printf '%s\n' "$(go env GOVERSION)" "$(uname -m)" "$@" && cat; } | sha256sum | cut -d' ' -f1; }

# build NAME MODULE OUTPUTS COMMAND...: run COMMAND DIR, which leaves OUTPUTS in DIR; move them to bin only when all of it
# worked, and write the stamp last, so that half a build is never taken for one.
build() {
  local name=$1 module=$2 outputs=$3 wanted work output
  shift 3
  wanted=$(find "$CLUSTER_DIR/mods/$module" -maxdepth 1 -type f | sort | xargs -r cat | key "$@")
  # shellcheck disable=SC2086 # OUTPUTS is a list of words
  if fresh "$name" "$wanted" $outputs; then return; fi
  check_disk
  rm -f "$STAMPS/$name"
  work=$(mktemp -d "$PARLANCE_CACHE/build.XXXXXX")
  step "building $name" "$LOGS/build-$name.log" in_module "$module" "$@" "$work"
  for output in $outputs; do
    mkdir -p "$(dirname "$BIN/$output")"
    rm -rf "${BIN:?}/$output"
    mv "$work/$output" "$BIN/$output"
  done
  rm -rf "$work"
  echo "$wanted" >"$STAMPS/$name"
  built=$((built + 1))
}

in_module() {
  cd "$CLUSTER_DIR/mods/$1"
  shift
  "$@"
}

# A first build fills the Go caches with about 12 GB.
check_disk() {
  [ "$built" = 0 ] || return 0
  local free
  free=$(df --output=avail -BG "$PARLANCE_CACHE" | tail -1 | tr -dc 0-9)
  [ -d "$GOCACHE/00" ] || [ "$free" -ge 16 ] ||
    fail "$PARLANCE_CACHE has $free GB free and a first build needs 16: make room, or set PARLANCE_CACHE to a folder on another disk"
}

# --- how each is built ------------------------------------------------------------------------------------------------

# go_build TAGS LDFLAGS PACKAGE... DIR
go_build() {
  local tags=$1 ldflags=$2 dir=${*: -1}
  shift 2
  nice -n 10 go build -trimpath -tags "$tags" -ldflags "-s -w $ldflags" -o "$dir/" "${@:1:$#-1}"
}

go_build_cgo() { CGO_ENABLED=1 go_build "$@"; }

go_build_cni() {
  local dir=${*: -1}
  mkdir "$dir/cni"
  go_build "${@:1:$#-1}" "$dir/cni"
}

build_pause() {
  local source
  source=$(go list -m -f '{{.Dir}}' k8s.io/kubernetes)/build/pause/linux/pause.c
  gcc -Os -Wall -static -DVERSION=3.10 -o "$1/pause" "$source"
  strip "$1/pause"
}

# Debian's static busybox, unpacked and not installed: as a package it would replace the machine's own busybox.
build_busybox() {
  cd "$1"
  apt-get download busybox-static
  dpkg-deb -x busybox-static_*.deb unpacked
  find unpacked -name busybox -type f -exec mv {} busybox-static \;
}

# KWOK's program has no behaviour of its own: what its fake nodes and pods do is in its module's files.
build_kwok_stages() {
  local stages file
  stages=$(go list -m -f '{{.Dir}}' sigs.k8s.io/kwok)/kustomize/stage
  for file in "$stages"/node/fast/*.yaml "$stages"/node/heartbeat-with-lease/*.yaml "$stages"/pod/fast/*.yaml; do
    case $file in
      *kustomization* | *.input.* | *.output.*) ;;
      *) printf -- '---\n' && cat "$file" ;;
    esac
  done >"$1/kwok-stages.yaml"
}

# The two kinds of the Prometheus operator that Parlance makes objects of; tests bring them into the cluster and take them away.
build_prometheus_crds() {
  local folder kind
  go mod download github.com/prometheus-operator/prometheus-operator
  folder=$(go list -m -f '{{.Dir}}' github.com/prometheus-operator/prometheus-operator)/example/prometheus-operator-crd
  for kind in podmonitors prometheusrules; do
    printf -- '---\n' && cat "$folder/monitoring.coreos.com_$kind.yaml"
  done >"$1/prometheus-crds.yaml"
}

# The same of the Gateway API and of cert-manager; its issuers and requests too, so that people find their kinds.
build_gateway_crds() {
  local folder kind
  go mod download sigs.k8s.io/gateway-api
  folder=$(go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)/config/crd/standard
  for kind in gatewayclasses gateways httproutes grpcroutes; do
    printf -- '---\n' && cat "$folder/gateway.networking.k8s.io_$kind.yaml"
  done >"$1/gateway-crds.yaml"
}

build_cert_manager_crds() {
  local folder kind
  go mod download github.com/cert-manager/cert-manager
  folder=$(go list -m -f '{{.Dir}}' github.com/cert-manager/cert-manager)/deploy/crds
  for kind in certificates certificaterequests issuers clusterissuers; do
    printf -- '---\n' && cat "$folder/cert-manager.io_$kind.yaml"
  done >"$1/cert-manager-crds.yaml"
}

# The kinds of the two autoscalers.
build_keda_crds() {
  local folder kind
  go mod download github.com/kedacore/keda/v2
  folder=$(go list -m -f '{{.Dir}}' github.com/kedacore/keda/v2)/config/crd/bases
  for kind in scaledobjects triggerauthentications clustertriggerauthentications; do
    printf -- '---\n' && cat "$folder/keda.sh_$kind.yaml"
  done >"$1/keda-crds.yaml"
}

build_vertical_pod_autoscaler_crds() {
  go mod download k8s.io/autoscaler/vertical-pod-autoscaler
  cat "$(go list -m -f '{{.Dir}}' k8s.io/autoscaler/vertical-pod-autoscaler)/deploy/vpa-v1-crd-gen.yaml" \
    >"$1/vertical-pod-autoscaler-crds.yaml"
}

version_of() { awk -v m="$2" '$1 == m { print $2; exit } $2 == m { print $3; exit }' "$CLUSTER_DIR/mods/$1/go.mod"; }

build_prometheus_adapter() {
  go_build "" "" sigs.k8s.io/prometheus-adapter/cmd/adapter "$1"
  mv "$1/adapter" "$1/prometheus-adapter"
}

# --- the list ---------------------------------------------------------------------------------------------------------

build_one() {
  local version minor kubernetes_ld
  case $1 in
    kubernetes) # with metrics-server and KWOK in the same module, which compiles their shared packages once
      version=$(version_of kubernetes k8s.io/kubernetes)
      minor=${version#v1.}
      kubernetes_ld="-X k8s.io/component-base/version.gitVersion=$version"
      kubernetes_ld+=" -X k8s.io/component-base/version.gitMajor=1"
      kubernetes_ld+=" -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
      kubernetes_ld+=" -X k8s.io/component-base/version.gitTreeState=clean"
      kubernetes_ld+=" -X k8s.io/component-base/version.gitCommit=module"
      kubernetes_ld+=" -X k8s.io/component-base/version.buildDate=1970-01-01T00:00:00Z"
      build kubernetes kubernetes \
        "kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl metrics-server kwok" \
        go_build "" "$kubernetes_ld" \
        k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kube-scheduler,kubelet,kube-proxy,kubectl} \
        sigs.k8s.io/metrics-server/cmd/metrics-server sigs.k8s.io/kwok/cmd/kwok
      ;;
    etcd) build etcd etcd etcd build_etcd ;;
    containerd)
      version=$(version_of containerd github.com/containerd/containerd/v2)
      build containerd containerd "containerd containerd-shim-runc-v2 ctr" \
        go_build "no_btrfs no_zfs no_devmapper" "-X github.com/containerd/containerd/v2/version.Version=$version" \
        github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}
      ;;
    # containerd always sends a seccomp profile, so runc is built with seccomp, which is C
    runc) build runc runc runc go_build_cgo seccomp "" github.com/opencontainers/runc ;;
    cni)
      build cni cni "cni/bridge cni/loopback cni/host-local cni/portmap" go_build_cni "" "" \
        github.com/containernetworking/plugins/plugins/{main/bridge,main/loopback,ipam/host-local,meta/portmap}
      ;;
    # CoreDNS with only the plugins that a cluster uses: see its main.go
    coredns) build coredns coredns coredns go_build "" "" . ;;
    local-path-provisioner)
      build "$1" "$1" "$1" go_build "" "" github.com/rancher/local-path-provisioner
      ;;
    helm) build helm helm helm go_build "" "" helm.sh/helm/v4/cmd/helm ;;
    # service discoveries other than Kubernetes' left out: they bring the SDK of every cloud
    promtool | prometheus)
      version=$(version_of prometheus github.com/prometheus/prometheus)
      build "$1" prometheus "$1" go_build remove_all_sd,enable_kubernetes_sd \
        "-X github.com/prometheus/common/version.Version=$version" "github.com/prometheus/prometheus/cmd/$1"
      ;;
    # an adapter's folder is called adapter, and so would be its program
    prometheus-adapter) build "$1" "$1" "$1" build_prometheus_adapter ;;
    grpcurl) build grpcurl grpcurl grpcurl go_build "" "" github.com/fullstorydev/grpcurl/cmd/grpcurl ;;
    # the Lua that Argo CD runs health checks with
    glua) build glua gopher-lua glua go_build "" "" github.com/yuin/gopher-lua/cmd/glua ;;
    pause) build pause kubernetes pause build_pause ;;
    busybox) build busybox . busybox-static build_busybox ;;
    kwok-stages) build kwok-stages kubernetes kwok-stages.yaml build_kwok_stages ;;
    prometheus-crds) build prometheus-crds prometheus-operator prometheus-crds.yaml build_prometheus_crds ;;
    gateway-crds) build gateway-crds gateway-api gateway-crds.yaml build_gateway_crds ;;
    cert-manager-crds) build cert-manager-crds cert-manager cert-manager-crds.yaml build_cert_manager_crds ;;
    keda-crds) build keda-crds keda keda-crds.yaml build_keda_crds ;;
    vertical-pod-autoscaler-crds)
      build "$1" vertical-pod-autoscaler vertical-pod-autoscaler-crds.yaml build_vertical_pod_autoscaler_crds
      ;;
    *) fail "$1 is not one of: ${ALL[*]} promtool prometheus prometheus-adapter" ;;
  esac
}

build_etcd() {
  go_build "" "" go.etcd.io/etcd/server/v3 "$1"
  mv "$1/server" "$1/etcd" # Go names a program after its folder
}

began=$(date +%s.%N)
built=0
[ $# -gt 0 ] || set -- "${ALL[@]}"
for name in "$@"; do build_one "$name"; done
if [ "$built" = 0 ]; then
  say "cluster programs: all up to date in $BIN"
else
  say "cluster programs: built $built of $# in $(seconds_since "$began") s, in $BIN"
fi
