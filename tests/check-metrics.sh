#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Metrics are what Prometheus takes, and true.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

# valid FILE: each metric has its help and type once, before its samples, which
# stand together; counters and only they end in _total; no series comes twice.
valid() {
	awk '
		function bad(what) {
			print FILENAME ":" FNR ": " what ": " $0
			wrong = 1
		}
		# Buckets grow up to +Inf, which is the count.
		function histogram(name,   part, of, bucket) {
			part = name
			sub(now, "", part)
			of = $0
			sub(/^[^{]*/, "", of)
			sub(/,le=.*| [^ ]*$/, "", of)
			sub(/[}]$/, "", of)
			if (part == "_bucket") {
				if (of != of_last) most = 0
				if ($NF + 0 < most) bad("bucket")
				of_last = of
				most = $NF + 0
				if (/le="[+]Inf"/) whole[now of] = $NF
			} else if (part == "_count") {
				if (whole[now of] != $NF) bad("count")
			} else if (part != "_sum") bad("out of place")
		}
		/^# HELP / {
			if ($3 in help) bad("help twice")
			if (NF < 5) bad("no help")
			help[$3] = 1
			next
		}
		/^# TYPE / {
			if (!($3 in help)) bad("type before help")
			if ($3 in type) bad("type twice")
			if ($4 !~ /^(gauge|counter|histogram)$/) bad("type")
			if (($3 ~ /_total$/) != ($4 == "counter")) bad("name")
			type[$3] = last = $4
			now = $3
			next
		}
		/^#/ { bad("comment"); next }
		{
			if (!match($0, /^[a-z_]+/)) bad("name")
			name = substr($0, 1, RLENGTH)
			if (last == "histogram") histogram(name)
			else if (name != now) bad("out of place")
			series = $0
			sub(/ [^ ]*$/, "", series)
			if (series in seen) bad("twice")
			seen[series] = 1
			if (series !~ /^[a-z_]+[{]([a-z_]+="[^"\\]*",?)+[}]$/)
				bad("labels")
			if ($NF !~ /^[0-9]+([.][0-9]+)?(e[+-]?[0-9]+)?$/)
				bad("value")
			nr++
		}
		END {
			if (nr == 0) bad("nothing")
			exit wrong
		}
	' "$1" >"$work/wrong" || {
		cat "$work/wrong"
		fail "$1 is not what Prometheus takes"
	}
	if command -v promtool >/dev/null; then
		promtool check metrics <"$1" || fail 'promtool refuses it'
	fi
}

# value SERIES FILE
value() {
	awk -v series="$1" 'index($0, series " ") == 1 { print $NF }' "$2"
}

#
# one store, all stores, none
#
good create one --limit=16M
good create two --limit=32M
head -c 5000 /dev/urandom >"$work/content"
good put one 1/0 "$work/content"
good metrics one
valid "$out"
prints '^strata_up{store="one"} 1$'
prints '^strata_version{store="one"} 2$'
prints '^strata_content_bytes{store="one"} 5000$'
prints '^strata_limit_bytes{store="one"} 16777216$'
prints '^strata_dimension_states{store="one",state="proto"} 1$'
prints '^strata_pool_blocks{store="one",block_size="16384",state="live"} 1$'
if grep -q 'store="two"' "$out"; then fail 'a store that nobody asked for'; fi
good metrics
valid "$out"
prints '^strata_limit_bytes{store="two"} 33554432$'
cp "$out" "$work/both"
good stat one --json
reserved=$(sed -n 's/^  "reserved": \([0-9]*\),$/\1/p' "$out")
test "$(value 'strata_reserved_bytes{store="one"}' "$work/both")" = \
	"$reserved" || fail 'stat and metrics differ'
good metrics one absent 'no name'
valid "$out"
prints '^strata_up{store="absent"} 0$'

#
# every figure has its sentence
#
good stat --explain
cp "$out" "$work/explained"
good stat one --json
sed -n 's/^  "\([a-z_]*\)": [0-9.[]*,*$/\1/p' "$out" | grep -v '^pools$' |
while read -r figure; do
	case $figure in
	version) continue ;;
	esac
	grep -q "^$figure  *[A-Z]" "$work/explained" ||
		fail "stat --explain lacks $figure"
done
misused 'a store is needed' stat

#
# into a file, whole or not at all
#
good metrics --textfile="$work/strata.prom"
valid "$work/strata.prom"
test ! -s "$out" || fail 'a text file, and something on stdout'
refused 'cannot be written' metrics --textfile="$work/absent/strata.prom"

#
# over HTTP
#
mkfifo "$work/said"
"$STRATA" metrics --listen=127.0.0.1:0 >"$work/said" 2>"$work/complaint" &
server=$!
# Ends when the server has spoken, or has left.
line=$(head -n 1 "$work/said")
port=$(expr "$line" : 'listening at port \([0-9]*\),' || :)
if test -n "$port"; then
	misused 'a numeric address' metrics --listen=localhost
	misused 'a numeric address' metrics --listen=nonsense:1
fi
if test -z "$port"; then
	wait "$server" && fail 'a server that does not serve'
	grep -q 'built without libmicrohttpd' "$work/complaint" ||
		fail 'why does it not listen?'
	echo 'not served: built without libmicrohttpd'
elif ! command -v curl >/dev/null; then
	kill "$server"
	echo 'not served: no curl here'
else
	url=http://127.0.0.1:$port
	try curl -s -f -D "$work/head" "$url/metrics"
	test "$status" -eq 0 || fail 'no metrics are served'
	valid "$out"
	prints '^strata_up{store="two"} 1$'
	grep -q -i '^content-type: text/plain; version=0.0.4' "$work/head" ||
		fail 'of another type'
	try curl -s -o /dev/null -w '%{http_code}' "$url/"
	prints '^404$'
	try curl -s -X POST -d x -o /dev/null -w '%{http_code}' "$url/metrics"
	prints '^405$'
	# Each answer is of its moment: a store goes, another comes.
	good destroy two --quiet
	good create three --limit=16M --quiet
	try curl -s -f "$url/metrics"
	valid "$out"
	prints '^strata_up{store="three"} 1$'
	if grep -q 'store="two"' "$out"; then fail 'a store that is gone'; fi
	kill "$server"
	wait "$server" || fail 'it does not leave well'
	good destroy three
fi

echo "$nr_checks commands"
