#!/usr/bin/env bash
# Makes the images of Parlance's two programs, and one of the bundled model alone, as OCI archives, from the release binaries: no Docker, no registry.
# In: target/release/*, models/. Out: $PARLANCE_CACHE/images/parlance-{operator,server,model}.tar
#
# An image holds the program, exactly the shared libraries it links to, certificate authorities, and (server) the bundled
# model; no shell. It runs as user 65532 and writes nothing to its own filesystem. The same binary gives the same bytes.
set -euo pipefail
. "$(dirname "$0")/env.sh"
. "$CLUSTER_DIR/lib/log.sh"

RELEASE=${CARGO_TARGET_DIR:-$REPO_DIR/target}/release
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
umask 022
mkdir -p "$IMAGES"

# root_of PROGRAM: the common part of both images in $WORK/PROGRAM
root_of() {
  local program=$1 root=$WORK/$1 library
  [ -x "$RELEASE/$program" ] || fail "$RELEASE/$program is not built: run 'make images'"
  install -D -m 755 "$RELEASE/$program" "$root/usr/local/bin/$program"
  strip "$root/usr/local/bin/$program"
  # the paths that the dynamic linker prints, itself among them; the kernel's own vdso has none
  for library in $(ldd "$RELEASE/$program" | grep -oE '/[^ ]+'); do
    install -D -m 755 "$(readlink -f "$library")" "$root$library"
  done
  install -D -m 644 "$REPO_DIR/LICENSE" "$root/licenses/LICENSE"
  install -D -m 644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  echo "parlance:x:65532:65532::/:/sbin/nologin" | install -D -m 644 /dev/stdin "$root/etc/passwd"
  echo "parlance:x:65532:" | install -D -m 644 /dev/stdin "$root/etc/group"
  echo "hosts: files dns" | install -D -m 644 /dev/stdin "$root/etc/nsswitch.conf"
}

image() { # PROGRAM REPOSITORY TITLE
  local archive=$IMAGES/$1.tar
  "$CLUSTER_DIR/mkimage.py" "$2:$IMAGE_TAG" "$WORK/$1" -o "$archive" -u 65532:65532 \
    -l "org.opencontainers.image.title=$3" -l org.opencontainers.image.licenses=Apache-2.0 -- "/usr/local/bin/$1"
  say "image $2:$IMAGE_TAG: $archive, $(du -m "$archive" | cut -f1) MB, sha256 $(sha256sum "$archive" | cut -c1-12)"
}

root_of parlance-operator
image parlance-operator "$OPERATOR_REPOSITORY" "Parlance operator"

root_of parlance-server
# the detector is compiled into the program; its licence goes with it
install -D -m 644 "$REPO_DIR/models/silero-vad/LICENSE" "$WORK/parlance-server/licenses/silero-vad"
cd "$REPO_DIR/models"
# only what is committed, where git can tell: not what a training run or an editor left beside it
{ git ls-files -z whisper-nano-digits 2>/dev/null || find whisper-nano-digits -type f -print0; } |
  xargs -0 -I{} install -D -m 644 {} "$WORK/parlance-server/models/{}"
image parlance-server "$SERVER_REPOSITORY" "Parlance inference server"

# the bundled model's files alone, as an image volume holds them
model=$WORK/parlance-server/models/whisper-nano-digits
"$CLUSTER_DIR/mkimage.py" "$MODEL_REPOSITORY:$IMAGE_TAG" "$model" -o "$IMAGES/parlance-model.tar" -- /none
say "image $MODEL_REPOSITORY:$IMAGE_TAG: $IMAGES/parlance-model.tar"
