#!/usr/bin/env bash
# Cuts the power of the release build on XFS, shuts XFS down under it and lets its disk fail, and
# records what was found under bench/results/. `cargo xtask powercut` builds what it needs and calls it,
# with the daemon, the tool and its flags.
set -euo pipefail
cd "$(dirname "$0")/.."

daemon=$1
tool=$2
shift 2
out="bench/results/$(date -u +%F)-$(uname -r | cut -d- -f1)-$(nproc)-cores"
mkdir -p target
table=$(mktemp target/powercut.XXXXXX)
trap 'rm -f "$table"' EXIT
# What is wrong is recorded too, and the exit code tells it.
code=0
"$tool" --daemon "$daemon" --dir target/powercut --record "$table" "$@" || code=$?
if [ "$code" -eq 2 ]; then
  exit 2
fi
mkdir -p "$out"
{
  echo "# Power cuts"
  echo
  echo "\`cargo xtask powercut $*\`, $(date -u +%F), $(git rev-parse --short HEAD), $(nproc) cores, Linux $(uname -r)."
  echo "What the trials are stands in [DURABILITY.md](../../../docs/DURABILITY.md#on-a-real-file-system)."
  echo
  cat "$table"
} | tee "$out/powercut.md"
exit "$code"
