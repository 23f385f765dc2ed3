#!/usr/bin/env bash
# Times our engine beside ONNX Runtime on the bundled model and on Whisper tiny's sizes; bench/README.md says how to read it.
#
#   run.sh [--threads N] [--rounds N]
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
REPO="$(cd "$HERE/.." && pwd)"
FIDELITY="${PARLANCE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parlance}/fidelity"

cd "$REPO"
# The references' environment has ONNX Runtime, and their folder the model of tiny's sizes.
FIDELITY_ONLY=references inference-server/tests/fidelity/run.sh
cargo build --workspace --release --locked --quiet --example stages
for model in models/whisper-nano-digits "$FIDELITY/references/tiny/model"; do
  "$FIDELITY/venv/bin/python" "$HERE/stages.py" "${CARGO_TARGET_DIR:-target}/release/examples/stages" "$model" \
    models/whisper-nano-digits/samples/eight-digits-16k.flac "$@"
done
