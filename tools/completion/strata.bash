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

# The first column of a table, without its heading.
_strata_column() {
	strata "$@" 2>/dev/null | sed -n '/^$/q; 2,$s/^ *\([^ ]*\).*/\1/p'
}

# Whether the operand at a place of a command is a dimension of the store.
_strata_takes_dimension() {
	case $1 in
	unload|reload|describe|crystallize|ls|put|cat) [ "$2" -eq 1 ] ;;
	rm) [ "$2" -ge 1 ] ;;
	*) false ;;
	esac
}

_strata() {
	local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]}
	local word store='' operands=0

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W \
			"$(_strata_commands) --help --version" -- "$current")
		return
	fi
	for word in "${COMP_WORDS[@]:2:COMP_CWORD-2}"; do
		case $word in
		-*) continue ;;
		esac
		[ "$operands" -gt 0 ] || store=$word
		operands=$((operands + 1))
	done
	if [ "$command" = help ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_strata_commands)" \
			-- "$current")
	elif [ "${current:0:1}" = - ]; then
		mapfile -t COMPREPLY < <(compgen -W \
			"$(_strata_options "$command")" -- "$current")
		[ "${COMPREPLY[0]: -1}" != = ] || compopt -o nospace
	elif [ "$operands" -eq 0 ] && [ "$command" != pack ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_strata_column list)" \
			-- "$current")
	elif _strata_takes_dimension "$command" "$operands"; then
		mapfile -t COMPREPLY < <(compgen -W \
			"$(_strata_column ls "$store")" -- "$current")
	fi
	# Nothing found: file names, by the default below.
}

complete -o default -F _strata strata
