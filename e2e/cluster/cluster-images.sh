#!/usr/bin/env bash
# Makes the images of the cluster's own pods from the programs in $PARLANCE_CACHE/bin: no registry, no Docker.
# In: bin/. Out: $PARLANCE_CACHE/images/cluster-*.tar
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$CLUSTER_DIR/lib/log.sh"

WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
mkdir -p "$IMAGES" "$STAMPS"

# image NAME USER ENTRYPOINT: an archive of what is in $WORK/root
image() { "$CLUSTER_DIR/mkimage.py" "localhost/$1:dev" "$WORK/root" -u "$2" -o "$IMAGES/cluster-$1.tar" -- "$3"; }

empty_root() {
  rm -rf "$WORK/root"
  mkdir -p "$WORK/root"
}

all() {
  local program applet
  empty_root
  cp "$BIN/pause" "$WORK/root/"
  image pause 65535:65535 /pause

  for program in coredns metrics-server local-path-provisioner; do
    empty_root
    cp "$BIN/$program" "$WORK/root/"
    image "$program" "" "/$program"
  done

  # the volume provisioner's helper pods run this; tests use it as a client inside the cluster
  empty_root
  mkdir -p "$WORK"/root/{bin,tmp,etc}
  chmod 1777 "$WORK/root/tmp"
  echo "root:x:0:0:root:/:/bin/sh" >"$WORK/root/etc/passwd"
  cp "$BIN/busybox-static" "$WORK/root/bin/busybox"
  for applet in $("$BIN/busybox-static" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$WORK/root/bin/$applet"
  done
  image busybox "" /bin/sh
}

key=$(cat "$CLUSTER_DIR/cluster-images.sh" "$CLUSTER_DIR/mkimage.py" "$STAMPS"/{kubernetes,pause,coredns,local-path-provisioner,busybox} | sha256sum)
if [ "$(cat "$STAMPS/cluster-images" 2>/dev/null)" = "$key" ] && [ -f "$IMAGES/cluster-busybox.tar" ]; then exit 0; fi
step "making the images of the cluster's own pods" "$LOGS/cluster-images.log" all
echo "$key" >"$STAMPS/cluster-images"
