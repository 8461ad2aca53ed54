#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# The probes that the library has are those that docs/strata.bt uses and the
# guide tells of, with as many arguments.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:=$top_srcdir}"
script=$top_srcdir/docs/strata.bt
work=$(mktemp -d "${TMPDIR:-/tmp}/strata-probes.XXXXXX")
trap 'rm -rf "$work"' EXIT

fail() {
	echo "$*" >&2
	exit 1
}

library=$top_builddir/lib/.libs/libstrata.so
if ! command -v readelf >/dev/null; then
	echo 'skipped: no readelf here'
	exit 77
fi
if ! grep -q '^#define HAVE_SYS_SDT_H 1$' "$top_builddir/config.h"; then
	echo 'skipped: built without sys/sdt.h'
	exit 77
fi
if ! test -e "$library"; then
	echo 'skipped: no shared library was built'
	exit 77
fi

# Lines of "probe number-of-arguments". In the library a probe may be at several
# places, with the same arguments at each.
readelf -n "$library" | awk '
	/^ *Provider: / { provider = $2 }
	/^ *Name: / { name = $2 }
	/^ *Arguments:/ && provider == "strata" { print name, NF - 1 }
' | sort -u >"$work/library"
test "$(wc -l <"$work/library")" -ge 5 || fail 'the library has too few probes'
test "$(cut -d' ' -f1 "$work/library" | uniq -d)" = '' ||
	fail 'a probe with different arguments at different places'

# shellcheck disable=SC2016 # backquotes
sed -n 's/^| `strata:\([a-z_]*\)` | \(.*\) |$/\1,\2/p' \
	"$top_srcdir/docs/guide.md" | awk -F, '{ print $1, NF - 1 }' |
	sort >"$work/guide"
cmp "$work/library" "$work/guide" >/dev/null ||
	fail "docs/guide.md tells of other probes: $(diff "$work/library" \
		"$work/guide")"

sed -n 's/^usdt:.*:strata:\([a-z_]*\)$/\1/p' "$script" | sort >"$work/script"
cut -d' ' -f1 "$work/library" | cmp - "$work/script" >/dev/null ||
	fail 'docs/strata.bt does not use each probe once'
awk '
	FNR == NR { nr[$1] = $2; next }
	/^usdt:/ { sub(/.*:/, ""); name = $0; next }
	/^}/ { name = "" }
	name != "" {
		while (match($0, /arg[0-9]+/)) {
			arg = substr($0, RSTART + 3, RLENGTH - 3)
			if (arg + 0 >= nr[name] + 0)
				print name " has no arg" arg
			$0 = substr($0, RSTART + RLENGTH)
		}
	}
' "$work/library" "$script" >"$work/wrong"
test ! -s "$work/wrong" || fail "docs/strata.bt: $(cat "$work/wrong")"

# What bpftrace says to it, where it may say something: it compiles, no more.
if command -v bpftrace >/dev/null &&
	bpftrace -d -e 'BEGIN { exit(); }' >/dev/null 2>&1; then
	path=$(cd "$(dirname "$library")" && pwd)/libstrata.so
	sed "s,/usr/local/lib/libstrata.so.0,$path,; s,^#!.*,," "$script" \
		>"$work/script.bt"
	bpftrace -d "$work/script.bt" >"$work/out" 2>&1 ||
		fail "bpftrace refuses docs/strata.bt: $(grep -i error \
			"$work/out" | head -n 5)"
	echo 'compiled by bpftrace'
fi
echo "$(wc -l <"$work/library") probes"
