#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Manifests and trees that are wrong: one sentence that names the place, and no
# file is written.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

cd "$work"
mkdir -p in/sub outside
echo inside >in/sub/file
echo outside >outside/secret
ln -s /etc/passwd in/link
ln -s ../outside in/up
ln -s sub/file in/fine
mkfifo in/pipe
# What an earlier pack wrote stays as it is.
mkdir tree
mkdir tree/1-one
echo one >tree/1-one/layer
good pack tree old
watch old outside

long=$(printf '%0300d' 7)

# bad PATTERN JSON
bad() {
	printf '%s' "$2" >in/m.json
	refused "$1" pack in/m.json new
	test ! -e new || fail "$2: it was refused but made a folder"
	refused "$1" pack in/m.json old
}

# One dimension, one layer; and one of them wrong.
range='"frequency_min": 1, "frequency_max": 2'
dimension="{\"id\": 3, \"name\": \"x\", $range}"
rest='"depth": 0, "parent_layer": null, "keywords": [], "frequency": 1'
layer="\"dimension_id\": 3, \"layer_num\": 7, $rest"
bad_dimension() {
	bad "$1" "{\"dimensions\": [$2], \"layers\": []}"
}
bad_layer() {
	bad "$1" "{\"dimensions\": [$dimension], \"layers\": [$2]}"
}

#
# The document.
#
bad 'line 1' ''
bad 'line 1' '{'
bad 'line 1' '{"dimensions": [], "layers": []} x'
bad 'must be an object' '[]'
bad "'dimensions' is missing" '{}'
bad "'layers' is missing" "{\"dimensions\": [$dimension]}"
bad "'dimensions' must be an array" '{"dimensions": 3, "layers": []}'
bad "'layers' must be an array" "{\"dimensions\": [$dimension], \"layers\": {}}"
bad 'is empty' '{"dimensions": [], "layers": []}'
bad 'duplicate' '{"dimensions": [], "dimensions": [], "layers": []}'
bad 'line 1' "$(printf '{"dimensions": ["a\377"]}')"
bad 'line 1' "$(printf '%05000d' 0 | tr 0 '[')"

#
# Dimensions.
#
bad_dimension 'dimension 3 is there twice' "$dimension, $dimension"
bad_dimension 'must be an object' 3
bad_dimension "dimensions\[0\]: the key 'id' is missing" '{}'
bad_dimension "dimension 3: the key 'name' is missing" '{"id": 3}'
bad_dimension "'frequency_min' is missing" '{"id": 3, "name": "x"}'
bad_dimension "'frequency_max' is missing" \
	'{"id": 3, "name": "x", "frequency_min": 1}'
for id in 0 262144 -1; do
	bad_dimension "'id' is $id; it must be from 1 to 262143" \
		"{\"id\": $id, \"name\": \"x\", $range}"
done
for id in '"3"' 3.0 null '[3]' true; do
	bad_dimension "'id' must be a whole number" \
		"{\"id\": $id, \"name\": \"x\", $range}"
done
bad_dimension 'too big' "{\"id\": 99999999999999999999, \"name\": \"x\", $range}"
bad_dimension "'name' must be a string" "{\"id\": 3, \"name\": 4, $range}"
bad_dimension "'name' has 300 bytes; at most 127" \
	"{\"id\": 3, \"name\": \"$long\", $range}"
bad_dimension 'must be a number (Hz), not null' \
	'{"id": 3, "name": "x", "frequency_min": null, "frequency_max": 2}'
bad_dimension 'more than' \
	'{"id": 3, "name": "x", "frequency_min": 3, "frequency_max": 2}'
bad_dimension 'not negative' \
	'{"id": 3, "name": "x", "frequency_min": -1, "frequency_max": 2}'
bad_dimension 'line 1' \
	'{"id": 3, "name": "x", "frequency_min": 1, "frequency_max": NaN}'
bad_dimension 'line 1' \
	'{"id": 3, "name": "x", "frequency_min": 1, "frequency_max": 1e999}'
bad_dimension "'immutable' must be true or false" \
	"{\"id\": 3, \"name\": \"x\", $range, \"immutable\": 1}"
bad_dimension "'size_bytes' is -1" \
	"{\"id\": 3, \"name\": \"x\", $range, \"size_bytes\": -1}"
bad_dimension 'duplicate' "{\"id\": 3, \"name\": \"x\", $range, \"id\": 4}"

#
# Layers.
#
bad_layer 'layer 3/7 is there twice' \
	"{$layer, \"content\": \"a\"}, {$layer, \"content\": \"b\"}"
bad_layer 'layers\[0\]: must be an object' 4
bad_layer "'dimension_id' is missing" '{}'
bad_layer "'layer_num' is missing" '{"dimension_id": 3}'
bad_layer "'dimensions' does not have" \
	"{\"dimension_id\": 4, \"layer_num\": 0, $rest, \"content\": \"\"}"
for number in -1 2147483648; do
	bad_layer "'layer_num' is $number" \
		"{\"dimension_id\": 3, \"layer_num\": $number, $rest}"
done
bad_layer "layer 3/7: has no 'content'" "{$layer}"
bad_layer "'content' must be a string" "{$layer, \"content\": 4}"
bad_layer "has both 'content' and" \
	"{$layer, \"content\": \"a\", \"content_file\": \"m.json\"}"
bad_layer "'name' must be a string" "{$layer, \"content\": \"\", \"name\": 1}"
bad_layer "'name' has 300 bytes" \
	"{$layer, \"content\": \"\", \"name\": \"$long\"}"

# One key of a good layer in another way, or none of it.
content='"dimension_id": 3, "layer_num": 7, "content": "c"'
depth='"depth": 0'
parent='"parent_layer": null'
keywords='"keywords": ["a"]'
frequency='"frequency": 1'
bad_layer "'depth' is missing" "{$content, $parent, $keywords, $frequency}"
bad_layer "'parent_layer' is missing" "{$content, $depth, $keywords, $frequency}"
bad_layer "'keywords' is missing" "{$content, $depth, $parent, $frequency}"
bad_layer "'frequency' is missing" "{$content, $depth, $parent, $keywords}"
for depth in -1 4294967296; do
	bad_layer "'depth' is $depth" \
		"{$content, \"depth\": $depth, $parent, $keywords, $frequency}"
done
depth='"depth": 0'
for case in '"x":a layer number or null' '7:the layer itself' '-1:is -1' \
	'2147483648:is 2147483648' '1.5:a layer number or null'; do
	bad_layer "'parent_layer'.*${case#*:}" \
		"{$content, $depth, \"parent_layer\": ${case%%:*}, $keywords, $frequency}"
done
many=$(awk 'BEGIN { for (i = 0; i < 65; i++) printf "%s\"k\"", i ? "," : "" }')
for case in '"a":an array of strings' '["a", 3]:keywords\[1\]. must be a string' \
	"[\"$long\"]:at most 255" "[$many]:has 65; at most 64" 'null:an array'; do
	bad_layer "${case#*:}" \
		"{$content, $depth, $parent, \"keywords\": ${case%%:*}, $frequency}"
done
for case in '-1:not negative' 'true:must be a number' '"1":must be a number'; do
	bad_layer "'frequency'.*${case#*:}" \
		"{$content, $depth, $parent, $keywords, \"frequency\": ${case%%:*}}"
done

#
# Content files stay in the manifest's folder.
#
for path in /etc/passwd ../outside/secret sub/../../outside/secret link \
	up/secret pipe sub absent . '' sub/file/ 'a\u0000b' "$long" \
	'\u001b[31m'; do
	bad_layer 'content_file\|line 1' "{$layer, \"content_file\": \"$path\"}"
done
for path in sub/file ./sub//file; do
	printf '{"dimensions": [%s], "layers": [{%s, "content_file": "%s"}]}' \
		"$dimension" "$layer" "$path" >in/m.json
	good pack in/m.json new
	good verify new/D03.strata
	rm -r new
done

#
# Files that are no manifest, folders that cannot be written.
#
refused 'cannot be read' pack absent.json new
refused 'line 1' pack /dev/null new
refused 'is not a folder' pack in/m.json outside/secret
refused 'cannot be made' pack in/m.json new/deep/er
refused 'is not a folder' pack in/m.json /dev/null

#
# Trees.
#
bad_tree() {
	refused "$1" pack tree new
	test ! -e new || fail "$1: it was refused but made a folder"
}
for twin in D1 D01 1 01-again; do
	mkdir "tree/$twin"
	bad_tree 'would both be dimension 1'
	rmdir "tree/$twin"
done
for folder in 0-zero 300000-large D0; do
	mkdir "tree/$folder"
	noted 'is no dimension number' pack tree new
	test -e new/D02.strata || fail "$folder did not get the next free number"
	rm -r new "tree/$folder"
done
touch "tree/1-one/$(printf 'bad\377')"
bad_tree 'must be UTF-8'
rm tree/1-one/bad*
mkdir "tree/$(printf '%0200d' 0)x"
# Two hundred digits are no number, so they are a name, which is too long.
bad_tree 'of at most 127 bytes'
rmdir tree/0*x
deep=tree/1-one
for i in 1 2 3 4 5 6 7; do
	deep=$deep/$i$(printf '%040d' 0)
	mkdir "$deep"
done
echo deep >"$deep/file"
bad_tree 'at most 255 bytes'
rm -r tree/1-one/1*
mkdir nothing
refused 'no folder in it' pack nothing new
touch nothing/file
refused 'no folder in it' pack nothing new
# Root reads everything, so it plays somebody else.
if test "$(id -u)" -ne 0; then
	packer=$STRATA
	mkdir theirs
elif have_nobody; then
	packer=as_nobody
	mkdir theirs
	chmod 777 theirs
else
	packer=
	echo 'note: not tried: files that cannot be read'
fi
if test -n "$packer"; then
	chmod 0 tree/1-one/layer
	refused_by 'layer.*ermission' "$packer" pack tree theirs/new
	chmod 644 tree/1-one/layer
	chmod 0 tree/1-one
	refused_by '1-one.*ermission' "$packer" pack tree theirs/new
	chmod 755 tree/1-one
	mkdir closed
	chmod 555 closed
	refused_by 'closed/new.*ermission' "$packer" pack tree closed/new
	refused_by 'closed/D01.*ermission' "$packer" pack tree closed
	test ! -e theirs/new || fail 'it was refused but made a folder'
	chmod 755 closed
fi
good pack tree new
cmp new/D01.strata old/D01.strata >"$out" 2>&1 || good verify new/D01.strata
echo "$nr_checks command lines"
