#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# Each safeguard is switched off in turn, in a copy of the source, and the tests
# have to notice:
#
#	tests/mutate.sh [NAME...]
#
# A mutation is tests/mutations/NAME.patch: a line that says what is wrong then,
# a line "Tests: TEST...", the tests that should notice, and the patch. They are
# run one after the other, until one fails. Prints a row for each mutation, in
# the form of the table in docs/testing.md, and fails when one survives, when a
# patch does not apply any more, or when a test fails without any.
#
# With --check it only looks whether all patches apply.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
top_srcdir=$(cd "$top_srcdir" && pwd)
LC_ALL=C
export LC_ALL
unset STRATA_SHM_DIR STRATA_TEST_LENGTH STRATA_TEST_SEED
unset CFLAGS CPPFLAGS LDFLAGS LIBS MAKEFLAGS MAKELEVEL MFLAGS
: "${MAKE:=make}"
list=$top_srcdir/tests/mutations
jobs=$(getconf _NPROCESSORS_ONLN)
patience=300 # seconds, for one test

patch --version >/dev/null 2>&1 || {
	echo 'patch is missing'
	exit 77
}
work=$(mktemp -d "${TMPDIR:-/tmp}/strata-mutate.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

tests_of() {
	sed -n 's/^Tests: //p' "$list/$1.patch"
}

# A hunk that applies with an offset does; one that needs to guess does not.
mutate() {
	name=$1
	shift
	patch -s -p1 -F0 -d "$work/source" "$@" <"$list/$name.patch"
}

# The sources, without what builds and editors leave.
mkdir "$work/source"
(cd "$top_srcdir" && tar -cf - --exclude=.git --exclude=autom4te.cache \
	--exclude='*.o' --exclude='*.lo' --exclude='*.la' --exclude=.libs \
	--exclude=./config.status --exclude=./config.h .) |
	tar -xf - -C "$work/source"
chmod -R u+w "$work/source"

names=
check=no
for arg; do
	case $arg in
	--check) check=yes ;;
	*) names="$names $arg" ;;
	esac
done
test -n "$names" || names=$(find "$list" -name '*.patch' |
	sed 's,.*/,,; s/\.patch$//' | sort)

bad=0
nr=0
for name in $names; do
	nr=$((nr + 1))
	head -n 1 "$list/$name.patch" | grep -q '\.$' ||
		{ echo "$name.patch does not say what is wrong"; bad=1; }
	test -n "$(tests_of "$name")" ||
		{ echo "$name.patch names no tests"; bad=1; }
	for test in $(tests_of "$name"); do
		test -f "$top_srcdir/$test.c" ||
			{ echo "$name.patch: there is no $test"; bad=1; }
	done
	mutate "$name" --dry-run >"$work/log" 2>&1 ||
		{ echo "$name.patch does not apply:"; cat "$work/log"; bad=1; }
done
test "$bad" -eq 0 || exit 1
if test "$check" = yes; then
	echo "$nr mutations apply"
	exit 0
fi

# What a test leaves that fails, processes and segments, ends with its
# namespaces, where there may be any. Pids begin elsewhere in each: Criterion makes
# a name of its own, of which there may be one, from its pid.
alone=
if unshare -mpf --kill-child --mount-proc true 2>/dev/null; then
	alone='unshare -mpf --kill-child --mount-proc'
fi
# shellcheck disable=SC2016 # for the inner shell
run() {
	if test -n "$alone"; then
		$alone sh -c 'mount -t tmpfs -o mode=1777 none /dev/shm &&
			echo "$2" >/proc/sys/kernel/ns_last_pid &&
			exec timeout -k 10 "$0" "$1"' $patience "./$1" \
			$((1000 + $$ % 29000))
	else
		timeout -k 10 $patience "./$1"
	fi
}

# Builds and runs one after the other. 0: all pass; 1: $caught does not.
run_tests() {
	caught=
	for test; do
		build "$test" || {
			tail -n 20 "$work/build.log" >&2
			caught="**does not build**"
			return 1
		}
		status=0
		run "$test" >"$work/test.log" 2>&1 || status=$?
		case $status in
		0) ;;
		77) skipped="$skipped $test" ;;
		124 | 137) caught="$test (hangs)" ;;
		*) caught=$test ;;
		esac
		test -z "$caught" || return 1
	done
	return 0
}

build() {
	$MAKE -s -j"$jobs" "$1" >"$work/build.log" 2>&1
}

skipped=
catchers=
top_srcdir=$work/source
top_builddir=$work/build
export top_srcdir top_builddir
mkdir "$work/build"
cd "$work/build"
../source/configure CFLAGS='-O1' --disable-shared >"$work/build.log" 2>&1 || {
	tail -n 20 "$work/build.log"
	exit 1
}
if grep -q '^CRITERION_TRUE = #' Makefile; then
	echo 'Criterion is missing, which most of the tests need'
	exit 77
fi

survivors=0
echo '| switched off | what is wrong then | caught by | seconds |'
echo '|---|---|---|---|'
for name in $names; do
	tests=$(tests_of "$name")
	mutate "$name"
	begin=$(date +%s)
	# shellcheck disable=SC2086
	if run_tests $tests; then
		caught='**nothing**'
	else
		case $caught in
		tests/*) catchers="$catchers ${caught%% *}" ;;
		esac
		caught=${caught#tests/}
	fi
	case $caught in
	'**'*) survivors=$((survivors + 1)) ;;
	esac
	echo "| $name | $(head -n 1 "$list/$name.patch") | $caught |" \
		"$(($(date +%s) - begin)) |"
	mutate "$name" -R
done
test -z "$skipped" || echo "skipped:$skipped" | tr ' ' '\n' | sort -u

# A test that fails anyhow has caught nothing.
catchers=$(echo "$catchers" | tr ' ' '\n' | sort -u)
# shellcheck disable=SC2086
if ! run_tests $catchers; then
	tail -n 20 "$work/test.log"
	echo "$caught fails without any mutation"
	exit 1
fi
echo
echo "$nr mutations, $survivors survived"
test "$survivors" -eq 0
