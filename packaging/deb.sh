#!/bin/sh
# Make the Debian package BUILD/deb/loopscope_VERSION_ARCH.deb of what was built:  deb.sh BUILD
#
# What it depends on is computed from the programs (dpkg-shlibdeps); it needs no root.
set -eu
build=$1
work=$build/deb
root=$work/root
command -v dpkg-shlibdeps >/dev/null || {
	echo "deb: dpkg-shlibdeps is missing: apt-get install dpkg-dev" >&2
	exit 2
}
version=$("$build/loopscope" --version | cut -d' ' -f2)
arch=$(dpkg --print-architecture)
# Whoever makes a package for others sets it.
maintainer=${MAINTAINER:-the loopscope authors <loopscope@localhost>}

umask 022
rm -rf "$work"
mkdir -p "$work/debian" "$root/DEBIAN"
packaging/install.sh "$build" "$root/usr"
# The demo keeps its debug information: it is there to be looked at by debuggers.
strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/bin/loopscope"
find "$root/usr/share/man" -type f -exec gzip -9n {} +

doc=$root/usr/share/doc/loopscope
{
	cat "$doc/LICENSE"
	printf "\nOn Debian systems the GNU General Public License, version 2, is in\n"
	echo "/usr/share/common-licenses/GPL-2."
} >"$doc/copyright"
rm "$doc/LICENSE"
changelog=$doc/changelog.gz
# No other date is known than that of the sources.
when=$(git log -1 --format=%cD 2>/dev/null || date -R)
printf 'loopscope (%s) unstable; urgency=medium\n\n  * Built from its source tree by "make deb".\n\n -- %s  %s\n' \
	"$version" "$maintainer" "$when" | gzip -9n >"$changelog"
mkdir -p "$root/usr/share/lintian/overrides"
cat >"$root/usr/share/lintian/overrides/loopscope" <<END
# It is there to be looked at by debuggers.
loopscope: unstripped-binary-or-object [usr/bin/demo-qemu-loop]
# Not an upload to Debian.
loopscope: initial-upload-closes-no-bugs [usr/share/doc/loopscope/changelog.gz:1]
loopscope: bogus-mail-host Maintainer loopscope@localhost
loopscope: bogus-mail-host-in-debian-changelog loopscope@localhost *
# bpftrace is what they are for.
loopscope: unusual-interpreter bpftrace *
END

# dpkg-shlibdeps wants a source package around it.
cat >"$work/debian/control" <<END
Source: loopscope

Package: loopscope
Architecture: $arch
END
depends=$(cd "$work" && dpkg-shlibdeps -O root/usr/bin/loopscope root/usr/bin/demo-qemu-loop 2>shlibdeps.log) || {
	cat "$work/shlibdeps.log" >&2
	exit 4
}
cat >"$root/DEBIAN/control" <<END
Package: loopscope
Version: $version
Architecture: $arch
Maintainer: $maintainer
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Depends: ${depends#shlibs:Depends=}
Recommends: gdb, procps
Suggests: babeltrace2, bpftrace, bash-completion, qemu-system-x86
Section: devel
Priority: optional
Description: look into the event loops of a running QEMU or GLib program
 Why is this event loop stuck, hot, or doing anything at all? loopscope shows
 what the main loop and the IOThreads of a QEMU poll, what is registered in each
 AioContext, where the time goes and who is to blame. The QEMU may be stripped,
 runs on, and is not stopped for it. Recordings are in the Common Trace Format.
 .
 Also in it: commands for gdb that answer the same of a core file, scripts for
 bpftrace, and demo-qemu-loop, a main loop of the same build to learn with.
END
cat >"$root/DEBIAN/prerm" <<'END'
#!/bin/sh
set -e
# gdb's Python keeps there what it has compiled.
rm -rf /usr/share/loopscope/gdb/qemu_gdb/__pycache__
END
chmod 755 "$root/DEBIAN/prerm"
(cd "$root" && find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
file=$work/loopscope_${version}_$arch.deb
dpkg-deb --build --root-owner-group "$root" "$file" >/dev/null
echo "$file"
