# shellcheck shell=bash
# The cluster's certificates and kubeconfigs, made anew at every boot (P-256: milliseconds each).
# Out: $PKI/*.{crt,key}, $RUN/*.kubeconfig

certificate_authority() { # NAME COMMON-NAME
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj "/CN=$2" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign,digitalSignature" \
    -keyout "$PKI/$1.key" -out "$PKI/$1.crt"
}

certificate() { # NAME AUTHORITY SUBJECT [ALTERNATIVE-NAMES]
  local extensions="keyUsage=critical,digitalSignature
extendedKeyUsage=clientAuth,serverAuth
${4:+subjectAltName=$4}"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$3" -keyout "$PKI/$1.key" -out "$PKI/$1.csr"
  openssl x509 -req -in "$PKI/$1.csr" -CA "$PKI/$2.crt" -CAkey "$PKI/$2.key" -set_serial "0x$(openssl rand -hex 8)" \
    -days 365 -extfile <(printf '%s\n' "$extensions") -out "$PKI/$1.crt"
}

kubeconfig() { # NAME: with the certificates inside, so that the file works wherever it is copied
  cat >"$RUN/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: parlance
    cluster:
      server: https://$PARLANCE_NODE_IP:6443
      certificate-authority-data: $(base64 -w0 "$PKI/ca.crt")
users:
  - name: $1
    user:
      client-certificate-data: $(base64 -w0 "$PKI/$1.crt")
      client-key-data: $(base64 -w0 "$PKI/$1.key")
contexts:
  - name: parlance
    context: { cluster: parlance, user: $1 }
current-context: parlance
YAML
}

make_pki() {
  umask 077
  certificate_authority ca parlance-ca
  certificate_authority front-ca parlance-front-proxy-ca
  local names="IP:$PARLANCE_NODE_IP,IP:127.0.0.1,IP:$API_SERVICE_IP,DNS:localhost,DNS:kubernetes"
  names+=",DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
  certificate apiserver ca /CN=kube-apiserver "$names"
  certificate apiserver-kubelet ca /O=system:masters/CN=kube-apiserver-kubelet-client
  certificate front front-ca /CN=front-proxy-client
  certificate kubelet-serving ca "/O=system:nodes/CN=system:node:$NODE" "IP:$PARLANCE_NODE_IP,DNS:$NODE"
  certificate admin ca /O=system:masters/CN=admin
  certificate kube-controller-manager ca /CN=system:kube-controller-manager
  certificate kube-scheduler ca /CN=system:kube-scheduler
  certificate kubelet ca "/O=system:nodes/CN=system:node:$NODE"
  certificate kube-proxy ca /CN=system:kube-proxy
  openssl genrsa -out "$PKI/service-accounts.key" 2048
  openssl rsa -in "$PKI/service-accounts.key" -pubout -out "$PKI/service-accounts.pub"
  local who
  for who in admin kube-controller-manager kube-scheduler kubelet kube-proxy; do kubeconfig "$who"; done
}
