#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# The demonstration itself, with what is built in a build folder:
#
#	sh tools/demo/run.sh BUILD-FOLDER [TIMES]
#
# Many processes read one store and check every byte, while dimensions of it
# are put, replaced, crystallized and reloaded. Exits 0 when all they read was
# right and nothing is left behind.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "${1:?the folder that Strata was built in}" && pwd)
times=${2:-4000}
PATH=$build/tools:$build/tools/demo:$PATH
unset STRATA_SHM_DIR
shm_dir=/dev/shm
store=demo-$$
limit_mib=400
nr_readers=8
nr_core=14
nr_layers=20
proto=99
proto_layers=8
readers=
writer=

work=$(mktemp -d "${TMPDIR:-/tmp}/strata-demo-run.XXXXXX")

finish() {
	status=$?
	trap - EXIT HUP INT TERM
	for pid in $readers $writer; do
		kill -KILL "$pid" 2>/dev/null || :
	done
	strata destroy "$store" >/dev/null 2>&1 || :
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say() {
	echo
	printf '%s\n' "$@"
}

fail() {
	printf '\nthe demonstration failed: %s\n' "$*" >&2
	exit 1
}

# A command as a person would type it, and what it says.
run() {
	echo "\$ $*"
	"$@"
}

# put LAYER GENERATION OPERAND...: a content from the generator.
put() {
	layer=$1
	generation=$2
	shift 2
	echo "\$ demo-generate $layer $generation | strata put $store $*"
	demo-generate "$layer" "$generation" | strata put "$store" "$@"
}

# free_mib FOLDER
free_mib() {
	df -Pk "$1" | awk 'NR == 2 { print int($4 / 1024) }'
}

# A full folder is told before anything is made.
check_space() {
	test -d "$shm_dir" || fail "there is no $shm_dir"
	if test "$(free_mib "$shm_dir")" -lt "$limit_mib"; then
		fail "$shm_dir has $(free_mib "$shm_dir") MiB free;" \
			"$limit_mib MiB are needed. As root:" \
			"mount -o remount,size=1G $shm_dir" \
			"(in a container: docker run --shm-size=1g)"
	fi
	if test "$(free_mib "$work")" -lt "$limit_mib"; then
		fail "${TMPDIR:-/tmp} has $(free_mib "$work") MiB free;" \
			"$limit_mib MiB are needed. TMPDIR names another folder"
	fi
}

# What of the store is in shared memory. Segments bear its id, which the
# mappings of a reader tell.
list_segments() {
	for segment in "$shm_dir/strata.$store" "$shm_dir/$store_id"*; do
		test ! -e "$segment" || echo "$segment"
	done
}

# values KEY FILE: the numbers of KEY=..., one a line.
values() {
	sed -n "s/.*$1=\([0-9]*\).*/\1/p" "$2"
}

sum() {
	values "$1" "$2" | awk '{ n += $1 } END { printf "%.0f\n", n }'
}

begin=$(date +%s)
check_space

say "1. A store: $limit_mib MiB of shared memory at most, and a folder in which" \
	"   finished dimensions stay. No daemon is started."
run strata create "$store" --limit="${limit_mib}M" --dir="$work/core.d"

say "2. Contents: $nr_core dimensions of $nr_layers layers, made by a seeded" \
	"   generator. Every byte follows from its place and a generation, so" \
	"   that readers can compute what they have to find."
mkdir "$work/input"
bytes=$(demo-generate "$work/input" 1 "$nr_core" "$nr_layers" 1)
echo "generated $((bytes >> 20)) MiB"
test "$bytes" -ge $((160 << 20)) || fail 'less than 160 MiB of contents'
cp "$here/manifest.json" "$here/manifest-7.json" "$work/input"
run strata pack "$work/input/manifest.json" "$work/core.d"

say "3. Each dimension file becomes a region: one immutable piece of memory."
run strata load "$store" --core

say "4. $nr_readers processes read everything, all the time, and compare every byte."
i=0
while test "$i" -lt "$nr_readers"; do
	demo-reader "$store" "$nr_core" "$nr_layers" "$proto" \
		>"$work/reader.$i" &
	readers="$readers $!"
	i=$((i + 1))
done
i=0
# A heading, and one line a reader.
while test "$(strata readers "$store" | wc -l)" -le "$nr_readers"; do
	i=$((i + 1))
	test "$i" -le 20 || fail 'the readers did not start'
	sleep 1
done
for pid in $readers; do
	store_id=$(sed -n "s,.*$shm_dir/\(strata-[0-9a-f]\{32\}\)-.*,\1,p" \
		"/proc/$pid/maps" | head -n 1)
	test -n "$store_id" || fail "process $pid has not mapped the store"
done
echo "started:$readers"

say "5. Dimension $proto is new. It begins as a proto: layers in pools, put one by" \
	"   one from a shell ..."
generation=0
while test "$generation" -lt 5; do
	generation=$((generation + 1))
	put "$proto/0" "$generation" "$proto/0" --name=first
done
run strata describe "$store" "$proto" --name=Scratch --frequency-min=1 \
	--frequency-max=9
echo "   ... and $proto_layers layers in one transaction, $times times and more, by a C program."
demo-writer "$store" "$proto" "$proto_layers" $((generation + 1)) "$times" \
	>"$work/writer" &
writer=$!

say "6. Meanwhile that dimension is crystallized into a region, with all of them" \
	"   reading and one writing. What is put during that is not lost."
for i in 1 2 3; do
	sleep 1
	run strata crystallize "$store" "$proto"
done

say "7. Core dimension 7 gets new contents: a new file, and one instant in which" \
	"   readers go from the old one to the new one."
demo-generate "$work/input" 7 7 "$nr_layers" 2 >/dev/null
run strata pack "$work/input/manifest-7.json" "$work/core.d"
run strata reload "$store" 7

kill -TERM "$writer"
wait "$writer" || fail 'the writer failed'
writer=
echo "the writer: $(cat "$work/writer")"
put "$proto/$proto_layers" "$(values generation "$work/writer")" "$proto" \
	--name=last
run strata crystallize "$store" "$proto"
run strata ls "$store"

say "8. Who reads, of which version, and what memory that retains:"
run strata readers "$store"

say "9. The readers stop and report."
sleep 1
# shellcheck disable=SC2086 # a list of numbers
kill -TERM $readers
failed=
for pid in $readers; do
	wait "$pid" || failed="$failed $pid"
done
readers=
cat "$work"/reader.* >"$work/readers"
cat "$work/readers"
test -z "$failed" || fail "the readers$failed (see above)"
torn=$(sum torn "$work/readers")
fewest=$(values versions "$work/readers" | sort -n | head -n 1)
latest=$(values last "$work/readers" | sort -n | head -n 1)
printf '%s reads, %s bytes, %s to %s versions seen by each, %s torn\n' \
	"$(sum reads "$work/readers")" "$(sum bytes "$work/readers")" \
	"$fewest" "$(values versions "$work/readers" | sort -n | tail -n 1)" \
	"$torn"
test "$torn" -eq 0 || fail "$torn torn"
test "$(wc -l <"$work/readers")" -eq "$nr_readers" || fail 'a reader said nothing'
test "$fewest" -ge 2 || fail 'a reader saw fewer than two versions'
test "$latest" -ge "$(values version "$work/writer")" ||
	fail 'a reader did not see the end'

say "10. The store after that. Nothing is left but what is in use."
run strata gc "$store"
run strata verify "$store"
run strata stat "$store"

say "11. And away with it."
before=$(list_segments | wc -l)
run strata destroy "$store"
test -z "$(list_segments)" || fail "left in $shm_dir: $(list_segments)"
echo "$before segments were in $shm_dir, 0 are left"
say "All was right: $(sum reads "$work/readers") reads, $torn torn, in $(($(date +%s) - begin)) s."
