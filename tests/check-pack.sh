#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# From manifests and from trees of files into stores: what is packed and loaded
# is what was said, to the last keyword.
#
# STRATA_MANIFEST may name one more manifest, which need not have contents;
# without it, one beside the source tree is taken if it is there.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

store=pack-$$
: "${STRATA_MANIFEST:=$top_srcdir/../shared/data/dimensions.json}"

# round_trip MANIFEST: packs, loads and lists it, and compares with itself.
round_trip() {
	try "$STRATA" pack "$1" "$work/out" --simulate
	test "$status" -eq 0 || fail "$1: cannot be packed"
	compare_loaded "$1"
}

# compare_loaded MANIFEST: $work/out is loaded, and is what the manifest says.
compare_loaded() {
	good create "$store" --limit=64M --dir="$work/dir"
	good load "$store" "$work/out"
	json ls "$store"
	cp "$out" "$work/dimensions.json"
	sed -n 's/^ *"id": \([0-9]*\),$/\1/p' "$out" >"$work/ids"
	while read -r dimension; do
		json ls "$store" "$dimension"
		cp "$out" "$work/layers-$dimension.json"
	done <"$work/ids"
	"$json_check" --manifest "$1" "$work/dimensions.json" \
		"$work"/layers-*.json || fail "$1: the store is not as it says"
	good verify "$store"
	for file in "$work/out"/*; do
		good verify "$file"
	done
}

clear_loaded() {
	good destroy "$store"
	rm -rf "$work/out" "$work/dir" "$work"/layers-*
}

#
# A manifest.
#
manifest=$top_srcdir/tests/data/manifest.json
refused 'layer 3/0: has no .content.*--simulate' pack "$manifest" "$work/out"
test ! -e "$work/out" || fail 'it was refused but wrote something'
good pack "$manifest" "$work/out" --simulate
prints 'packed 4 dimensions, 7 layers (2 simulated)'
compare_loaded "$manifest"
printf 'r\303\251d\n' >"$work/red"
good cat "$store" 7/0
cmp "$out" "$work/red"
good cat "$store" 7/9
cmp "$out" "$top_srcdir/tests/data/text/nine.txt"
good cat "$store" 262143/5
cmp "$out" "$top_srcdir/tests/data/text/nine.txt"
# A simulated layer is a card that a person can read, and is flagged.
good cat "$store" 3/0
for line in 'Dimension 3: ' 'Layer 0' 'Depth: 0' 'Keywords: small, tiny' \
	'.*simulated'; do
	prints "^$line"
done
good cat "$store" 3/0 --meta
prints '^simulated: *yes'
good cat "$store" 7/0 --meta
prints '^simulated: *no'
good ls "$store" 3
prints ' yes '
# Of an immutable dimension nothing is changed but by its file.
good ls "$store"
prints 'crystallized, immutable'
watch "$work/dir" "$work/out"
refused 'immutable' put "$store" 3/0 "$manifest"
refused 'immutable' rm "$store" 3/0
refused 'immutable' rm "$store" 3
refused 'immutable' describe "$store" 3 --name=x
good reload "$store" 3 "$work/out/D03.strata"
# Packing again gives the same, and packing from a pipe, and by --json.
mkdir "$work/first"
cp "$work/out"/* "$work/first/"
json pack "$manifest" "$work/out" --simulate
prints '"simulated": 2'
# shellcheck disable=SC2016 # $1 is the inner shell's
(cd "$top_srcdir/tests/data" &&
	sh -c '"$1" pack - "$2" --simulate -q <manifest.json' \
		sh "$STRATA" "$work/piped") || fail 'pack from stdin'
for file in "$work/first"/*; do
	test -e "$work/piped/${file##*/}" || fail "piped: no ${file##*/}"
	test -e "$work/out/${file##*/}" || fail "again: no ${file##*/}"
done
clear_loaded

# Keys that are not ours are noted, each once.
sed 's/"dimension_id"/"colour": 1, &/' "$manifest" >"$work/keys.json"
mkdir "$work/text"
cp "$top_srcdir/tests/data/text/nine.txt" "$work/text/"
round_trip "$work/keys.json"
clear_loaded
noted "'colour' of layers is ignored" pack "$work/keys.json" "$work/out" \
	--simulate
test "$(wc -l <"$err")" -eq 1 || fail 'a note came more than once'
good pack "$work/keys.json" "$work/out" --simulate --quiet
rm -rf "$work/out"

#
# A manifest from outside.
#
if test -r "$STRATA_MANIFEST"; then
	round_trip "$STRATA_MANIFEST"
	echo "$STRATA_MANIFEST: $(wc -l <"$work/ids") dimensions"
	clear_loaded
else
	echo "note: no manifest from outside ($STRATA_MANIFEST)"
fi

#
# A tree: folders become dimensions, files become layers.
#
tree=$work/tree
mkdir -p "$tree/7-colours" "$tree/D09" "$tree/apples" \
	"$tree/bananas/deep/er" "$tree/.git" "$tree/empty" "$tree/2-two" "$tree/12"
echo r >"$tree/7-colours/010-red"
echo g >"$tree/7-colours/2-green"
: >"$tree/7-colours/zero"
echo nine >"$tree/D09/a"
echo top >"$tree/top"
echo a >"$tree/apples/a"
echo e >"$tree/apples/$(printf '\303\251')"
echo hidden >"$tree/apples/.hidden"
echo deep >"$tree/bananas/deep/er/file"
echo z >"$tree/bananas/z"
echo two >"$tree/2-two/x"
echo HEAD >"$tree/.git/HEAD"
ln -s /etc/passwd "$tree/apples/link"
ln -s apples "$tree/linked"
mkfifo "$tree/apples/pipe"
noted 'symbolic links (2;' pack "$tree" "$work/out"
for kind in 'files beside the folders (1;' 'begin with a dot (2;' \
	'no file and no folder (1;'; do
	grep -q -e "left out: .*$kind" "$err" || fail "no note of $kind"
done
prints 'packed 7 dimensions, 9 layers'
ls "$work/out" >"$work/names"
printf 'D%02d.strata\n' 1 2 3 4 7 9 12 | cmp - "$work/names" ||
	fail "other files: $(tr '\n' ' ' <"$work/names")"
good create "$store" --limit=64M
good load "$store" "$work/out"
good ls "$store"
# Folders without a number take the free ones, in the order of names.
for line in '1  apples ' '2  two ' '3  bananas ' '4  empty ' '7  colours ' \
	'9  D09 ' '12  12 '; do
	prints "^ *$line"
done
good cat "$store" 7/0
echo r | cmp - "$out"
good cat "$store" 7/1
echo g | cmp - "$out"
good cat "$store" 7/2
test ! -s "$out" || fail 'an empty file is a layer without bytes'
good cat "$store" 3/0
echo deep | cmp - "$out"
good cat "$store" 3/0 --meta
prints '^name: *deep/er/file$'
good cat "$store" 1/1 --meta
prints "^name: *$(printf '\303\251')$"
good destroy "$store"
# Where it writes to is not read.
mkdir "$tree/out"
noted 'the folder that is written to (1;' pack "$tree" "$tree/out"
prints 'packed 7 dimensions, 9 layers'
rm -rf "$work/out" "$tree/out"
test -z "$(ls "$shm")" || fail "left behind: $(ls "$shm")"
echo "$nr_checks command lines"
