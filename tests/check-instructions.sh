#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Lookup, commit and attach do not have more instructions than they had.
#
# The figures are in tests/bench/instructions.tsv, and belong to one compiler,
# its flags and one libc: other ones have other counts. After a change that is
# worth its instructions:
#
#	make bench-check RECORD=yes
#
# writes the present counts there, and the commit says why.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:=.}" "${SANITIZERS:=}" "${COVERAGE:=}" "${RECORD:=no}"
: "${CC:=cc}" "${CFLAGS=}"
: "${FIGURES:=$top_srcdir/tests/bench/instructions.tsv}"
: "${INSTRUCTIONS:=$top_builddir/tests/bench/instructions}"
: "${INSTRUCTIONS_RUN=$top_builddir/libtool --mode=execute}"
LC_ALL=C
export LC_ALL
tolerance=3 # per cent
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

skip() {
	echo "skipped: $1"
	exit 77
}

# count WHAT TIMES: instructions of all of them
count() {
	# A folder in /dev/shm that a killed run leaves is the program's own.
	$INSTRUCTIONS_RUN valgrind --tool=callgrind \
		--callgrind-out-file="$work/callgrind" \
		--toggle-collect=measured "$INSTRUCTIONS" "$1" "$2" \
		>"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
	sed -n 's/^summary: *\([0-9]*\).*/\1/p' "$work/callgrind"
}

# per WHAT TIMES: instructions of one; what is done once falls out
per() {
	few=$(count "$1" "$2")
	many=$(count "$1" $(($2 * 3)))
	echo $(((many - few) / ($2 * 2)))
}

test -z "$SANITIZERS$COVERAGE" ||
	skip 'the code of this build is instrumented, it has other counts'
grep -q '^#define HAVE_MEMBARRIER 1' "$top_builddir/config.h" ||
	skip 'without membarrier read locks go another way, with other counts'
valgrind --tool=callgrind --callgrind-out-file=/dev/null true \
	>/dev/null 2>&1 || skip 'valgrind cannot be used here'

# Of what the programs are for, which need not be this machine with its libc.
libc=$(printf '#include <features.h>\nglibc __GLIBC__.__GLIBC_MINOR__\n' |
	$CC -E -P - 2>/dev/null | sed -n 's/ *\. */./;$p')
case $libc in
*__GLIBC__*) libc='other libc' ;;
esac
build="$($CC -dumpmachine | sed 's/-.*//'); $($CC --version | sed "1s,^[^ ]* (,gcc (,;1q"); $CFLAGS; $libc"
known=$(sed -n 's/^# build: //p' "$FIGURES")
if test "$RECORD" != yes && test "$build" != "$known"; then
	echo "figures are of:  $known"
	echo "this build is:   $build"
	skip 'no figures for this compiler, its flags and this libc'
fi

# Periods of what is done every so many commits are in the numbers.
lookup=$(per lookup 2800)
find=$(per find 2800)
commit=$(per commit 560)
commit_lock=$(per commit-lock 560)
attach=$(per attach 20)
{
	echo "# Instructions, by callgrind; see tests/check-instructions.sh."
	echo "# build: $build"
	printf 'lookup\t%s\n' "$lookup"
	printf 'find\t%s\n' "$find"
	printf 'commit\t%s\n' "$commit"
	printf 'commit-lock\t%s\n' "$commit_lock"
	printf 'attach\t%s\n' "$attach"
} >"$work/figures"

if test "$RECORD" = yes; then
	cp "$work/figures" "$FIGURES"
	cat "$FIGURES"
	exit 0
fi

# A figure that is missing on either side is a failure, too.
awk -F '\t' -v tolerance=$tolerance '
	/^#/ { next }
	FNR == NR { known[$1] = $2; nr_known++; next }
	{
		nr++
		if (!($1 in known) || known[$1] <= 0 || $2 <= 0) {
			print $1 ": no figure to compare with"
			failed = 1
			next
		}
		change = 100 * ($2 - known[$1]) / known[$1]
		word = ""
		if (change > tolerance)
			word = ": MORE THAN " tolerance " % ABOVE"
		else if (change < -tolerance)
			word = "; worth recording"
		printf("%s: %d instructions, %d when recorded (%+.1f %%)%s\n",
			$1, $2, known[$1], change, word)
		if (change > tolerance)
			failed = 1
	}
	END {
		if (nr == 0 || nr != nr_known) {
			print nr_known + 0 " figures recorded, " nr + 0 " counted"
			failed = 1
		}
		exit failed
	}' "$FIGURES" "$work/figures"
