#!/bin/sh
# Our Debian package on fresh systems:  package.sh BUILD [RELEASE...]
#
# In each root (made by roots.sh, copied, so that it stays fresh) apt installs the package and what it
# depends on; then it has to do its work on a program in there; and removed, it leaves nothing.  A
# release whose libraries have other names than those it was built with has to refuse it.
set -eu
build=$(realpath "${1:?build}")
shift
here=$(dirname "$0")
roots=$build/debians
[ $# -gt 0 ] || set -- bookworm trixie
deb=$(packaging/deb.sh "$build")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { echo "package: $*"; }
die() {
	say "$release: $*"
	exit 1
}
inside() { "$here/enter" "$root" "$@"; }
# What is there but for what apt and dpkg keep of their own.
files() { (cd "$root" && find . -xdev \( -path ./var/lib/dpkg -o -path ./var/lib/apt -o -path ./var/cache \
	-o -path ./var/log -o -path ./tmp -o -path ./proc -o -path ./dev \) -prune -o -print | sort); }

for release in "$@"; do
	"$here/roots.sh" "$roots" "fresh-$release" || {
		say "$release: SKIPPED: no root and no network for one"
		continue
	}
	root=$work/$release
	cp -a "$roots/fresh-$release" "$root"
	cp "$deb" "$root/root/loopscope.deb"
	cp /etc/resolv.conf "$root/etc/resolv.conf"
	inside apt-get -q -o Acquire::Check-Valid-Until=false update >"$work/log" 2>&1 || {
		say "$release: SKIPPED: apt has no lists and no network for them"
		continue
	}
	if ! inside apt-get -q -y --no-install-recommends install /root/loopscope.deb >"$work/log" 2>&1; then
		grep -q 'Depends: .* but it is not installable' "$work/log" || {
			tail -n 20 "$work/log"
			die "apt cannot install it"
		}
		say "$release: refused, as it has to be built there:" \
			"$(grep -o 'Depends: [^ ]*' "$work/log" | sort -u | tr '\n' ' ')"
		continue
	fi
	inside loopscope --version >/dev/null || die "it does not start"
	files >"$work/before"
	# shellcheck disable=SC2016
	inside env HOME=/root XDG_CACHE_HOME=/root/cache sh -c '
		demo-qemu-loop --scenario five-sources --vnc /root/vnc >/root/said & pid=$!
		while ! grep -q ready /root/said; do sleep 0.1; done
		loopscope fds -p $pid >/root/fds || exit
		kill $pid
		loopscope record -o /root/recording -- demo-qemu-loop --scenario five-sources --iterations 23 >/dev/null 2>&1 &&
			loopscope report /root/recording >/root/report' || die "it does not look into a program"
	grep -q 'qemu_aio_context  *its own notifier' "$root/root/fds" || die "fds does not show the demo's poll set"
	grep -Eq '^main loop +[0-9]+ +23 ' "$root/root/report" || die "the report shows no iterations"
	# minbase has dpkg leave man pages out, or no man: the package's list tells whether they are in it.
	inside dpkg -L loopscope | grep -q /usr/share/man/man1/loopscope.1.gz || die "no man page"
	inside bash -c '. /usr/share/bash-completion/completions/loopscope && complete -p loopscope' >/dev/null ||
		die "no completion"
	installed=$(inside dpkg -L loopscope)
	inside dpkg --verify loopscope | grep -v /usr/share/ && die "its files are not as they were packed"
	inside apt-get -q -y purge loopscope >"$work/log" 2>&1 || die "apt cannot remove it"
	for file in $installed; do
		[ -d "$root$file" ] || [ ! -e "$root$file" ] || die "removed, it leaves $file"
	done
	[ -z "$(find "$root/usr" "$root/etc" "$root/var/lib" -name '*loopscope*' -o -name 'demo-qemu-loop*')" ] ||
		die "removed, it leaves $(find "$root/usr" "$root/etc" "$root/var/lib" -name '*loopscope*')"
	say "$release: installed, fds, record, report, completion; removed, nothing stays"
done
