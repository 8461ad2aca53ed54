#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# strata top on terminals: sizes, keys, stores that come and go, the way out.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

store=top-$$
make_store() {
	good create "$store" --limit=32M --quiet
	head -c 3000000 /dev/urandom >"$work/content"
	good put "$store" 7/0 "$work/content" --quiet
	good crystallize "$store" 7 --quiet
	good put "$store" 12/0 "$work/content" --quiet
}

#
# one page, without a terminal
#
make_store
good top "$store" --once --interval=0.1
prints "^strata top: $store  version 4  .* every 0.1 s$"
prints '^memory    \[#.*|.*|.*|.*\] .* of 32.0 MiB$'
prints '^pressure  none: .* % held (thresholds 75, 85, 95 %); retired '
prints '^a second  0.0 commits, .* 0 readers, 0 inside$'
prints '^  4.0 KiB \[#.*\] [0-9]* live [0-9]* retired of '
prints '^regions   \[777* *\] 1, 2.9 MiB$'
prints 'RETAINED .* by retained$'
prints 'LAYER .* by heat$'
test "$(awk '{ if (length > 80) n++ } END { print n + 0, NR }' "$out")" = '0 23' ||
	fail 'it is not a page of 80 columns and 23 lines'
refused 'no store' top absent
refused 'no store' top absent --once
refused 'a terminal is needed\|without ncurses' top "$store"
misused '0.1 to 60 seconds' top "$store" --interval=0
misused '0.1 to 60 seconds' top "$store" --interval=61

#
# what a reader reads: dimensions 1 to 4, layers 0 to 19
#
reading=$top_builddir/tests/stress/.libs/readpath
test -x "$reading" || reading=$top_builddir/tests/stress/readpath
"$reading" 4000000000 calls >"$work/read" 2>&1 &
reader=$!
begun=$(date +%s)
# Until it has noted six lookups, as it reads.
until try "$STRATA" ls "test.readpath.$reader" --hot &&
	test "$(awk '/^ *[1-4] / { n += $2 } END { print n + 0 }' "$out")" -eq 6
do
	kill -0 "$reader" || fail "the reader has left: $(cat "$work/read")"
	test $(($(date +%s) - begun)) -lt 60 || fail 'nothing is hot'
done
prints '^DIM  SAMPLES  HOTTEST LAYER  LAST ACCESS$'
prints '^ *[1-4]  *[1-6]  *[0-9]*  .* ago$'
json ls "test.readpath.$reader" --hot
prints '"samples": [1-6]'
good ls "test.readpath.$reader" 1 --hot
prints '^LAYER  SAMPLES  LAST ACCESS$'
good put "test.readpath.$reader" 99/0 /dev/null --quiet
good ls "test.readpath.$reader" 99 --hot
test "$(wc -l <"$out")" -eq 1 || fail 'what nobody reads is hot'
good top "test.readpath.$reader" --once --interval=0.2
prints ' 0.0 commits, [1-9].* sections, .* 1 readers, '
prints '^ *[1-4]/[0-9]*  *[0-9.]* %  .* ago$'
kill -KILL "$reader"
wait "$reader" 2>/dev/null || :
good ls "test.readpath.$reader" --hot
test "$(wc -l <"$out")" -eq 1 || fail 'what the dead read is hot'
good destroy "test.readpath.$reader" --quiet

"$STRATA" top "$store" >"$out" 2>"$err" || :
if grep -q 'without ncurses' "$err"; then
	echo 'skipped: built without ncurses'
	exit 77
fi
if ! command -v tmux >/dev/null; then
	echo 'skipped: no tmux here'
	exit 77
fi

#
# terminals, by a tmux of our own
#
unset TMUX
terminal() {
	tmux -S "$work/socket" -f /dev/null "$@"
}

finish() {
	status=$?
	terminal kill-server 2>/dev/null || :
	trap - EXIT
	set +e # tool_finish looks at the status
	(exit "$status")
	tool_finish
}
trap finish EXIT

# What runs there; when it has left, what state the terminal is in is printed,
# and cat keeps the terminal.
cat >"$work/run" <<END
sh -c 'echo \$\$ >"$work/pid.new"; mv "$work/pid.new" "$work/pid"
	exec "$STRATA" top "$store" --interval=0.2'
echo "left with \$?"
stty -a | tr ' ;' '\\n\\n' | grep -x -e echo -e icanon -e isig -e icrnl | sort |
	tr '\\n' ' '
echo end of state
exec cat
END

# shown PATTERN: it comes to be shown, within a minute; by looking again and
# again, since a terminal does not tell.
shown() {
	tried="the terminal shows '$1'"
	begun=$(date +%s)
	until terminal capture-pane -p >"$out" 2>"$err" &&
	      grep -q -e "$1" "$out"; do
		test $(($(date +%s) - begun)) -lt 60 || fail "$tried: never"
	done
}

# terminal_begin WIDTH HEIGHT
terminal_begin() {
	rm -f "$work/pid"
	terminal new-session -d -x "$1" -y "$2" sh "$work/run"
	shown "^strata top: $store  version"
}

# has_size HEIGHT: the foot is on the last line.
has_size() {
	shown 'q quit  tab pane'
	sed -n "$1p" "$out" | grep -q '^q quit' || fail "not $1 lines"
}

# is_clean STATUS: it has left, and the terminal is as it was.
is_clean() {
	shown "left with $1"
	shown 'echo icanon icrnl isig end of state'
	test "$(terminal display-message -p \
		'#{alternate_on} #{cursor_flag} #{keypad_cursor_flag}')" = \
		'0 1 0' || fail 'the terminal is not clean'
	terminal kill-session
}

# 80x24: all of it, keys, another size, q
terminal_begin 80 24
for pattern in '^memory  ' '^pressure  none' '^a second ' '^  4.0 KiB \[' \
	'^regions   \[77' 'RETAINED' 'SHARE'; do
	shown "$pattern"
done
has_size 24
terminal send-keys s
shown 'by sections$'
terminal send-keys Tab s d
shown 'DIMENSION .* by last access$'
terminal send-keys / x y z BSpace
shown '^filter: xy_  (enter'
terminal send-keys Enter
shown '^filter: xy  (esc'
terminal send-keys Escape
has_size 24
terminal send-keys p
shown 'PAUSED'
terminal send-keys p
terminal resize-window -x 120 -y 40
has_size 40
terminal resize-window -x 80 -y 24
has_size 24
terminal resize-window -x 20 -y 5
shown '^strata top: '
terminal resize-window -x 80 -y 24
has_size 24

# The store goes, and comes.
good destroy "$store" --quiet
shown 'It cannot be looked at now:'
has_size 24
make_store
shown '^memory  '
shown "^strata top: $store  version 4 "
good destroy "$store" --quiet
good create "$store" --limit=48M --quiet
shown 'of 48.0 MiB'
terminal send-keys q
is_clean 0

# 120x40, and a signal
terminal_begin 120 40
has_size 40
kill -TERM "$(cat "$work/pid")"
is_clean 0

good destroy "$store" --quiet
test -z "$(ls "$shm")" || fail "left behind: $(ls "$shm")"
echo "$nr_checks command lines, two terminals"
