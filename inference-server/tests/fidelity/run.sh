#!/usr/bin/env bash
# Builds the references in an environment of their own, then compares the server with them. Needs nothing but Python 3.
#
#   run.sh [cargo test arguments...]      FIDELITY_ONLY=references builds them and stops
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
REPO="$(cd "$HERE/../../.." && pwd)"
CACHE="${PARLANCE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parlance}/fidelity"
MODEL="$REPO/models/whisper-nano-digits"

mkdir -p "$CACHE"
if ! cmp -s "$HERE/requirements.txt" "$CACHE/venv/requirements.txt"; then
  python3 -m venv "$CACHE/venv"
  "$CACHE/venv/bin/pip" install --quiet -r "$HERE/requirements.txt"
  # Its own list of dependencies asks for a GPU compiler that nothing here uses.
  "$CACHE/venv/bin/pip" install --quiet --no-deps --no-build-isolation -r "$HERE/requirements-whisper.txt"
  cp "$HERE/requirements.txt" "$CACHE/venv/requirements.txt"
fi
python="$CACHE/venv/bin/python"
export PYTHONWARNINGS=ignore TRANSFORMERS_VERBOSITY=error

# The references are as old as what made them: the scripts, the bundled model and its samples.
stamp="$(cat "$HERE"/*.py "$HERE"/requirements.txt "$REPO"/models/train/tokenizer.py "$MODEL"/*.onnx "$MODEL"/*.json "$MODEL"/samples/* | sha256sum)"
if [ "$stamp" != "$(cat "$CACHE/stamp" 2>/dev/null)" ]; then
  rm -rf "$CACHE/references"
  TIKTOKEN="$("$python" -c 'import pathlib, whisper; print(pathlib.Path(whisper.__file__).parent / "assets/multilingual.tiktoken")')"
  mkdir -p "$CACHE/references/nano" "$CACHE/references/tiny"
  ln -s "$MODEL" "$CACHE/references/nano/model"
  "$python" "$HERE/make_model.py" "$CACHE/references/tiny/model" --tiktoken "$TIKTOKEN"
  mv "$CACHE/references/tiny/model-hf" "$CACHE/tiny-hf.new" && rm -rf "$CACHE/tiny-hf" && mv "$CACHE/tiny-hf.new" "$CACHE/tiny-hf"
  "$python" "$HERE/reference.py" "$CACHE/references/tiny/model" "$MODEL/samples" "$CACHE/references/tiny" --checkpoint "$CACHE/tiny-hf" --rows 8
  "$python" "$HERE/reference.py" "$MODEL" "$MODEL/samples" "$CACHE/references/nano" --max-new-tokens 200
  "$python" "$HERE/whisper_reference.py" "$CACHE/references/tiny/model" "$MODEL/samples" "$CACHE/references/tiny/long" --checkpoint "$CACHE/tiny-hf" --seconds 40
  "$python" "$HERE/whisper_reference.py" "$MODEL" "$MODEL/samples" "$CACHE/references/nano/long"
  echo "$stamp" >"$CACHE/stamp"
fi
echo "references in $CACHE/references" >&2
[ "${FIDELITY_ONLY:-}" = references ] && exit 0

cd "$REPO"
PARLANCE_FIDELITY_DIR="$CACHE/references" cargo test --workspace --release --locked --test fidelity -- --ignored "$@"
