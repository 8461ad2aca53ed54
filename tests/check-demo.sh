#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# The demonstration runs, shorter; and its readers do see what is torn.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

demo=$top_builddir/tools/demo
store=torn-$$
proto=99

# sections: how many the reader has begun
sections() {
	"$STRATA" readers "$store" --json |
		sed -n 's/^.*"sections": \([0-9]*\).*$/\1/p' | head -n 1
}

# reader EXPECTED-STATUS WHAT: one reader of one dimension, until two of its
# sections are over.
reader() {
	"$demo/demo-reader" "$store" 1 2 "$proto" >"$out" 2>"$err" &
	pid=$!
	looks=0
	until begun=$(sections) && test "${begun:-0}" -ge 3; do
		looks=$((looks + 1))
		test "$looks" -lt 2000 || fail "$2: the reader does not read"
	done
	kill -TERM "$pid"
	status=0
	wait "$pid" || status=$?
	test "$status" -eq "$1" || fail "$2: the reader left with $status, not $1"
	prints 'sections=[1-9]'
}

# put PLACE CONTENT-OF-PLACE GENERATION
put() {
	"$demo/demo-generate" "$2" "$3" >"$work/content"
	good put "$store" "$1" "$work/content"
}

good create "$store" --limit=64M --pools=4K:8M,64K:8M,1M:8M
put 1/0 1/0 1
put 1/1 1/1 1
put "$proto/0" "$proto/0" 1
reader 0 'all is right'
put 1/1 1/1 2
reader 1 'two generations in one dimension'
grep -q 'TORN: .* two generations' "$err" || fail 'it does not say so'
put 1/1 1/0 1
reader 1 'the content of another layer'
"$demo/demo-generate" 1/1 1 >"$work/content"
printf 'x' | dd of="$work/content" bs=1 seek=300001 conv=notrunc 2>"$work/dd"
good put "$store" 1/1 "$work/content"
reader 1 'a wrong byte'
good rm "$store" 1/1
reader 1 'a layer that is missing'
good destroy "$store"

if test "$(df -Pk /dev/shm | awk 'NR == 2 { print int($4 / 1024) }')" -lt 400
then
	echo 'note: /dev/shm is too small for the demonstration'
	exit 0
fi
unset STRATA_SHM_DIR
sh "$top_srcdir/tools/demo/run.sh" "$top_builddir" 500 >"$out" 2>"$err" ||
	fail 'the demonstration'
prints ' 0 torn'
tail -n 1 "$out"
