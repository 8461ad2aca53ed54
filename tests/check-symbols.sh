#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# strata.h (which includes admin.h), libstrata.map and libstrata.so name the same
# functions; the library stays once it is loaded, and brings nothing that its host
# did not ask for.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:=.}" "${CC:=cc}" "${NM:=nm}" "${SANITIZERS:=}"
LC_ALL=C
export LC_ALL
library=$top_builddir/lib/.libs/libstrata.so
if ! test -e "$library"; then
	echo "no shared library was built"
	exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# One declaration a line; the function is the first name before a bracket.
# shellcheck disable=SC2086 # CC may hold words
echo '#include <strata/strata.h>' |
	$CC -E -P -I"$top_srcdir/lib" -x c - | tr '\n' ' ' | tr ';' '\n' |
	sed -n 's/.*visibility("default")))//p' |
	sed 's/^[^(]*[ *]\(strata_[a-z0-9_]*\) *(.*/\1/' | sort >"$work/header"

sed -n '/^global:/,/^local:/s/^[[:space:]]\([a-z0-9_]*\);$/\1/p' \
	"$top_srcdir/lib/libstrata.map" | sort >"$work/map"

# The version itself is an absolute symbol: A STRATA_0.
$NM -D --defined-only "$library" >"$work/nm"
awk '!($2 == "A" && $3 ~ /^STRATA_0(@@STRATA_0)?$/) { print $3 }' "$work/nm" |
	sort >"$work/versioned"
sed 's/@@STRATA_0$//' "$work/versioned" >"$work/library"

status=0

# same WHAT FILE WHAT FILE
same() {
	if ! diff -u --label "$1" --label "$3" "$2" "$4"; then
		echo "$1 and $3 name different functions"
		status=1
	fi
}

test -s "$work/header" || { echo 'found no function in strata.h'; status=1; }
same strata.h "$work/header" libstrata.map "$work/map"
same libstrata.map "$work/map" libstrata.so "$work/library"
if grep -v '^strata_[a-z0-9_]*@@STRATA_0$' "$work/versioned"; then
	echo 'these symbols are not of strata, or bear no version'
	status=1
fi

readelf -dW "$library" >"$work/dynamic"
if ! grep -q NODELETE "$work/dynamic"; then
	echo 'dlclose() would unload the library: -z nodelete is missing'
	status=1
fi
sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic" >"$work/needed"
if test -z "$SANITIZERS" &&
   grep -v -e '^libc\.so\.' -e '^libxxhash\.so\.' -e '^liburcu' \
	-e '^libpthread\.so\.' -e '^ld-linux' "$work/needed"
then
	echo 'the library needs more than libc, liburcu and xxHash'
	status=1
fi
if ldd "$library" | grep jemalloc; then
	echo 'the library pulls in jemalloc'
	status=1
fi

echo "$(wc -l <"$work/library") functions; needs $(tr '\n' ' ' <"$work/needed")"
exit $status
