# shellcheck shell=bash
# Daemons of the cluster: start them, know whether they live, stop them. A pid file counts only while its process still
# runs a program of ours, so that a number reused by the system is never killed.

# start NAME COMMAND...
start() {
  local name=$1
  shift
  # fd 9 is the lock of up.sh: a daemon that inherited it would hold the lock for ever.
  setsid nohup "$@" >"$RUN/logs/$name.log" 2>&1 </dev/null 9>&- &
  echo $! >"$RUN/pids/$name"
  disown # or bash reports its end
}

# pid_of NAME: print the pid if that daemon is alive
pid_of() {
  local pid program=
  pid=$(cat "$RUN/pids/$1" 2>/dev/null) || return 1
  # the command line, unlike the link to the program, can be read without being root
  read -r -d '' program 2>/dev/null <"/proc/$pid/cmdline" || return 1
  case $program in
    "$BIN"/*) echo "$pid" ;;
    *) return 1 ;;
  esac
}

# daemons: the names of all that were started
daemons() { find "$RUN/pids" -type f -printf '%f\n' 2>/dev/null; }

# dead_daemons: the names of those that were started and no longer run
dead_daemons() {
  local name
  for name in $(daemons); do
    pid_of "$name" >/dev/null || echo "$name"
  done
}

# crashed_daemons: the names of those whose process has ended
crashed_daemons() {
  local name
  for name in $(daemons); do
    [ -d "/proc/$(cat "$RUN/pids/$name")" ] || echo "$name"
  done
}

# stop SECONDS NAME...: end them all at once, wait, then kill what is left
stop() {
  local limit=$1 name pid pids=() left
  shift
  for name in "$@"; do
    if pid=$(pid_of "$name"); then
      kill "$pid" 2>/dev/null || true
      pids+=("$pid")
    fi
  done
  for ((i = 0; i < limit * 20; i++)); do
    left=0
    for pid in "${pids[@]}"; do
      if kill -0 "$pid" 2>/dev/null; then left=1; fi
    done
    [ "$left" = 1 ] || break
    sleep 0.05
  done
  for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  for name in "$@"; do rm -f "$RUN/pids/$name"; done
}

# wait_for SECONDS DESCRIPTION COMMAND...: try COMMAND until it succeeds; give up early when a daemon of ours has ended.
wait_for() {
  local limit=$1 what=$2 began
  shift 2
  began=$(date +%s.%N)
  local deadline=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$deadline" ] || [ -n "$(crashed_daemons)" ]; then
      say "  gave up after $(seconds_since "$began") s: $what"
      return 1
    fi
    sleep 0.1
  done
  say "  $what ($(seconds_since "$began") s)"
}
