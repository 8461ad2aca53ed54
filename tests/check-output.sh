#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Output arrives where it shall, and the tool says why it does not.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

store=output-$$
good create "$store" --limit=16M --quiet

# into PATH: what it is given to, by either command.
into() {
	good dump "$store" --output="$1" --quiet
	test ! -s "$out" || fail 'it is on stdout, too'
	good metrics "$store" --textfile="$1"
	test ! -s "$out" || fail 'it is on stdout, too'
}

#
# a link stays one, and its file is replaced, at once
#
mkdir "$work/behind"
echo old >"$work/behind/file"
ln "$work/behind/file" "$work/kept"
ln -s behind/file "$work/link"
ln -s link "$work/links"
into "$work/links"
test -L "$work/links" || fail 'a link was replaced'
test -L "$work/link" || fail 'a link in a row of them was replaced'
grep -q '^strata_up' "$work/behind/file" || fail 'the file of a link is as it was'
test "$(cat "$work/kept")" = old || fail 'the file of a link was written into'
test "$(ls -A "$work/behind")" = file || fail 'a temporary file stays'
# Where it leads to nothing, it is all that there is.
ln -s absent "$work/broken"
into "$work/broken"
grep -q '^strata_up' "$work/broken" || fail 'nothing came of a broken link'

#
# what is no file is written into
#
mkfifo "$work/fifo"
exec 4<>"$work/fifo"
good dump "$store" --output="$work/fifo"
test -p "$work/fifo" || fail 'a fifo was replaced'
IFS= read -r line <&4
test "$line" = '{' || fail 'a fifo got something else'
exec 4<&-
if mknod "$work/null" c 1 3 2>/dev/null && (: >"$work/null") 2>/dev/null; then
	into "$work/null"
	test -c "$work/null" || fail 'a device was replaced'
fi
if mknod "$work/full" c 1 7 2>/dev/null && (: >"$work/full") 2>/dev/null; then
	refused 'cannot be written: No space' dump "$store" -o "$work/full"
	test -c "$work/full" || fail 'a device was replaced'
fi
good dump "$store" --output=/dev/stdout --quiet
prints '^{$'

#
# what stdout does not take: of a full device it is said, of a pipe that nobody
# reads any more it is known; also of what is longer than the buffer, or printed
# line by line
#
i=0
while test "$i" -lt 45; do
	i=$((i + 1))
	good create "$(printf 'a-name-that-fills-%046d' "$i")" --limit=8M \
		--readers=1 --quiet
done
i=0
while test "$i" -lt 40; do
	i=$((i + 1))
	"$STRATA" put "$store" "$i/0" "$work/kept" --quiet
	"$STRATA" describe "$store" "$i" --quiet \
		--name="$(printf 'a name that fills, too %0100d' "$i")"
done

# onto_full COMMAND...: nor may a part of it have been enough.
onto_full() {
	test -c /dev/full || return 0
	refused_by 'output cannot be written: No space left on device' \
		sh -c '"$@" >/dev/full' sh "$@"
}

# onto_closed COMMAND...: into a fifo whose reader has left.
onto_closed() {
	try sh -c 'exec 4<>"$0" 5>"$0" 4<&-; exec "$@" >&5' \
		"$work/fifo" "$@"
	test "$status" -eq 1 || fail "$tried: exit code $status, not 1"
	test ! -s "$err" || fail "$tried: something on stderr"
}

# neither ARGUMENT...: with each way of buffering.
neither() {
	onto_full "$STRATA" "$@"
	onto_closed "$STRATA" "$@"
	test -n "$buffered" || return 0
	onto_full stdbuf -oL "$STRATA" "$@"
	onto_closed stdbuf -oL "$STRATA" "$@"
}

# Sanitizers do not let stdbuf in, and it is of no other machine.
buffered=
if stdbuf -oL "$STRATA" --version >"$out" 2>"$err" && test ! -s "$err"; then
	buffered=yes
fi
neither dump "$store"
neither metrics
neither list
neither list --json
neither ls "$store"
neither ls "$store" --json
neither help
neither help watch
neither --version
neither describe "$store" 1 --name=other

"$STRATA" list --json | sed -n 's/^ *"name": "\(.*\)",*$/\1/p' >"$work/stores"
while read -r name; do
	good destroy "$name" --quiet
done <"$work/stores"
test -z "$(ls "$shm")" || fail "left behind: $(ls "$shm")"
echo "$nr_checks commands"
