#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
#	sh tests/ports.sh [PORT...]
#
# Builds library, tool and plain test programs for other compilers, C libraries
# and machines, and runs the tests, those of other machines under qemu-user.
# Everything is fetched into a scratch folder and unpacked there, by package lists
# of our own; nothing is installed. Takes a Debian 12 on x86-64 with what building
# takes (setup.sh), and no rights.
#
#	STRATA_PORTS=FOLDER	scratch folder to keep, and to use again
#	TEST_LENGTH=...		STRATA_TEST_LENGTH there; short unless told
#
# Prints one line a port, skipped tests with their reasons, and as its last line
#
#	N passed, N failed, N skipped
#
# over all ports. Exits 0 when all was built and nothing failed. A port that is not
# built is a failure, unless its packages cannot be had because apt-get does not
# reach its mirror at all: that is not the project's fault, and one skipped. Without
# Criterion: it does not start under qemu.
set -eu

source_dir=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/setup.sh
. "$source_dir/tests/setup.sh"

all_ports='gcc clang fallbacks musl aarch64 riscv64 s390x'
test $# -gt 0 || set -- $all_ports

unset CC CXX CFLAGS CXXFLAGS CPPFLAGS LDFLAGS LIBS MAKEFLAGS MAKELEVEL MFLAGS
unset DESTDIR TESTS VERBOSE CONFIG_SITE STRATA_SHM_DIR STRATA_TEST_LENGTH
LC_ALL=C
export LC_ALL
jobs=$(getconf _NPROCESSORS_ONLN)
suite=bookworm

if test -n "${STRATA_PORTS:-}"; then
	mkdir -p "$STRATA_PORTS"
	work=$(cd "$STRATA_PORTS" && pwd)
	keep=yes
else
	work=$(mktemp -d "${TMPDIR:-/tmp}/strata-ports.XXXXXX")
	keep=
fi
root=$work/root # where packages are unpacked
passed=0
failed=0
skipped=0
offline=$work/offline # there when the mirror did not answer in this run

finish() {
	status=$?
	trap - EXIT HUP INT TERM
	if test "$status" -eq 0 && test -z "$keep"; then
		chmod -R u+w "$work"
		rm -rf "$work"
	else
		echo "kept: $work"
	fi
	echo "$passed passed, $failed failed, $skipped skipped"
	exit "$status"
}

#
# What is fetched.
#

# machine PORT: what Debian calls it in the names of its cross packages.
machine() {
	case $1 in
	aarch64) echo arm64 ;;
	*) echo "$1" ;;
	esac
}

packages() {
	case $1 in
	musl)
		echo musl musl-dev
		;;
	aarch64 | riscv64 | s390x)
		m=$(machine "$1")
		echo qemu-user-static "binutils-$1-linux-gnu" \
			"cpp-12-$1-linux-gnu" "gcc-12-$1-linux-gnu" \
			"libgcc-12-dev-$m-cross" "libgcc-s1-$m-cross" \
			"libc6-$m-cross" "libc6-dev-$m-cross" \
			"linux-libc-dev-$m-cross" "libatomic1-$m-cross"
		;;
	esac
}

# apt ARGUMENT...: apt-get with lists of our own, those of the machine's mirror.
# Its own lists may be missing, or so old that what they name is gone.
apt() {
	apt-get -o Dir::Etc::SourceList="$work/apt/sources.list" \
		-o Dir::Etc::SourceParts=/nowhere \
		-o Dir::State::Lists="$work/apt/lists" \
		-o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User= "$@"
}

# Where this machine gets its packages from.
mirror() {
	apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' "Codename: $suite" 2>/dev/null |
		sed -n '/^https*:/{p;q;}' | grep . ||
		echo http://deb.debian.org/debian
}

# Once in a run.
update_lists() {
	test ! -e "$work/apt/fresh" || return 0
	mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial"
	echo "deb $(mirror) $suite main" >"$work/apt/sources.list"
	echo "deb-src $(mirror) $suite main" >>"$work/apt/sources.list"
	if apt -o APT::Update::Error-Mode=any update; then
		: >"$work/apt/fresh"
		return 0
	fi
	# Is it us, or is there no mirror for anybody?
	mkdir -p "$work/apt/probe/partial"
	if ! apt-get -o Dir::State::Lists="$work/apt/probe" \
		-o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User= \
		-o APT::Update::Error-Mode=any update
	then
		: >"$offline"
	fi
	return 1
}

# unpack PACKAGE: once, by a note of it.
unpack() {
	test ! -e "$work/debs/$1.done" || return 0
	update_lists &&
	(cd "$work/debs" && apt download "$1") &&
	dpkg -x "$work/debs/$1"_*.deb "$root" &&
	rm "$work/debs/$1"_*.deb &&
	: >"$work/debs/$1.done"
}

# Sources of the libraries that we stand on.
fetch_sources() {
	test ! -e "$work/sources/done" || return 0
	mkdir -p "$work/sources"
	update_lists &&
	(
		cd "$work/sources" &&
		apt source --download-only jansson liburcu xxhash &&
		for archive in *.orig.tar.*; do
			case $archive in
			*.asc) ;;
			*) tar -xf "$archive" || exit 1 ;;
			esac
		done
		for source in */configure.ac; do
			source=${source%/*}
			test -x "$source/configure" ||
				(cd "$source" && autoreconf -fi) || exit 1
		done
	) &&
	: >"$work/sources/done"
}

#
# Compilers. They find what is theirs by where they are; linker scripts, and
# what musl's specs say, do not.
#

# tool FILE COMMAND...: a script of that name that calls it, with the libraries
# of the unpacked binutils.
tool() {
	file=$1
	shift
	{
		echo '#!/bin/sh'
		echo "LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu"
		echo 'export LD_LIBRARY_PATH'
		echo "exec $* \"\$@\""
	} >"$file"
	chmod +x "$file"
}

cross_tools() {
	host=$1-linux-gnu
	mkdir -p "$work/$1/bin"
	tool "$work/$1/bin/$host-gcc" "$root/usr/bin/$host-gcc-12"
	for name in ar nm ranlib strip objdump readelf ld; do
		tool "$work/$1/bin/$host-$name" "$root/usr/bin/$host-$name"
	done
	grep -l 'GNU ld script' "$root/usr/$host/lib"/*.so 2>/dev/null |
		while IFS= read -r script; do
			sed -i "s, /usr/$host, $root/usr/$host,g" "$script"
		done
}

# With the kernel's headers of this machine, which musl has none of.
musl_tools() {
	lib=$root/usr/lib/x86_64-linux-musl
	include=$work/musl/kernel
	mkdir -p "$work/musl/bin" "$include"
	ln -sfn /usr/include/linux "$include/linux"
	ln -sfn /usr/include/asm-generic "$include/asm-generic"
	ln -sfn /usr/include/x86_64-linux-gnu/asm "$include/asm"
	ln -sf "$root/lib/x86_64-linux-musl/libc.so" "$lib/libc.so"
	sed -e "s,/usr/lib/x86_64-linux-musl,$lib,g" \
		-e "s,/usr/include/x86_64-linux-musl,$root/usr/include/x86_64-linux-musl,g" \
		-e "s,/lib/ld-musl-x86_64.so.1,$root/lib/ld-musl-x86_64.so.1,g" \
		"$lib/musl-gcc.specs" >"$work/musl/specs"
	tool "$work/musl/bin/musl-gcc" gcc -specs "$work/musl/specs" \
		-idirafter "$include"
}

#
# Libraries, static, into usr/ of the port: jansson for the tool; liburcu, of
# which the library takes headers and one test more; xxHash from its header.
#
libraries() {
	usr=$work/$1/usr
	test ! -e "$usr/done" || return 0
	shift
	mkdir -p "$usr/lib" "$usr/include" "$usr/build/jansson" \
		"$usr/build/urcu" &&
	(
		cd "$usr/build/jansson" &&
		"$work"/sources/jansson-*/configure --disable-shared \
			--prefix="$usr" "$@" && make -j"$jobs" install
	) &&
	(
		cd "$usr/build/urcu" &&
		"$work"/sources/userspace-rcu-*/configure --disable-shared \
			--prefix="$usr" "$@" &&
		make -j"$jobs" -C include install &&
		make -j"$jobs" -C src install
	) &&
	cp "$work"/sources/xxHash-*/xxhash.h "$work"/sources/xxHash-*/xxh3.h \
		"$usr/include" &&
	"$cc" -O2 -c -o "$usr/build/xxhash.o" \
		"$work"/sources/xxHash-*/xxhash.c &&
	"$ar" rcs "$usr/lib/libxxhash.a" "$usr/build/xxhash.o" &&
	: >"$usr/done"
}

#
# Build and test.
#

# build PORT ARGUMENT...
build() {
	rm -rf "$work/$1/build"
	mkdir -p "$work/$1/build" && cd "$work/$1/build" && shift &&
	"$work/source/configure" --enable-werror --disable-shared \
		--without-jemalloc --without-microhttpd --without-criterion \
		--without-ncurses \
		"$@" &&
	make -j"$jobs" &&
	make -j"$jobs" check TESTS=
}

# build_foreign PORT HOST: against the port's own libraries only.
build_foreign() {
	usr=$work/$1/usr
	PKG_CONFIG_LIBDIR=$usr/lib/pkgconfig
	export PKG_CONFIG_LIBDIR
	libraries "$1" --host="$2" CC="$cc" AR="$ar" &&
	build "$1" --host="$2" CC="$cc" AR="$ar" \
		CPPFLAGS="-I$usr/include" LDFLAGS="-L$usr/lib"
}

# emulate PORT: each program becomes a script that starts it under qemu, so that
# whoever executes one, by whatever way, need not know.
emulate() {
	find "$work/$1/build/docs" "$work/$1/build/tests" \
		"$work/$1/build/tools" -type f -perm -u+x ! -name '*.bin' |
		while IFS= read -r program
	do
		test "$(head -c 4 "$program" | tail -c 3)" = ELF || continue
		mv "$program" "$program.bin"
		{
			echo '#!/bin/sh'
			echo "exec $root/usr/bin/qemu-$1-static" \
				"-L $root/usr/$1-linux-gnu -0 \"\$0\"" \
				"$program.bin \"\$@\""
		} >"$program"
		chmod +x "$program"
	done
}

port() {
	cd "$work"
	for package in $(packages "$1"); do
		unpack "$package" || return 1
	done
	ar=ar
	case $1 in
	gcc) build "$1" CC=gcc ;;
	clang) build "$1" CC=clang ;;
	fallbacks) build "$1" CC=gcc --disable-membarrier --disable-futex ;;
	musl)
		cc=$work/musl/bin/musl-gcc
		fetch_sources && musl_tools &&
		build_foreign "$1" x86_64-linux-musl
		;;
	aarch64 | riscv64 | s390x)
		cc=$work/$1/bin/$1-linux-gnu-gcc
		ar=$work/$1/bin/$1-linux-gnu-ar
		fetch_sources && cross_tools "$1" &&
		PATH=$work/$1/bin:$PATH && build_foreign "$1" "$1-linux-gnu" &&
		emulate "$1"
		;;
	*)
		echo "no such port: $1 (there are $all_ports)"
		return 1
		;;
	esac
}

# unfit PORT: tests that cannot tell anything there, each with its reason.
unfit() {
	case $1 in
	aarch64 | riscv64 | s390x)
		cat <<-END
		check-install.sh it starts what it has linked, of another machine
		check-model.sh spin's programs are for this machine, and models for none
		check-readpath.sh strace and valgrind would look at qemu
		forked qemu 7.2 leaves MADV_DONTFORK and MADV_WIPEONFORK undone
		forked-writer qemu 7.2 leaves MADV_DONTFORK undone
		random qemu 7.2 has no PR_SET_CHILD_SUBREAPER
		torture qemu 7.2 has no PR_SET_CHILD_SUBREAPER
		END
		;;
	esac
}

# In place of timeout(1), which the tests are started by.
skipper() {
	cat >"$1" <<-'END'
	#!/bin/sh
	for test; do :; done
	reason=$(sed -n "s/^${test##*/} //p" "$STRATA_UNFIT")
	test -n "$reason" || exec timeout "$@"
	echo "$reason"
	exit 77
	END
	chmod +x "$1"
}

tests() {
	unfit "$1" >"$work/$1/unfit" &&
	skipper "$work/$1/start" &&
	cd "$work/$1/build" &&
	STRATA_UNFIT=$work/$1/unfit PATH=$work/$1/bin:$PATH \
	LIBRARY_PATH=$work/$1/usr/lib \
	STRATA_TEST_LENGTH=${TEST_LENGTH:-short} make -k -j"$jobs" check \
		TEST_TIMEOUT=1200 \
		LOG_COMPILER="$work/$1/start" SH_LOG_COMPILER="$work/$1/start"
}

sum() {
	awk -v names="^# ($2):" '$0 ~ names { n += $3 } END { print n + 0 }' \
		"$1"
}

# details PORT: what was skipped, with its last words, and the end of what failed.
details() {
	for word in SKIP FAIL; do
		sed -n "s/^$word: //p" "$work/$1.check.log" | sort -u |
			while IFS= read -r name; do
				log=$work/$1/build/${name%.sh}.log
				last_words "$word" "$name" "$log"
			done
	done
}

last_words() {
	if test "$1" = SKIP; then
		echo "    $2: $(tail -n 2 "$3" 2>/dev/null | sed '/^SKIP /d')"
	else
		echo "    $2 FAILED:"
		tail -n 40 "$3" 2>/dev/null | sed 's/^/        /'
	fi
}

# not_built PORT
not_built() {
	if test -e "$offline"; then
		skipped=$((skipped + 1))
		printf '%-10s %-6s %6d %6d %7d\n' "$1" no 0 0 1
		echo '    apt-get reaches no mirror, not with the sources of this' \
			'machine either'
		return 0
	fi
	failed=$((failed + 1))
	printf '%-10s %-6s %6d %6d %7d\n' "$1" no 0 1 0
	tail -n 40 "$work/$1.build.log" | sed 's/^/        /'
}

run() {
	begin=$(date +%s)
	if ! (port "$1") >"$work/$1.build.log" 2>&1; then
		not_built "$1"
		return 0
	fi
	result=0
	(tests "$1") >"$work/$1.check.log" 2>&1 || result=1
	here_passed=$(sum "$work/$1.check.log" 'PASS|XFAIL')
	here_failed=$(sum "$work/$1.check.log" 'FAIL|XPASS|ERROR')
	here_skipped=$(sum "$work/$1.check.log" SKIP)
	if test "$result" -ne 0 && test "$here_failed" -eq 0; then
		here_failed=1 # make itself
		tail -n 40 "$work/$1.check.log" | sed 's/^/        /'
	fi
	passed=$((passed + here_passed))
	failed=$((failed + here_failed))
	skipped=$((skipped + here_skipped))
	printf '%-10s %-6s %6d %6d %7d %7d\n' "$1" yes "$here_passed" \
		"$here_failed" "$here_skipped" "$(($(date +%s) - begin))"
	details "$1"
}

trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$work/debs" "$root"
rm -rf "$work/source" "$work/apt/fresh" "$offline"
if ! setup_source "$source_dir" "$work/source" >"$work/bootstrap.log" 2>&1; then
	cat "$work/bootstrap.log"
	failed=1
	exit 1
fi
printf '%-10s %-6s %6s %6s %7s %7s\n' port built passed failed skipped seconds
for name in "$@"; do
	run "$name"
done
test "$failed" -eq 0
