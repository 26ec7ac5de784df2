#!/bin/sh
# What "make check" leaves out because it takes long: each step is a target of the Makefile, its output
# goes to BUILD/check-full/STEP.log, and a line says how it ended and after how long.  The steps after
# one that failed are run too.
# usage: tests/check-full.sh BUILD [STEP...]     ("make check-full"; with STEPS="..." only those)
set -u
build=$1
shift
logs=$build/check-full
steps=$*
bad=0

# What is asserted nowhere: its figures are shown.
benches='bench-loop bench-selfrec bench-ctf bench-report bench-attach bench-tables bench-gdb bench-doctor bench-tracer bench-top bench-overhead'

# name: target and its variables
all_steps="
lint: lint
unit: check-unit
spin: check-spin
integration: check-integration FULL=1
vm: check-vm
labs: check-labs FULL=1
demo-asan: check-unit-demo BUILD=$build/san SAN=address,undefined
glib-asan: check-unit-glib BUILD=$build/san SAN=address,undefined
trace-asan: check-trace BUILD=$build/san SAN=address,undefined
tracer-asan: check-unit-tracer BUILD=$build/san SAN=address,undefined
report-asan: check-unit-report BUILD=$build/san SAN=address,undefined
fuzz: fuzz RUNS=100000
demo-tsan: check-unit-demo BUILD=$build/tsan SAN=thread
stress: stress-notify
browser: check-browser
$(for bench in $benches; do echo "$bench: $bench"; done)"

clock() {
	printf '%2d:%02d' $(($1 / 60)) $(($1 % 60))
}

wanted() {
	[ -z "$steps" ] && return
	for step in $steps; do
		[ "$step" = "$1" ] && return
	done
	return 1
}

for step in $steps; do
	printf '%s\n' "$all_steps" | grep -q "^$step: " || {
		echo "check-full: no step '$step'; there are:" \
			"$(printf '%s\n' "$all_steps" | sed -n 's/: .*//p' | tr '\n' ' ')" >&2
		exit 2
	}
done

mkdir -p "$logs"
begin=$(date +%s)
while read -r name command; do
	name=${name%:}
	{ [ -n "$name" ] && wanted "$name"; } || continue
	start=$(date +%s)
	# shellcheck disable=SC2086 # a list of words on purpose
	if ${MAKE:-make} --no-print-directory $command >"$logs/$name.log" 2>&1 </dev/null; then
		verdict=ok
	else
		verdict=FAILED
		bad=1
	fi
	printf '  %-8s %s  make %s\n' "$verdict" "$(clock $(($(date +%s) - start)))" "$command"
	case $verdict,$name in
	FAILED,*) tail -n 40 "$logs/$name.log" ;;
	ok,bench-*) cat "$logs/$name.log" ;;
	ok,integration) grep 'SKIPPED\|passed' "$logs/$name.log" ;;
	esac
done <<END
$all_steps
END
printf '  %-8s %s  all of it; what each said is in %s\n' \
	"$([ $bad = 0 ] && echo ok || echo FAILED)" "$(clock $(($(date +%s) - begin)))" "$logs"
exit $bad
