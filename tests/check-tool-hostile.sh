#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Absurd arguments, closed descriptors and full disks: every command ends with
# an exit code of 0 to 2, says what is wrong, and changes nothing by that.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

store=hostile-$$
echo hello >"$work/hello"
good create "$store" --limit=16M
good put "$store" 7/0 "$work/hello" --name=first
good put "$store" 7/1 "$work/hello"
good crystallize "$store" 7
good put "$store" 99/0 "$work/hello"
watch

# survives ARGUMENT...: no signal, no hang, no code that is not ours; a refusal
# says something, in lines without control characters.
survives() {
	try timeout -k 5 60 "$STRATA" "$@"
	test "$status" -le 2 || fail "exit code $status"
	test "$status" -eq 0 || grep -q '^strata: ' "$err" ||
		fail 'it says nothing'
	if grep -q '[[:cntrl:]]' "$err"; then
		fail 'control characters on stderr'
	fi
}

#
# Each absurd word in each place of each command.
#
huge=$(head -c 60000 /dev/zero | tr '\0' x)
long=$(head -c 4096 /dev/zero | tr '\0' 9)
odd=$(printf 'a\001\033[2J\177\377b')
absurd() {
	# As a store, as an operand behind one, and as the number of a layer. What
	# would be done for good (create of a good name) is left out.
	for command in cat ls stat limit put rm load reload describe destroy list; do
		survives "$command" "$1" </dev/null
	done
	for command in cat rm crystallize unload reload load limit; do
		survives "$command" "$store" -- "$1"
	done
	survives cat "$store" -- "$1/$1"
	survives rm "$store" -- "9999/$1"
	survives put "$store" 98/0 /absent/file --name="$1"
	survives put "$store" -- "$1" "$work/hello"
	survives describe "$store" 250000 --frequency-min="$1"
	unchanged
}
for word in '' .. /absent/x '%s%n%s' -1 ' 7' 7/7/7 18446744073709551616 nan \
	"$odd" "$long" "$huge"; do
	absurd "$word"
done

#
# Each option with each absurd value; none of these makes a store.
#
for word in '' -1 18446744073709551615 18446744073709551616 \
	18014398509481984G 9223372036854775807K "$odd" "$long"; do
	for option in limit max-limit dir mode group readers pools huge-pages; do
		# A folder may have any of these names.
		test "$option" != dir || continue
		try timeout -k 5 60 "$STRATA" create other "--$option=$word"
		test "$status" -le 2 || fail "--$option: exit code $status"
		if test "$status" -eq 0; then
			good destroy other
		else
			grep -q '^strata: ' "$err" || fail 'it says nothing'
		fi
	done
	for option in name keyword frequency depth parent; do
		survives put "$store" 98/0 /absent/file "--$option=$word"
	done
done
watch

#
# More operands than anybody has.
#
many=$(seq 1 2000)
# shellcheck disable=SC2086 # a list of words
survives ls "$store" $many
# shellcheck disable=SC2086 # a list of words
survives rm "$store" 98/0 $many
# shellcheck disable=SC2086 # a list of words
survives verify $many

#
# Output that cannot be written: said, and no code 0.
#
for command in "ls $store" "ls $store 7" "ls $store --json" "cat $store 7/0" \
	"cat $store 7/0 --meta" "stat $store" "stat $store --json" \
	"readers $store" list 'list --json' --help 'help cat' --version; do
	status=0
	# shellcheck disable=SC2086 # a list of words
	"$STRATA" $command >/dev/full 2>"$err" || status=$?
	: >"$out"
	tried="$command >/dev/full"
	nr_checks=$((nr_checks + 1))
	case $command in
	"readers $store") test "$status" -le 1 || fail "exit code $status" ;;
	*) test "$status" -eq 1 || fail "exit code $status, not 1" ;;
	esac
	test "$status" -eq 0 || grep -q '^strata: ' "$err" ||
		fail 'it says nothing'
done

#
# Descriptors that are closed: what is opened next must not be taken for one of
# them. A store's segment that got number 1 would be written to.
#
for closed in '<&-' '>&-' '2>&-' '<&- >&- 2>&-'; do
	for command in "cat $store 7/0" "stat $store --json" "verify $store" \
		"gc $store" "put $store 97/0" "cat absent 7/0" nonsense; do
		status=0
		eval "timeout -k 5 60 \"\$STRATA\" $command $closed" \
			>"$out" 2>"$err" </dev/null || status=$?
		tried="$command $closed"
		nr_checks=$((nr_checks + 1))
		test "$status" -le 2 || fail "exit code $status"
	done
done
good verify "$store"
good cat "$store" 7/0
cmp "$out" "$work/hello"
good destroy "$store"
test -z "$(ls "$shm")" || fail 'a store was left'
echo "$nr_checks command lines"
