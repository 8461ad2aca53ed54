#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# The whole check: gcc, clang, AddressSanitizer with UndefinedBehaviorSanitizer,
# ThreadSanitizer, distcheck. Installs what is missing (Debian, as root), builds
# outside of the source tree, prints one line a stage, and as its last line
#
#	N passed, N failed, N skipped
#
# over all stages. Exits 0 when nothing failed. The build folder is kept, and
# named, when something did.
set -eu

source_dir=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/setup.sh
. "$source_dir/tests/setup.sh"

# What the caller's shell has set up for other builds is not for this one.
unset CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS LIBS MAKEFLAGS MAKELEVEL MFLAGS
unset DESTDIR TESTS VERBOSE CONFIG_SITE STRATA_SHM_DIR STRATA_TEST_LENGTH
unset ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS
LC_ALL=C
export LC_ALL
# A manifest from outside, where there is one beside the checkout.
outside=$source_dir/../shared/data/dimensions.json
if test -f "$outside" && test -z "${STRATA_MANIFEST:-}"; then
	STRATA_MANIFEST=$outside
	export STRATA_MANIFEST
fi

jobs=$(getconf _NPROCESSORS_ONLN)
# Many tests wait for something most of the time.
tests=$((jobs + 1))
shm_dir=/dev/shm
nr_stages=5
stage=0
passed=0
failed=0
skipped=0
seconds_begin=$(date +%s)

work=$(mktemp -d "${TMPDIR:-/tmp}/strata-check.XXXXXX")
mkdir "$work/reports"

# Removes what distcheck made read-only, too.
finish() {
	status=$?
	trap - EXIT HUP INT TERM
	if test "$status" -eq 0; then
		chmod -R u+w "$work"
		rm -rf "$work"
	else
		echo "kept for a look: $work"
	fi
	total
	exit "$status"
}

total() {
	echo "$passed passed, $failed failed, $skipped skipped"
}

# build NAME ARGUMENT...: configures and compiles everything, tests included.
build() {
	mkdir "$work/$1" && cd "$work/$1" && shift &&
	../source/configure --enable-werror "$@" &&
	make -j"$jobs" &&
	make -j"$jobs" check TESTS=
}

stage_gcc() {
	build gcc CC=gcc &&
	make -j"$tests" check
}

# What clang warns of it sees before it optimises.
stage_clang() {
	build clang CC=clang CFLAGS='-g -O0' --disable-static
}

# A leak does not fail a Criterion test, nor does an error in a child of a test
# fail the test: every report counts, wherever it comes from. Shorter, as what
# chance finds is left to the builds that get further in the same time.
stage_asan() {
	build asan CC=gcc --enable-sanitizers=address,undefined \
		--disable-static &&
	STRATA_TEST_LENGTH=short \
	LSAN_OPTIONS=suppressions="$work/source/tests/lsan.supp":print_suppressions=0 \
	ASAN_OPTIONS=log_path="$work/reports/asan" \
	UBSAN_OPTIONS=print_stacktrace=1:log_path="$work/reports/ubsan" \
		make -j"$tests" check &&
	no_reports
}

# Where addresses are too random for the run-time library it needs help.
stage_tsan() {
	fixed=
	if setarch -R true 2>/dev/null; then
		fixed='setarch -R'
	fi
	build tsan CC=clang --enable-sanitizers=thread --disable-static &&
	STRATA_TEST_LENGTH=short TSAN_OPTIONS=log_path="$work/reports/tsan" \
		$fixed make -j"$jobs" check &&
	no_reports
}

# Reuses the build of stage_gcc. All tests are built from the tarball; those that
# take more of it than their own source run again, shorter.
stage_distcheck() {
	cd "$work/gcc" &&
	# shellcheck disable=SC2016 # make expands it
	STRATA_TEST_LENGTH=short make -j"$tests" distcheck \
		TESTS='$(script_tests) $(fuzz_tests) $(unit_tests)' &&
	tarball_is_complete
}

no_reports() {
	for report in "$work"/reports/*; do
		test ! -e "$report" || return 1
	done
}

# Every file that git knows is in the tarball, but for the dot files.
tarball_is_complete() {
	setup_is_checkout "$source_dir" || return 0
	xz -dc strata-*.tar.xz | tar -tf - | sed 's,^[^/]*/,,' | sort \
		>"$work/tarball.files" &&
	grep -v '^\.' "$work/source.files" | sort |
		comm -23 - "$work/tarball.files" >"$work/forgotten" &&
	if test -s "$work/forgotten"; then
		echo 'not in the tarball (see EXTRA_DIST and the lists of sources):'
		cat "$work/forgotten"
		return 1
	fi
}

# count LOG: adds up the summaries that automake printed into it.
count() {
	stage_passed=$(sum "$1" 'PASS|XFAIL')
	stage_failed=$(sum "$1" 'FAIL|XPASS|ERROR')
	stage_skipped=$(sum "$1" 'SKIP')
}

sum() {
	awk -v names="^# ($2):" '$0 ~ names { n += $3 } END { print n + 0 }' \
		"$1"
}

# run NAME TITLE: one stage, in a line of the screen.
run() {
	stage=$((stage + 1))
	log=$work/$1.log
	printf '[%d/%d] %-46s ' "$stage" "$nr_stages" "$2"
	begin=$(date +%s)
	if ("stage_$1") >"$log" 2>&1; then
		result=ok
	else
		result=FAILED
	fi
	count "$log"
	if test "$result" = FAILED && test "$stage_failed" -eq 0; then
		stage_failed=1 # not a test: the compiler, a report
	fi
	passed=$((passed + stage_passed))
	failed=$((failed + stage_failed))
	skipped=$((skipped + stage_skipped))
	printf '%-6s %4d s  %d passed, %d failed, %d skipped\n' "$result" \
		"$(($(date +%s) - begin))" \
		"$stage_passed" "$stage_failed" "$stage_skipped"
	tell_skipped "$1"
	if test "$result" = FAILED; then
		tell_failure "$1"
		exit 1
	fi
}

# tell_skipped NAME: each with its reason, the last line of its log but for the
# one that automake adds.
tell_skipped() {
	sed -n 's/^SKIP: //p' "$work/$1.log" | while IFS= read -r name; do
		reason=$(tail -n 2 "$work/$1/${name%.sh}.log" 2>/dev/null |
			sed '/^SKIP /d')
		echo "      skipped: $name${reason:+: $reason}"
	done
}

# tell_failure NAME: what a reader of a CI log needs; the rest is in $work.
tell_failure() {
	echo "---- the end of $1.log"
	tail -n 60 "$work/$1.log"
	find "$work" -name test-suite.log | while IFS= read -r suite; do
		if grep -q '^\(FAIL\|ERROR\|XPASS\)' "$suite"; then
			echo "---- the end of $suite"
			tail -n 200 "$suite"
		fi
	done
	for report in "$work"/reports/*; do
		if test -e "$report"; then
			echo "---- $report"
			head -n 100 "$report"
		fi
	done
}

# Names of this project's segments, whoever made them.
list_shm() {
	for segment in "$shm_dir"/*strata* "$shm_dir"/.*strata*; do
		test ! -e "$segment" || echo "$segment"
	done | sort
}

trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# shellcheck disable=SC2086 # lists of words
setup_install $setup_build_packages $setup_check_packages
list_shm >"$work/shm.before"
if ! setup_source "$source_dir" "$work/source" >"$work/bootstrap.log" 2>&1; then
	cat "$work/bootstrap.log"
	failed=1
	exit 1
fi

run gcc 'gcc: build, all tests'
run clang 'clang: build without a warning'
run asan 'AddressSanitizer and UBSan: all tests'
run tsan 'ThreadSanitizer: tests with threads'
run distcheck 'distcheck: tarball, tests, install, uninstall'

list_shm >"$work/shm.after"
if ! comm -13 "$work/shm.before" "$work/shm.after" | cmp -s - /dev/null; then
	echo "left behind in $shm_dir:"
	comm -13 "$work/shm.before" "$work/shm.after"
	failed=$((failed + 1))
	exit 1
fi
echo "nothing left in $shm_dir; $(($(date +%s) - seconds_begin)) s in all"
