#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Every command of the tool does what its help says.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

store=tool-$$
dir=$work/core.d
echo hello >"$work/hello"
printf 'second\0bytes' >"$work/second"

#
# help
#
good --help
sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p' "$out" >"$work/commands"
cp "$out" "$work/help"
good help
cmp "$out" "$work/help"
for command in create destroy list pack load unload reload put rm describe \
	crystallize ls cat stat readers verify gc limit doctor dump metrics watch top \
	help; do
	grep -q -x "$command" "$work/commands" || fail "no command $command"
done
test "$(wc -l <"$work/commands")" -eq 24 || fail 'commands unknown to this test'
while read -r command; do
	test "$command" != help || continue
	good "$command" --help
	cp "$out" "$work/help"
	prints "^Usage: strata $command"
	prints '^Options:'
	sed -n '/^Example:/,$p' "$out" | grep -q "strata $command" ||
		fail "$command: no example in its help"
	test "$(awk '{ if (length > 80) n++ } END { print n + 0 }' "$out")" -eq 0 ||
		fail "$command: its help is wider than a terminal"
	good help "$command"
	cmp "$out" "$work/help"
	# Help comes first, whatever else is wrong.
	good "$command" a b c d --help
done <"$work/commands"
good --version
prints '^strata [0-9]'
misused 'a command is needed'
misused "no command 'dance'" dance
misused "no command 'dance'" help dance

#
# create, list, put, cat, ls
#
json list
prints '"stores": \[\]'
good create "$store" --limit=64M --dir="$dir" --readers=32 \
	--pools=4K:8M,16K:8M,64K:16M
prints "^$store: created with a limit of 64.0 MiB and the directory $dir"
good list
prints "^$store  .* 0600 .* 64.0 MiB "
json list
prints "\"name\": \"$store\""

good put "$store" 99/0 "$work/hello" --name=greeting --frequency=1.5 \
	--depth=2 --parent=7 --keyword=hello --keyword='two words'
prints "^$store: put layer 99/0: 6 B, version"
good cat "$store" 99/0
cmp "$out" "$work/hello"
good cat "$store" D99/0 --meta
for line in 'name: *greeting' 'frequency: *1.5 Hz' 'depth: *2' 'parent: *7' \
	'keywords: *hello, two words' 'location: *pool' 'simulated: *no'; do
	prints "^$line$"
done
json cat "$store" 99/0 --meta
prints '"two words"'

# What no option says stays; of keywords, given ones replace all.
good put "$store" 99/0 "$work/second" --keyword=one --parent=none
good cat "$store" 99/0
cmp "$out" "$work/second"
good cat "$store" 99/0 --meta
for line in 'name: *greeting' 'frequency: *1.5 Hz' 'parent: *none' \
	'keywords: *one'; do
	prints "^$line$"
done
good put "$store" 99/0 "$work/second" --keyword=
good cat "$store" 99/0 --meta
prints '^keywords: *$'

# Appended; from stdin, both ways; nothing is a content, too.
"$STRATA" put "$store" 99 <"$work/hello" >"$out"
prints 'appended layer 99/1: 6 B'
"$STRATA" put "$store" 99 - <"$work/second" >"$out"
prints 'appended layer 99/2: 12 B'
good put "$store" 99/50 /dev/null --quiet
test ! -s "$out" || fail '--quiet is not'
json put "$store" 99 "$work/hello"
prints '"layer": 51'
good cat "$store" 99/50
test ! -s "$out" || fail 'a layer without bytes has some'
good ls "$store"
prints '^ 99 .* proto .* 5 '
good ls "$store" 99
test "$(wc -l <"$out")" -eq 6 || fail 'not a heading and five layers'
json ls "$store"
json ls "$store" 99

#
# -v tells what is done, -vv each allocation, on stderr
#
try "$STRATA" put "$store" 98/0 "$work/hello" -v
test "$status" -eq 0 || fail "$tried: exit code $status"
grep -q "^strata: info: store '$store': attached for writing" "$err" ||
	fail '-v tells nothing'
if grep -q '^strata: debug: ' "$err"; then fail '-v tells too much'; fi
try "$STRATA" rm "$store" 98 -vv
test "$status" -eq 0 || fail "$tried: exit code $status"
grep -q '^strata: debug: .*: took block ' "$err" || fail '-vv tells too little'

#
# describe, rm
#
good describe "$store" 99 --name='A name' --frequency-max=4.5
prints "'A name': 5 layers"
good describe "$store" 99 --frequency-min=1
good ls "$store"
prints '^ 99  A name  proto .* 1-4.5 Hz '
good describe "$store" 100 --name='no layers yet'
good ls "$store"
prints '^100  no layers yet '
good rm "$store" 99/50 99/51 100
prints 'removed 2 layers and 1 dimension'
good ls "$store"
if grep -q '^100 ' "$out"; then
	fail 'dimension 100 is still there'
fi

#
# crystallize; then a proto over the region; verify, readers, stat, gc
#
good crystallize "$store" 99
prints "crystallized dimension 99 'A name': 3 layers"
test -e "$dir/D99.strata" || fail 'its file is not in the directory'
good crystallize "$store" 99
good ls "$store"
prints '^ 99 .* crystallized '
good cat "$store" 99/0
cmp "$out" "$work/second"
good put "$store" 99/0 "$work/hello"
good ls "$store"
prints '^ 99 .* hybrid '
good cat "$store" 99/0
cmp "$out" "$work/hello"
good cat "$store" 99/2
cmp "$out" "$work/second"

good verify "$store"
prints "^$store: good: 1 dimension, 3 layers"
good verify "$store" "$dir/D99.strata" --quick
prints "^$dir/D99.strata: good: dimension 99 'A name', 3 layers"
json verify "$store" "$dir/D99.strata"
prints '"errors": 0'
good verify - <"$dir/D99.strata"
good readers "$store"
prints '^UID '
json readers "$store"
prints '"readers": \[\]'

good stat "$store"
tail -n 4 "$out" >"$work/summary"
good stat "$store" --summary
test "$(wc -l <"$out")" -eq 4 || fail 'the summary has not four lines'
for line in 'Memory State Dump @ 20[0-9-]*T[0-9:]*Z' \
	'Regions: 1 | Layers: 3 | Pools: 3' \
	'Memory: [0-9]*/64 MB ([0-9.]*%)' \
	'Allocations: [0-9]* | Failures: 0 | Peak Readers: [0-9]*'; do
	prints "^$line$"
	grep -q "^$line$" "$work/summary" || fail "stat ends without '$line'"
done
json stat "$store"
good gc "$store"
prints 'readers retain 0 B'
json gc "$store"
prints '"retained": 0'

#
# reload, unload, load
#
good reload "$store" 99
prints "reloaded dimension 99 'A name': 3 layers"
good cat "$store" 99/0
cmp "$out" "$work/second"
cp "$dir/D99.strata" "$work/copy"
good reload "$store" 99 "$work/copy"
good reload "$store" D99 - <"$work/copy"
good unload "$store" 99
test -e "$dir/D99.strata" || fail 'unload removed the file'
good ls "$store"
test "$(wc -l <"$out")" -eq 1 || fail 'something is still there'
good load "$store" --core
prints "loaded dimension 99 'A name'"
good load "$store" --core
prints 'is loaded already'
good unload "$store" 99 --forget
prints ', and forgot its file$'
test ! -e "$dir/D99.strata" || fail 'unload --forget did not remove the file'
good put "$store" 20/0 "$work/hello"
good unload "$store" 20 --forget
prints "^$store: unloaded dimension 20: 1 layer, 6 B$"
good load "$store" "$work/copy"
good unload "$store" 99
mkdir "$work/folder"
cp "$work/copy" "$work/folder/D99.strata"
good load "$store" "$work/folder"
prints '3 layers'

#
# limit, destroy; a directory belongs to one store
#
good limit "$store" 80M
prints 'the limit is 80.0 MiB now, was 64.0 MiB'
good limit "$store" 16777216
good destroy "$store"
prints "^$store: destroyed at version"
test -z "$(ls "$shm")" || fail "left behind: $(ls "$shm")"
good create "$store" --dir="$dir" --adopt --quiet
test ! -s "$out" || fail '--quiet is not'
good stat "$store"
prints '^limit: *280.0 MiB'
good destroy "$store"

#
# observing: who may not make a file in the folder has no reader slot
#
if have_nobody; then
	# observed ARGUMENT...: prints what root is told, and says how.
	observed() {
		good "$@"
		cp "$out" "$work/expected"
		try as_nobody "$@"
		test "$status" -eq 0 || fail "$tried: exit code $status, not 0"
		test "$(wc -l <"$err")" -eq 1 || fail "$tried: not one line"
		grep -q ": note: observed, without a reader slot: " "$err" ||
			fail "$tried: it does not say that it observed"
		cmp -s "$out" "$work/expected" || fail "$tried: it prints other"
	}
	good create "$store" --mode=0644
	good put "$store" 7/0 "$work/hello" --name=first --keyword=green
	good put "$store" 7/100 "$work/second"
	good put "$store" 600/0 "$work/second"
	good crystallize "$store" 600
	chmod 755 "$shm"
	for form in '' --json; do
		# shellcheck disable=SC2086 # one word, or none
		observed ls "$store" $form
		# shellcheck disable=SC2086
		observed ls "$store" 7 $form
		# shellcheck disable=SC2086
		observed cat "$store" 7/0 --meta $form
	done
	observed cat "$store" 7/100
	observed cat "$store" 600/0
	try as_nobody stat "$store" --json
	test "$status" -eq 0 || fail "$tried: exit code $status, not 0"
	prints '"layers": 3'
	grep -q 'note: observed' "$err" || fail "$tried: no note"
	try as_nobody cat "$store" 7/1
	test "$status" -eq 1 || fail "$tried: exit code $status, not 1"
	grep -q 'dimension 7 has no layer 1' "$err" || fail "$tried: no answer"
	try as_nobody ls "$store" 8
	test "$status" -eq 1 || fail "$tried: exit code $status, not 1"
	grep -q 'there is no dimension 8' "$err" || fail "$tried: no answer"
	chmod 1777 "$shm"
	good destroy "$store"
else
	echo 'note: not root, or no setpriv: observing was not tried'
fi

# What is left of a store whose catalog was removed, and one that is damaged.
good create "$store" --quiet
rm "$shm/strata.$store"
good list
prints '^strata-[0-9a-f]*-\*: leftover of .*; `strata gc` removes it$'
json list
prints '"removable": true'
prints "\"owner\": $(id -u),"
# As of a user of a container, whom none of its names means here.
if chown 4294967294 "$shm"/strata-* 2>"$work/chown"; then
	json list
	prints '"owner": 4294967294,'
	chown "$(id -u)" "$shm"/strata-*
fi
good gc
prints '^removed 6 leftover segments of stores that are gone, '
json gc
prints '"segments": 0'
test -z "$(ls "$shm")" || fail "left behind: $(ls "$shm")"
good create "$store" --quiet
printf 'nonsense' | dd of="$shm/strata.$store" conv=notrunc 2>"$work/dd"
good list
prints 'no store; it may be of the store whose catalog'
noted 'left alone: it may be' gc
refused 'is damaged' destroy "$store"
good destroy "$store" --force
prints "^$store: destroyed"
good gc --quiet
test ! -s "$out" || fail '--quiet is not'
test -z "$(ls "$shm")" || fail "left behind: $(ls "$shm")"

# Output that does not arrive is a failure.
if test -c /dev/full; then
	good create "$store"
	status=0
	"$STRATA" stat "$store" >/dev/full 2>"$err" || status=$?
	test "$status" -eq 1 || fail 'a full disk is no failure'
	grep -q '^strata: .*cannot be written' "$err" || fail 'no word of it'
	good destroy "$store"
fi
test -z "$(ls "$shm")" || fail "left behind: $(ls "$shm")"
echo "$nr_checks command lines"
