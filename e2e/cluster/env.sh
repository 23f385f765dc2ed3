# shellcheck shell=bash
# Settings that every script here shares. Sourced, never run.
# In: the environment. Out: paths, addresses and names. Changes nothing on the machine.

CLUSTER_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPO_DIR=$(cd "$CLUSTER_DIR/../.." && pwd)

# Everything that is built or downloaded lies under one folder for the whole machine, so that a fresh clone reuses it.
: "${PARLANCE_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/parlance}"
export PARLANCE_CACHE
BIN=$PARLANCE_CACHE/bin        # programs of the cluster, and kubectl, helm, grpcurl
: "${IMAGES:=$PARLANCE_CACHE/images}" # OCI archives
STAMPS=$PARLANCE_CACHE/stamps  # what each of them was built from
LOGS=$PARLANCE_CACHE/logs      # logs of builds; logs of the running cluster are in $RUN/logs
RUN=$PARLANCE_CACHE/run        # state of the running cluster; cluster-down removes it

# The cluster's names and addresses on this machine. The three addresses may be moved when they collide.
NODE=parlance-node
NODE_BRIDGE=parlance-node      # carries the node's address; no port is ever attached
POD_BRIDGE=parlance0           # pods are attached here
NFT_TABLE=parlance
: "${PARLANCE_NODE_IP:=172.30.0.1}"
: "${PARLANCE_POD_CIDR:=10.244.0.0/16}"
: "${PARLANCE_SERVICE_CIDR:=10.96.0.0/16}"
export PARLANCE_NODE_IP PARLANCE_POD_CIDR PARLANCE_SERVICE_CIDR
API_SERVICE_IP=${PARLANCE_SERVICE_CIDR%.*}.1
DNS_SERVICE_IP=${PARLANCE_SERVICE_CIDR%.*}.10

PKI=$RUN/pki
CONTAINERD_SOCK=$RUN/containerd.sock
OWN_KUBECONFIG=$RUN/admin.kubeconfig
KIND_KUBECONFIG=$PARLANCE_CACHE/kind.kubeconfig
KIND_CLUSTER=parlance

# The two images that `make images` builds. IMAGE_REGISTRY is for a cluster that pulls from one (see load-images.sh).
OPERATOR_REPOSITORY=${IMAGE_REGISTRY:-localhost}/parlance-operator
SERVER_REPOSITORY=${IMAGE_REGISTRY:-localhost}/parlance-server
MODEL_REPOSITORY=${IMAGE_REGISTRY:-localhost}/parlance-model
: "${IMAGE_TAG:=dev}"

# The clients keep their caches here and read nobody's preferences.
KUBECACHEDIR=$PARLANCE_CACHE/kubectl-$(id -u)
KUBERC=off
export KUBECACHEDIR KUBERC
export HELM_CACHE_HOME=$PARLANCE_CACHE/helm HELM_CONFIG_HOME=$PARLANCE_CACHE/helm HELM_DATA_HOME=$PARLANCE_CACHE/helm

export PATH=$BIN:$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin
