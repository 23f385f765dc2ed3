#!/usr/bin/env bash
# 64 clients at once against one server with the bundled model: crowd.py says what comes out.
#
#   crowd.sh [--clients N] [--seconds N]
set -euo pipefail
REPO="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
CACHE="${PARLANCE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parlance}/clients"

cd "$REPO"
cargo build --release --locked --quiet -p operator -p inference-server -p kubectl-parlance
# The clients' tests have an HTTP client in their environment.
CLIENTS_ONLY=environment inference-server/tests/clients/run.sh
exec "$CACHE/venv/bin/python" bench/crowd.py "${CARGO_TARGET_DIR:-target}/release/parlance-server" \
  models/whisper-nano-digits/samples/three-digits-16k.wav "$@"
