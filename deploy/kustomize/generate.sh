#!/usr/bin/env bash
# Writes base/operator.yaml: what the chart renders with its default values, without the labels that would say Helm installed it.
set -euo pipefail
cd "$(dirname "$0")"
# First as a whole: what cannot be rendered leaves the file as it was.
made="$(helm template parlance ../../charts/parlance --namespace parlance-system)"
{
  echo "# Generated from charts/parlance by 'make generate'; do not edit."
  sed -e '/helm.sh\/chart:/d' -e '/app.kubernetes.io\/managed-by: Helm/d' -e '/^# Source:/d' <<<"$made"
} >base/operator.yaml
