#!/bin/sh
# The tour behind "make demo": what each step shows is said before its command.
# usage: docs/tour.sh BUILD
set -eu
build=${1:-build}
loopscope=$build/loopscope
work=$(mktemp -d "${TMPDIR:-/tmp}/loopscope-tour.XXXXXX")
demo=
qemu=
spin=

cleanup() {
	for pid in $demo $qemu $spin; do
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

if [ "$(id -u)" -ne 0 ]; then
	say "6. The rest needs the privilege for bpf: sudo make demo"
	exit 0
fi

say "6. A SIGALRM on its way: out of poll, through the signalfd, to sigfd_handler."
run "$loopscope" record -o "$work/signal" -- "$build/demo-qemu-loop" --scenario signal --iterations 1
run "$loopscope" export "$work/signal" \
	--only poll_enter,poll_exit,fd_ready,dispatch_begin,handler_begin,signal_dispatch,handler_end

say "7. Ten seconds of that QEMU, recorded by its exported functions, and what they say."
run "$loopscope" record -p "$qemu" -o "$work/qemu" -d 10
run "$loopscope" report "$work/qemu"

say "8. And when a loop is sick? Here a handler never drains its eventfd."
"$build/demo-qemu-loop" --scenario spin-fd >"$work/spin.out" &
spin=$!
wait_for grep -q ready "$work/spin.out"
run "$loopscope" doctor -p "$spin" || [ $? -eq 1 ]

say "That was the tour. Next: README.md, or $loopscope --help"
