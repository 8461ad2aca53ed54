#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# strata watch tells each version: what changed, how large, by whom.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

store=watch-$$
echo hello >"$work/hello"
head -c 5000 /dev/urandom >"$work/content"
mkfifo "$work/lines"

# watch_begin ARGUMENT...: from its first line on nothing is missed; the lines
# come at descriptor 3.
watch_begin() {
	tried="watch $*"
	"$STRATA" watch "$store" "$@" >"$work/lines" 2>"$err" &
	watcher=$!
	exec 3<"$work/lines"
	next
}

# next: the next line is in $line, and in $out; ends when it has come.
next() {
	IFS= read -r line <&3 || fail 'no line comes'
	printf '%s\n' "$line" >"$out"
}

# watch_end STATUS: it leaves by itself.
watch_end() {
	status=0
	wait "$watcher" || status=$?
	exec 3<&-
	test "$status" -eq "$1" || fail "$tried: exit code $status, not $1"
}

# did ARGUMENT...: the tool does it; its process is $did.
did() {
	"$STRATA" "$@" >"$work/did" 2>&1 &
	did=$!
	wait "$did" || { cat "$work/did"; fail "$*"; }
}

stamp='[0-9]*-[0-9]*-[0-9]*T[0-9:]*Z'

#
# each kind of change
#
good create "$store" --limit=32M --quiet
watch_begin --count=9
prints "^$store: watched from version 1 on$"
did put "$store" 7/0 "$work/hello"
next
prints "^$stamp version 2: dimension 7 new: layer 0 put, 6 B; by .*strata (process $did)$"
did put "$store" 7/3 "$work/content"
next
prints "version 3: dimension 7: layer 3 put, 4.9 KiB; by .*(process $did)$"
did put "$store" 7/0 "$work/content"
next
prints 'version 4: dimension 7: layer 0 replaced, 4.9 KiB; by '
did describe "$store" 7 --name=colours
next
prints "version 5: dimension 7 'colours': no layer changed; by "
did crystallize "$store" 7
next
prints "version 6: dimension 7 'colours': crystallized; by "
did rm "$store" 7/0
next
prints "version 7: dimension 7 'colours': layer 0 removed, 4.9 KiB; by "
did put "$store" 600/9 "$work/hello"
next
prints 'version 8: dimension 600 new: layer 9 put, 6 B; by '
did rm "$store" 7/3 600
next
prints "version 9: dimension 7 'colours': layer 3 removed, 4.9 KiB; dimension 600 removed: layer 9 removed, 6 B; by "
did rm "$store" 7
next
prints "version 10: dimension 7 'colours' removed: no layer changed; by "
watch_end 0
test ! -s "$err" || fail "$tried: something on stderr"

#
# several versions at once: while a command runs, it does not look
#
mkfifo "$work/go"
watch_begin --count=2 --exec="
	test \$STRATA_VERSION -ne 11 || cat '$work/go'
	echo \"\$STRATA_STORE \$STRATA_FIRST-\$STRATA_VERSION\" \\
		\"[\$STRATA_DIMENSIONS] [\$STRATA_BY] [\$STRATA_LINE]\"
	test \$STRATA_VERSION -ne 11 || exit 3"
did put "$store" 1/0 "$work/hello"
first=$did
next
prints 'version 11: '
did put "$store" 1/0 "$work/hello"
second=$did
did put "$store" 2/0 "$work/hello"
third=$did
echo went >"$work/go"
next
prints '^went$'
next
prints "^$store 11-11 \[1\] \[.*strata (process $first)\] \[$stamp version 11: .*\]$"
next
prints 'versions 12-13: dimension 1: layer 0 replaced, 6 B; dimension 2 new: '
prints "by .*strata (process $second), .*strata (process $third)$"
next
prints "^$store 12-13 \[1 2\] "
watch_end 0
grep -q "note: version 11: the command left with 3$" "$err" ||
	fail 'a command that failed is not noted'

#
# whoever reads has seen enough: he knows
#
mkfifo "$work/pipe"

# seen_enough PATTERN COMMAND...: run by that command, with $options; it begins with
# a line that matches. What is run for nobody ends the watching, which would go on
# for ever.
options=
seen_enough() {
	pattern=$1
	shift
	(
		trap '' PIPE
		status=0
		# shellcheck disable=SC2086 # none, or one
		"$@" "$STRATA" watch "$store" --count=9 $options \
			--exec="echo run >'$work/run'; kill \$PPID" \
			>"$work/pipe" 2>"$work/complaint" || status=$?
		echo "$status" >"$work/status"
	) &
	watcher=$!
	head -n 1 "$work/pipe" >"$out"
	prints "$pattern"
	good put "$store" 7/3 "$work/content"
	wait "$watcher"
	test ! -e "$work/run" || fail "$*: a command was run for nobody"
	test ! -s "$work/complaint" ||
		fail "$*: it said: $(cat "$work/complaint")"
	test "$(cat "$work/status")" -eq 1 ||
		fail "$*: not all was written, and it left with 0"
}
seen_enough "^$store: watched from version 13 on$" env
options=--json
seen_enough '"event":"begin",.*"version":14}' env
options=

#
# as JSON, an object a line; the end of the store
#
watch_begin --json
"$json_check" "$out" || fail 'no JSON'
prints '"event":"begin",.*"version":15}'
did put "$store" 1/5 "$work/hello"
next
"$json_check" "$out" || fail 'no JSON'
prints '"first":16,"version":16,'
prints '"id":1,.*"change":"changed","state":"proto",.*"put":{"count":1,"bytes":6,"first":\[5\]}'
prints "\"pid\":$did,.*\"versions\":1}\],\"unknown\":0}"
did destroy "$store"
watch_end 1
grep -q "^strata: watch '$store': .*destroyed" "$err" || fail 'no word of the end'

#
# who has no reader slot watches by observing
#
if have_nobody; then
	good create "$store" --mode=0644 --quiet
	chmod 755 "$shm"
	as_nobody watch "$store" --count=1 >"$work/lines" 2>"$err" &
	watcher=$!
	exec 3<"$work/lines"
	next
	did put "$store" 1/5 "$work/hello"
	next
	prints 'version 2: dimension 1 new: layer 5 put, 6 B; by '
	watch_end 0
	grep -q 'note: observed' "$err" || fail 'it does not say that it observed'
	chmod 1777 "$shm"
	good destroy "$store" --quiet
fi

#
# more than the system gives to a command: it is run without; the next has all
#
awk 'BEGIN {
	printf "{\"layers\": [], \"dimensions\": ["
	for (i = 1001; i <= 1900; i++)
		printf "%s{\"id\": %d, \"name\": \"%0127d\"," \
			"\"frequency_min\": 0, \"frequency_max\": 1}",
			(i > 1001 ? "," : ""), i, i
	print "]}"
}' >"$work/many.json"
good pack "$work/many.json" "$work/many" --quiet
good create "$store" --quiet
good load "$store" "$work/many"/* --quiet
# shellcheck disable=SC2016 # of the command
watch_begin --count=2 --exec='
	echo "[${STRATA_CUT-}] [${STRATA_LINE+a line}] [$STRATA_DIMENSIONS]"'
# shellcheck disable=SC2046 # a list
did rm "$store" $(awk 'BEGIN { for (i = 1001; i <= 1900; i++) print i }')
next
prints 'version 902: dimension 1001 .*; dimension 1900 .* removed: '
did put "$store" 1/0 "$work/hello"
next
# Elsewhere pages, and with them what is given, are larger.
test "$(getconf PAGESIZE)" -gt 4096 || prints '^\[1\] \[\] '
prints '\[1001 1002 .* 1900\]$'
next
next
prints '^\[\] \[a line\] \[1\]$'
watch_end 0
test ! -s "$err" || fail "$tried: something on stderr"
good destroy "$store" --quiet

#
# line by line, printing fails, and flushing does not: nobody reads, or the disk
# is full; sanitizers do not let stdbuf in, and it is of no other machine
#
if stdbuf -oL "$STRATA" --version >"$out" 2>"$err" && test ! -s "$err"; then
	good create "$store" --quiet
	seen_enough "^$store: watched from version 1 on$" stdbuf -oL
	test ! -c /dev/full || refused_by 'No space left on device' sh -c \
		"stdbuf -oL '$STRATA' watch '$store' >/dev/full"
	options=--json
	seen_enough '"event":"begin",.*"version":2}' stdbuf -oL
	test ! -c /dev/full || refused_by 'No space left on device' sh -c \
		"stdbuf -oL '$STRATA' watch '$store' --json >/dev/full"
	good destroy "$store" --quiet
fi

refused "no store" watch "$store"
good help watch
prints '--count=N .*0: never'
misused '--count' watch "$store" --count=none
test -z "$(ls "$shm")" || fail "left behind: $(ls "$shm")"
echo "$nr_checks command lines, and what was watched"
