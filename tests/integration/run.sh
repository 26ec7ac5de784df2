#!/bin/sh
# Runs the integration tests: tests/integration/run.sh BUILD [what pytest takes]
# A test that fails is repeated once, alone, and what it said the first time stands above.  One that
# then passes is UNSTEADY: told at the end as a bug to close (of the test, or of what it tests), but it
# does not hide what all the others say.  More than MAX_UNSTEADY at once are no accident.
set -u
MAX_UNSTEADY=3
build=$(realpath "$1")
shift
cache=$build/pytest
failed=$cache/v/cache/lastfailed

run() {
	BUILD=$build PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m pytest -q -rs -o cache_dir="$cache" "$@"
}

names() {
	/usr/bin/python3 -c 'import json, sys; print("\n".join(json.load(open(sys.argv[1]))))' "$failed"
}

cd "$(dirname "$0")/../.." || exit
[ $# -gt 0 ] || set -- tests/integration
rm -rf "$cache"
run "$@"
rc=$?
if [ $rc -ne 1 ] || [ ! -s "$failed" ]; then
	exit $rc
fi
first=$(names)
[ "$(printf '%s\n' "$first" | wc -l)" -le $MAX_UNSTEADY ] || exit $rc
echo "failed, and repeated alone:"
run --last-failed --last-failed-no-failures none "$@" || exit
printf 'UNSTEADY, passed when repeated: %s\n' "$first"
