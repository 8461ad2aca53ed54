#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# Shows Strata at work: installs what building it takes (Debian, as root),
# builds it in a scratch folder, and lets tools/demo/run.sh do the rest. The
# source tree stays as it is, and so does the machine.
set -eu

source_dir=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/setup.sh
. "$source_dir/tests/setup.sh"

# What the caller's shell has set up for other builds is not for this one.
unset CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS LIBS MAKEFLAGS MAKELEVEL MFLAGS
unset DESTDIR CONFIG_SITE STRATA_SHM_DIR
LC_ALL=C
export LC_ALL

work=$(mktemp -d "${TMPDIR:-/tmp}/strata-demo.XXXXXX")
demo=

finish() {
	status=$?
	trap - EXIT HUP INT TERM
	# It cleans up on its own, and its folder is needed until it has.
	if test -n "$demo" && kill -TERM "$demo" 2>/dev/null; then
		wait "$demo" || :
	fi
	rm -rf "$work"
	exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

build() {
	setup_source "$source_dir" "$work/source" &&
	mkdir "$work/build" && cd "$work/build" &&
	../source/configure --disable-static &&
	make -j"$(getconf _NPROCESSORS_ONLN)"
}

cat <<'END'
Strata is a shared-memory store for one machine: many processes read it in
place, while others change it. This builds it and shows that; it takes about
two minutes and leaves nothing behind.

END
# shellcheck disable=SC2086,SC2154 # a list of words, of setup.sh
setup_install $setup_build_packages
begin=$(date +%s)
echo 'building ...'
if ! (build) >"$work/build.log" 2>&1; then
	tail -n 40 "$work/build.log" >&2
	echo 'the build failed' >&2
	exit 1
fi
echo "built in $(($(date +%s) - begin)) s"
# Not in the foreground: a signal would wait for its end.
sh "$source_dir/tools/demo/run.sh" "$work/build" &
demo=$!
status=0
wait "$demo" || status=$?
demo=
test "$status" -eq 0
