# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# shellcheck shell=sh
#
# Sourced by the check-*.sh that try the tool end to end. The segments of such a
# test are in a folder of its own, so that what it leaves behind is its own.
#
#	$work  a scratch folder; $shm  the folder of the segments
#	$out, $err  what the last command printed
#
# Each function ends the test when what it says does not hold.

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:?run it by make check}" "${STRATA:?run it by make check}"
LC_ALL=C
export LC_ALL
umask 022

# Without libtool's wrapper, which takes longer than the tool.
if test -x "$top_builddir/tools/.libs/strata"; then
	STRATA=$top_builddir/tools/.libs/strata
	LD_LIBRARY_PATH=$top_builddir/lib/.libs${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
	export LD_LIBRARY_PATH
fi
json_check=$top_builddir/tests/support/json-check
work=$(mktemp -d)
shm=$(mktemp -d /dev/shm/strata-test-XXXXXX)
out=$work/stdout
err=$work/stderr
watched=
nr_checks=0
STRATA_SHM_DIR=$shm
export STRATA_SHM_DIR

# Another user is to be let in, where a test wants that.
chmod 755 "$work"
chmod 1777 "$shm"

tool_finish() {
	status=$?
	trap - EXIT HUP INT TERM
	rm -rf "$work" "$shm"
	exit "$status"
}
trap tool_finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
	echo "FAILED: $*"
	echo '-- its stdout'
	head -n 30 "$out"
	echo '-- its stderr'
	head -n 30 "$err"
	exit 1
}

# try COMMAND...: sets $status.
try() {
	tried="$*"
	nr_checks=$((nr_checks + 1))
	status=0
	"$@" >"$out" 2>"$err" || status=$?
}

# good ARGUMENT...: the tool does it, and has nothing to complain about.
good() {
	try "$STRATA" "$@"
	test "$status" -eq 0 || fail "$tried: exit code $status, not 0"
	test ! -s "$err" || fail "$tried: something on stderr"
}

# noted PATTERN ARGUMENT...: the tool does it, with a note that matches.
noted() {
	pattern=$1
	shift
	try "$STRATA" "$@"
	test "$status" -eq 0 || fail "$tried: exit code $status, not 0"
	grep -q -e ": note: .*$pattern" "$err" || fail "$tried: no note '$pattern'"
	if grep -v '^strata: [^:]*: note: ' "$err"; then
		fail "$tried: more than notes on stderr"
	fi
}

# prints PATTERN: so did the last command.
prints() {
	grep -q -e "$1" "$out" || fail "$tried: its output has no '$1'"
}

# refused PATTERN ARGUMENT...: exit code 1, one line that matches, and of what
# is watched nothing has changed.
refused() {
	pattern=$1
	shift
	refused_by "$pattern" "$STRATA" "$@"
}

# The same with all of the command line.
refused_by() {
	pattern=$1
	shift
	try "$@"
	sentence 1
}

# misused PATTERN ARGUMENT...: exit code 2; the second line tells of help.
misused() {
	pattern=$1
	shift
	try "$STRATA" "$@"
	sentence 2
}

# sentence STATUS: so left the last command, which said so many lines, of which
# one is a sentence with $pattern; and nothing else happened.
sentence() {
	test "$status" -eq "$1" || fail "$tried: exit code $status, not $1"
	awk -v lines="$1" '
		/^strata: / { sentences++ }
		/^\047strata .*help.* tells how it is used\.$/ { helps++ }
		END { exit NR != lines || sentences != 1 || helps != lines - 1 }
	' "$err" || fail "$tried: not one line that begins 'strata: '"
	grep -q -e "^strata: .*$pattern" "$err" ||
		fail "$tried: it does not say '$pattern'"
	test ! -s "$out" || fail "$tried: something on stdout"
	unchanged
}

# watch FOLDER...: from here on all stores, and these folders, may not change by
# what is refused; to be called again after each change that is meant.
watch() {
	watched=$*
	snapshot >"$work/before"
	sums >"$work/sums"
}

unchanged() {
	test -e "$work/before" || return 0
	# Mostly not a byte is different.
	sums | cmp -s - "$work/sums" && return 0
	snapshot >"$work/after"
	cmp -s "$work/before" "$work/after" || {
		diff "$work/before" "$work/after" >"$out" || :
		fail "$tried: it was refused but changed something"
	}
}

# shellcheck disable=SC2086 # a list of folders
sums() {
	find "$shm" $watched -type f ! -name '*-pins*' -exec cksum {} +
}

# All that can be seen of the stores, and names, sizes and sums of the files.
# Counters of what was tried may change: they are left out.
snapshot() (
	for store in "$shm"/strata.*; do
		test -e "$store" || continue
		store=${store#"$shm/strata."}
		"$STRATA" stat "$store" --json 2>&1 |
			sed '/"grace_durations"/,/]/d' | grep -v -e '"time"' \
			-e '"failures' -e '"failed"' -e '"spilled"' \
			-e '"peak_' -e '"readers"' -e 'allocations"' \
			-e '"grace_' -e '"reclaimed"' \
			-e 'allocation_failure'
		"$STRATA" ls "$store" --json 2>&1 | tee "$work/dimensions"
		sed -n 's/^ *"id": \([0-9]*\),$/\1/p' "$work/dimensions" |
			while read -r dimension; do
				"$STRATA" ls "$store" "$dimension" --json 2>&1
			done
	done
	(cd "$shm" && find . -type f ! -name '*-pins*' -exec wc -c {} + | sort)
	for folder in $watched; do
		(cd "$folder" && find . -type f -exec cksum {} + | sort)
	done
)

# json ARGUMENT...: the tool prints one JSON object.
json() {
	good "$@" --json
	"$json_check" "$out" || fail "$tried: that is no JSON object"
}

# have_nobody: another user can be played, by as_nobody ARGUMENT..., the tool.
# The build folder may be closed to others, so this is a copy.
have_nobody() {
	test "$(id -u)" -eq 0 || return 1
	bin=$work/bin
	mkdir -p "$bin"
	# Counters of a coverage build: another user may not write to ours.
	mkdir -p -m 1777 "$work/gcov"
	cp "$STRATA" "$bin/strata"
	cp -P "$top_builddir"/lib/.libs/libstrata.so* "$bin/" 2>/dev/null || :
	as_nobody --version >"$out" 2>&1
}

as_nobody() {
	setpriv --reuid=65534 --regid=65534 --clear-groups \
		env LD_LIBRARY_PATH="$bin" GCOV_PREFIX="$work/gcov" \
		"$bin/strata" "$@"
}
