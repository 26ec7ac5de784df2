#!/bin/sh
# loopscope, built here, on QEMUs and GLibs of other Debian releases:  run.sh BUILD [RELEASE...]
#
# For each release: the tests of this folder, with that
# release's programs first on PATH. Then our package in fresh roots (package.sh).  Roots are made once,
# in BUILD/debians, by roots.sh; without a network those that are there are used, the others skipped.
set -u
build=$(realpath "${1:?build}")
shift
here=$(dirname "$0")
roots=$build/debians
[ $# -gt 0 ] || set -- trixie sid bookworm-backports bullseye
[ "$(id -u)" -eq 0 ] || {
	echo "check-debians: skipped: only root can enter the roots"
	exit 0
}
failed=''
skipped=''
for release in "$@"; do
	"$here/roots.sh" "$roots" "$release" || {
		skipped="$skipped $release"
		continue
	}
	inside="$roots/$release.bin"
	glib=$(readlink "$roots/$release/usr/lib/x86_64-linux-gnu/libglib-2.0.so.0" ||
		readlink "$roots/$release/lib/x86_64-linux-gnu/libglib-2.0.so.0")
	echo "== $release: $("$inside/qemu-system-x86_64" --version | head -n 1), $glib"
	BUILD=$build PYTHONPATH=tests/integration PYTHONDONTWRITEBYTECODE=1 PATH=$inside:$PATH \
		/usr/bin/python3 -m pytest -q -rfEs -o cache_dir="$build/pytest-$release" \
		"$here" || failed="$failed $release"
done
"$here/package.sh" "$build" || failed="$failed package"
[ -z "$skipped" ] || echo "check-debians: SKIPPED, no root and no network for one:$skipped"
[ -z "$failed" ] || {
	echo "check-debians: FAILED:$failed"
	exit 1
}
