#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Runs all benches, prints what they print, and at the end the table of what is
# to be reached.
#
#	report.sh [--quick] [--json] [--docs] BENCH...
#
# --docs writes the part of docs/performance.md between its two marks anew, and
# the plots beside it, if there is gnuplot.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
LC_ALL=C
export LC_ALL
options='' docs=no json=no
while test $# -gt 0; do
	case $1 in
	--docs) docs=yes ;;
	--json) json=yes options="$options $1" ;;
	--*) options="$options $1" ;;
	*) break ;;
	esac
	shift
done
if test $docs = yes && test $json = yes; then
	echo 'report.sh: --docs takes the text, not --json' >&2
	exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for bench; do
	# Not through a pipe: its status would be lost.
	# shellcheck disable=SC2086 # a list of options
	"$bench" $options >"$work/one" || { cat "$work/one"; exit 1; }
	cat "$work/one"
	cat "$work/one" >>"$work/all"
done
test $json = no || exit 0

echo '# all targets:'
awk -F '\t' '/^# / { in_targets = /^# table: targets$/; next }
	in_targets && $1 != "what"' "$work/all"
test $docs = yes || exit 0

page=$top_srcdir/docs/performance.md
for mark in begin end; do
	if test "$(grep -c "^<!-- $mark of what make bench-docs writes -->\$" \
		"$page")" -ne 1; then
		echo "report.sh: $page has not one mark for the $mark" >&2
		exit 1
	fi
done
mkdir "$work/plots"
awk -v plots="$work/plots" -f "$top_srcdir/tests/bench/report.awk" \
	"$work/all" >"$work/text"
awk -v text="$work/text" '
	/^<!-- end of what make bench-docs writes -->$/ { inside = 0 }
	!inside { print }
	/^<!-- begin of what make bench-docs writes -->$/ {
		inside = 1
		print ""
		while ((getline line < text) > 0)
			print line
		print ""
	}' "$page" >"$work/page"
cp "$work/page" "$page"
if command -v gnuplot >/dev/null; then
	gnuplot -e "data='$work/plots'; out='$top_srcdir/docs'" \
		"$top_srcdir/tests/bench/plots.gp"
else
	echo '# no gnuplot on this machine: the plots are as they were'
fi
