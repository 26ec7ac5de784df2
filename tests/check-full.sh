#!/bin/sh
# What "make check" leaves out because it takes long: each step is a target of the Makefile, its output
# goes to BUILD/check-full/STEP.log, and a line says how it ended and after how long.  The steps after
# one that failed are run too.
#
# What traces, one after the other, has one processor; what only computes goes on beside it on another.
# The benches come last, when nothing else runs.
# usage: tests/check-full.sh BUILD [STEP...]     ("make check-full"; with STEPS="..." only those)
set -u
build=$1
shift
logs=$build/check-full
chosen=" $* "

# name: target and its variables
tracing="
integration: check-integration FULL=1"

computing="
lint: lint
unit: check-unit
spin: check-spin
labs: check-labs FULL=1
vm: check-vm
browser: check-browser
demo-asan: check-unit-demo BUILD=$build/san SAN=address,undefined
glib-asan: check-unit-glib BUILD=$build/san SAN=address,undefined
trace-asan: check-trace BUILD=$build/san SAN=address,undefined
tracer-asan: check-unit-tracer BUILD=$build/san SAN=address,undefined
report-asan: check-unit-report BUILD=$build/san SAN=address,undefined
demo-tsan: check-unit-demo BUILD=$build/tsan SAN=thread
stress: stress-notify
fuzz: fuzz RUNS=100000"

# What is asserted nowhere: its figures are shown.
benches="
bench-loop: bench-loop
bench-selfrec: bench-selfrec
bench-ctf: bench-ctf
bench-report: bench-report
bench-attach: bench-attach
bench-tables: bench-tables
bench-gdb: bench-gdb
bench-tracer: bench-tracer
bench-top: bench-top
bench-overhead: bench-overhead
bench-doctor: bench-doctor RUNS=2 MINUTES=3"

clock() {
	printf '%2d:%02d' $(($1 / 60)) $(($1 % 60))
}

# usage: step NAME COMMAND; one that fails leaves its name in the directory of the logs
step() {
	start=$(date +%s)
	# shellcheck disable=SC2086 # a list of words on purpose
	if ${MAKE:-make} --no-print-directory $2 >"$logs/$1.log" 2>&1 </dev/null; then
		verdict=ok
	else
		verdict=FAILED
		: >"$logs/$1.failed"
	fi
	printf '  %-8s %s  make %s\n' "$verdict" "$(clock $(($(date +%s) - start)))" "$2"
	case $verdict,$1 in
	FAILED,*) tail -n 40 "$logs/$1.log" ;;
	ok,bench-*) cat "$logs/$1.log" ;;
	ok,integration) grep 'SKIPPED\|passed' "$logs/$1.log" ;;
	esac
}

# usage: lane STEPS; those that were chosen, one after the other
lane() {
	printf '%s\n' "$1" | while IFS=: read -r name command; do
		[ -n "$name" ] || continue
		case $chosen in
		'  ' | *" $name "*) step "$name" "${command# }" ;;
		esac
	done
}

for name in $chosen; do
	printf '%s\n' "$tracing$computing$benches" | grep -q "^$name: " || {
		echo "check-full: no step '$name'; there are:" \
			"$(printf '%s\n' "$tracing$computing$benches" | sed -n 's/: .*//p' | tr '\n' ' ')" >&2
		exit 2
	}
done

mkdir -p "$logs"
rm -f "$logs"/*.failed
begin=$(date +%s)
lane "$computing" &
lane "$tracing"
wait
lane "$benches"
bad=$(cd "$logs" && echo *.failed)
[ "$bad" = '*.failed' ] && bad=
printf '  %-8s %s  all of it; what each said is in %s\n' \
	"$([ -z "$bad" ] && echo ok || echo FAILED)" "$(clock $(($(date +%s) - begin)))" "$logs"
[ -z "$bad" ]
