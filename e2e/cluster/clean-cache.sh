#!/usr/bin/env bash
# Takes the cluster down and empties $PARLANCE_CACHE.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log root; do . "$CLUSTER_DIR/lib/$lib.sh"; done

if [ ! -d "$PARLANCE_CACHE" ]; then
  say "cache: $PARLANCE_CACHE is not there"
  exit 0
fi
# Never a folder that is not ours: a mistyped PARLANCE_CACHE must not cost a home.
[ -d "$PARLANCE_CACHE/stamps" ] || [ -d "$PARLANCE_CACHE/logs" ] ||
  fail "$PARLANCE_CACHE does not look like Parlance's cache; it is left as it is"
[ ! -e "$RUN" ] || "$CLUSTER_DIR/down.sh"
size=$(du -sh "$PARLANCE_CACHE" | cut -f1)
find "$PARLANCE_CACHE" -type d ! -perm -u+w -exec chmod u+w {} + # Go writes its modules read-only
rm -rf "${PARLANCE_CACHE:?}"
say "cache: $PARLANCE_CACHE removed, $size freed"
