#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# What is Linux's is in the os rooms of lib/ (os.c, os-*.c) and nowhere else:
# the others include and call what is listed here, which is plain POSIX.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}"
: "${top_builddir:=.}" "${NM:=nm}"
LC_ALL=C
export LC_ALL
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Headers of C and POSIX; of the libraries that we stand on; of compilers.
headers='assert.h errno.h inttypes.h limits.h math.h stdalign.h stdarg.h
	stdatomic.h stdbool.h stddef.h stdint.h stdio.h stdlib.h string.h time.h
	dirent.h fcntl.h fnmatch.h grp.h pthread.h sched.h signal.h sys/stat.h
	sys/types.h unistd.h
	strata/strata.h urcu/call-rcu.h urcu/flavor.h urcu/list.h xxhash.h
	xxh_x86dispatch.h
	immintrin.h sys/sdt.h'
# Functions of C, and one that compilers make of memcmp().
functions='aligned_alloc bcmp calloc free malloc memchr memcmp memcpy memmove
	memset qsort realloc snprintf sprintf sscanf strchr strcmp strcpy strerror
	strlen strncmp strncpy strrchr strspn strtoul strtoull vsnprintf'
# Of POSIX: files.
functions="$functions chmod chown close closedir faccessat fchmod fchown
	fdopendir fnmatch fstat fstatat mkdir open openat read readdir realpath
	renameat rewinddir rmdir stat unlink unlinkat"
# Of POSIX: who and when, threads, strings.
functions="$functions getegid geteuid getgrnam_r getpid nanosleep sched_yield
	sigfillset pthread_atfork pthread_cond_broadcast pthread_cond_destroy
	pthread_cond_init pthread_cond_wait pthread_create pthread_equal
	pthread_join pthread_key_create pthread_mutex_destroy pthread_mutex_init
	pthread_mutex_lock pthread_mutex_trylock pthread_mutex_unlock
	pthread_once pthread_self pthread_setspecific pthread_sigmask stpcpy
	strdup strndup strnlen"
# Of some C libraries: POSIX of 2024; what configure looks for.
functions="$functions reallocarray strerrordesc_np"
# Of libraries: jemalloc, where the process has it; xxHash.
functions="$functions dallocx mallctl mallocx XXH3_64bits XXH3_64bits_digest
	XXH3_64bits_dispatch XXH3_64bits_reset XXH3_64bits_update
	XXH3_64bits_update_dispatch"
# Words that no other room has: what a flag of open() or linkat() can ask for
# calls no function of its own.
words='O_(PATH|TMPFILE|DIRECT|NOATIME)|AT_(EMPTY_PATH|SYMLINK_FOLLOW)'
words="$words|(PROT|MAP|MADV|MREMAP)_[A-Z]+|F_(OFD|ADD|GET)_[A-Z]+|F_ADD_SEALS"
words="$words|LOCK_(EX|SH|NB|UN)|RENAME_[A-Z]+|SYS_[a-z0-9_]+|FUTEX_[A-Z]+"
words="$words|MEMBARRIER_[A-Z_]+|CLOCK_[A-Z_]+|PR_[A-Z_]+|syscall"

# includes FILE...: "FILE: HEADER" of each header that is not in the list.
includes() {
	awk -v allowed="$headers" '
	BEGIN { n = split(allowed, list); while (n > 0) ok[list[n--]] = 1 }
	/^[ \t]*#[ \t]*include[ \t]*</ {
		header = $0
		sub(/^[^<]*</, "", header)
		sub(/>.*$/, "", header)
		name = FILENAME
		sub(/.*\//, "", name)
		if (!(header in ok))
			print name ": <" header ">"
	}' "$@"
}

# says FILE...: "FILE:LINE: WORD" for each of the words, outside of comments and
# strings.
says() {
	awk -v words="(^|[^A-Za-z0-9_])($words)([^A-Za-z0-9_]|\$)" '
	FNR == 1 {
		comment = 0
		name = FILENAME
		sub(/.*\//, "", name)
	}
	{
		line = $0
		if (comment) {
			if ((end = index(line, "*/")) == 0)
				next
			line = substr(line, end + 2)
		}
		comment = 0
		gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
		while ((at = index(line, "/*")) > 0) {
			rest = substr(line, at + 2)
			line = substr(line, 1, at - 1)
			end = index(rest, "*/")
			comment = end == 0
			if (comment)
				break
			line = line substr(rest, end + 2)
		}
		if (match(line, words)) {
			word = substr(line, RSTART, RLENGTH)
			gsub(/[^A-Za-z0-9_]/, "", word)
			print name ":" FNR ": " word
		}
	}' "$@"
}

# calls OBJECT...: "OBJECT: FUNCTION" for each that is not in the list. Names
# that begin with _ are the compiler's and the C library's, such as the forms
# that check sizes.
calls() {
	for object in "$@"; do
		name=${object##*/}
		# shellcheck disable=SC2086 # NM may hold words
		$NM -u "$object" | awk -v name="$name" -v allowed="$functions" '
		BEGIN { n = split(allowed, list); while (n > 0) ok[list[n--]] = 1 }
		{
			call = $NF
			sub(/@.*$/, "", call)
			sub(/^__isoc[0-9]+_/, "", call)
			if (call ~ /^__.*_chk$/)
				call = substr(call, 3, length(call) - 6)
			if (call != "U" && call !~ /^_/ &&
			    call !~ /^strata_/ && !(call in ok))
				print name ": " call "()"
		}'
	done
}

# What this script is for must be found.
cat >"$work/sample.c" <<'END'
#include <stdio.h>
#include <sys/mman.h>
/* MAP_SHARED in a comment, */
static const char *text = "and MAP_SHARED in a string: /* ";
static int flags = MAP_SHARED;
/**** O_PATH ****/
static int folder = O_DIRECTORY | O_PATH;
END
{
	includes "$work/sample.c"
	says "$work/sample.c"
} >"$work/found"
cat >"$work/expected" <<'END'
sample.c: <sys/mman.h>
sample.c:5: MAP_SHARED
sample.c:7: O_PATH
END
diff -u "$work/expected" "$work/found" || {
	echo 'the sample is not judged as it should be'
	exit 1
}

files=
for file in "$top_srcdir"/lib/*.[ch]; do
	case ${file##*/} in
	os.* | os-*) ;;
	*) files="$files $file" ;;
	esac
done
# shellcheck disable=SC2086 # a list of names
{
	includes $files
	says $files
} >"$work/found"

objects=$(ls "$top_builddir"/lib/.libs/libstrataint_la-*.o 2>/dev/null ||
	ls "$top_builddir"/lib/libstrataint_la-*.o 2>/dev/null || :)
others=$(echo "$objects" | grep -v 'libstrataint_la-os[-.][^/]*$' || :)
if test -n "$others"; then
	# The os rooms must not pass, or nothing is looked at.
	# shellcheck disable=SC2046,SC2086
	if test -z "$(calls $(echo "$objects" | grep -- '-os-memory'))"; then
		echo 'nothing was seen of what objects call'
		exit 1
	fi
	# shellcheck disable=SC2086
	calls $others >>"$work/found"
fi
if test -s "$work/found"; then
	echo 'not in the lists of what is allowed outside of the os rooms:'
	cat "$work/found"
	exit 1
fi
echo "$(echo "$files" | wc -w) files and $(echo "$others" | grep -c .)" \
	'objects: what is not plain POSIX is in the os rooms'
