#!/usr/bin/env bash
# Looks at so many distinct states that power cuts can leave of histories of three operations, and of
# their recoveries, on the simulated disk, and records the figures under bench/results/.
# `cargo xtask crash-states` calls it. It ends with an error at the first state that must not be.
set -euo pipefail
cd "$(dirname "$0")/.."

states=$1
out="bench/results/$(date -u +%F)-$(uname -r | cut -d- -f1)-$(nproc)-cores"
mkdir -p target
log=$(mktemp target/crash-states.XXXXXX)
trap 'rm -f "$log"' EXIT
HAYLOFT_CRASH_STATES=$states cargo test --release --locked --quiet --test crash -- \
  --exact three_operations --nocapture | tee "$log"
mkdir -p "$out"
{
  echo "# Crash states"
  echo
  echo "\`cargo xtask crash-states --states $states\`, $(date -u +%F), $(git rev-parse --short HEAD), $(nproc) cores, Linux $(uname -r)."
  echo "Each state differs from all others and was recovered, checked, recovered again and written to;"
  echo "each was what the model allows. Seconds are of the processor, of two threads together."
  echo
  grep -h "three operations: " "$log" | sed 's/^.*three operations: /- /'
} | tee "$out/crash-states.md"
