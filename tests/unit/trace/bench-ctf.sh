#!/bin/sh
# SPDX-License-Identifier: MIT
# Write and read a recording, and read it with babeltrace2:  bench-ctf.sh BENCH [EVENTS [THREADS]]
set -eu
bench=$1
events=${2:-10000000}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

"$bench" "$dir/r" "$events" "${3:-4}"
command -v babeltrace2 >/dev/null || exit 0
start=$(date +%s%N)
babeltrace2 "$dir/r" -c sink.utils.counter -p step=+0 >/dev/null
end=$(date +%s%N)
awk -v n="$events" -v ns="$((end - start))" 'BEGIN {
	printf "%-12s %10.0f events/s  %6.1f ns each\n", "babeltrace2", n * 1e9 / ns, ns / n }'
