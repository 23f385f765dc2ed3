#!/usr/bin/env bash
# make dashboards: draws both dashboards with Grafana's own libraries, and puts the pictures into docs/images.
#
#   draw.sh [PROMETHEUS]    its address, for the hour until now; without one, what record/record.sh recorded
#
# In the environment: FROM and TO (seconds since the epoch), THEME (light or dark), SCRAPE (the scrape interval of that Prometheus, 15s).
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# shellcheck disable=SC1091
. "$HERE/../../e2e/cluster/env.sh"
# shellcheck disable=SC1090
for lib in log debian; do . "$CLUSTER_DIR/lib/$lib.sh"; done
ROOM=$PARLANCE_CACHE/dashboards # the packages, the bundled page, the recording
RECORD=$ROOM/record
DRAWN=$ROOM/drawn

need chromium has chromium
need npm has npm
need pngquant has pngquant
install_missing

# packages: by the lockfile, which names no registry; the user's own is asked
packages() {
  cp "$HERE/package.json" "$HERE/package-lock.json" "$ROOM"
  cd "$ROOM"
  npm ci --ignore-scripts --no-audit --no-fund
  cp package-lock.json node_modules/installed
}

# recorded: a Prometheus over the recording, until this script ends
recorded() {
  [ -f "$RECORD/to" ] || fail "there is no recording: name a Prometheus (make dashboards PROMETHEUS=http://...), or make dashboards-record"
  "$BIN/prometheus" --config.file=/dev/null --storage.tsdb.path="$RECORD/data" --storage.tsdb.retention.time=100y \
    --web.listen-address=127.0.0.1:19091 >"$RECORD/drawing.log" 2>&1 &
  # shellcheck disable=SC2064 # this very process
  trap "kill $!" EXIT
  PROMETHEUS=http://127.0.0.1:19091
  curl --silent --fail --retry 30 --retry-delay 1 --retry-all-errors --output "$RECORD/ready" "$PROMETHEUS/-/ready"
  : "${FROM:=$(cat "$RECORD/from")}" "${TO:=$(cat "$RECORD/to")}" "${SCRAPE:=5s}"
}

mkdir -p "$ROOM" "$DRAWN"
cmp -s "$HERE/package-lock.json" "$ROOM/node_modules/installed" || step "installing Grafana's libraries" "$LOGS/dashboards.log" packages
rm -rf "$ROOM/src"
cp -r "$HERE/package.json" "$HERE/tsconfig.json" "$HERE/draw.mjs" "$HERE/src" "$ROOM"
step "checking the page's types" "$LOGS/dashboards.log" npm --prefix "$ROOM" run check

PROMETHEUS=${1:-}
[ -n "$PROMETHEUS" ] || recorded
: "${TO:=$(date +%s)}"
: "${FROM:=$((TO - 3600))}"
CHROMIUM=$(command -v chromium)
export PROMETHEUS FROM TO CHROMIUM SCRAPE="${SCRAPE:-15s}"
cd "$ROOM"
node draw.mjs "$REPO_DIR/charts/parlance/dashboards" "$DRAWN"
for name in services operator; do
  pngquant --force --strip --quality 60-95 --speed 1 --output "$REPO_DIR/docs/images/dashboard-$name.png" "$DRAWN/dashboard-$name.png"
  say "docs/images/dashboard-$name.png: $(du -k "$REPO_DIR/docs/images/dashboard-$name.png" | cut -f1) KB"
done
