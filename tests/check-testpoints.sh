#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# Between any two things that a writer does and others can see there is a place
# where the crash tests can kill it; and what is installed has no such places.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:=.}"
LC_ALL=C
export LC_ALL
exempt=$top_srcdir/tests/testpoints-exempt.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Whatever a writer goes through. Not here: region and file, which write by
# os-file; txn, pressure and progress, which write to private memory; the
# readers' rooms (rcu, reader, flavor, fork, pins, pins-own, scan), which write to
# the pins of their own process; observe and copy, which write nothing.
rooms='block commit create crystallize destroy dimension directory edit gc
	install load newfile orphans os os-file os-lock os-memory pool
	pool-hints pool-size reclaim recover remains segment segtab space
	spare tree wlock write'

# looked_at FILE...: "ROOM.c:LINE: TEXT" for each effect that is not followed by
# a test point before the next effect, or before its function ends.
#
# Effects are stores to shared memory and system calls that change what others
# can see. What only looks (fstat, an open for reading) or concerns this process
# alone (mmap, close of what has no lock) is none: killed before or after, it
# makes no difference. Plain stores go to nodes and contents that no version
# reaches, or to hints that recovery makes anew, so that nobody can tell how far
# a row of them came: a row counts as one. Some effects are in functions that
# have the point in them.
looked_at() {
	awk '
	function leave() {
		if (pending != "")
			print pending
		pending = ""
		plain = 0
	}
	function begin(is_plain) {
		if (!(plain && is_plain))
			leave()
		plain = is_plain
		pending = line
		sub(/^[ \t]*/, "", pending)
		pending = room ":" FNR ": " pending
	}
	FNR == 1 {
		leave()
		comment = 0
		room = FILENAME
		sub(/.*\//, "", room)
	}
	{
		line = $0
		if (comment) {
			if (!sub(/^.*\*\//, "", line))
				next
			comment = 0
		}
		# The shortest: a title of stars ends in its line, too.
		while ((at = index(line, "/*")) > 0) {
			rest = substr(line, at + 2)
			line = substr(line, 1, at - 1)
			end = index(rest, "*/")
			comment = end == 0
			if (comment)
				break
			line = line substr(rest, end + 2)
		}
	}
	line ~ /^}/ { leave() }
	# A function that is defined has its name at the beginning of a line.
	line ~ /^[a-z]/ { next }
	line ~ /STRATA_TESTPOINT/ { pending = ""; plain = 0; next }
	line ~ pointed { leave(); next }
	line ~ sharp { begin(0); next }
	line ~ flat { begin(1) }
	END { leave() }
	' pointed="$pointed" sharp="$sharp" flat="$flat" "$@"
}

# Their points are in them; that of strata__count_*() is in space.h.
pointed='strata__count_(add|sub|set|max) *\('
pointed="$pointed|strata__os_(pwrite|reserve|truncate|lock_try|unlock|guard|unguard|futex_wake) *\\("
pointed="$pointed|strata__segment_(build|reserve|publish|discard|unlink) *\\("
pointed="$pointed|strata__head_stamp *\\("
# Atomics, what sets records, system calls.
sharp='(^|[^a-z_])(__)?atomic_(store|exchange|fetch|compare_exchange)'
sharp="$sharp|(^|[^a-z_])(record_(word|set_state)|entry_(word|state)) *\\("
sharp="$sharp|[^a-z_](ftruncate|posix_fallocate|fallocate|pwrite|write|linkat|link|symlink|rename|renameat2?|unlink|unlinkat|rmdir|mkdir|mkdirat|chmod|fchmod|chown|fchown|fsync|fdatasync|syncfs|flock) *\\("
# Of the os rooms, those whose point the caller has.
sharp="$sharp|strata__os_(link_unnamed|rename_new|lock_whole|sync|sync_all) *\\("
sharp="$sharp|O_CREAT|F_OFD_SETLK|FUTEX_WAKE|MEMBARRIER_CMD_GLOBAL_EXPEDITED"
sharp="$sharp|(munmap|strata__os_unmap) *\\((guard|space->lock)"
# What is copied; stores to lists, stacks, nodes, slots of writers.
flat='mem(cpy|set|move) *\(|STRATA_POISON'
flat="$flat|^[ 	]*(stack|list|items|strata__retired_list *\\(space\\))\\[.*\\] = "
flat="$flat|^[ 	]*(writer|dimnode|node|place|segment|record|hot|counters)->[a-z_.]+ *[-+|&]?= "
flat="$flat|^[ 	]*\\*(ref|slot|place) *[-+|&]?= "
flat="$flat|(slots|dimnode|leaf)_at *\\(.*\\)[^ ]* = "
flat="$flat|catalog->[a-z_.]+ = "

# The list: "ROOM.c | a piece of the line | why", ROOM.c or * for any. Lines that
# begin with # and empty ones are none.
exempted() {
	awk -F ' [|] ' '
	FILENAME == list {
		if ($0 ~ /^#/ || $0 == "")
			next
		if (NF != 3 || $3 == "") {
			print "exemption without a reason: " $0
			bad = 1
			next
		}
		room[++nr] = $1
		piece[nr] = $2
		next
	}
	{
		for (i = 1; i <= nr; i++)
			if ((room[i] == "*" || index($0, room[i] ":") == 1) &&
			    index($0, piece[i])) {
				used[i] = 1
				next
			}
		print
	}
	END {
		for (i = 1; i <= nr; i++)
			if (!(i in used))
				print "exemption of nothing: " room[i] " | " \
					piece[i]
	}
	' list="$1" "$1" "$2"
}

# What this script is for must be found: of these the lines 6, 12, 14, 18, 19.
cat >"$work/sample.c" <<'END'
/**** a title ****/

static void
sample(int fd)
{
	atomic_store_explicit(&a, 1, memory_order_release);
	if (ftruncate(fd, 0) < 0)
		return;
	STRATA_TESTPOINT("sample.truncated");
	memcpy(node, copy, size);
	*slot = 1;
	node->id = 1; /* and no point: the row of three is one effect */
	strata__count_set(&c, 1);
	record_word(&b, 1);
	strata__os_pwrite(fd, "", 1, 0);
	/* fsync(fd); */
	strata__segment_unlink(folder, name);
	unlinkat(fd, "last", 0);
	strata__os_sync(fd);
}
END
looked_at "$work/sample.c" >"$work/found"
if test "$(cut -d: -f2 "$work/found" | tr '\n' ' ')" != '6 12 14 18 19 '; then
	echo 'the sample is not judged as it should be:'
	cat "$work/found"
	exit 1
fi

files=
for room in $rooms; do
	files="$files $top_srcdir/lib/$room.c"
done
# shellcheck disable=SC2086 # a list of names
looked_at $files >"$work/open"
exempted "$exempt" "$work/open" >"$work/missing"
if test -s "$work/missing"; then
	echo 'no test point follows these, and tests/testpoints-exempt.txt'
	echo 'does not say why (or says it of what is not there):'
	cat "$work/missing"
	exit 1
fi

# Every name once, but for those of one effect in two branches.
# shellcheck disable=SC2086
grep -ho 'STRATA_TESTPOINT("[^"]*")' $files | sort | uniq -d >"$work/twice"
if test -s "$work/twice"; then
	echo 'two places have one name, so that only one of them is tried:'
	cat "$work/twice"
	exit 1
fi

# Free when off: the installed library has not even their names.
library=$top_builddir/lib/.libs/libstrata.so
tested=$top_builddir/lib/.libs/libstratatest.a
name=edit.commit.root-stored
if test -f "$library" && grep -q "$name" "$library"; then
	echo "$library has test points"
	exit 1
fi
if test -f "$tested" && ! grep -q "$name" "$tested"; then
	echo "$tested has no test points"
	exit 1
fi

# shellcheck disable=SC2086
echo "$(grep -c 'STRATA_TESTPOINT("' $files | awk -F: '{n += $2} END {print n}')" \
	"named test points and" \
	"$(cat $files | grep -c 'strata__count_[asm][a-z]*(')" \
	"changes of counters, which are some: none is missing;" \
	"$(grep -c '|' "$exempt") exemptions"
