#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# What is wrong with a machine, strata doctor finds, with what mends it.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

root=$work/root
mkdir "$root"
STRATA_DOCTOR_ROOT=$root
export STRATA_DOCTOR_ROOT

#
# nothing wrong
#
good doctor
prints '^ok  *membarrier: \|^note  *membarrier: '
prints "^ok  *file locks: .*$shm"
prints '^ok  *RemoveIPC: systemd does not run here'
prints '^ok  *store: there is none'
good create whole --limit=16M
good doctor
prints "^ok  *store: 'whole' is whole: version 1, .* of 16.0 MiB"
json doctor
prints '"level": "ok"'
prints '"mend": null'

#
# a store that nobody can attach
#
good create broken --limit=16M
printf 'XXXX' | dd of="$shm/strata.broken" conv=notrunc 2>/dev/null
try "$STRATA" doctor
test "$status" -eq 1 || fail 'a damaged store is no problem'
prints "^PROBLEM  *store: 'broken' .* cannot be attached: "
prints 'mend: strata destroy --force broken'
good destroy broken --force --quiet
good gc --quiet
good doctor
prints '^ok  *leftover: no segments'

#
# what a store left whose catalog is gone
#
good create lost --limit=16M
rm "$shm/strata.lost"
good doctor
prints '^warning  *leftover: [0-9]* segments of a store that is gone (strata-'
prints 'mend: strata gc'
good gc --quiet

#
# RemoveIPC: the last setting of logind's files counts, persons' stores only
#
mkdir -p "$root/run/systemd/system" "$root/etc/systemd/logind.conf.d" \
	"$root/var/lib/systemd/linger"
good doctor
prints '^ok  *RemoveIPC: .*all stores are of system users'
if test "$(id -u)" -eq 0; then
	chown 64321 "$shm/strata.whole"
	try "$STRATA" doctor
	prints "^warning  *RemoveIPC: the store 'whole' goes when its owner 64321"
	prints 'mend: loginctl enable-linger 64321'
	touch "$root/var/lib/systemd/linger/64321"
	try "$STRATA" doctor
	prints '^ok  *RemoveIPC: .*linger'
	rm "$root/var/lib/systemd/linger/64321"
	printf '#RemoveIPC=yes\n[Login]\nRemoveIPC = no\n' \
		>"$root/etc/systemd/logind.conf"
	try "$STRATA" doctor
	prints '^ok  *RemoveIPC: RemoveIPC=no'
	echo 'RemoveIPC=yes' >"$root/etc/systemd/logind.conf.d/50-local.conf"
	try "$STRATA" doctor
	prints "^warning  *RemoveIPC: the store 'whole'"
	# Drop-ins go by their names: the last one counts, whatever its folder, and
	# in /etc it hides those of the same name.
	mkdir -p "$root/usr/lib/systemd/logind.conf.d"
	echo 'RemoveIPC=no' >"$root/usr/lib/systemd/logind.conf.d/99-z.conf"
	try "$STRATA" doctor
	prints '^ok  *RemoveIPC: RemoveIPC=no'
	echo '# nothing' >"$root/etc/systemd/logind.conf.d/99-z.conf"
	try "$STRATA" doctor
	prints "^warning  *RemoveIPC: the store 'whole'"
	echo 'RemoveIPC=no' >"$root/usr/lib/systemd/logind.conf.d/10-a.conf"
	try "$STRATA" doctor
	prints "^warning  *RemoveIPC: the store 'whole'"
	chown 600 "$shm/strata.whole"
	try "$STRATA" doctor
	prints '^ok  *RemoveIPC: .*all stores are of system users'
	for blanks in ' ' '   ' "$(printf '\t\t')"; do
		printf '#SYS_UID_MAX%s700\nSYS_UID_MAX%s499\n' "$blanks" "$blanks" \
			>"$root/etc/login.defs"
		try "$STRATA" doctor
		prints "^warning  *RemoveIPC: the store 'whole' goes when its owner"
	done
	rm "$root/etc/login.defs"
	chown 0 "$shm/strata.whole"
fi

#
# a folder as a container has it
#
cat >"$work/small.sh" <<'END'
mount -t tmpfs -o size=$1 tmpfs "$2" || exit 77
shift 2
exec "$@"
END
small=$work/small
mkdir "$small"
if unshare -m true 2>/dev/null; then
	try unshare -m sh "$work/small.sh" 64M "$small" \
		env STRATA_SHM_DIR="$small" "$STRATA" doctor
	if test "$status" -ne 77; then
		prints "^warning  *shared memory: $small has 64.0 MiB, what a container"
		prints 'mend: docker run --shm-size=1g'
		try unshare -m sh "$work/small.sh" 100M "$small" \
			env STRATA_SHM_DIR="$small" \
			sh -c "'$STRATA' create big && '$STRATA' doctor"
		prints "^warning  *shared memory: $small has .* free of 100.0 MiB, and"
		prints 'mend: mount -o remount,size='
		# Of a folder in it, too, the whole is what can be remounted.
		try unshare -m sh "$work/small.sh" 100M "$small" \
			env STRATA_SHM_DIR="$small/within" sh -c "mkdir '$small/within' &&
				'$STRATA' create big && '$STRATA' doctor"
		prints 'mend: mount -o remount,size=[0-9]*M [^ ]*/small, or'
		prints '^[a-z]*  *large pages: [^ ]*/small is mounted'
		if grep -q '^note  *large pages' "$out"; then
			prints 'mend: mount -o remount,huge=advise [^ ]*/small$'
		fi
		try unshare -m sh "$work/small.sh" 100M,nr_inodes=20 "$small" \
			env STRATA_SHM_DIR="$small" "$STRATA" doctor
		prints '^PROBLEM  *shared memory: .* has room for 1. more files'
	fi
fi

#
# a folder that is none, and limits
#
STRATA_SHM_DIR=$work/absent
try "$STRATA" doctor
test "$status" -eq 1 || fail 'a missing folder is no problem'
prints '^PROBLEM  *shared memory: .*absent cannot be looked at'
STRATA_SHM_DIR=
try "$STRATA" doctor
prints '^ok  *file locks: .* in /dev/shm$'
for STRATA_SHM_DIR in relative . "../${shm#/}"; do
	for command in list doctor 'create whole' 'gc whole'; do
		# shellcheck disable=SC2086 # a list of words
		refused 'STRATA_SHM_DIR is no absolute path' $command
	done
	good gc --help
done
STRATA_SHM_DIR=$shm
try sh -c "ulimit -n 100 && '$STRATA' doctor"
prints '^warning  *open files: limited to 100'
good destroy whole

echo "$nr_checks commands"
