#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# What is wrong is refused by one clear sentence, and nothing is changed: names,
# numbers, sizes, dimension files, permission, stores of another layout.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

store=input-$$
dir=$work/core.d
files=$work/files
long=$(printf '%0300d' 7)
mkdir "$files"
echo hello >"$work/hello"
head -c 20000 /dev/urandom >"$work/random"

# A store with a region, protos over it, and a proto dimension.
good create "$store" --limit=16M --dir="$dir"
good put "$store" 7/0 "$work/random" --name=first
good put "$store" 7/1 "$work/hello"
good crystallize "$store" 7
good put "$store" 7/1 "$work/random"
good put "$store" 99/0 "$work/hello"
cp "$dir/D07.strata" "$files/good.strata"
watch "$dir" "$files"

#
# What is not there.
#
for command in 'cat absent 7/0' 'ls absent' 'ls absent 7' 'stat absent' \
	'readers absent' 'verify absent' 'gc absent' 'limit absent 64M' \
	"put absent 7/0 $work/hello" 'rm absent 7' 'crystallize absent 7' \
	"load absent $files/good.strata" 'load absent --core' 'reload absent 7' \
	'unload absent 7' 'describe absent 7 --name=x' 'destroy absent'; do
	# shellcheck disable=SC2086 # a list of words
	refused "no store 'absent'" $command
done
refused 'no dimension 8' cat "$store" 8/0
refused 'no dimension 8' ls "$store" 8
refused 'no dimension 8' ls "$store" 8 --hot
refused 'no dimension 8' ls "$store" 8 --hot --json
refused 'dimension 8' crystallize "$store" 8
refused 'dimension 8' unload "$store" 8
refused 'D08.strata' reload "$store" 8
refused 'of dimension 7, not 8' reload "$store" 8 "$files/good.strata"
refused 'dimension 8' rm "$store" 8
refused 'dimension 8' rm "$store" 8/0
refused 'no layer 3' cat "$store" 7/3
refused 'no layer 3' cat "$store" 7/3 --meta
refused 'layer 3' rm "$store" 7/3
# One wrong operand: the right ones are left alone, too.
refused 'layer 3' rm "$store" 7/0 99/0 7/3
refused 'cannot be opened' put "$store" 7/0 "$work/absent"
refused 'absent' load "$store" "$work/absent"
refused 'absent' reload "$store" 7 "$work/absent"
refused 'absent' verify "$work/absent"

#
# Names of stores.
#
for name in a/b ../a .. . .hidden '' 'a b' "a$(printf '\n')b c" "$long" /dev/shm; do
	for command in create destroy ls stat; do
		refused 'not a store name' "$command" "$name"
	done
done
refused 'exists' create "$store"

#
# Numbers of dimensions and layers.
#
for dimension in 0 262144 -1 7x x '' 7.0 ' 7' 99999999999999999999 D D0; do
	misused 'no dimension' ls "$store" -- "$dimension"
	misused 'no dimension' crystallize "$store" -- "$dimension"
	misused 'no layer' cat "$store" -- "$dimension/0"
	misused 'no layer' put "$store" -- "$dimension/0" "$work/hello"
	misused 'no layer' rm "$store" 99/0 -- "$dimension/0"
done
for layer in 2147483648 -1 '' x 1x 99999999999999999999; do
	misused 'no layer' cat "$store" "7/$layer"
	misused 'no layer' put "$store" "7/$layer" "$work/hello"
done

#
# Command lines.
#
misused 'too few operands' create
misused 'too few operands' put "$store"
misused 'one operand too many' ls "$store" 7 8
misused "unknown option '--colour'" ls "$store" --colour
misused "unknown option '-x'" ls "$store" -x
misused "'--name' needs a value" put "$store" 7/0 "$work/hello" --name
misused "'--json' takes no value" ls "$store" --json=yes
misused 'json goes with --meta' cat "$store" 7/0 --json
misused 'file, a folder or --core' load "$store"
misused 'core takes no files' load "$store" --core "$files/good.strata"
misused 'is needed' describe "$store" 7
misused 'adopt goes with --dir' create other --adopt

#
# What is said of a layer or a dimension.
#
for value in x -1 nan inf 1e999 '' ' 1' 1x; do
	misused 'number of Hz' put "$store" 7/0 "$work/hello" --frequency="$value"
	misused 'number of Hz' describe "$store" 7 --frequency-min="$value"
done
misused 'a number from 0' put "$store" 7/0 "$work/hello" --depth=4294967296
misused 'a number from 0' put "$store" 7/0 "$work/hello" --parent=2147483648
refused 'name' put "$store" 7/0 "$work/hello" --name="$long"
refused 'keyword' put "$store" 7/0 "$work/hello" --keyword="$long"
refused 'UTF-8' put "$store" 7/0 "$work/hello" --name="$(printf 'a\377')"
refused 'UTF-8' describe "$store" 7 --name="$(printf 'a\377')"
refused 'no frequency range' describe "$store" 99 --frequency-min=2
misused 'at most 127' describe "$store" 99 --name="$long"
# The terminal is not upset by what others wrote.
refused '?\[31m' cat "$store$(printf '\033')[31m" 7/0
keywords=
i=0
while test "$i" -lt 65; do
	keywords="$keywords --keyword=k$i"
	i=$((i + 1))
done
# shellcheck disable=SC2086 # a list of words
misused 'at most 64 keywords' put "$store" 7/0 "$work/hello" $keywords

#
# Sizes and limits.
#
for size in x 0 -1 10X 10MB 99999999999G '' 1.5G; do
	misused 'a size is needed' create other --limit="$size"
	misused 'a size is needed' create other --max-limit="$size"
done
for size in x -1 10X '' 99999999999G; do
	misused 'no size' limit "$store" -- "$size"
done
for pools in x 4K '4K:8M,' 4K:8M:8M 4K:x; do
	misused 'pairs are needed' create other --pools="$pools"
done
for mode in 9 0 0400 01777 x; do
	misused '--mode' create other --mode="$mode"
done
misused 'huge-pages' create other --huge-pages=perhaps
misused 'readers=0' create other --readers=0
misused 'a number from 0' create other --readers=x
refused 'limit' create other --limit=1
refused 'limit' create other --limit=1M
refused 'limit' create other --limit=64M --max-limit=32M
refused 'power of two' create other --pools=5K:8M
refused 'ascend' create other --pools=4K:8M,4K:8M
refused '4096' create other --pools=16K:8M
refused 'ascend' create other --pools=4K:8M,64K:8M,16K:8M
refused 'power of two' create other --pools=4K:8M,1G:1G
refused 'group' create other --group=no-such-group
refused 'limit' limit "$store" 1M
refused 'limit' limit "$store" 1G
refused 'limit' limit "$store" 0

#
# Contents that do not fit.
#
truncate -s 20000000 "$work/large"
refused 'larger than the limit' put "$store" 99/1 "$work/large"
refused_by 'larger than the limit' sh -c \
	"head -c 20000000 /dev/zero | \"\$1\" put $store 99/1" sh "$STRATA"
refused 'larger than the limit' put "$store" 99/1 /dev/zero
truncate -s 15000000 "$work/large"
refused 'pools of store' put "$store" 99/1 "$work/large"
mkdir -p "$work/tree/8-large"
truncate -s 20000000 "$work/tree/8-large/zeros"
good pack "$work/tree" "$work/large.d"
refused 'limit' load "$store" "$work/large.d/D08.strata"
refused 'cannot be read: Is a directory' put "$store" 7/0 "$work"

#
# Dimension files that are none, or are not whole.
#
size=$(wc -c <"$files/good.strata")
# flip FILE OFFSET: a copy of the good file with one byte changed.
flip() {
	cp "$files/good.strata" "$1"
	byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
	# shellcheck disable=SC2059 # an octal escape, made
	printf "$(printf '\\%03o' $((byte ^ 255)))" |
		dd of="$1" bs=1 seek="$2" conv=notrunc 2>"$work/dd"
}
flip "$files/magic" 0
flip "$files/head" 20
flip "$files/content" $((size - 10000))
cp "$files/good.strata" "$files/truncated"
truncate -s $((size - 1)) "$files/truncated"
head -c 100 "$files/good.strata" >"$files/short"
cp "$files/good.strata" "$files/oversized"
echo x >>"$files/oversized"
: >"$files/empty"
cp "$STRATA" "$files/foreign"
truncate -s 4096 "$files/zeros"
mkdir "$files/folder"
# Dimension 7 is there already; so that nothing but the file is wrong:
good unload "$store" 7
watch "$dir" "$files"
for file in magic head content truncated short oversized empty foreign zeros; do
	refused "$file" load "$store" "$files/$file"
	refused "$file" verify "$files/$file"
done
good load "$store" "$files/good.strata"
watch "$dir" "$files"
refused 'in the store already' load "$store" "$files/good.strata"
for file in magic head content truncated short oversized empty foreign zeros; do
	refused "$file" reload "$store" 7 "$files/$file"
done
refused 'content' reload "$store" 7 "$files/content"
refused 'dimension' reload "$store" 99 "$files/good.strata"
refused 'no file named' load "$store" "$files/folder"
refused 'folder\|directory\|regular' reload "$store" 7 "$files/folder"
refused 'regular' load "$store" /dev/null
if mkfifo "$work/pipe"; then
	refused 'regular' load "$store" "$work/pipe"
	refused 'regular' verify "$work/pipe"
fi
# What cannot be read is not good.
try "$STRATA" verify --json - <"$work"
test "$status" -eq 1 || fail "$tried: exit code $status, not 1"
prints '^  "errors": 1,$'
prints '"file": "-"'
prints '"first": "stdin cannot be copied"'
# Of stdin, a file or a pipe, no path is told that nobody gave.
for command in "load $store" "reload $store 7"; do
	# shellcheck disable=SC2016 # for that shell
	for from in '"$1" $3 - <"$2"' 'cat "$2" | "$1" $3 -'; do
		refused_by ": stdin is no dimension file" sh -c "$from" sh \
			"$STRATA" "$files/short" "$command"
	done
done
# shellcheck disable=SC2016 # for that shell
refused_by ': stdin: layer 0, offset' sh -c \
	'cat "$2" | "$1" reload "$3" 7 -' sh "$STRATA" "$files/content" "$store"
# shellcheck disable=SC2016 # for that shell
refused_by ': stdin: dimension 7 is in the store already' sh -c \
	'cat "$2" | "$1" load "$3" -' sh "$STRATA" "$files/good.strata" "$store"
# --quick leaves out the contents, and only these.
good verify --quick "$files/content"
refused 'head' verify --quick "$files/head"

# The file of the store's directory, damaged there.
cp "$files/content" "$dir/D07.strata"
watch "$dir" "$files"
refused 'D07.strata' reload "$store" 7
cp "$files/good.strata" "$dir/D07.strata"

#
# Directories.
#
watch "$dir" "$files"
refused "$dir" create other --dir="$dir"
refused 'hello' create other --dir="$work/hello"
refused 'absent' create other --dir="$work/absent/deep"
good create other
watch "$dir" "$files"
refused 'no directory' load other --core
refused 'directory\|dimension' reload other 7
good destroy other

#
# A store of another layout, of another boot, and one that is nonsense; each
# says so whatever is tried, and is listed.
#
# patch OFFSET TEXT
patch() {
	good create patched --quiet
	printf '%b' "$2" | dd of="$shm/strata.patched" bs=1 seek="$1" \
		conv=notrunc 2>"$work/dd"
	watch
}
unpatch() {
	rm -f "$shm/strata.patched"
	"$STRATA" list >/dev/null
}
for case in '8 \377 layout' '40 \377\377\377\377\377\377\377\377 boot' \
	'0 Z nonsense\|magic\|segment'; do
	pattern=${case#* * }
	rest=${case% "$pattern"}
	patch "${rest% *}" "${rest#* }"
	says=$pattern
	for command in 'ls patched' 'stat patched' 'cat patched 7/0' \
		"put patched 7/0 $work/hello" 'gc patched' 'verify patched' \
		'readers patched' 'limit patched 64M' 'rm patched 7'; do
		# shellcheck disable=SC2086 # a list of words
		refused "$says" $command
	done
	good list
	prints '^patched .* - '
	unpatch
done

#
# No permission.
#
if ! have_nobody; then
	echo 'note: not root, or no setpriv: permission was not tried'
else
	good create open --mode=0644
	good put open 7/0 "$work/hello"
	watch "$dir" "$files"
	for command in "ls $store" "cat $store 7/0" "stat $store" \
		"put $store 7/0 $work/hello" "gc $store" "destroy $store" \
		"put open 7/0 $work/hello" 'rm open 7' 'crystallize open 7' \
		'limit open 300M' 'gc open' 'describe open 7 --name=x' \
		"load open $files/good.strata" 'unload open 7' 'reload open 7' \
		'destroy open'; do
		# shellcheck disable=SC2086 # a list of words
		refused_by 'ermi' as_nobody $command
	done
	chmod 600 "$files/good.strata"
	refused_by 'ermi' as_nobody verify "$files/good.strata"
	refused_by 'ermi' as_nobody create mine --dir="$dir"
	refused_by 'ermi' as_nobody create mine --dir="$work/new"
	# What is allowed is.
	try as_nobody cat open 7/0
	cmp "$out" "$work/hello" || fail 'others may read a store of mode 0644'
	# A stranger's store is nothing to trust, but for who says so.
	try as_nobody create mine
	test "$status" -eq 0 || fail 'nobody could not create a store'
	watch "$dir" "$files"
	refused 'trust-owner' ls mine
	good ls mine --trust-owner
	as_nobody destroy mine --quiet || fail 'nobody could not destroy its own'
	good destroy open
fi

# After all that the store is as good as before.
good verify "$store"
good cat "$store" 99/0
cmp "$out" "$work/hello"
good destroy "$store"
echo "$nr_checks command lines"
