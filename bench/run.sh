#!/usr/bin/env bash
# Measures our server beside faster-whisper, ONNX Runtime and whisper.cpp, turn by turn, and writes docs/performance.md; README.md says
# how to read it.
#
#   run.sh [SIZE:THREADS:ROUNDS ...]      default: tiny, base and small at 1 and 2 threads; SIZE-long: ten minutes, and many clients
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
REPO="$(cd "$HERE/.." && pwd)"
export PARLANCE_CACHE="${PARLANCE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parlance}"
CACHE="$PARLANCE_CACHE/bench"
export PYTHONWARNINGS=ignore TRANSFORMERS_VERBOSITY=error
python="$CACHE/venv/bin/python"

# The references' environment has what makes models; the peers come on top of it. whisper.cpp is built for this machine.
FIDELITY_ONLY=environment "$REPO/inference-server/tests/fidelity/run.sh"
mkdir -p "$CACHE/models"
if ! cmp -s "$HERE/peers/requirements.txt" "$CACHE/venv/requirements.txt"; then
  python3 -m venv "$CACHE/venv"
  site="$("$python" -c 'import site; print(site.getsitepackages()[0])')"
  "$PARLANCE_CACHE/fidelity/venv/bin/python" -c 'import site; print(site.getsitepackages()[0])' >"$site/references.pth"
  "$CACHE/venv/bin/pip" install --quiet -r "$HERE/peers/requirements.txt"
  CMAKE_ARGS=-DGGML_NATIVE=ON "$CACHE/venv/bin/pip" install --quiet --no-binary pywhispercpp -r "$HERE/peers/requirements-native.txt"
  cp "$HERE/peers/requirements.txt" "$CACHE/venv/requirements.txt"
fi
LD_LIBRARY_PATH="$("$python" -c 'import site; print(site.getsitepackages()[0])')"
export LD_LIBRARY_PATH

server="${CARGO_TARGET_DIR:-$REPO/target}/release/parlance-server"
[ $# -gt 0 ] || set -- tiny:1:5 tiny:2:5 tiny-long:2:2 base:1:3 base:2:3 small:1:2 small:2:2
for what in "$@"; do
  IFS=: read -r size threads rounds <<<"$what"
  long=()
  [ "$size" = "${size%-long}" ] || long=(--long)
  size="${size%-long}"
  if [ ! -e "$CACHE/models/$size/complete" ]; then
    echo "making the models of $size's sizes" >&2
    "$python" "$HERE/peers/models.py" "$size" "$CACHE/models/$size" 2>"$CACHE/models/$size.log" || { cat "$CACHE/models/$size.log" >&2 && exit 1; }
  fi
  "$python" "$HERE/peers/compare.py" "$server" "$CACHE/models" "$CACHE/results.json" \
    --size "$size" --threads "${threads:-1}" --rounds "${rounds:-5}" "${long[@]}"
done
for size in $(printf '%s\n' "${@%%[-:]*}" | sort -u); do
  "$python" "$HERE/peers/agree.py" "$server" "$CACHE/models" "$CACHE/results.json" --size "$size" >&2
done
"$python" "$HERE/peers/report.py" "$CACHE/results.json" "$REPO/docs/performance.md" "$REPO/docs/images/performance.svg"
echo "written: docs/performance.md, docs/images/performance.svg" >&2
