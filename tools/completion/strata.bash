# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Completion of the strata command for bash, from what its own help says.

_strata_commands() {
	strata --help 2>/dev/null | sed -n 's/^  \([a-z]\{2,\}\)  *[a-z].*/\1/p'
}

_strata_options() {
	strata help "$1" 2>/dev/null |
		sed -n 's/^  .\{4\}\(--[a-z-]*=\{0,1\}\).*/\1/p'
}

# The options that have a value, which may be the next word.
_strata_valued() {
	strata help "$1" 2>/dev/null |
		sed -n '/^  .\{4\}--[a-z-]*=/s/=.*//p' | tr -s ', \n' ' '
}

# The first column of a table, without its heading.
_strata_column() {
	strata "$@" 2>/dev/null | sed -n '/^$/q; 2,$s/^ *\([^ ]*\).*/\1/p'
}

# What the usage of a command says of an operand, by its place from 0 on: STORE,
# DIM and so on; of the last one, '...' means that there may be more.
_strata_operand() {
	strata help "$1" 2>/dev/null | awk -v place="$2" 'NR == 1 {
		last = NF - 1
		if (4 + place <= last)
			print $(4 + place)
		else if (last >= 4 && $last ~ /\.\.\.$/)
			print $last
	}'
}

_strata() {
	local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
	local word store='' operands=0 found='' valued value=''

	COMPREPLY=()
	valued=$(_strata_valued "$command")
	# For bash = and : are words, so that --interval=2 is three.
	for word in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
		if [[ $word == [=:]* ]]; then
			value=follows
		elif [ -n "$value" ]; then
			value=''
		elif [[ $valued == *" $word "* ]]; then
			value=follows
		elif [ "${word:0:1}" != - ]; then
			[ "$operands" -gt 0 ] || store=$word
			operands=$((operands + 1))
		fi
	done
	if [ "$COMP_CWORD" -eq 1 ]; then
		found="$(_strata_commands) --help --version"
	elif [ "$command" = help ]; then
		found=$(_strata_commands)
	elif [ -n "$value" ] || [[ $current == [=:]* ]]; then
		found=''
	elif [ "${current:0:1}" = - ]; then
		found=$(_strata_options "$command")
	else
		case $(_strata_operand "$command" "$operands") in
		*STORE*) found=$(_strata_column list) ;;
		*DIM*) found=$(_strata_column ls "$store") ;;
		esac
	fi
	mapfile -t COMPREPLY < <(compgen -W "$found" -- "$current")
	if [ "${#COMPREPLY[@]}" -gt 0 ] &&
	   [ "${COMPREPLY[0]: -1}" = = ]; then
		compopt -o nospace 2>/dev/null
	fi
	# Nothing found: file names, by the default below.
}

complete -o default -F _strata strata
