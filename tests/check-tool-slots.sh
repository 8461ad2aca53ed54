#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# With all reader slots taken, what needs none is done as always, and what needs
# one is refused.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

store=slots-$$
watchers=

finish() {
	status=$?
	# shellcheck disable=SC2086 # a list of processes
	test -z "$watchers" || kill $watchers 2>/dev/null || :
	wait
	trap - EXIT
	# tool_finish takes it from there; with -e, this would be the end.
	set +e
	(exit "$status")
	tool_finish
}
trap finish EXIT

echo hello >"$work/hello"
good create "$store" --limit=32M --readers=1
good describe "$store" 7 --name=Colours --frequency-min=1 --frequency-max=4

# A process takes at least four slots, which are all of a segment here, and a
# user has at most four segments.
while test "$(echo "$watchers" | wc -w)" -lt 4; do
	"$STRATA" watch "$store" >"$work/watched" 2>&1 &
	watchers="$watchers $!"
done
begun=$(date +%s)
until try "$STRATA" readers "$store" && test "$(wc -l <"$out")" -eq 5; do
	test $(($(date +%s) - begun)) -lt 60 || fail 'slots are left'
	sleep 0.1
done
noted 'without a reader slot' ls "$store"

#
# describe: what no option says stays
#
good describe "$store" 7 --frequency-max=9
noted 'without a reader slot' ls "$store"
prints '^  7  Colours  proto .* 1-9 Hz '
good describe "$store" 8 --name=Shapes
noted 'without a reader slot' ls "$store"
prints '^  8  Shapes   proto .* 0-0 Hz '

#
# put: likewise
#
good put "$store" 9/0 "$work/hello" --name=first --depth=2 --keyword=green
good put "$store" 9/0 "$work/hello" --depth=3
noted 'without a reader slot' cat "$store" 9/0 --meta
for line in 'name: *first' 'depth: *3' 'keywords: *green'; do
	prints "^$line$"
done
good put "$store" 9 "$work/hello"
prints 'appended layer 9/1: '

#
# dump: a version has to be held still
#
echo old >"$work/kept.json"
refused 'has no reader slot left' dump "$store"
refused 'has no reader slot left' dump "$store" -o "$work/kept.json"
test "$(cat "$work/kept.json")" = old || fail 'a refused dump left something'

#
# verify: what was not checked is not good
#
refused 'has no reader slot left' verify "$store"
try "$STRATA" verify "$store" --json
test "$status" -eq 1 || fail "$tried: exit code $status, not 1"
"$json_check" "$out" || fail "$tried: that is no JSON object"
prints '^  "errors": 1,$'
prints "\"store\": \"$store\""
prints '"first": ".*has no reader slot left'

# shellcheck disable=SC2086 # a list of processes
kill $watchers
wait
watchers=
good verify "$store"
good destroy "$store"
echo "$nr_checks command lines"
