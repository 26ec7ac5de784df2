#!/bin/sh
# Roots of Debian's releases, for make check-debians:  roots.sh DIR RELEASE...
#
# Leaves DIR/RELEASE, a minimal Debian with that release's QEMU and GLib as they come, and
# DIR/RELEASE.bin with a command for each of their programs: it runs the program inside, as this
# process (see enter).  A root that is there stays; remove it to have one of today.  Releases:
#   bullseye, bookworm, trixie, sid    of Debian's archive
#   bookworm-backports                 QEMU of the backports on the GLib of bookworm
#   fresh-RELEASE                      nothing but a minimal Debian, to install our package in
# Exit 4 if the archive cannot be had.
set -eu
dir=$(realpath -m "${1:?where to}")
shift
here=$(realpath "$(dirname "$0")")
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
packages=qemu-system-x86,qemu-utils,libglib2.0-bin,dbus,libc-bin
programs="qemu-system-x86_64 qemu-nbd qemu-img qemu-storage-daemon gdbus gio dbus-daemon"

say() { echo "roots: $*" >&2; }

# make_root RELEASE PACKAGES SOURCE...
make_root() {
	root=$dir/$1
	[ ! -d "$root" ] || return 0
	say "making $root of $mirror: about $([ -n "$2" ] && echo 110 || echo 40) MB to download"
	include=$2
	shift 2
	rm -rf "$root.new"
	# The archive's own dates are not held against this machine's clock.
	mmdebstrap --quiet --variant=minbase ${include:+--include=$include} \
		--aptopt='Acquire::Check-Valid-Until "false"' --aptopt='APT::Install-Recommends "false"' \
		${prefer:+--aptopt="APT::Default-Release \"$prefer\""} \
		"$suite" "$root.new" "$@" >"$root.log" 2>&1 || {
		tail -n 5 "$root.log" >&2
		rm -rf "$root.new"
		say "$root cannot be made (see above, and $root.log)"
		exit 4
	}
	mv "$root.new" "$root"
}

command -v mmdebstrap >/dev/null || {
	say "mmdebstrap is missing: apt-get install mmdebstrap"
	exit 4
}
mkdir -p "$dir"
for release in "$@"; do
	prefer=
	suite=${release#fresh-}
	suite=${suite%-backports}
	case $release in
	fresh-*)
		make_root "$release" "" "deb $mirror $suite main"
		continue
		;;
	*-backports)
		prefer=$release
		make_root "$release" $packages "deb $mirror $suite main" "deb $mirror $release main"
		;;
	*) make_root "$release" $packages "deb $mirror $suite main" ;;
	esac
	mkdir -p "$dir/$release.bin"
	for program in $programs; do
		[ -x "$dir/$release/usr/bin/$program" ] || continue
		printf '#!/bin/sh\nexec %s %s /usr/bin/%s "$@"\n' "$here/enter" "$dir/$release" "$program" \
			>"$dir/$release.bin/$program"
		chmod +x "$dir/$release.bin/$program"
	done
done
