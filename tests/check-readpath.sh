#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# The read path makes no system call, takes no lock, allocates nothing; and how
# many instructions it has. By calls, and inlined: then it calls nothing.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:=.}" "${SANITIZERS:=}"
: "${READPATH:=$top_builddir/tests/stress/readpath}"
: "${READPATH_RUN=$top_builddir/libtool --mode=execute}"
LC_ALL=C
export LC_ALL
rounds=1000000
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
shown=0

# may WHAT COMMAND...: it is there, and allowed to do its work here
may() {
	what=$1
	shift
	if "$@" >/dev/null 2>&1; then
		return 0
	fi
	echo "skipped: $what cannot be used here"
	return 1
}

# calls FILE: the lines of a trace between the two marks
calls() {
	sed -n '/strata-mark-begin/,/strata-mark-end/p' "$1" |
		sed '1d;$d' | grep -v '^[+-]\{3\} ' || true
}

# trace WHAT ARGUMENT...
trace() {
	what=$1
	shift
	$READPATH_RUN strace -o "$work/trace" "$READPATH" "$@"
	for mark in strata-mark-begin strata-mark-end; do
		if test "$(grep -c "$mark" "$work/trace")" -ne 1; then
			echo "the trace does not show $mark"
			exit 1
		fi
	done
	calls "$work/trace" >"$work/calls"
	if test -s "$work/calls"; then
		echo "system calls in the read path, $what:"
		head "$work/calls"
		exit 1
	fi
	echo "$rounds rounds of lock, find, use, unlock, $what:" \
		"no system call"
}

# count ROUNDS WAY FUNCTION: instructions of all of them
count() {
	$READPATH_RUN valgrind --tool=callgrind \
		--callgrind-out-file="$work/callgrind.$1" \
		--toggle-collect="$3" "$READPATH" "$1" "$2" \
		2>"$work/log" || { cat "$work/log"; exit 1; }
	sed -n 's/^summary: *\([0-9]*\).*/\1/p' "$work/callgrind.$1"
}

# calls_in ROUNDS: so many calls were made in all of them
calls_in() {
	awk '/^calls=/ { sub(/^calls=/, ""); sum += $1 } END { print sum + 0 }' \
		"$work/callgrind.$1"
}

# functions FILE: what was in it, without what is called once, and the linker
functions() {
	sed -n 's/^c*fn=([0-9]*) //p' "$1" | sed "s/'[0-9]*\$//" | sort -u |
		grep -v -e '^_dl_' -e '^do_lookup_x' -e '^check_match' \
		-e '^strcmp' -e '^(below' -e '^0x' -e '^__libc_start' \
		-e '^main$'
}

if test -n "$SANITIZERS"; then
	echo "skipped: sanitizers are in the read path of this build"
	exit 77
fi

# A program that fails by itself is no want of strace or valgrind.
if ! "$READPATH" 1 calls >"$work/log" 2>&1; then
	cat "$work/log"
	echo 'readpath fails'
	exit 1
fi

if may strace strace -o /dev/null true; then
	for way in calls inline; do
		trace "$way, nobody writing" "$rounds" $way
		trace "$way, under a writer" "$rounds" $way write
	done
	shown=1
fi

# That program: valgrind gives up on what some compilers write for debuggers.
# shellcheck disable=SC2086
if may valgrind $READPATH_RUN valgrind --tool=callgrind \
	--callgrind-out-file=/dev/null "$READPATH" 1 calls; then
	few=$(count 1000 calls measured_rounds)
	many=$(count 3000 calls measured_rounds)
	# Whatever is called once, as the dynamic linker, falls out.
	echo "lock + find + touch + unlock: $(((many - few) / 2000))" \
		"instructions"
	functions "$work/callgrind.3000" >"$work/functions"
	echo "functions: $(tr '\n' ' ' <"$work/functions")"
	if grep -e malloc -e calloc -e free -e mutex -e futex -e syscall \
		"$work/functions"
	then
		echo 'these have no place in the read path'
		exit 1
	fi
	few=$(count 1000 inline measured_inline)
	many=$(count 3000 inline measured_inline)
	echo "lock + find + get + touch + unlock, inlined:" \
		"$(((many - few) / 2000)) instructions"
	# At first, then once in an eighth of a second at most, the library notes
	# which lookups there are: the usual way is not taken in some rounds.
	calls=$(($(calls_in 3000) - $(calls_in 1000)))
	echo "calls in 2000 inlined rounds: $calls"
	if test -n "${COVERAGE:-}"; then
		echo 'this build counts lines, and inlines nothing'
	elif ! grep -q '^#define HAVE_MEMBARRIER 1' "$top_builddir/config.h"
	then
		echo 'without membarrier the library makes the fence of the lock'
	elif test "$calls" -gt 200; then
		functions "$work/callgrind.3000"
		echo 'the inlined read path calls'
		exit 1
	fi
	shown=1
fi

test $shown -eq 1 || exit 77
