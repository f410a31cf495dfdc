#!/usr/bin/env bash
# Measures what clients that dawdle, stop or hang up cost everybody else, with the release build:
# when they are gone, the memory of the daemon, and the 99th percentile of healthy reads with and
# without them. Prints the figures of every round and records the medians of the ratios under
# bench/results/. `cargo xtask hostile` calls it.
#
# The clients run on the same cores as the daemon, so part of every ratio is their own work.
set -euo pipefail
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-3}
out="bench/results/$(date -u +%F)-$(uname -r | cut -d- -f1)-$(nproc)-cores"
mkdir -p "$out"
log=$(mktemp target/hostile.XXXXXX)
trap 'rm -f "$log"' EXIT
for _ in $(seq "$ROUNDS"); do
  HAYLOFT_HOSTILE=all cargo test --release --locked --quiet --test hostile -- --nocapture --test-threads=1 |
    grep -E 'shards: ' | tee -a "$log"
done
{
  echo "# Hostile clients"
  echo
  echo "\`cargo xtask hostile\`, $(date +%F), $(git rev-parse --short HEAD), $ROUNDS rounds, $(nproc) cores, Linux $(uname -r)."
  echo "Eight healthy connections read 8 KiB photos (and write some) all the while; all of them are served."
  echo
  echo "| clients | shards | gone after | p99 without, with them (last round) | ratio (median, worst) | MiB resident, bound |"
  echo "| --- | --- | --- | --- | --- | --- |"
  python3 - "$log" <<'PY'
import re, statistics, sys
rows = {}
for line in open(sys.argv[1]):
    if "ratio" not in line:
        continue
    what, shards = re.search(r"([^.]*?), (\d) shards", line.split("... ")[-1]).groups()
    rows.setdefault((what, shards), []).append(line)
for (what, shards), lines in rows.items():
    ratios = [float(re.search(r"ratio ([\d.]+)", line).group(1)) for line in lines]
    last = lines[-1]
    gone = re.search(r"gone after ([\d.]+\w+)", last)
    without, with_ = re.search(r"p99 (?:of healthy reads )?(\S+) without them, (\S+) with them", last).groups()
    memory = re.search(r"(\d+) MiB resident of (\d+)", last)
    print(f"| {what} | {shards} | {gone.group(1) if gone else '-'} | {without}, {with_} | "
          f"{statistics.median(ratios):.2f}, {max(ratios):.2f} | "
          f"{' of '.join(memory.groups()) if memory else '-'} |")
PY
  echo
  grep -h "uploads and" "$log" | tail -2 | sed 's/^.*\.\.\. //; s/^\.//; s/^/- /'
} | tee "$out/hostile.md"
