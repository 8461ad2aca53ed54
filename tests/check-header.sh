#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# strata.h compiles alone, in strict C99 and later, and as C++; and its comments
# name the parameters that are there.
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

# try COMPILER ARGUMENT...: no -Wshadow, since in C++ strata_meta() and
# strata_stats() share their names with a struct.
try() {
	echo "$@"
	"$@" -Wall -Wextra -Wundef -Werror -I"$top_srcdir/lib" \
		-fsyntax-only
}

for std in c99 c11 c17; do
	# shellcheck disable=SC2086 # CC may hold words
	try $CC -std=$std -pedantic-errors -Wstrict-prototypes "$work/header.c"
done

if test -n "${CXX:=}"; then
	for std in c++98 c++11 c++17; do
		# shellcheck disable=SC2086 # CXX may hold words
		try $CXX -std=$std -pedantic-errors "$work/header.cc"
	done
fi

if command -v clang >/dev/null; then
	try clang -std=c99 -pedantic-errors -Wdocumentation "$work/header.c"
fi

if test -z "$CXX"; then
	echo 'no C++ compiler'
	exit 77
fi
