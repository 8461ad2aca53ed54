#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# A dimension file of the other byte order is refused, by words that say so, on
# machines of either order; the golden one is little-endian.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

store=byteorder-$$
golden=$top_srcdir/tests/golden/dimension-v1.strata
other='written by a machine of the other byte order'

# magic FILE: its first 8 bytes, by which the order is told.
magic() {
	head -c 8 "$1" | od -An -v -tx1 | tr -d ' \n'
}

# turned FILE: its magic as the other order has it, which is looked at first.
turned() {
	head -c 8 "$1" | od -An -v -to1 | tr -s ' ' '\n' | sed '/^$/d' |
		sed '1!G;h;$!d' | while read -r byte; do
			printf '%b' "\\0$byte"
		done
	tail -c +9 "$1"
}

mkdir "$work/in" "$work/out" "$work/turned"
printf 'of this machine' >"$work/in/text"
good create "$store" --limit=16M --dir="$work/out"
good put "$store" 7/0 "$work/in/text"
good crystallize "$store" 7
own=$work/out/D07.strata
test -s "$own" || fail "no file $own was written"
good verify "$own"

turned "$own" >"$work/turned/D07.strata"
test "$(wc -c <"$own")" -eq "$(wc -c <"$work/turned/D07.strata")" ||
	fail 'the turned file has another size'
if test "$(magic "$own")" = "$(magic "$golden")"; then
	good verify "$golden"
	foreign=$work/turned/D07.strata
	echo 'little-endian: the golden file is read, a turned one refused'
else
	test "$(magic "$golden")" = "$(magic "$work/turned/D07.strata")" ||
		fail 'a file of neither order'
	foreign=$golden
	echo 'big-endian: the golden file is refused'
fi

watch "$work/out"
mkdir "$work/foreign"
cp "$foreign" "$work/foreign/D07.strata"
refused "$other" verify "$work/foreign/D07.strata"
good create "$store-2" --limit=16M --dir="$work/foreign"
watch "$work/out" "$work/foreign"
refused "$other" load "$store-2" "$work/foreign/D07.strata"
good destroy "$store-2"
good destroy "$store"
echo "$nr_checks checks"
