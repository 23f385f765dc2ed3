#!/usr/bin/env bash
# Lints the charts and runs their template tests (e2e/tests/chart.rs). Needs Helm; needs no cluster.
set -euo pipefail
cd "$(dirname "$0")/.."
helm lint --strict charts/parlance-crds charts/parlance
helm lint --strict charts/parlance --set 'namespaces={team-a}' --set replicaCount=2
helm lint --strict charts/parlance --set monitoring.dashboards.enabled=true
cargo test --workspace --release --locked --test chart -- --ignored
