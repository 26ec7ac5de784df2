#!/bin/sh
# Debian's kernel for the guests of the tests, unpacked and not installed:  guest-kernel.sh DIR
# leaves DIR/vmlinuz, DIR/config and DIR/lib/modules of linux-image-cloud-amd64, whichever version
# Debian has today.  One that is installed is copied.  With that, or with DIR/vmlinuz there, it needs
# no network; it never needs root to unpack, only to refresh a list of packages that is out of date.
set -eu
dir=${1:?where to}
[ ! -e "$dir/vmlinuz" ] || exit 0

say() { echo "guest-kernel: $*" >&2; }

# The metapackage names the image of the day.
image() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1; }

for kernel in /boot/vmlinuz-*-cloud-amd64; do
	version=${kernel#/boot/vmlinuz-}
	if [ -r "$kernel" ] && [ -d "/lib/modules/$version" ]; then
		mkdir -p "$dir/lib/modules"
		cp -r "/lib/modules/$version" "$dir/lib/modules/"
		cp "/boot/config-$version" "$dir/config"
		cp "$kernel" "$dir/vmlinuz"
		exit 0
	fi
done

new=$dir.new
rm -rf "$new"
mkdir -p "$new"
trap 'rm -rf "$new"' EXIT
fetch() {
	package=$(image)
	[ -n "$package" ] && (cd "$new" && apt-get download -q "$package") >"$new/log" 2>&1
}
fetch || {
	sudo=
	[ "$(id -u)" -eq 0 ] || sudo=sudo
	{ $sudo apt-get update -q && fetch; } >"$new/log" 2>&1 || {
		tail -n 5 "$new/log" >&2
		say "Debian's package linux-image-cloud-amd64 cannot be had (see above)"
		exit 4
	}
}
say "unpacked, not installed: $package"
dpkg-deb --fsys-tarfile "$new/$package"_*.deb |
	tar -x -C "$new" --wildcards './boot/*' './lib/modules/*'
rm -f "$new"/*.deb "$new/log"
mv "$new"/boot/config-* "$new/config"
mv "$new"/boot/vmlinuz-* "$new/vmlinuz"
rm -rf "${new:?}/boot" "$dir"
mv "$new" "$dir"
trap - EXIT
