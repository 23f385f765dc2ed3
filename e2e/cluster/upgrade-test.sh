#!/usr/bin/env bash
# Upgrades the operator of an earlier commit to this tree's, under services that serve, and takes the upgrade back.
#
#   upgrade-test.sh [COMMIT]       default: the one that e2e/upgrade-from names
#
# In: this repository with its history, and a cluster (one that is up is used and left up). The earlier operator is built from
# its own sources; the server that it starts is this tree's under another name, since the operator is on trial.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
cd "$REPO_DIR"
COMMIT=${1:-$(cat e2e/upgrade-from)}
PREVIOUS=$PARLANCE_CACHE/previous
TARGET=${CARGO_TARGET_DIR:-$REPO_DIR/target}

git rev-parse --quiet --verify "$COMMIT^{commit}" >/dev/null || fail "commit $COMMIT is not in this clone: fetch its history (git fetch --unshallow)"
mkdir -p "$PREVIOUS/bin/release"
git worktree prune
[ -d "$PREVIOUS/source" ] || git worktree add --quiet --detach "$PREVIOUS/source" "$COMMIT"
git -C "$PREVIOUS/source" checkout --quiet --detach "$COMMIT"
trap 'git worktree remove --force "$PREVIOUS/source"' EXIT

say "building the operator of $COMMIT"
# In the same folder, so that only what differs is compiled. Cargo tells our crates from those of another commit by their times alone,
# so they are compiled anew after it.
(cd "$PREVIOUS/source" && CARGO_TARGET_DIR=$TARGET cargo build --release --locked -p operator -p inference-server -p kubectl-parlance --bin parlance-operator)
cp "$TARGET/release/parlance-operator" "$PREVIOUS/bin/release/"
cargo clean --quiet --release --locked -p crds -p operator -p inference-server -p kubectl-parlance -p e2e -p subtitles
make --no-print-directory build
cp "$TARGET/release/parlance-server" "$PREVIOUS/bin/release/"
IMAGE_TAG=previous IMAGES=$PREVIOUS/images CARGO_TARGET_DIR=$PREVIOUS/bin "$CLUSTER_DIR/parlance-images.sh"

"$CLUSTER_DIR/cluster-up.sh"
"$CLUSTER_DIR/load-images.sh" "$PREVIOUS"/images/parlance-{operator,server}.tar
make --no-print-directory load
charts=$PREVIOUS/source/charts
# From nothing: what an earlier test left installed is newer than what is to be upgraded.
if helm --namespace parlance-system status parlance >/dev/null 2>&1; then helm --namespace parlance-system uninstall parlance --wait; fi
helm upgrade --install parlance-crds "$charts/parlance-crds" --namespace parlance-system --create-namespace --wait --take-ownership
helm install parlance "$charts/parlance" --namespace parlance-system --wait --timeout 3m \
  --set "image.repository=$OPERATOR_REPOSITORY,image.tag=previous,serverImage.repository=$SERVER_REPOSITORY,serverImage.tag=previous"
PARLANCE_PREVIOUS_SERVER_IMAGE=$SERVER_REPOSITORY:previous \
  "$CLUSTER_DIR/with.sh" cargo test --workspace --release --locked --test upgrade -- --ignored --nocapture
