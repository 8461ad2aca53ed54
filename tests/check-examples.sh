#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# The examples of docs/examples do what they say, and are as short as promised.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

examples=$top_builddir/docs/examples
store=examples-$$

# example NAME ARGUMENT...: it ends well.
example() {
	program=$1
	shift
	try "$examples/$program" "$@"
	test "$status" -eq 0 || fail "$tried: exit code $status, not 0"
}

# pack_file NAME CONTENT: a file of dimension 7 with one layer.
pack_file() {
	mkdir -p "$work/$1/7"
	printf '%s' "$2" >"$work/$1/7/only"
	good pack "$work/$1" "$work/$1.d"
}

lines=$(wc -l <"$top_srcdir/docs/examples/reader.c")
test "$lines" -le 30 || fail "reader.c has $lines lines, not 30"

good create "$store" --limit=32M --dir="$work/dir"
pack_file old first
pack_file new 'the second one'
good load "$store" "$work/old.d"

# The watcher sees all that follows, and the end.
"$examples/watcher" "$store" >"$work/watched" 2>"$work/watched.err" &
watcher=$!

#
# reader
#
example reader "$store" 7 0
test "$(cat "$out")" = first || fail 'reader: other bytes'
try "$examples/reader" "$store" 7 1
test "$status" -ne 0 || fail 'reader: a layer that is not there'
try "$examples/reader" "not-$store" 7 0
grep -q '^reader: .*no store' "$err" || fail 'reader: no sentence'

#
# prefork: eight have seen the old one before the reload, all see the new one
#
example prefork "$store" 7 "$work/new.d/D07.strata"
test "$(wc -l <"$out")" -eq 16 || fail 'prefork: not 16 lines'
test "$(head -n 8 "$out" | sort -u)" = 'version 2, 5 bytes' ||
	fail 'prefork: a worker did not see the old dimension'
test "$(tail -n 8 "$out" | sort -u)" = 'version 3, 14 bytes' ||
	fail 'prefork: a worker did not see the reload'
try "$examples/prefork" "$store" 7 "$work/nothing"
test "$status" -ne 0 || fail 'prefork: a file that is not there'

#
# learner: 101 lines, crystallised at the hundredth and at the end
#
awk 'BEGIN { for (i = 0; i < 101; i++) print "line", i }' >"$work/lines"
example learner "$store" 99 <"$work/lines"
prints '^learnt 99/100$'
good cat "$store" 99/100
prints '^line 100$'
json ls "$store" 99
good stat "$store" --json
prints '"crystallizations": 2'
good verify "$work/dir/D99.strata"
prints '101 layers'
try "$examples/learner" "not-$store" 99
grep -q '^learner: .*no store' "$err" || fail 'learner: no sentence'

#
# parsed: what it has is kept until the dimension changes
#
mkfifo "$work/ask" "$work/answer"
"$examples/parsed" "$store" 99 <"$work/ask" >"$work/answer" 2>"$err" &
parsed=$!
exec 3>"$work/ask" 4<"$work/answer"

# asks LAYER ANSWER
asks() {
	echo "$1" >&3
	read -r answer <&4 || answer='no answer'
	test "$answer" = "$2" || fail "parsed: '$answer', not '$2'"
}

asks 5 'parsed: layer 5, 1 lines'
asks 5 'kept: layer 5, 1 lines'
asks 6 'parsed: layer 6, 1 lines'
asks 500 'not there: layer 500, 0 lines'
printf 'one\ntwo\n' >"$work/two"
good put "$store" 99/5 "$work/two"
asks 5 'parsed: layer 5, 2 lines'
asks 5 'kept: layer 5, 2 lines'
asks 6 'parsed: layer 6, 1 lines'
exec 3>&- 4<&-
status=0
wait "$parsed" || status=$?
test "$status" -eq 0 || fail "parsed: exit code $status"

#
# watcher
#
good destroy "$store"
status=0
wait "$watcher" || status=$?
cp "$work/watched" "$out"
cp "$work/watched.err" "$err"
tried=watcher
test "$status" -eq 0 || fail "watcher: exit code $status"
prints '^version [23]: dimension 7, 1 layers$'
prints '^version [0-9]*: dimension 99, 1*[0-9]* layers$'
grep -q 'was destroyed' "$err" || fail 'watcher: does not say that it is gone'
echo "$nr_checks runs"
