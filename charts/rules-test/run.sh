#!/usr/bin/env bash
# Checks the alerts and the dashboards' queries, and plays the scenes beside this script against them. Needs promtool; needs no cluster.
set -euo pipefail
cd "$(dirname "$0")"
promtool check rules --lint=all --lint-fatal ../parlance/rules/*.yaml
./dashboards.py ../parlance/dashboards/*.json | promtool check rules

passed=0 failed=0
for scenes in *.yaml; do
  # promtool tells of a file as a whole: each of its scenes counts
  count=$(grep -c '^  - name: ' "$scenes")
  if promtool test rules "$scenes"; then passed=$((passed + count)); else failed=$((failed + 1)); fi
done
echo "rules: $passed passed, $failed failed"
[ "$failed" = 0 ]
