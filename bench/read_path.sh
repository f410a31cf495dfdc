#!/usr/bin/env bash
# Measures the read path of the release build: what a GET costs in device reads, system calls and
# CPU. Prints the figures and records them under bench/results/. `cargo xtask read-path` calls it.
#
# Server on core 0, wrk on core 1. The data set is read with O_DIRECT, so its size does not matter.
set -euo pipefail
cd "$(dirname "$0")/.."

NEEDLES=${NEEDLES:-20000}
SECONDS_EACH=${SECONDS_EACH:-4}
BINARY=target/release/hayloft
work=$(mktemp -d target/read-path.XXXXXX)
data=127.0.0.1:18080
admin=127.0.0.1:18081
cookie=0123456789abcdef
trap 'kill "$daemon" 2>/dev/null || true; wait "$daemon" 2>/dev/null || true; rm -rf "$work"' EXIT

"$BINARY" serve --data "$work/data" --cores 0 --listen $data --admin $admin --shard-ports off \
  --volume-size 4GiB 2>"$work/log" &
daemon=$!
for _ in $(seq 100); do
  curl -sf http://$admin/readyz >/dev/null && break
  sleep 0.1
done

cat >"$work/put.lua" <<LUA
local body = string.rep("photo", 13108):sub(1, tonumber(os.getenv("SIZE")))
local base, n = tonumber(os.getenv("BASE")), tonumber(os.getenv("DONE")) - 1
request = function()
  n = n + 1
  return wrk.format("PUT", "/1/" .. (base + n % $NEEDLES) .. "/0/$cookie", nil, body)
end
LUA
cat >"$work/get.lua" <<LUA
local base = tonumber(os.getenv("BASE"))
math.randomseed(1)
request = function()
  return wrk.format("GET", "/1/" .. (base + math.random(0, $NEEDLES - 1)) .. "/0/$cookie")
end
LUA

metric() { curl -s http://$admin/metrics | awk -v name="$1" '$1 ~ "^" name "({|$)" { sum += $2 } END { printf "%d", sum }'; }
device=$(basename "$(readlink -f "/sys/dev/block/$(stat -c '%Hd:%Ld' "$work")")")
[ -e "/sys/block/$device/stat" ] || device=$(basename "$(dirname "$(readlink -f "/sys/class/block/$device")")")
kernel_reads() { awk '{ print $1 }' "/sys/block/$device/stat"; }
cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$daemon/stat"; }
# Of the busiest io-wq worker: idle ones end by themselves, so that a sum could sink.
worker_ticks() { cat /proc/"$daemon"/task/*/stat 2>/dev/null | awk '$2 ~ /iou-wrk/ && $14 + $15 > top { top = $14 + $15 } END { print top + 0 }'; }

fill() { # size, first key
  local before have=0 last
  before=$(metric hayloft_volume_needles)
  while [ "$have" -lt "$NEEDLES" ]; do
    last=$have
    DONE=$have SIZE=$1 BASE=$2 taskset -c 1 wrk -t1 -c64 -d1 -s "$work/put.lua" "http://$data" >/dev/null
    sleep 0.1
    have=$(($(metric hayloft_volume_needles) - before))
    if [ "$have" -le "$last" ]; then echo "nothing more is stored; see $work/log" >&2; exit 1; fi
  done
}

measure() { # name, connections, first key
  local gets reads kernel enters cpu workers out
  gets=$(metric hayloft_gets_found_total) reads=$(metric hayloft_device_reads_total)
  enters=$(metric hayloft_enters_total) kernel=$(kernel_reads) cpu=$(cpu_ticks) workers=$(worker_ticks)
  out=$(BASE=$3 taskset -c 1 wrk -t1 -c"$2" -d"$SECONDS_EACH" --latency -s "$work/get.lua" "http://$data")
  gets=$(($(metric hayloft_gets_found_total) - gets)) reads=$(($(metric hayloft_device_reads_total) - reads))
  enters=$(($(metric hayloft_enters_total) - enters)) kernel=$(($(kernel_reads) - kernel))
  cpu=$(($(cpu_ticks) - cpu)) workers=$(($(worker_ticks) - workers))
  if [ "$workers" -lt 0 ]; then workers=0; fi
  if grep -q "Non-2xx" <<<"$out"; then echo "$out"; exit 1; fi
  awk -v name="$1" -v c="$2" -v g="$gets" -v r="$reads" -v k="$kernel" -v e="$enters" -v t="$cpu" \
    -v w="$workers" -v rate="$(awk '/Requests\/sec/ { print $2 }' <<<"$out")" \
    -v p50="$(awk '$1 == "50%" { print $2 }' <<<"$out")" -v p99="$(awk '$1 == "99%" { print $2 }' <<<"$out")" \
    'BEGIN { printf "| %s | %d | %.0f | %s | %s | %.4f | %.4f | %.3f | %.1f | %d |\n", name, c, rate, p50, p99, r / g, k / g, e / g, t * 10000 / g, w }'
}

syscalls() { # first key: other system calls than io_uring_enter during a run
  timeout 10 strace -f -c -q -p "$daemon" -o "$work/strace" &
  local tracer=$! gets
  sleep 1
  gets=$(metric hayloft_gets_found_total)
  BASE=$1 taskset -c 1 wrk -t1 -c64 -d3 -s "$work/get.lua" "http://$data" >/dev/null
  gets=$(($(metric hayloft_gets_found_total) - gets))
  kill -INT "$tracer" 2>/dev/null || true
  wait "$tracer" 2>/dev/null || true
  awk -v g="$gets" '$4 ~ /^[0-9]+$/ && $NF != "total" { if ($NF == "io_uring_enter") own = $4; else { other += $4; list = list " " $NF ":" $4 } }
    END { printf "\nUnder strace, %d GETs from 64 connections: %d io_uring_enter, %d other system calls (%.5f per GET),\nnearly all of them the admin, main and accepting tasks of the whole second:%s\n", g, own, other, other / g, list }' "$work/strace"
}

fill 8192 0
fill 65536 1000000
stamp=$(date -u +%Y-%m-%d)
results=bench/results/$stamp-$(uname -r | cut -d- -f1)-$(nproc)-cores
mkdir -p "$results"
{
  echo "# The read path, $stamp"
  echo
  echo "Commit $(git rev-parse --short HEAD), Linux $(uname -r), $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2 | xargs),"
  echo "device $device, $NEEDLES needles each. Server on core 0, wrk (one thread, Lua) on core 1, $SECONDS_EACH s each."
  echo "Printed by \`cargo xtask read-path\`."
  echo
  echo "| body | connections | GET/s | p50 | p99 | device reads per GET: daemon | kernel | io_uring_enter per GET | server CPU us per GET | io-wq CPU ticks |"
  echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
  measure "8 KiB" 1 0
  measure "8 KiB" 64 0
  measure "8 KiB" 128 0
  measure "64 KiB" 32 1000000
  syscalls 0
} | tee "$results/read-path.md"
