#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# A program that knows nothing but `pkg-config strata` compiles against what
# `make install` installs, and reads a layer that the installed tool put.
#
# `make installcheck` calls it with INSTALLED=yes, for what is installed (below
# DESTDIR); as a test it installs into a folder of its own first.
set -eu

: "${top_builddir:?run it by make check or make installcheck}" "${bindir:?}" "${libdir:?}" "${pkgconfigdir:?}"
: "${CC:=cc}" "${CXX:=}" "${MAKE:=make}" "${SANITIZERS:=}" "${DESTDIR:=}"
if test -n "$SANITIZERS"; then
	echo 'a plain program cannot load a library with sanitizers'
	exit 77
fi

work=$(mktemp -d)
store=check-install-$$
tool=
cleanup() {
	test -z "$tool" || "$tool" destroy "$store" >/dev/null 2>&1 || :
	rm -rf "$work"
}
trap cleanup EXIT

if test "${INSTALLED:-no}" = no; then
	DESTDIR=$work/root
	# On its own, not one of the jobs of the make that runs the tests.
	unset MAKEFLAGS MFLAGS MAKELEVEL
	$MAKE -C "$top_builddir" install DESTDIR="$DESTDIR" \
		>"$work/install.log" 2>&1 || { cat "$work/install.log"; exit 1; }
fi

PKG_CONFIG_PATH=$DESTDIR$pkgconfigdir
PKG_CONFIG_SYSROOT_DIR=$DESTDIR
LD_LIBRARY_PATH=$DESTDIR$libdir
export PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH
static=
test -e "$DESTDIR$libdir/libstrata.so" || static=--static
# shellcheck disable=SC2086 # nothing or one word
flags=$(${PKG_CONFIG:-pkg-config} $static --cflags --libs strata)
echo "pkg-config: $flags"

cat >"$work/read.c" <<'END'
#include <stdio.h>
#include <strata/inline.h>
#include <strata/strata.h>

int main(int argc, char **argv)
{
	struct strata_store *store;
	struct strata_reader *reader;
	const struct strata_entry *entry;

	if (argc != 2 || strata_attach(argv[1], STRATA_READ, &store) ||
	    strata_reader_open(store, &reader) || strata_read_lock(reader) ||
	    strata_find(reader, 7, 5, &entry) ||
	    !fwrite(strata_data(reader, entry), entry->size, 1, stdout) ||
	    strata_read_unlock(reader) || strata_read_lock_inline(reader) ||
	    strata_find_inline(reader, 7, 5, &entry) ||
	    strata_read_unlock_inline(reader)) {
		fprintf(stderr, "%s\n", strata_last_error()->sentence);
		return 1;
	}
	return strata_reader_close(reader) || strata_detach(store);
}
END
cp "$work/read.c" "$work/read.cc"
# shellcheck disable=SC2086 # lists of words
$CC -Wall -Wextra -Werror "$work/read.c" -o "$work/read" $flags
if test -n "$CXX"; then
	# shellcheck disable=SC2086 # lists of words
	$CXX -Wall -Wextra -Werror "$work/read.cc" -o "$work/read-cxx" $flags
fi
if ldd "$work/read" | grep jemalloc; then
	echo 'a program that links strata pulls in jemalloc'
	exit 1
fi

tool=$DESTDIR$bindir/strata
"$tool" create "$store" --limit=16M
printf 'five of seven' >"$work/content"
"$tool" put "$store" 7/5 "$work/content"
for program in "$work/read" "$work/read-cxx"; do
	test -e "$program" || continue
	"$program" "$store" >"$work/output"
	cmp "$work/content" "$work/output"
done
"$tool" destroy "$store"
if "$work/read" "$store" 2>"$work/refusal"; then
	echo 'the store is still there after destroy'
	exit 1
fi
echo "installed: a C program read its layer; then: $(cat "$work/refusal")"
