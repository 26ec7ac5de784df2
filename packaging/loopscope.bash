# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# Completion for bash: commands, the options that each takes, and what an option's value may be. All
# of it is asked of the programs themselves (loopscope --help-table, demo-qemu-loop --list --json).

# _loopscope_words WORDS CURRENT [BEFORE]: those of the words that go on with what is typed.
_loopscope_words() {
	mapfile -t COMPREPLY < <(compgen -P "${3:-}" -W "$1" -- "$2")
}

_loopscope_files() {
	compopt -o filenames 2>/dev/null
	mapfile -t COMPREPLY < <(compgen -f -- "$1")
}

# Processes that have loops we know, by the names of their programs; none: all that are ours.
_loopscope_pids() {
	local found
	found=$(pgrep '^(qemu-|demo-qemu-loop)' 2>/dev/null)
	_loopscope_words "${found:-$(pgrep -u "$EUID" 2>/dev/null)}" "$1"
}

_loopscope() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local program=${COMP_WORDS[0]} IFS=$' \t\n'
	local table command='' takes='' options='' values='' kind name a b i word

	COMPREPLY=()
	table=$("$program" --help-table 2>/dev/null) || return
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		# What is behind "--" is a command with its own words.
		if [[ $word == -- ]]; then
			_command_offset $((i + 1)) 2>/dev/null || mapfile -t COMPREPLY < <(compgen -c -- "$cur")
			return
		fi
		while IFS=$'\t' read -r kind name a b; do
			[[ $kind == command && $name == "$word" && ! $command ]] || continue
			command=$name takes=$a options=$b
		done <<<"$table"
	done

	# The value of the option before, if it takes one.
	while IFS=$'\t' read -r kind name a b; do
		[[ $kind == option && $b == value && ($prev == "--$name" || $prev == "-$a") ]] || continue
		values=$(awk -F'\t' -v name="$name" '$1 == "value" && $2 == name { print $3 }' <<<"$table")
		if [[ $name == pid ]]; then
			_loopscope_pids "$cur"
		elif [[ $name == only ]]; then # a list: complete what is behind the last comma
			local before=
			[[ $cur == *,* ]] && before=${cur%,*},
			_loopscope_words "$values" "${cur##*,}" "$before"
		elif [[ $values ]]; then
			_loopscope_words "$values" "$cur"
		else
			_loopscope_files "$cur"
		fi
		return
	done <<<"$table"

	if [[ $cur == -* ]]; then
		local short=
		for word in ${options:-}; do
			short+=" --$word"
			[[ $word == pid ]] && short+=" -p"
		done
		_loopscope_words "$short --verbose --help $([[ $command ]] || echo --version)" "$cur"
	elif [[ ! $command ]]; then
		_loopscope_words "$(awk -F'\t' '$1 == "command" { print $2 }' <<<"$table")" "$cur"
	elif [[ $takes != process ]]; then # a recording or a core file
		_loopscope_files "$cur"
	fi
}

_demo_qemu_loop() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} help
	local IFS=$' \t\n'

	COMPREPLY=()
	help=$("${COMP_WORDS[0]}" --help 2>/dev/null) || return
	case $prev in
	--scenario)
		_loopscope_words "$("${COMP_WORDS[0]}" --list | awk 'NR > 1 { print $1 }')" "$cur"
		;;
	--era)
		_loopscope_words "$(awk '/^Eras:/ { e = 1; next } e { print $1 }' <<<"$help")" "$cur"
		;;
	--fdmon)
		_loopscope_words "poll epoll io_uring" "$cur"
		;;
	--record | --vnc | --monitor)
		_loopscope_files "$cur"
		;;
	*)
		_loopscope_words "$(grep -oE '^ +--[a-z-]+(, --[a-z-]+)?' <<<"$help" | tr -d ,)" "$cur"
		;;
	esac
}

complete -F _loopscope loopscope
complete -F _demo_qemu_loop demo-qemu-loop
