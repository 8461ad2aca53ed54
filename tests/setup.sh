# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# shellcheck shell=sh
#
# Sourced by tests/check.sh and tools/demo.sh: installs what is missing on a
# Debian machine, and makes a copy of the source that can be built while the
# source itself stays as it is.

# What building takes.
# shellcheck disable=SC2034 # used by who sources this
setup_build_packages='gcc libc6-dev make autoconf automake libtool
	autoconf-archive pkg-config liburcu-dev libxxhash-dev libjansson-dev
	libjemalloc-dev libncurses-dev scdoc'
# What the whole check takes besides.
# shellcheck disable=SC2034 # likewise
setup_check_packages='g++ clang libclang-rt-14-dev libcriterion-dev strace
	valgrind xz-utils python3-jsonschema libmicrohttpd-dev curl spin
	mandoc zsh fish tmux systemtap-sdt-dev binutils'
# What the benches compare with and draw by; none of it is needed.
# shellcheck disable=SC2034 # likewise
setup_bench_packages='liblmdb-dev redis-server gnuplot-nox'

# setup_is_installed PACKAGE
setup_is_installed() {
	case $(dpkg-query -W -f '${Status}' "$1" 2>/dev/null) in
	*' installed') return 0 ;;
	*) return 1 ;;
	esac
}

# setup_install PACKAGE...: installs those that are missing; says nothing when
# there are none. Without apt, or without the right to use it, it only tells:
# configure will say what it cannot do without.
setup_install() {
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null
	then
		echo "no apt-get here; needed are (names of Debian 12):" "$@"
		return 0
	fi
	setup_missing=
	for setup_package in "$@"; do
		setup_is_installed "$setup_package" ||
			setup_missing="$setup_missing $setup_package"
	done
	test -n "$setup_missing" || return 0
	if test "$(id -u)" -ne 0; then
		echo "missing; as root: apt-get install$setup_missing"
		return 0
	fi
	echo "installing$setup_missing"
	setup_log=$(mktemp)
	# shellcheck disable=SC2086 # a list of words
	if apt-get update >"$setup_log" 2>&1 &&
	   DEBIAN_FRONTEND=noninteractive apt-get install -y \
		--no-install-recommends $setup_missing >>"$setup_log" 2>&1
	then
		rm -f "$setup_log"
	else
		cat "$setup_log" >&2
		rm -f "$setup_log"
		echo "could not install$setup_missing" >&2
		return 1
	fi
}

# setup_is_checkout SOURCE: git can tell which files are the project's.
setup_is_checkout() {
	test -e "$1/.git" && command -v git >/dev/null
}

# setup_list SOURCE: the files of the project, one a line. In a git checkout
# these are the ones that git knows or would add; elsewhere all of them.
setup_list() {
	if setup_is_checkout "$1"; then
		git -c safe.directory='*' -C "$1" ls-files \
			--cached --others --exclude-standard
	else
		(cd "$1" && find . -name .git -prune -o '(' -type f -o -type l ')' \
			-print | sed 's,^\./,,')
	fi | LC_ALL=C sort | while IFS= read -r setup_file; do
		# git also knows what was removed but not yet committed.
		test ! -f "$1/$setup_file" || printf '%s\n' "$setup_file"
	done
}

# setup_source SOURCE COPY: copies the project into the new folder COPY and
# bootstraps it there.
setup_source() {
	mkdir -p "$2" &&
	setup_list "$1" >"$2.files" &&
	tar -C "$1" -cf - -T "$2.files" | tar -C "$2" -xf - &&
	(
		cd "$2" || exit 1
		# A source tree that was built in place.
		if test -f config.status && test -f Makefile; then
			make distclean || exit 1
		fi
		autoreconf -fi
	)
}
