/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What we ask of the system; the only room with raw system calls. */
#ifndef STRATA_OS_H
#define STRATA_OS_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STRATA_PAGE UINT64_C(4096)

struct strata__id {
	uint8_t bytes[16];
};

/* Round up to a multiple of a power of two; the caller excludes overflow. */
static inline uint64_t
strata__round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/* The byte that two digits say, "0" to "9" and "a" to "f": of ids and names.
 * False for others, and *ret stays. */
bool strata__hex_byte(const char *text, uint8_t *ret);

/* All return 0 or -errno and tell no error of their own. */

/* Fills with random bytes from the kernel. */
int strata__os_random(void *buffer, size_t size);
/* The id of this boot; all zero where the system does not tell. */
void strata__os_boot_id(struct strata__id *ret);
/* CLOCK_REALTIME / CLOCK_MONOTONIC, in ns; coarse: cheap, a tick old. */
uint64_t strata__os_realtime_ns(void);
uint64_t strata__os_realtime_coarse_ns(void);
/* Is a time of a file so old that a change now would give it another? now is by
 * the coarse clock, from before the time was read. */
bool strata__os_is_settled(const struct timespec *time, uint64_t now);
uint64_t strata__os_monotonic_ns(void);
/* Name of this program (comm), NUL-terminated, and its pid namespace, which is
 * remembered; the child of a fork says so. For display. */
void strata__os_forked(void);
void strata__os_self(char *name, size_t size, uint64_t *ret_pid_namespace);

/* Are user and group ids of this process everybody's? Not in a user namespace
 * that maps only some, or others; then those that it does not map look like
 * STRATA_UNMAPPED_ID. False where the system does not tell. */
#define STRATA_UNMAPPED_ID 65534u
bool strata__os_ids_are_global(void);
/* Is that on overlayfs, which maps another file than it opens? */
bool strata__os_is_overlay(int fd);
/* Is what has that name in the folder of another type of file system? */
bool strata__os_is_elsewhere(int folder, const char *name);

/* Shared futexes on 32-bit words; wait returns 0, -EAGAIN, -ETIMEDOUT. EINTR is
 * 0: callers loop over their condition. timeout_ns is relative. */
int strata__os_futex_wait(const void *word, uint32_t expected,
			  uint64_t timeout_ns);
void strata__os_futex_wake(const void *word, int nr);

/* Fences between processes. register: this process takes part as a reader.
 * 0, or -errno where the kernel does not do it. */
int strata__os_membarrier_register(void);
int strata__os_membarrier(void);

/* A mutex of this process: 0, or -ETIMEDOUT. */
int strata__os_mutex_wait(pthread_mutex_t *mutex, uint64_t timeout_ns);

/* Keeps the handlers of this thread's signals waiting, but for those that it
 * raises itself by a fault; and lets them in again. */
void strata__os_signals_block(sigset_t *ret_before);
void strata__os_signals_restore(const sigset_t *before);

/* Which file a descriptor is of. A program may close all its descriptors, ours
 * among them, and open others under their numbers: who goes on by a number that
 * it kept for long asks first. */
struct strata__file_id {
	uint64_t device, inode; /* inode 0: of none */
};
/* The same file under a number above those of stdin, stdout and stderr: a program
 * that closed these may print, and would print into it. -errno. */
int strata__os_above_stdio(int fd);
int strata__os_file_id(int fd, struct strata__file_id *ret);
bool strata__os_is_file(int fd, const struct strata__file_id *id);

/* Open-file-description locks on a byte range. try_lock: exclusive, -EAGAIN
 * when somebody else holds it. is_locked: whether any *write* lock of another
 * open file is on the range (read locks, which any reader may take, do not
 * count); 1, 0 or -errno. */
int strata__os_lock_try(int fd, uint64_t offset, uint64_t size);
int strata__os_is_locked(int fd, uint64_t offset, uint64_t size);
/* The same, and where such a lock begins. A size of 0 is all that follows. */
int strata__os_find_lock(int fd, uint64_t offset, uint64_t size,
			 uint64_t *ret_offset);
/* Ends what lock_try began, for all who share the open file: a mere close would
 * leave it to a child that a fork has given the descriptor. */
void strata__os_unlock(int fd, uint64_t offset, uint64_t size);

/* The whole of a file or folder, which need not be writable, until the descriptor
 * is closed: -EAGAIN when somebody else has it. */
int strata__os_lock_whole(int fd);

/* Keeps the locks that were taken through a descriptor for as long as the guard
 * is there, though the descriptor is closed: by a mapping that children do not
 * inherit, as they would the descriptor. */
int strata__os_guard(int fd, void **ret_guard);
void strata__os_unguard(void *guard);

/* Memory. map: a part of a file, shared with all who map it; sizes and offsets
 * are of whole pages, but for the last page of a file. The others, with an
 * address, take the place of what is mapped there. nothing: addresses without
 * memory or access, a multiple of align; zeroes: pages that can be read. */
int strata__os_map(int fd, uint64_t offset, uint64_t size, bool writable,
		   void **ret_map);
int strata__os_map_at(void *at, uint64_t size, int fd, bool writable);
int strata__os_map_nothing(uint64_t size, uint64_t align, void **ret_map);
int strata__os_map_nothing_at(void *at, uint64_t size);
int strata__os_map_zeroes_at(void *at, uint64_t size);
/* Private zeroes; pages that nobody writes to take no memory. */
int strata__os_map_table(uint64_t size, void **ret_map);
/* Private pages, there before they are touched, and full of zeroes in each child
 * of a fork. */
int strata__os_map_wiped(uint64_t size, void **ret_map);
void strata__os_unmap(void *map, uint64_t size);
/* Children do not inherit it; a core dump leaves it out; its pages are there
 * before they are written to. */
int strata__os_no_fork(void *map, uint64_t size);
void strata__os_no_dump(void *map, uint64_t size);
void strata__os_populate(void *map, uint64_t size);

/* Large pages. map_large: a file, at an address at which its pages may become
 * large; unmapped with its size in whole pages. collapse: has the kernel make
 * large pages of the part that fills them whole, and says how many bytes;
 * -errno when not all of it could be had, *ret_bytes is right all the same. Of
 * each large page at least one small one has to be there; the kernel clears the
 * others. */
#define STRATA_LARGE_PAGE (UINT64_C(2) << 20)
int strata__os_map_large(int fd, uint64_t size, bool writable, void **ret_map);
int strata__os_collapse(void *map, uint64_t size, uint64_t *ret_bytes);
/* A mapping that was writable is for reading only, from now on. */
int strata__os_freeze(void *map, uint64_t size);

/* Where shared memory has its names: what STRATA_SHM_DIR says, unless this
 * program has more rights than who started it; else the system's. */
const char *strata__os_shm_folder(void);
/* A folder to name files in, though it may not be read. A descriptor, or -errno.
 */
int strata__os_open_folder(const char *path);
/* The same file under a higher number. A descriptor, or -errno. */
int strata__os_another(int fd);
/* A file of mode 0600 without a name. A descriptor, or -errno: -EOPNOTSUPP where
 * there are no such files. */
int strata__os_open_unnamed(int folder);
/* Gives it a name that is free: -EEXIST. */
int strata__os_link_unnamed(int fd, int folder, const char *name);
/* Within a folder, and only to a name that is free: -EEXIST. */
int strata__os_rename_new(int folder, const char *from, const char *to);
/* fsync, retried when interrupted; and of all that is on the file system. An
 * error of a sync is final: what could not be written may be marked clean now,
 * and a second sync would say yes. Being interrupted is no such error. */
int strata__os_sync(int fd);
int strata__os_sync_all(int fd);
/* posix_fallocate in steps of 2 MiB, each retried when interrupted. */
int strata__os_reserve(int fd, uint64_t offset, uint64_t size);
/* ftruncate, retried when interrupted. */
int strata__os_truncate(int fd, uint64_t size);
/* Free and all bytes of the file system that a descriptor (also one that is only
 * a path) is in; UINT64_MAX for both when the system does not tell, as for a
 * tmpfs without a limit. */
void strata__os_room(int fd, uint64_t *ret_free, uint64_t *ret_total);
/* Whole transfers; short ones are continued, EINTR retried. A read that meets
 * the end of the file is -ENODATA. */
int strata__os_pread(int fd, void *buffer, size_t size, uint64_t offset);
int strata__os_pwrite(int fd, const void *buffer, size_t size, uint64_t offset);

#endif
