#!/usr/bin/env bash
# Says which cluster the make targets use.
set -euo pipefail
. "$(dirname "$0")/env.sh"
for lib in log select; do . "$CLUSTER_DIR/lib/$lib.sh"; done
select_cluster
say_cluster
