# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# Makes Markdown of what the benches print, and data for the plots in the folder
# "plots" if that is given. Targets of all benches come first, in one table.

BEGIN { FS = "\t" }

# fields of this line as a row of a table
function row(line, i, n, parts) {
	n = split(line, parts, "\t")
	line = "|"
	for (i = 1; i <= n; i++)
		line = line " " parts[i] " |"
	return line
}

function rule(line, i, n, parts) {
	n = split(line, parts, "\t")
	line = "|"
	for (i = 1; i <= n; i++)
		line = line "---|"
	return line
}

/^# bench: / {
	text = text "\n### " substr($0, 10) "\n"
	table = ""
	next
}
/^# machine: / {
	if (machine == "")
		machine = substr($0, 12)
	next
}
/^# run: / {
	if (run == "")
		run = substr($0, 8)
	text = text "\n" substr($0, 8) ".\n"
	next
}
/^# table: / {
	table = substr($0, 10)
	heading = 1
	next
}
/^# / {
	text = text "\n" substr($0, 3) ".\n"
	next
}
heading {
	heading = 0
	if (table == "targets") {
		if (targets == "")
			targets = row($0) "\n" rule($0) "\n"
		next
	}
	text = text "\n" table ":\n\n" row($0) "\n" rule($0) "\n"
	next
}
table == "targets" {
	targets = targets row($0) "\n"
	next
}
table != "" {
	text = text row($0) "\n"
}
plots != "" && table ~ /^lookup latency, 1 MiB$/ {
	print $1 "\t" $2 > (plots "/latency.tsv")
}
plots != "" && table ~ /reader processes$/ {
	split(table, words, " ")
	series = $1
	gsub(/[^a-z]/, "-", series)
	print words[1] "\t" $2 > (plots "/readers-" series ".tsv")
}
plots != "" && table ~ /^commits of 16 KiB, continuous, 1 reader$/ {
	print $1 "\t" $3 "\t" $6 > (plots "/commit.tsv")
}
plots != "" && table == "growth" {
	print $1 "\t" $2 "\t" $5 "\t" $6 > (plots "/growth.tsv")
}

END {
	print "Machine and date: " machine "."
	print "\n### What is to be reached\n"
	printf "%s", targets
	printf "%s", text
}
