#!/usr/bin/env bash
# Tests the server with clients that others wrote: OpenAI's Python package, NVIDIA's tritonclient, and Chromium on the server's page. Starts
# servers on loopback with the bundled model; needs no cluster. Screenshots of the page are left in the cache.
#
#   run.sh [pytest arguments...]      PARLANCE_SERVER names a binary to test; without it one is built
#                                     CLIENTS_ONLY=environment stops once the packages are there
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck disable=SC1091
. "$HERE/../../../e2e/cluster/env.sh"
# shellcheck disable=SC1090
for lib in log debian; do . "$CLUSTER_DIR/lib/$lib.sh"; done
CACHE=$PARLANCE_CACHE/clients

need chromium has chromium
need fonts-dejavu-core test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
need openssl has openssl
need python3-venv python3 -c 'import ensurepip'
install_missing

environment() {
  rm -rf "$CACHE/venv"
  python3 -m venv "$CACHE/venv"
  "$CACHE/venv/bin/pip" install --quiet -r "$HERE/requirements.txt"
  cp "$HERE/requirements.txt" "$CACHE/venv/requirements.txt"
}
cmp -s "$HERE/requirements.txt" "$CACHE/venv/requirements.txt" ||
  step "installing the Python packages of the clients' tests" "$LOGS/clients.log" environment

[ "${CLIENTS_ONLY:-}" = environment ] && exit 0

if [ -z "${PARLANCE_SERVER:-}" ]; then
  cd "$REPO_DIR"
  # Both programs, as make builds them: one alone has other features of shared crates, and builds them all again.
  cargo build --release --locked -p operator -p inference-server -p kubectl-parlance
  PARLANCE_SERVER=${CARGO_TARGET_DIR:-$REPO_DIR/target}/release/parlance-server
fi
CHROMIUM=$(command -v chromium)
export PARLANCE_SERVER CHROMIUM PARLANCE_SCREENSHOTS="$CACHE/screenshots" PYTHONDONTWRITEBYTECODE=1
exec "$CACHE/venv/bin/python" -m pytest -q -p no:cacheprovider --tb=short "$HERE" "$@"
