#!/bin/sh
# Formatting and static analysis of everything that is ours.
# usage: tests/lint.sh BUILD "COMPILER FLAGS"     ("make lint" knows both)
set -u
build=$1
flags=$2
bad=0

# Files git knows, or would if they were added: never what was built.
files() {
	git ls-files --cached --others --exclude-standard -- "$@"
}

# Run "$@" as the check $name; what it prints is shown only if it fails.
check() {
	name=$1
	shift
	if out=$("$@" 2>&1); then
		printf '  %-8s %s\n' LINT "$name"
	else
		printf '%s\n' "$out" | grep -v 'warnings generated' >&2
		echo "lint: $name is not clean" >&2
		bad=1
	fi
}

# shellcheck disable=SC2046,SC2086 # lists of words on purpose
run_checks() {
	check clang-format clang-format --dry-run --Werror $(files '*.c' '*.h')
	check cppcheck cppcheck --quiet --enable=warning,performance,portability --inline-suppr \
		--error-exitcode=1 --suppress=missingIncludeSystem --suppress=varFuncNullUB \
		--suppress=unknownMacro '-DLIBBPF_OPTS(t,n,...)=struct t n' -I. -Idemo-qemu-loop \
		$(files 'tracer/*.c' 'trace/*.c' 'demo-qemu-loop/*.c')
	check shellcheck shellcheck $(files '*.sh' '*.bash') .ci/setup .ci/run
	check black /usr/bin/black --check --quiet $(files '*.py')
	# shellcheck disable=SC2016 # the inner shells expand it
	check clang-tidy sh -c 'printf "%s\n" "$1" | xargs -P 2 -n 8 sh -c '\''
		clang-tidy --quiet "$@" -- $FLAGS'\'' sh' sh "$(files 'tracer/*.c' 'trace/*.c' 'demo-qemu-loop/*.c')"
}

export FLAGS="$flags -Wno-everything"
[ -d "$build" ] || { echo "lint: $build is missing: make first" >&2; exit 2; }
run_checks
exit $bad
