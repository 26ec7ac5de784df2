#!/bin/sh
# The tour behind "make demo": what each step shows is said before its command.
# usage: docs/tour.sh BUILD
set -eu
build=${1:-build}
loopscope=$build/loopscope
work=$(mktemp -d "${TMPDIR:-/tmp}/loopscope-tour.XXXXXX")
demo=
qemu=

cleanup() {
	for pid in $demo $qemu; do
		kill "$pid" 2>/dev/null || continue
		wait "$pid" 2>/dev/null || true
	done
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() {
	printf '\n\n### %s\n\n' "$*"
}

# Show a command, then run it.
run() {
	printf '$ %s\n' "$*"
	"$@"
}

# Wait until a command succeeds; give up after half a minute.
wait_for() {
	tries=0
	until "$@" >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || { echo "tour: timed out waiting for: $*" >&2; exit 4; }
		sleep 0.05
	done
}

say "1. The demo's main loop sleeps in ppoll. On what, and whose is each descriptor?"
"$build/demo-qemu-loop" --scenario five-sources --vnc "$work/demo-vnc" >"$work/demo.out" &
demo=$!
wait_for grep -q ready "$work/demo.out"
run "$loopscope" fds -p "$demo"

say "2. The same from a debugger: gdb reads the program's types (or, without any, our layout)."
run gdb -nx -batch -p "$demo" -ex 'source gdb-scripts/qemu-gdb.py' -ex 'qemu handlers' 2>/dev/null |
	grep -vE '^(\[|warning:|Using host|0x|$)' || true

say "3. Debian's QEMU: no debug information, no symbols but the exported ones, never prepared for this."
qemu-system-x86_64 -accel tcg -S -m 64 -nodefaults -display none \
	-object iothread,id=io0 \
	-blockdev null-co,node-name=disk,read-zeroes=on -device virtio-blk-pci,drive=disk,iothread=io0 \
	-vnc "unix:$work/vnc" -qmp "unix:$work/qmp,server=on,wait=off" 2>/dev/null &
qemu=$!
wait_for test -S "$work/vnc"
wait_for "$loopscope" fds -p "$qemu"
run "$loopscope" fds -p "$qemu"

say "4. What is registered in each of its contexts, the monitor's own thread included?"
run "$loopscope" handlers -p "$qemu"

say "5. How can that be known without debug information? Every offset has its proof."
run "$loopscope" layout -p "$qemu" | sed -n '1,12p'
echo "..."

say "That was the tour. Next: README.md, or $loopscope --help"
