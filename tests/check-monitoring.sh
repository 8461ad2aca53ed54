#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# The dashboard and the alerts speak of figures that `strata metrics` has.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

monitoring=$top_srcdir/docs/monitoring
good create "monitored-$$" --limit=16M
good metrics
sed -n 's/^# TYPE \(strata_[a-z_]*\) .*/\1/p' "$out" | sort >"$work/figures"
sed -n 's/^strata_.*[{]\(.*\)[}] .*/\1/p' "$out" | tr ',' '\n' |
	sed 's/=.*//' | sort -u >"$work/labels"
good metrics "monitored-$$" "monitored-$$" "not-$$" "not-$$"
grep -v '^#' "$out" | sed 's/ [^ ]*$//' | sort | uniq -d >"$work/twice"
test ! -s "$work/twice" || fail 'samples are there twice'
prints "^strata_up{store=\"not-$$\"} 0\$"
# What the guide says that stat shows, it shows.
good stat "monitored-$$"
sed -n '/^.strata stat. shows:/,/^[A-Z]/s/^| \([a-z][a-z ]*\) |.*/\1/p' \
	"$top_srcdir/docs/guide.md" >"$work/shown"
test "$(wc -l <"$work/shown")" -ge 9 || fail 'the guide says too little of stat'
while read -r word; do
	grep -q -i -w -e "$word" "$out" || fail "stat shows nothing called '$word'"
done <"$work/shown"
good destroy "monitored-$$"

# What is taken for good goes on and on, so it is ended.
pattern='a numeric address'
if grep -q '^#define HAVE_MICROHTTPD 1' "$top_builddir/config.h"; then
	for port in 65536 99999 -1 '' +80; do
		try timeout 5 "$STRATA" metrics "--listen=127.0.0.1:$port"
		sentence 2
	done
fi
pattern='one of them'
try timeout 5 "$STRATA" metrics --listen=127.0.0.1:0 "--textfile=$work/none"
sentence 2

# What the figures mean is text only.
misused 'explain.*json' stat --explain --json

for file in strata-dashboard.json strata-alerts.yml; do
	tried=$file
	tr -c 'a-z_' '\n' <"$monitoring/$file" | grep '^strata_[a-z]' |
		sort -u >"$work/named"
	test "$(wc -l <"$work/named")" -ge 6 || fail "$file names too little"
	comm -23 "$work/named" "$work/figures" >"$out"
	test ! -s "$out" || fail "$file: there are no such figures"
	sed -n 's/^ *"legendFormat"//p; /humanize/d; /summary/p' \
		"$monitoring/$file" | grep -o '{{[^}]*}}' |
		sed 's/.*labels\.//; s/[{} ]//g' | sort -u >"$work/named"
	test -s "$work/named" || fail "$file names no label"
	comm -23 "$work/named" "$work/labels" >"$out"
	test ! -s "$out" || fail "$file: there are no such labels"
done
"$json_check" "$monitoring/strata-dashboard.json" || fail 'the dashboard: no JSON'
grep -q "$(printf '\t')" "$monitoring/strata-alerts.yml" &&
	fail 'the alerts have a tab, which is no YAML'
if command -v promtool >/dev/null; then
	promtool check rules "$monitoring/strata-alerts.yml" ||
		fail 'promtool refuses the alerts'
fi
echo "$(wc -l <"$work/figures") figures"
