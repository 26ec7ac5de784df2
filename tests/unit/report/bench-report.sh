#!/bin/sh
# SPDX-License-Identifier: MIT
# Time and memory of a report and of exports, beside babeltrace2 counting the same events; of a recording a tenth as
# long too, as memory must not grow:  bench-report.sh WORKLOAD-TOOL LOOPSCOPE [EVENTS]
set -eu
tool=$1
loopscope=$2
events=${3:-10000000}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# "SECONDS KIB" of a command: of the processor, as the machine may have other work.
measure() {
	/usr/bin/env python3 - "$@" <<'PY'
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{used.ru_utime + used.ru_stime:.3f} {used.ru_maxrss}")
PY
}

# Name, events, then what measure prints.
show() {
	echo "$3" | awk -v name="$1" -v n="$2" '{
		printf "%-28s %9d events %7.3f s %6.1f ns/event %7.1f MiB\n", name, n, $1, $1 * 1e9 / n, $2 / 1024 }'
}

"$tool" many "$dir/all" "$events"
"$tool" many "$dir/tenth" $((events / 10))
show "loopscope report" "$events" "$(measure "$loopscope" report "$dir/all")"
show "loopscope report --json" "$events" "$(measure "$loopscope" report --json "$dir/all")"
show "loopscope report, a tenth" $((events / 10)) "$(measure "$loopscope" report "$dir/tenth")"
for format in csv pftrace speedscope openmetrics; do
	show "export $format" "$events" "$(measure "$loopscope" export "$dir/all" --to $format -o /dev/null)"
	show "export $format, a tenth" $((events / 10)) \
		"$(measure "$loopscope" export "$dir/tenth" --to $format -o /dev/null)"
done
show "report --html" "$events" "$(measure "$loopscope" report "$dir/all" --html -o "$dir/page.html")"
command -v babeltrace2 >/dev/null || exit 0
show "babeltrace2 sink.utils.counter" "$events" \
	"$(measure babeltrace2 "$dir/all" -c sink.utils.counter -p step=+0)"
