#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# The dump of a store is what docs/dump.schema.json says, and true.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

store=dump-$$
schema=$top_srcdir/docs/dump.schema.json

# The one that has the package, if any.
python=
for candidate in /usr/bin/python3 python3; do
	if "$candidate" -c 'import jsonschema' 2>/dev/null; then
		python=$candidate
		break
	fi
done

# valid FILE [-]: so it is; skipped without the package, but never silently.
valid() {
	"$json_check" "$1" >/dev/null || fail "$1 is no JSON"
	if test -z "$python"; then
		echo 'not validated: no python3-jsonschema here'
		return 0
	fi
	try "$python" "$top_srcdir/tests/support/check-dump.py" "$schema" \
		"$1" "$shm" "${2:-$STRATA}"
	test "$status" -eq 0 || fail "the dump $1 is not valid, or not true"
}

#
# an empty store, then all states that a dimension can have
#
good create "$store" --limit=64M
good dump "$store" -o "$work/empty.json"
prints '^Memory State Dump @ '
prints '^Regions: 0 | Layers: 0 | Pools: 4$'
valid "$work/empty.json"

head -c 5000 /dev/urandom >"$work/small"
head -c 700000 /dev/urandom >"$work/large"
good put "$store" 1/0 "$work/small" --name=proto --keyword=a --keyword='b "c"'
good put "$store" 1/1 "$work/large" --frequency=7.5 --parent=0 --depth=1
good put "$store" 2/0 "$work/large"
good crystallize "$store" 2
good put "$store" 3/100 "$work/small"
good crystallize "$store" 3
good put "$store" 3/5 "$work/large"
good dump "$store" --output="$work/full.json" --quiet
test ! -s "$out" || fail 'a quiet dump says something'
valid "$work/full.json"
good dump "$store"
prints '^  "version": 8,$'
cp "$out" "$work/stdout.json"
valid "$work/stdout.json"
grep -q '"name":"proto"' "$work/full.json" || fail 'the dump lacks a name'

#
# whole or not at all
#
echo old >"$work/kept.json"
refused 'there is no store' dump absent -o "$work/kept.json"
test "$(cat "$work/kept.json")" = old || fail 'a refused dump left something'
refused 'cannot be written' dump "$store" -o "$work/absent/x.json"
mkdir "$work/folder.json"
refused 'cannot be written' dump "$store" -o "$work/folder.json"
try sh -c "'$STRATA' dump '$store' >/dev/full"
test "$status" -eq 1 || fail 'a full device is not told'
test -z "$(find "$work" -name '.*.json.*')" || fail 'temporary files stay'
good dump "$store" -o "$work/kept.json"
valid "$work/kept.json"
test "$(stat -c %a "$work/kept.json")" = 644 || fail 'not of the usual mode'

#
# of one version, whatever a writer does meanwhile
#
"$top_builddir/tools/demo/demo-writer" "$store" 99 8 1 1 >"$work/written" 2>&1 &
writer=$!
version=$(sed -n 's/^  "version": \([0-9]*\),$/\1/p' "$work/kept.json")
begun=$(date +%s)
until good stat "$store" --json && grep -q '^  "dimensions": 4,$' "$out"; do
	kill -0 "$writer" || fail "the writer: $(cat "$work/written")"
	test $(($(date +%s) - begun)) -lt 60 || fail 'nobody writes'
done
i=0
while test "$i" -lt 5; do
	i=$((i + 1))
	good dump "$store" -o "$work/busy.json"
	told=$(sed -n 's/^Memory State Dump @ //p' "$out")
	valid "$work/busy.json" -
	grep -q "^  \"timestamp\": \"$told\",\$" "$work/busy.json" ||
		fail 'document and summary are of different times'
done
kill -TERM "$writer"
wait "$writer" || fail "the writer: $(cat "$work/written")"
test "$(sed -n 's/^  "version": \([0-9]*\),$/\1/p' "$work/busy.json")" -gt \
	"$version" || fail 'nobody wrote'
good destroy "$store"

echo "$nr_checks commands"
