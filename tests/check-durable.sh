# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# What was crystallised comes back, byte by byte, after destroy and after a
# reboot, by create and `load --core`.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:-$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

dir=$work/dir
dimensions='1 2 3 4 5 6 7 8 9 10 11 12 13 14 99'

create() {
	good create core --limit=64M --dir="$dir" --mode=0640
}

# contents FILE: the sum of each layer, and what is said of it.
contents() {
	for dimension in $dimensions; do
		good ls core "$dimension" --json
		grep -v -e '"version"' -e '"location"' "$out"
		for layer in 0 1 2; do
			good cat core "$dimension/$layer"
			cksum <"$out"
		done
	done >"$1"
}

umask 077
create
for dimension in $dimensions; do
	for layer in 0 1 2; do
		head -c $((dimension * 3000 * layer + 7)) /dev/urandom \
			>"$work/content"
		good put core "$dimension/$layer" "$work/content" \
			--name="layer $dimension.$layer" --frequency=7.83 \
			--keyword=one --keyword=two --depth="$layer"
	done
	good describe core "$dimension" --name="dimension $dimension"
	good crystallize core "$dimension"
done
contents "$work/was"

# What is not crystallised is gone, and only that.
echo proto | try "$STRATA" put core 5/77
test "$status" -eq 0 || fail "$tried"
for file in "$dir"/D*.strata; do
	test "$(stat -c %a "$file")" = 640 || fail "$file: its mode"
done

# A killed writer's half file is in nobody's way, and is cleared away.
half=$dir/.D05.strata.0123456789abcdef.tmp
head -c 1000 "$dir/D05.strata" >"$half"

# As a reboot does it.
rm -f "$shm"/* "$shm"/.s*
create
good load core --core
contents "$work/is"
cmp "$work/was" "$work/is" || fail "after a reboot something is another"
good verify core
refused 'no layer' cat core 5/77

good destroy core
create
good load core --core
contents "$work/is"
cmp "$work/was" "$work/is" || fail "after destroy something is another"

# Crystallised again, after unload and reload, it is the newer one that lasts.
echo newer >"$work/content"
good unload core 5
good load core "$dir/D05.strata"
good put core 5/0 "$work/content"
good reload core 5
good put core 5/0 "$work/content"
good crystallize core 5
test ! -e "$half" || fail 'a half file is left'
rm -f "$shm"/* "$shm"/.s*
create
good load core --core
good cat core 5/0
cmp "$work/content" "$out" || fail 'the older file is there'
good destroy core

echo "$nr_checks calls of the tool: what was crystallised was there each time"
