# shellcheck shell=bash
# What these scripts say: one line a step, the time that long steps took, and the tail of a log when a step fails.

say() { printf '%s\n' "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# seconds_since START, where START came from $(date +%s.%N)
seconds_since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }

# step DESCRIPTION LOG COMMAND...: run COMMAND in a subshell with its output in LOG; say what is done and how long it took.
# When it fails, show the end of LOG and end the script. Never call it where bash ignores errors (`step ... || ...`, `if step`):
# the command would then run on past its first failure.
step() {
  local what=$1 log=$2 began rc
  shift 2
  mkdir -p "$(dirname "$log")"
  began=$(date +%s.%N)
  printf '%s ... ' "$what"
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1 </dev/null
  rc=$?
  set -e
  if [ "$rc" != 0 ]; then
    printf 'failed after %s s (exit code %s); the end of %s:\n' "$(seconds_since "$began")" "$rc" "$log"
    tail -n 40 "$log" | sed 's/^/    /'
    exit "$rc"
  fi
  printf '%s s\n' "$(seconds_since "$began")"
}
