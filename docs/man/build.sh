#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
#	build.sh SCDOC EXAMPLES PAGE.scd PAGE
#
# Makes a manual page of its source. A line '@example FILE' there stands for a
# program of the folder EXAMPLES, so that the page has what was compiled and
# run. scdoc says more paragraphs than there are, which linters complain of:
# those around headings go, and those at the end of something go behind it.
set -eu

scdoc=$1
examples=$2
page=$4

awk -v examples="$examples" '
/^@example / {
	file = examples "/" $2
	print "```"
	nr = 0
	while ((got = (getline line < file)) > 0) {
		# Licence and copyright are those of the page.
		if (++nr <= 2)
			continue
		gsub(/\\/, "&&", line)
		print line
	}
	if (got < 0 || nr == 0) {
		print "build.sh: cannot read " file | "cat >&2"
		exit 1
	}
	close(file)
	print "```"
	next
}
{ print }
' "$3" >"$page.scd.tmp"
"$scdoc" <"$page.scd.tmp" >"$page.raw.tmp"
awk '
function flush() {
	if (held)
		print ".P"
	held = 0
}
/^\.P$/ { held = !opened; next }
/^\.RE$/ { print; opened = 0; next }
/^\.(SH|SS)/ { held = 0 }
{ flush(); print; opened = /^\.(SH|SS|TH)/ }
' "$page.raw.tmp" >"$page.tmp"
rm -f "$page.scd.tmp" "$page.raw.tmp"
mv "$page.tmp" "$page"
