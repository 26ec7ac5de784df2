#!/bin/sh
# Install what was built, or remove it:  install.sh [--remove] BUILD PREFIX
#
# "make install" and "make uninstall" call it. What belongs where is said once, in files(); removing
# takes the same list, and of folders only those that are ours and empty.
set -eu
remove=
if [ "$1" = --remove ]; then
	remove=yes
	shift
fi
build=$1
prefix=$2
share=$prefix/share

# MODE FILE PLACE, a line each
files() {
	echo "755 $build/loopscope $prefix/bin/loopscope"
	echo "755 $build/demo-qemu-loop $prefix/bin/demo-qemu-loop"
	for page in "$build"/man/*.[17]; do
		name=${page##*/}
		echo "644 $page $share/man/man${name##*.}/$name"
	done
	echo "644 packaging/loopscope.bash $share/bash-completion/completions/loopscope"
	echo "644 packaging/loopscope.bash $share/bash-completion/completions/demo-qemu-loop"
	for file in gdb-scripts/qemu-gdb.py gdb-scripts/qemu_gdb/*.py; do
		echo "644 $file $share/loopscope/gdb/${file#*/}"
	done
	for file in bpf/one-liners/*.bt; do
		echo "755 $file $share/loopscope/one-liners/${file##*/}"
	done
	# Laid out as in the source, so that their links hold.
	for file in LICENSE README.md docs/*.md gdb-scripts/README.md demo-qemu-loop/README.md; do
		echo "644 $file $share/doc/loopscope/$file"
	done
	echo "644 $build/trace/probes.md $share/doc/loopscope/docs/probes.md"
}

files | while read -r mode file place; do
	if [ "$remove" ]; then
		rm -f "$place"
	else
		install -D -m "$mode" "$file" "$place"
	fi
done
if [ "$remove" ]; then
	rm -rf "$share/loopscope/gdb/qemu_gdb/__pycache__" # gdb's Python keeps what it has compiled
	for folder in "$share/loopscope" "$share/doc/loopscope"; do
		[ ! -d "$folder" ] || find "$folder" -depth -type d -empty -delete
	done
fi
