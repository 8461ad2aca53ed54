#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# The public headers compile alone, in strict C99 and later, and as C++; and their
# comments name the parameters that are there.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}" "${CC:=cc}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/header.c" <<'END'
#include <strata/strata.h>
#include <strata/strata.h>

/* An entry is one cache line. */
typedef char an_entry_is_a_cache_line
	[sizeof(struct strata_entry) == 64 ? 1 : -1];
extern an_entry_is_a_cache_line *unused;

const void *use(const struct strata_reader *reader,
		const struct strata_entry *entry);
const void *
use(const struct strata_reader *reader, const struct strata_entry *entry)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;

	return attrs.parent == -1 && entry->size < STRATA_LIMIT_MIN &&
			       attrs.depth < STRATA_DIMENSION_MAX
		       ? strata_data(reader, entry)
		       : NULL;
}
END
cp "$work/header.c" "$work/header.cc"

cat >"$work/admin.c" <<'END'
#include <strata/admin.h>
#include <strata/strata.h>

int use(struct strata_store *store, struct strata_stats *stats);
int
use(struct strata_store *store, struct strata_stats *stats)
{
	return strata_stats(store, stats);
}
END
cp "$work/admin.c" "$work/admin.cc"

cat >"$work/inline.c" <<'END'
#include <strata/inline.h>
#include <strata/inline.h>

/* What programs of all versions look at, and one number for each of them. */
typedef char the_way_is_behind_the_window
	[offsetof(struct strata_reader, way) == 8 &&
	 STRATA_INLINE_ABI > 0 && STRATA_INLINE_ABI < 1 << 16 ? 1 : -1];
extern the_way_is_behind_the_window *unused;

size_t use(struct strata_reader *reader);
size_t
use(struct strata_reader *reader)
{
	const struct strata_entry *entry;
	size_t size = 0;

	if (strata_read_lock_inline(reader) != 0)
		return 0;
	if (strata_find_inline(reader, 1, 2, &entry) == 0 &&
	    strata_get_inline(reader, 1, 2, &size) !=
		    strata_data(reader, entry))
		size = 0;
	return strata_read_unlock_inline(reader) == 0 ? size : 0;
}
END
cp "$work/inline.c" "$work/inline.cc"

# try COMPILER ARGUMENT...: no -Wshadow, since in C++ strata_meta() and
# strata_stats() share their names with a struct.
try() {
	echo "$@"
	"$@" -Wall -Wextra -Wundef -Werror -I"$top_srcdir/lib" \
		-fsyntax-only
}

# translate COMPILER ARGUMENT...: to the end, since some warnings come late
translate() {
	echo "$@"
	"$@" -O2 -Wall -Wextra -Wundef -Werror -I"$top_srcdir/lib" -c \
		-o "$work/inline.o"
}

for std in c99 c11 c17; do
	# shellcheck disable=SC2086 # CC may hold words
	try $CC -std=$std -pedantic-errors -Wstrict-prototypes "$work/header.c"
	# shellcheck disable=SC2086 # CC may hold words
	try $CC -std=$std -pedantic-errors -Wstrict-prototypes "$work/admin.c"
	# shellcheck disable=SC2086 # CC may hold words
	translate $CC -std=$std -pedantic-errors -Wstrict-prototypes \
		-Wshadow "$work/inline.c"
done
# With ThreadSanitizer there are calls, and nothing to be warned of.
# shellcheck disable=SC2086 # CC may hold words
translate $CC -fsanitize=thread "$work/inline.c"

if test -n "${CXX:=}"; then
	for std in c++98 c++11 c++17; do
		# shellcheck disable=SC2086 # CXX may hold words
		try $CXX -std=$std -pedantic-errors "$work/header.cc"
		# shellcheck disable=SC2086 # CXX may hold words
		try $CXX -std=$std -pedantic-errors "$work/admin.cc"
		# shellcheck disable=SC2086 # CXX may hold words
		translate $CXX -std=$std -pedantic-errors "$work/inline.cc"
	done
fi

if command -v clang >/dev/null; then
	try clang -std=c99 -pedantic-errors -Wdocumentation "$work/header.c"
	try clang -std=c99 -pedantic-errors -Wdocumentation "$work/admin.c"
	translate clang -std=c99 -pedantic-errors -Wdocumentation \
		"$work/inline.c"
fi

if test -z "$CXX"; then
	echo 'no C++ compiler'
	exit 77
fi
