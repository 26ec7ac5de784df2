#!/bin/sh
# SPDX-License-Identifier: MIT
# What self-recording costs, and in the same run what LTTng-UST does:  selfrec.sh SELFREC [LTTNG-PROGRAM]
set -eu
dir=$(mktemp -d)
daemon=
finish() {
	[ -z "$daemon" ] || kill "$daemon"
	rm -rf "$dir"
}
trap finish EXIT

"$1" "$dir/own"
if [ $# -lt 2 ] || ! command -v lttng-sessiond >/dev/null; then
	echo "LTTng    not measured: apt-get install lttng-tools liblttng-ust-dev"
	exit 0
fi
[ -e /var/run/lttng/lttng-sessiond.pid ] || {
	lttng-sessiond --daemonize --pidfile "$dir/pid" >/dev/null 2>&1
	daemon=$(cat "$dir/pid")
}
{
	lttng create bench-selfrec --output "$dir/lttng"
	lttng enable-event --userspace 'loop:*'
	lttng start
} >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
LTTNG_UST_REGISTER_TIMEOUT=-1 "$2"
lttng destroy bench-selfrec >"$dir/log" 2>&1
grep -i 'discarded' "$dir/log" | head -n 1 | sed 's/^/LTTng    /' || true
