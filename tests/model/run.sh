#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# Checks the models of the RCU domain: run.sh [short]
#
# Each model is searched to its end, and must hold. Each broken variant, which is
# the model without one safeguard, must give a counter-example: what led to it is
# printed. `make model` runs all, in about ten minutes and 4 GiB on one core;
# "short" is for `make check`.
set -eu

models=$(cd "$(dirname "$0")" && pwd)
length=${1:-full}
memory_mib=${MODEL_MEMORY:-8192}
: "${CC:=gcc}"
LC_ALL=C
export LC_ALL

if ! command -v spin >/dev/null; then
	echo 'skipped: spin is not installed'
	exit 77
fi
if ! $CC --version >/dev/null 2>&1 ; then
	echo 'skipped: no compiler for what spin writes'
	exit 77
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$work"
nr_held=0
nr_broken=0

fail() {
	echo "FAILED: $*"
	tail -n 40 "$work/out"
	exit 1
}

# search MODEL "SWITCHES" "COMPILER'S" ARGUMENT...: leaves the search's words in
# "out", and its trail, if there is one, in "trail".
search() {
	model=$1
	switches=$2
	compiler=$3
	shift 3
	rm -f "$model.pml.trail" trail
	# shellcheck disable=SC2086 # lists of words
	spin $switches -a "$models/$model.pml" >out 2>&1 &&
		test -f pan.c || fail "spin cannot read $model $switches"
	# shellcheck disable=SC2086 # likewise
	$CC -w -DSAFETY -DMEMLIM="$memory_mib" $compiler -o pan pan.c >out 2>&1 ||
		fail "$CC cannot compile $model $switches"
	./pan "$@" >out 2>&1 || true
	if test -f "$model.pml.trail"; then
		mv "$model.pml.trail" trail
	fi
}

# number PATTERN: the first number of the first line that has it
number() {
	sed -n "s/$1/\\1/p" out | head -n 1
}

# holds DEPTH MODEL "SWITCHES": searched to the end, without an error
holds() {
	search "$2" "$3" "$optimize -DCOLLAPSE" -m"$1" -w"$hash_bits"
	if test -f trail || ! grep -q 'errors: 0$' out ||
	   grep -q -e 'not completed' -e 'too small' -e 'out of memory' \
		-e 'hash-compact' -e 'bitstate' out
	then
		fail "$2 $3 does not hold, or was not searched to its end"
	fi
	printf '%-10s %-48s %10s states  depth %7s  %6s s\n' "$2" "$3" \
		"$(number ' *\([0-9]*\) states, stored.*')" \
		"$(number '.*depth reached \([0-9]*\),.*')" \
		"$(number '.*elapsed time \([0-9.e+]*\) sec.*')"
	nr_held=$((nr_held + 1))
}

# breaks WHAT MODEL "SWITCHES": the shortest way there, by breadth first
breaks() {
	search "$2" "$3" '-O0 -DBFS' -w20
	if ! test -f trail || ! grep -q 'assertion violated' out; then
		fail "$1: $2 $3 must give a counter-example, and gives none"
	fi
	printf '%s: %s %s: %s states, and then\n' "$1" "$2" "$3" \
		"$(number ' *\([0-9]*\) states, stored.*')"
	# shellcheck disable=SC2086 # likewise
	spin $3 -t -T -B -k trail "$models/$2.pml" >told 2>&1 || true
	sed -n -e '/^\(reader\|writer\|memory\|synchronize\) *[0-9]*: /s/^/    /p' \
		-e 's/^spin: text of failed assertion: /    violated: /p' told
	grep -q 'text of failed assertion' told ||
		fail "the trail of $2 $3 does not lead there"
	nr_broken=$((nr_broken + 1))
}

. "$models/$length.sh"

echo "$nr_held models hold, $nr_broken broken variants give their" \
	"counter-examples"
