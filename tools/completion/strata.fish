# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Completion of the strata command for fish, from what its own help says.

function __strata_commands
	strata --help 2>/dev/null |
		sed -n 's/^  \([a-z]\{2,\}\)  *\([a-z].*\)/\1\t\2/p'
end

function __strata_options
	strata help $argv[1] 2>/dev/null |
		sed -n 's/^  .\{4\}\(--[a-z-]*=\{0,1\}\).*/\1/p'
end

# The options that have a value, which may be the next word.
function __strata_valued
	strata help $argv[1] 2>/dev/null |
		sed -n '/^  .\{4\}--[a-z-]*=/s/=.*//p' | tr -s ', ' '\n'
end

# The first column of a table, without its heading.
function __strata_column
	strata $argv 2>/dev/null | sed -n '/^$/q; 2,$s/^ *\([^ ]*\).*/\1/p'
end

# What the usage of a command says of an operand, by its place from 0 on: STORE,
# DIM and so on; of the last one, '...' means that there may be more.
function __strata_operand
	strata help $argv[1] 2>/dev/null | awk -v place=$argv[2] 'NR == 1 {
		last = NF - 1
		if (4 + place <= last)
			print $(4 + place)
		else if (last >= 4 && $last ~ /\.\.\.$/)
			print $last
	}'
end

function __strata
	set -l words (commandline -opc)
	set -l current (commandline -ct)
	set -l valued (__strata_valued $words[2])
	set -l operands
	set -l value

	for word in $words[3..-1]
		if set -q value[1]
			set value
		else if contains -- $word $valued
			set value follows
		else if not string match -q -- '-*' $word
			set -a operands $word
		end
	end
	if test (count $words) -eq 1; or test "$words[2]" = help
		__strata_commands
	else if set -q value[1]
		__fish_complete_path $current
	else if string match -q -- '-*' $current
		__strata_options $words[2]
	else
		switch (__strata_operand $words[2] (count $operands))
		case '*STORE|FILE*'
			__strata_column list
			__fish_complete_path $current
		case '*STORE*'
			__strata_column list
		case '*DIM*'
			__strata_column ls $operands[1]
		case '?*'
			__fish_complete_path $current
		end
	end
end

complete -c strata -f -a '(__strata)'
