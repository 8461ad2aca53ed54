#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Every atomic of lib/ has a row in docs/ordering.md, and every row its atomic.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
LC_ALL=C
export LC_ALL
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

compare() {
	awk -v count=yes -f "$top_srcdir/tests/support/ordering.awk" "$@"
}

# Is anything overlooked? A sample has faults of each kind.
cat >"$work/sample.c" <<'END'
/* atomic_store_explicit(in_a_comment, 1, memory_order_release) */
static int
good(_Atomic int *p)
{
	/* of two
	 * lines: atomic_load(p) */
	if (*"atomic_load(p)" == ' ')
		atomic_store_explicit(p, 1,
				      memory_order_release);
	return atomic_load_explicit(p, memory_order_relaxed);
}

static int
another(_Atomic int *p)
{
	return good(p) + __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void
no_row(_Atomic int *p)
{
	if (atomic_compare_exchange_strong_explicit(
		    p, &(int){*p}, 2, memory_order_acq_rel,
		    memory_order_relaxed))
		strata__fence_seq_cst();
}

static void
no_order(_Atomic int *p)
{
	atomic_store(p, 1);
}
END
cat >"$work/sample.md" <<'END'
# One
| letter | what | says |
|---|---|---|
| A | `not_a_row` | |

| where | operation | order |
|---|---|---|
| `good` (sample.c) | store of `p` | release |
| `another` (sample.c), through `good` | load | acquire; release |
| `good` (sample.c) | an order that it does not have | acquire |
| `gone` (sample.c) | a function that is not there | relaxed |
# Two
| what | where | order |
|---|---|---|
| `p` | `good` without its file | relaxed |
END
cat >"$work/expected" <<'END'
line 10: nothing there is acquire
line 11: nothing there is relaxed
line 11: there is no gone() in sample.c
line 15: good has no file
orders: 6
sample.c, good(): no row tells of relaxed
sample.c, no_order(): atomic_store names no order
sample.c, no_row(): no row tells of acq_rel
sample.c, no_row(): no row tells of relaxed
sample.c, no_row(): no row tells of seq_cst
END
if compare "$work/sample.c" "$work/sample.md" >"$work/found"; then
	echo 'a sample full of faults passed'
	status=1
fi
if ! sort "$work/found" | diff -u "$work/expected" -; then
	echo 'the sample has other faults than those that were found'
	status=1
fi

if ! compare "$top_srcdir"/lib/*.c "$top_srcdir"/lib/*.h \
	"$top_srcdir"/lib/strata/*.h "$top_srcdir/docs/ordering.md" \
	>"$work/found"
then
	echo 'lib/ and docs/ordering.md differ:'
	status=1
fi
cat "$work/found"
exit $status
