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

# A model of one of Whisper's sizes: its export in references/NAME/model, the checkpoint in checkpoints/NAME.
make_model() {
  local name="$1" vocabulary="$2"
  rm -rf "$CACHE/references/$name" "$CACHE/checkpoints/$name"
  mkdir -p "$CACHE/references/$name" "$CACHE/checkpoints"
  "$python" "$HERE/make_model.py" "$CACHE/references/$name/model" --size "$name" --tiktoken "$ASSETS/$vocabulary.tiktoken"
  mv "$CACHE/references/$name/model-hf" "$CACHE/checkpoints/$name"
}

# A model of a size that only a few windows are compared of.
reference() { # NAME VOCABULARY
  make_model "$1" "$2"
  local folder="$CACHE/references/$1" checkpoint="$CACHE/checkpoints/$1"
  "$python" "$HERE/reference.py" "$folder/model" "$MODEL/samples" "$folder" --checkpoint "$checkpoint" --rows 4 --max-new-tokens 6 \
    --only noise three-digits-16k-wav
  "$python" "$HERE/whisper_reference.py" "$folder/model" "$MODEL/samples" "$folder" --checkpoint "$checkpoint" --beams 5
}

# The references are as old as what made them: the scripts, the bundled model and its samples.
stamp="$(cat "$HERE"/*.py "$HERE"/requirements.txt "$REPO"/models/train/tokenizer.py "$MODEL"/*.onnx "$MODEL"/*.json "$MODEL"/samples/* | sha256sum)"
if [ "$stamp" != "$(cat "$CACHE/stamp" 2>/dev/null)" ]; then
  rm -rf "$CACHE/references" "$CACHE/checkpoints" "$CACHE/forms"
  ASSETS="$("$python" -c 'import pathlib, whisper; print(pathlib.Path(whisper.__file__).parent / "assets")')"
  mkdir -p "$CACHE/references/nano"
  ln -s "$MODEL" "$CACHE/references/nano/model"
  "$python" "$HERE/reference.py" "$MODEL" "$MODEL/samples" "$CACHE/references/nano" --max-new-tokens 200
  "$python" "$HERE/whisper_reference.py" "$MODEL" "$MODEL/samples" "$CACHE/references/nano/long"

  make_model tiny multilingual
  tiny="$CACHE/references/tiny"
  "$python" "$HERE/reference.py" "$tiny/model" "$MODEL/samples" "$tiny" --checkpoint "$CACHE/checkpoints/tiny" --rows 8
  "$python" "$HERE/whisper_reference.py" "$tiny/model" "$MODEL/samples" "$tiny/long" --checkpoint "$CACHE/checkpoints/tiny" --seconds 40

  reference tiny.en gpt2
  reference base multilingual
  reference small multilingual
  reference large-v3-narrow multilingual

  "$python" "$HERE/variants.py" "$CACHE/references/tiny/model" "$CACHE/forms" fp16 int8 uint8 merged merged_int8 external
  ln -s "$CACHE/references/tiny/model"/*.onnx "$CACHE/forms/onnx"
  "$python" "$HERE/forms.py" "$CACHE/forms" "$MODEL/samples/three-digits-16k.wav" "$CACHE/references/forms"
  rm -rf "$CACHE/checkpoints"
  echo "$stamp" >"$CACHE/stamp"
fi
echo "references in $CACHE/references" >&2
[ "${FIDELITY_ONLY:-}" = references ] && exit 0

cd "$REPO"
PARLANCE_FIDELITY_DIR="$CACHE/references" cargo test --workspace --release --locked --test fidelity -- --ignored "$@"
