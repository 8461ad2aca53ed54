#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# The systemd unit: what it runs makes, loads, keeps and destroys a store; it
# makes sense to systemd-analyze, which finds it hardened; and its filter allows
# the system calls of these commands. No systemd has to run here.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

: "${bindir:?run it by make check}"
made=$top_builddir/tools/systemd/strata@.service
unit=$work/strata@.service
store=unit-$$
mkdir "$work/path"
cat >"$work/path/strata" <<END
#!/bin/sh
exec "$STRATA" "\$@"
END
chmod +x "$work/path/strata"
grep -q "^ExecStart=$bindir/strata " "$made" || fail 'the unit has no ExecStart'
sed "s,$bindir/strata,$work/path/strata,g" "$made" >"$unit"

#
# what it runs
#
STATE_DIRECTORY=$work/state
STRATA_CREATE=$(sed -n 's/^Environment="STRATA_CREATE=\(.*\)"$/\1/p' "$unit")
export STATE_DIRECTORY STRATA_CREATE
test -n "$STRATA_CREATE" || fail 'the unit has no options for create'

# run KEY: its command lines, as systemd would run them. Of the system calls of
# the tool a list is kept.
run() {
	sed -n "s/^$1=//p" "$unit" | sed "s/%i/$store/g; s/[$][$]/$/g" \
		>"$work/lines"
	test -s "$work/lines" || fail "the unit has no $1"
	tried="$1 of the unit"
	while IFS= read -r line; do
		nr_checks=$((nr_checks + 1))
		eval "$tracer $line" >>"$out" 2>>"$err" </dev/null ||
			fail "$tried: $line"
	done <"$work/lines"
}

tracer=
if test -z "${SANITIZERS:-}" && strace -qq -o "$work/probe" true 2>/dev/null
then
	tracer='strace -f -qq -A -o "$work/calls"'
fi
mkdir -p "$work/tree/1"
echo one >"$work/tree/1/one"
good pack "$work/tree" "$work/state"
run ExecStart
json stat "$store"
prints '"layers": [1-9]'
prints '"limit": 293601280'
prints "\"directory\": \"$work/state\""
test "$(stat -c %a "$shm/strata.$store")" = 640 || fail 'the mode is not 0640'
echo kept | "$STRATA" put "$store" 99/0 --quiet
"$STRATA" unload "$store" 1 --quiet
run ExecReload
run ExecStart
good cat "$store" 99/0
prints kept
good ls "$store" 1
run ExecStop
refused 'no store' stat "$store"
good verify "$work/state/D01.strata"

#
# what systemd says of it
#
if ! command -v systemd-analyze >/dev/null; then
	echo 'systemd-analyze is missing'
	exit 77
fi
cp "$unit" "$work/strata@$store.service"
tried='systemd-analyze verify'
systemd-analyze verify --man=no "$work/strata@$store.service" >"$out" 2>"$err" ||
	fail "$tried"
grep "strata@" "$err" && fail "$tried: it complains"
if systemd-analyze security --offline=yes --threshold=20 \
	"$work/strata@$store.service" >"$out" 2>"$err"; then
	tail -n 1 "$out"
else
	grep -q -i 'unrecognized option' "$err" ||
		fail 'the unit is exposed more than it was'
	echo 'systemd-analyze cannot judge its hardening'
fi

# Names of a filter, of groups what is in them. Filters add, or with a ~ take
# away, one after the other.
expand() {
	for name in "$@"; do
		case $name in
		@*) # shellcheck disable=SC2046 # words
			expand $(systemd-analyze syscall-filter "$name" |
				sed -n '2,$s/^ *\([@a-z0-9_-]*\)$/\1/p') ;;
		*) echo "$name" ;;
		esac
	done
}
if test -n "$tracer"; then
	: >"$work/allowed"
	sed -n 's/^SystemCallFilter=//p' "$unit" >"$work/filters"
	while read -r filter; do
		# shellcheck disable=SC2086 # words
		expand ${filter#"~"} | sort >"$work/set"
		case $filter in
		"~"*) comm -23 "$work/allowed" "$work/set" ;;
		*) sort -u "$work/allowed" "$work/set" ;;
		esac >"$work/next"
		mv "$work/next" "$work/allowed"
	done <"$work/filters"
	sed -n 's/^[0-9]* *\([a-z0-9_]*\)(.*/\1/p' "$work/calls" |
		sort -u >"$work/called"
	test "$(wc -l <"$work/called")" -gt 20 || fail 'strace saw too little'
	comm -23 "$work/called" "$work/allowed" >"$out"
	test ! -s "$out" || fail 'the unit forbids what the tool calls'
	echo "$(wc -l <"$work/called") system calls allowed"
fi
echo "$nr_checks checks"
