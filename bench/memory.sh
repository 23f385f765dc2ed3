#!/usr/bin/env bash
# Measures what the server holds of models of Whisper's sizes, and writes the table of docs/scaling.md.
#
#   memory.sh [SIZE ...]      default: tiny, base and small; also medium, large-v3 and large-v3-turbo, which need 20 GiB of memory and disk
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
REPO="$(cd "$HERE/.." && pwd)"
export PARLANCE_CACHE="${PARLANCE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parlance}"
CACHE="$PARLANCE_CACHE/bench"
export PYTHONWARNINGS=ignore TRANSFORMERS_VERBOSITY=error

FIDELITY="$REPO/inference-server/tests/fidelity"
FIDELITY_ONLY=environment "$FIDELITY/run.sh"
python="$PARLANCE_CACHE/fidelity/venv/bin/python"
ranks="$("$python" -c 'import pathlib, whisper; print(pathlib.Path(whisper.__file__).parent / "assets/multilingual.tiktoken")')"
[ $# -gt 0 ] || set -- tiny base small
for size in "$@"; do
  model="$CACHE/models/$size/onnx"
  if [ ! -e "$model/tokenizer.json" ]; then
    echo "making a model of $size's sizes" >&2
    rm -rf "$model.part" "$model.part-hf"
    "$python" "$FIDELITY/make_model.py" "$model.part" --size "$size" --tiktoken "$ranks" --max-length 448
    rm -r "$model.part-hf"
    mv "$model.part" "$model"
  fi
done
"$python" "$HERE/memory.py" "${CARGO_TARGET_DIR:-$REPO/target}/release/parlance-server" "$CACHE/models" "$CACHE/memory.json" "$REPO/docs/scaling.md" "$@"
