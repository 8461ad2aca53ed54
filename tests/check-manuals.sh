#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# The manual pages say what the tool and the library are: every command, with
# all that its help says, every option and no other, every figure, every public
# function and error; and the pages as made have nothing that a linter minds.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

sources=$top_srcdir/docs/man

# Without markup, all in one line.
flat() {
	sed 's/++$//; s/[*_\\]//g' | tr -s ' \t\n' ' '
}

# section HEADING PAGE: what is below it there, flat.
section() {
	section_lines "$1" "$2" | flat
}

# Between ``` a # begins no heading.
section_lines() {
	awk -v heading="# $1" '/^```/ { literal = !literal }
		/^# / && !literal { on = $0 == heading } on' "$2"
}

# told FILE WHERE: each line of FILE is told by $text.
told() {
	while IFS= read -r line; do
		line=$(printf '%s' "$line" | flat)
		nr_checks=$((nr_checks + 1))
		case $text in
		*"$line"*) ;;
		*) fail "$2 does not say: $line" ;;
		esac
	done <"$1"
}

# From a command's help: usage, what it does, each option, each example line, a
# line each.
help_lines() {
	awk '
	/^Usage: / { sub(/^Usage: /, "") }
	/^ *strata / && part == "" { sub(/^ */, ""); print; next }
	/^Options:/ || /^Example:/ {
		if (what != "") print what
		what = ""
		part = $1
		next
	}
	part == "Example:" { sub(/^ */, ""); print; next }
	part == "Options:" && /^  (-.,|    --)/ && what != "" {
		print what
		what = ""
	}
	NF > 0 { sub(/^ */, ""); what = what (what != "" ? " " : "") $0 }
	'
}

#
# commands
#
good help
sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' "$out" >"$work/commands"
while read -r command; do
	grep -q "^\*strata[- ]$command\*\|[ ,]\*strata-$command\*(1)" \
		"$sources/strata.1.scd" || fail "strata(1) has no $command"
	test "$command" != help || continue
	heading=$(echo "$command" | tr '[:lower:]' '[:upper:]')
	page=$(grep -l "^# $heading\$" "$sources"/strata-*.scd) ||
		fail "no manual page has a heading $heading"
	name=$(basename "$page" .1.scd)
	if test "$name" != "strata-$command"; then
		link=$sources/links/strata-$command.1
		grep -q -x ".so man1/$name.1" "$link" ||
			fail "$link does not lead to $name(1)"
	fi
	sed -n '/^# NAME/,/^# SYN/p' "$page" | grep -q "strata-${command}[, ]" ||
		fail "the NAME of $name(1) lacks strata-$command"
	good help "$command"
	help_lines <"$out" >"$work/lines"
	test "$(wc -l <"$work/lines")" -ge 4 || fail "too little help: $command"
	section "$heading" "$page" >"$work/section"
	text=$(cat "$work/section")
	told "$work/lines" "$name(1), $heading"
	cp "$out" "$work/help"
	section_lines "$heading" "$page" |
		sed -n 's/^\(\*-.\*, \)\{0,1\}\*\(--[a-z-]*\)\*.*/\2/p' |
		while read -r option; do
			grep -q -e "${option}[= ]" -e "$option\$" "$work/help" ||
				fail "$command has no option $option"
		done
done <"$work/commands"

#
# figures
#
good stat --explain
awk '/^[^ ]/ { if (what != "") print what; what = "" }
	{ sub(/^ */, ""); what = what (what != "" ? " " : "") $0 }
	END { print what }' "$out" >"$work/lines"
text=$(section FIGURES "$sources/strata-stat.1.scd")
told "$work/lines" 'strata-stat(1)'
sed 's/^	 \*  / /; s/^	\/\*\* / /; s/ \*\/$//' \
	"$top_srcdir/lib/strata/admin.h" >"$work/header"
text=$(flat <"$work/header")
grep -v ': the same as ' "$work/lines" | sed 's/^[a-z_.]* *//' \
	>"$work/sentences"
told "$work/sentences" admin.h
good create "manuals-$$" --limit=16M
good metrics
sed -n 's/^# HELP //p' "$out" >"$work/lines"
test "$(wc -l <"$work/lines")" -ge 40 || fail 'too few metrics'
text=$(section FIGURES "$sources/strata-metrics.1.scd")
told "$work/lines" 'strata-metrics(1)'
good destroy "manuals-$$"

#
# the library
#
text=$(flat <"$sources/strata.3.scd")
sed -n 's/^	\(strata_[a-z_]*\);/\1/p' "$top_srcdir/lib/libstrata.map" \
	>"$work/lines"
sed -n 's/^	\(STRATA_E[A-Z]*\) = -.*/\1/p' \
	"$top_srcdir/lib/strata/strata.h" >>"$work/lines"
test "$(wc -l <"$work/lines")" -ge 90 || fail 'too few functions and errors'
told "$work/lines" 'strata(3)'

#
# the pages as made
#
if command -v mandoc >/dev/null; then
	lint='mandoc -Tlint -Wwarning'
elif command -v man >/dev/null; then
	lint='man --warnings -E UTF-8 -l'
else
	lint=
fi
nr_pages=0
for page in "$sources"/*.scd; do
	name=$(basename "$page" .scd)
	made=$top_builddir/docs/man/$name
	test -e "$made" || made=$sources/$name
	test -e "$made" || continue
	nr_pages=$((nr_pages + 1))
	test -n "$lint" || continue
	cp "$made" "$work/$name"
	# shellcheck disable=SC2086 # words
	$lint "$work/$name" >"$out" 2>"$err" || :
	case $lint in
	mandoc*) test ! -s "$out" || fail "$name: the linter complains" ;;
	esac
	test ! -s "$err" || fail "$name: the linter complains"
done
echo "$nr_checks sentences compared, $nr_pages pages looked at"
if test "$nr_pages" -eq 0; then
	echo 'the pages were not made: scdoc is missing'
	exit 77
elif test -z "$lint"; then
	echo 'the pages were not linted: mandoc and man are missing'
	exit 77
fi
