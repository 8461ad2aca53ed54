/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The writers' side of the RCU domain: reading all pins, and waiting for them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "error.h"
#include "rcu.h"
#include "testpoint.h"

/*
 * Pins segments are written by readers, whom a writer does not trust: they are
 * read with pread into a buffer of ours, never mapped (a truncated mapping is a
 * SIGBUS), never locked, never followed. A torn word does no harm: a pin that
 * protects a candidate does not change between the fence and the scan.
 */

/**** which pins segments there are ****/

/* Parses "<uid>.<suffix>" behind the common part of the names. */
static bool
pins_name_parse(const char *tail, uint32_t *ret_uid, uint32_t *ret_suffix)
{
	unsigned uid, suffix;
	char canonical[32];

	if (sscanf(tail, "%u.%u", &uid, &suffix) != 2 ||
	    suffix >= STRATA_PINS_SUFFIXES)
		return false;
	snprintf(canonical, sizeof(canonical), "%u.%u", uid, suffix);
	if (strcmp(canonical, tail) != 0)
		return false;
	*ret_uid = uid;
	*ret_suffix = suffix;
	return true;
}

/* Has the file the mode that its maker gives it, for writers of the store's
 * group? Then it is we who lack the group, not its owner who plays tricks. */
static bool
is_meant_for_us(const struct strata__rcu *rcu, const struct stat *st)
{
	return (st->st_mode & 0004) != 0 ||
		((st->st_mode & 0040) != 0 &&
		 st->st_gid == rcu->space->geometry->group);
}

static int
cannot_look(uint32_t uid, int err)
{
	return strata__fail_errno(err,
				  "cannot look at the readers of user %u, so "
				  "nothing can be reclaimed",
				  uid);
}

/* The segment's descriptor; -1: vandalised or gone, not to be followed. What
 * cannot be known is an error: to go on would free under living readers. */
static int
pins_file_open(struct strata__rcu *rcu, const char *name, uint32_t uid,
	       int *ret_fd)
{
	int folder = rcu->space->folder.fd;
	struct stat st;
	int fd;

	*ret_fd = -1;
	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : cannot_look(uid, errno);
	if (!S_ISREG(st.st_mode) || st.st_uid != uid ||
	    (uint64_t)st.st_size != rcu->space->geometry->pins_size)
		return 0;
	fd = openat(folder, name,
		    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ELOOP))
		return 0;
	if (fd < 0 && errno == EACCES && !is_meant_for_us(rcu, &st))
		return 0;
	if (fd < 0)
		return cannot_look(uid, errno);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != uid) {
		close(fd); /* another one by now */
		return 0;
	}
	*ret_fd = fd;
	return 0;
}

static struct strata__pins_file *
pins_file_find(struct strata__rcu *rcu, uint32_t uid, uint32_t suffix,
	       uint64_t inode)
{
	for (size_t i = 0; i < rcu->nr_files; i++) {
		struct strata__pins_file *file = &rcu->files[i];

		if (file->fd >= 0 && file->uid == uid &&
		    file->suffix == suffix && file->inode == inode)
			return file;
	}
	return NULL;
}

/* A place in the table: places are not moved while anybody naps over them. */
static struct strata__pins_file *
pins_file_place(struct strata__rcu *rcu, uint32_t uid)
{
	struct strata__pins_file *files, *place = NULL;
	unsigned nr_of_user = 0;

	for (size_t i = 0; i < rcu->nr_files; i++) {
		if (rcu->files[i].fd < 0)
			place = &rcu->files[i];
		else if (rcu->files[i].uid == uid)
			nr_of_user++;
	}
	if (nr_of_user >= STRATA_PINS_FILES_PER_USER)
		return NULL;
	if (place != NULL)
		return place;
	files = realloc(rcu->files, (rcu->nr_files + 1) * sizeof(*files));
	if (files == NULL)
		return NULL;
	rcu->files = files;
	return &files[rcu->nr_files++];
}

static int
pins_file_add(struct strata__rcu *rcu, const char *name, uint32_t uid,
	      uint32_t suffix, uint64_t inode)
{
	struct strata__pins_file *file;
	int fd, ret;

	file = pins_file_find(rcu, uid, suffix, inode);
	if (file != NULL) {
		file->listed = true;
		return 0;
	}
	ret = pins_file_open(rcu, name, uid, &fd);
	if (ret != 0 || fd < 0)
		return ret;
	file = pins_file_place(rcu, uid);
	if (file == NULL) {
		close(fd);
		return strata__fail(STRATA_ENOMEM,
				    "no memory to look at the readers of user "
				    "%u",
				    uid);
	}
	*file = (struct strata__pins_file){ .fd = fd,
					    .uid = uid,
					    .suffix = suffix,
					    .inode = inode,
					    .listed = true };
	return 0;
}

/* A segment that lost its name is followed for as long as a reader lives in
 * it. */
static void
pins_files_weed(struct strata__rcu *rcu)
{
	uint64_t size = rcu->space->geometry->pins_size;

	for (size_t i = 0; i < rcu->nr_files; i++) {
		struct strata__pins_file *file = &rcu->files[i];

		if (file->fd < 0 || file->listed ||
		    strata__os_is_locked(file->fd, 0, size) != 0)
			continue;
		close(file->fd);
		file->fd = -1;
	}
}

static int
pins_list(struct strata__rcu *rcu)
{
	char pattern[STRATA_SEGMENT_NAME];
	struct dirent *entry;
	uint32_t uid, suffix;
	size_t length;
	DIR *dir;
	int fd, ret = 0;

	strata__segment_name_pins(pattern, &rcu->space->id, 0, 0);
	length = strlen(pattern) - strlen("0.0");
	fd = openat(rcu->space->folder.fd, ".",
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (dir == NULL) {
		ret = strata__fail_errno(errno, "cannot list the readers in %s",
					 rcu->space->folder.path);
		if (fd >= 0)
			close(fd);
		return ret;
	}
	for (size_t i = 0; i < rcu->nr_files; i++)
		rcu->files[i].listed = false;
	while (ret == 0 && (entry = readdir(dir)) != NULL)
		if (strncmp(entry->d_name, pattern, length) == 0 &&
		    pins_name_parse(entry->d_name + length, &uid, &suffix))
			ret = pins_file_add(rcu, entry->d_name, uid, suffix,
					    entry->d_ino);
	closedir(dir);
	if (ret == 0)
		pins_files_weed(rcu);
	return ret;
}

/*
 * Listing the folder at every scan would cost more than the scan. A folder whose
 * time of modification is as it was at a listing that was made at least two
 * ticks after that time has the same names.
 */
static int
pins_list_if_news(struct strata__rcu *rcu)
{
	struct stat st;
	int64_t mtime;
	uint64_t now = strata__os_realtime_ns();
	int ret;

	if (fstat(rcu->space->folder.fd, &st) != 0)
		return strata__fail_errno(errno, "cannot look at %s",
					  rcu->space->folder.path);
	mtime = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	if (rcu->listing_settled && mtime == rcu->listed_mtime_ns)
		return 0;
	ret = pins_list(rcu);
	if (ret != 0)
		return ret;
	rcu->listed_mtime_ns = mtime;
	rcu->listing_settled = (int64_t)now - mtime > 20 * 1000 * 1000;
	return 0;
}

/**** reading them ****/

static int
scan_add(struct strata__scan *scan, const struct strata__pin *pin)
{
	if (scan->nr == scan->max) {
		size_t max = scan->max != 0 ? 2 * scan->max : 64;
		struct strata__pin *pins =
			realloc(scan->pins, max * sizeof(*pins));

		if (pins == NULL)
			return strata__fail(STRATA_ENOMEM,
					    "no memory for a scan");
		scan->pins = pins;
		scan->max = max;
	}
	scan->pins[scan->nr++] = *pin;
	return 0;
}

/* Reads a whole segment into the buffer. A truncated one holds no readers that
 * could be helped; whatever else fails is an error. */
static int
scan_load(struct strata__rcu *rcu, const struct strata__pins_file *file,
	  bool *ret_loaded)
{
	uint64_t size = rcu->space->geometry->pins_size;
	int ret;

	*ret_loaded = false;
	if (file->fd < 0)
		return 0;
	if (rcu->buffer == NULL)
		rcu->buffer = aligned_alloc(128, size);
	if (rcu->buffer == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory for a scan");
	ret = strata__os_pread(file->fd, rcu->buffer, size, 0);
	if (ret != 0 && ret != -ENODATA)
		return cannot_look(file->uid, -ret);
	*ret_loaded = ret == 0;
	return 0;
}

static const struct strata__slot *
scan_slot(const struct strata__rcu *rcu, uint32_t slot)
{
	return (const struct strata__slot *)(rcu->buffer + STRATA_PINS_SLOTS) +
	       slot;
}

static uint64_t
slot_word(const struct strata__slot *slot)
{
	return atomic_load_explicit(&((struct strata__slot *)slot)->pin,
				    memory_order_relaxed);
}

static bool
slot_in_use(const struct strata__slot *slot)
{
	return atomic_load_explicit(&((struct strata__slot *)slot)->in_use,
				    memory_order_relaxed) != 0;
}

static int
scan_file(struct strata__scan *scan, uint32_t file)
{
	struct strata__rcu *rcu = scan->rcu;
	bool loaded;
	int ret = scan_load(rcu, &rcu->files[file], &loaded);

	if (!loaded)
		return ret;
	for (uint32_t i = 0; ret == 0 && i < rcu->space->geometry->readers;
	     i++) {
		const struct strata__slot *slot = scan_slot(rcu, i);
		struct strata__pin pin = { .word = slot_word(slot),
					   .inode = rcu->files[file].inode,
					   .file = file,
					   .slot = i,
					   .alive = -1 };

		scan->readers += slot_in_use(slot);
		if (strata__pin_version(pin.word) != 0)
			ret = scan_add(scan, &pin);
	}
	return ret;
}

#ifdef STRATA_TSAN
static uint32_t
own_file(const struct strata__rcu *rcu, const struct strata__chunk *chunk)
{
	uint32_t i = 0;

	while (i < rcu->nr_files &&
	       (rcu->files[i].fd < 0 || rcu->files[i].uid != geteuid() ||
		rcu->files[i].suffix != chunk->suffix))
		i++;
	return i;
}

/* ThreadSanitizer sees no pread: in its build the pins of this process, the only
 * one, are read again through the mapping. Letter D. */
static int
scan_own(struct strata__scan *scan)
{
	struct strata__chunk *chunk;
	int ret = 0;

	pthread_mutex_lock(&scan->rcu->mutex);
	cds_list_for_each_entry(chunk, &scan->rcu->chunks, node)
	{
		uint32_t file = own_file(scan->rcu, chunk);

		if (file == scan->rcu->nr_files)
			continue;
		for (uint32_t i = 0; ret == 0 && i < STRATA_CHUNK_SLOTS; i++) {
			struct strata__pin pin = {
				.word = atomic_load_explicit(
					&chunk->slots[i].pin,
					memory_order_acquire),
				.inode = scan->rcu->files[file].inode,
				.file = file,
				.slot = chunk->first + i,
				.alive = 1,
			};

			if (strata__pin_version(pin.word) != 0)
				ret = scan_add(scan, &pin);
		}
	}
	pthread_mutex_unlock(&scan->rcu->mutex);
	return ret;
}
#else
static int
scan_own(struct strata__scan *scan)
{
	(void)scan;
	return 0;
}
#endif

/**** sections that are handed over to a child meanwhile ****/

/* The sum of all counters: they only rise. */
static uint64_t
handovers_now(const struct strata__rcu *rcu)
{
	uint64_t one, sum = 0;

	for (size_t i = 0; i < rcu->nr_files; i++)
		if (rcu->files[i].fd >= 0 &&
		    strata__os_pread(rcu->files[i].fd, &one, sizeof(one),
				     offsetof(struct strata__pins_head,
					      handovers)) == 0)
			sum += one;
	return sum;
}

static void
handovers_note(struct strata__scan *scan)
{
	scan->handovers = handovers_now(scan->rcu);
	/* Letter K: the pins are read after. */
	strata__fence_acquire();
}

static bool
handovers_changed(const struct strata__scan *scan)
{
	/* Letter K: what was read or asked is before this look. */
	strata__fence_acquire();
	return handovers_now(scan->rcu) != scan->handovers;
}

static int
pin_compare(const void *a, const void *b)
{
	uint64_t x = strata__pin_version(((const struct strata__pin *)a)->word);
	uint64_t y = strata__pin_version(((const struct strata__pin *)b)->word);

	return x < y ? -1 : x > y;
}

static int
scan_pass(struct strata__scan *scan)
{
	int ret = pins_list_if_news(scan->rcu);

	if (ret != 0)
		return ret;
	handovers_note(scan);
	scan->readers = 0;
	for (uint32_t i = 0; ret == 0 && i < scan->rcu->nr_files; i++)
		ret = scan_file(scan, i);
	if (ret == 0)
		ret = scan_own(scan);
	/* Letter D: what the readers of sections that we saw ended did in them
	 * is before what we do next. */
	strata__fence_acquire();
	return ret;
}

/*
 * Without the fence; scan_mutex held. A process that forks inside a section sets
 * the child's pin, raises its counter, and may then leave: a pass that read the
 * child's slot before and the parent's after has missed both. So it is done
 * again; what was seen before is kept, which can only protect too much. The
 * bound is for those who raise the counter for sport: they harm readers of their
 * own user only.
 */
#define PASSES_MAX 64

static int
scan_read(struct strata__scan *scan)
{
	int ret, passes = 0;

	do
		ret = scan_pass(scan);
	while (ret == 0 && handovers_changed(scan) &&
	       ++passes < PASSES_MAX);
	if (ret == 0 && scan->nr != 0)
		qsort(scan->pins, scan->nr, sizeof(*scan->pins), pin_compare);
	return ret;
}

int
strata__scan_take(struct strata__rcu *rcu, struct strata__scan *ret)
{
	int err;

	memset(ret, 0, sizeof(*ret));
	ret->rcu = rcu;
	/* The candidates are fixed; everything they need is read after this. */
	err = strata__heavy_fence(rcu);
	if (err != 0)
		return err;
	pthread_mutex_lock(&rcu->scan_mutex);
	err = scan_read(ret);
	if (err != 0)
		strata__scan_done(ret);
	return err;
}

void
strata__scan_done(struct strata__scan *scan)
{
	free(scan->pins);
	scan->pins = NULL;
	scan->nr = scan->max = 0;
	pthread_mutex_unlock(&scan->rcu->scan_mutex);
}

static bool
slot_is_locked(const struct strata__pins_file *file, uint32_t slot)
{
	uint64_t first = slot - slot % STRATA_CHUNK_SLOTS;

	/* An answer that cannot be had counts as yes. */
	return strata__os_is_locked(
		       file->fd,
		       STRATA_PINS_SLOTS + first * sizeof(struct strata__slot),
		       STRATA_CHUNK_SLOTS * sizeof(struct strata__slot)) != 0;
}

/* First the pin was read, now the kernel is asked: so a pin that is ignored was
 * left by a reader that was dead already. Unless it died after handing its
 * section over to a child, whose pin we may have missed: then it counts as alive
 * for this scan. */
bool
strata__scan_alive(struct strata__scan *scan, struct strata__pin *pin)
{
	const struct strata__pins_file *file = &scan->rcu->files[pin->file];

	if (pin->alive >= 0)
		return pin->alive != 0;
	pin->alive = file->fd < 0 || file->inode != pin->inode ? 0 :
		slot_is_locked(file, pin->slot) ? 1 :
						  handovers_changed(scan);
	return pin->alive != 0;
}

/* Index of the first pin at or above a version. */
static size_t
scan_from(const struct strata__scan *scan, uint64_t version)
{
	size_t low = 0, high = scan->nr;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strata__pin_version(scan->pins[mid].word) < version)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool
strata__scan_needs(struct strata__scan *scan, uint64_t birth,
		   uint64_t retirement)
{
	if (STRATA_BROKEN(STRATA_EAGER_RECLAIM))
		retirement--;
	for (size_t i = scan_from(scan, birth);
	     i < scan->nr &&
	     strata__pin_version(scan->pins[i].word) < retirement;
	     i++)
		if (strata__scan_alive(scan, &scan->pins[i]))
			return true;
	return false;
}

void
strata__scan_account(struct strata__scan *scan, uint64_t birth,
		     uint64_t retirement, uint64_t bytes)
{
	struct strata__pin *only = NULL;
	size_t holders = 0;

	for (size_t i = scan_from(scan, birth);
	     i < scan->nr &&
	     strata__pin_version(scan->pins[i].word) < retirement;
	     i++)
		if (strata__scan_alive(scan, &scan->pins[i])) {
			only = &scan->pins[i];
			only->retained += bytes;
			holders++;
		}
	if (holders == 1)
		only->retained_alone += bytes;
}

/**** describing readers ****/

static void
describe(const struct strata__scan *scan, const struct strata__slot *slot,
	 const struct strata__pin *pin, struct strata_reader_info *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->uid = scan->rcu->files[pin->file].uid;
	ret->pid = slot->pid;
	ret->pid_namespace = slot->pid_namespace;
	memcpy(ret->name, slot->name, sizeof(ret->name) - 1);
	/* Its own word: print only what is harmless on a terminal. */
	for (char *c = ret->name; *c != '\0'; c++)
		if (*c < 0x20 || *c == 0x7f)
			*c = '?';
	ret->sections = atomic_load_explicit(
		&((struct strata__slot *)slot)->sections, memory_order_relaxed);
	ret->pin = strata__pin_version(pin->word);
	ret->retained = pin->retained_alone;
}

int
strata__scan_describe(struct strata__scan *scan, const struct strata__pin *pin,
		      struct strata_reader_info *ret)
{
	struct strata__slot slot;
	int err;

	err = strata__os_pread(scan->rcu->files[pin->file].fd, &slot,
			       sizeof(slot),
			       STRATA_PINS_SLOTS + pin->slot * sizeof(slot));
	if (err == 0)
		describe(scan, &slot, pin, ret);
	return err;
}

static int
scan_each_slot(struct strata__scan *scan, uint32_t file,
	       int (*fn)(const struct strata__slot *slot,
			 const struct strata__pin *pin,
			 struct strata__scan *scan, void *arg),
	       void *arg)
{
	bool loaded;
	int ret = scan_load(scan->rcu, &scan->rcu->files[file], &loaded);

	if (!loaded)
		return ret;
	for (uint32_t i = 0;
	     ret == 0 && i < scan->rcu->space->geometry->readers; i++) {
		const struct strata__slot *slot = scan_slot(scan->rcu, i);
		struct strata__pin pin = { .word = slot_word(slot),
					   .inode = scan->rcu->files[file].inode,
					   .file = file,
					   .slot = i,
					   .alive = -1 };

		if (slot_in_use(slot))
			ret = fn(slot, &pin, scan, arg);
	}
	return ret;
}

int
strata__scan_each(struct strata__rcu *rcu,
		  int (*fn)(const struct strata__slot *slot,
			    const struct strata__pin *pin,
			    struct strata__scan *scan, void *arg),
		  void *arg)
{
	struct strata__scan scan = { .rcu = rcu };
	int ret;

	pthread_mutex_lock(&rcu->scan_mutex);
	ret = pins_list_if_news(rcu);
	if (ret == 0)
		handovers_note(&scan);
	for (uint32_t i = 0; ret == 0 && i < rcu->nr_files; i++)
		ret = scan_each_slot(&scan, i, fn, arg);
	strata__scan_done(&scan);
	return ret;
}

/**** grace periods ****/

static void
nap(unsigned round)
{
	struct timespec time = { 0, 20000L << (round < 9 ? round : 9) };

	nanosleep(&time, NULL);
}

/* Has the section that this pin stood for ended? */
static bool
pin_is_over(struct strata__scan *scan, struct strata__pin *pin)
{
	const struct strata__pins_file *file = &scan->rcu->files[pin->file];
	uint64_t word;

	if (file->fd < 0 || file->inode != pin->inode)
		return true; /* no reader lived in it */
	if (strata__os_pread(file->fd, &word, sizeof(word),
			     STRATA_PINS_SLOTS +
				     pin->slot * sizeof(struct strata__slot)) !=
	    0)
		return true; /* truncated: not a reader any more */
	return word != pin->word || !slot_is_locked(file, pin->slot);
}

static int
synchronize_timed_out(struct strata__scan *scan, struct strata__pin *pin)
{
	struct strata_reader_info info;

	if (strata__scan_describe(scan, pin, &info) != 0)
		return strata__fail(STRATA_ETIMEDOUT, "a reader did not leave "
						      "its section in time");
	return strata__fail(STRATA_ETIMEDOUT,
			    "reader %u ('%s', user %u) did not leave its "
			    "section of version %llu in time",
			    info.pid, info.name, info.uid,
			    (unsigned long long)info.pin);
}

/* Naps without the mutex: a reader that we wait for may itself wait for a commit
 * of this process, which scans. */
static int
pin_wait(struct strata__scan *scan, struct strata__pin *pin, uint64_t deadline)
{
	for (unsigned round = 0; !pin_is_over(scan, pin); round++) {
		if (strata__os_monotonic_ns() >= deadline)
			return synchronize_timed_out(scan, pin);
		pthread_mutex_unlock(&scan->rcu->scan_mutex);
		nap(round);
		pthread_mutex_lock(&scan->rcu->scan_mutex);
	}
	return 0;
}

static int
synchronize_once(struct strata__rcu *rcu, uint64_t deadline, bool *ret_again)
{
	struct strata__scan scan;
	int ret = strata__scan_take(rcu, &scan);

	if (ret != 0)
		return ret;
	for (size_t i = 0; ret == 0 && i < scan.nr; i++)
		ret = pin_wait(&scan, &scan.pins[i], deadline);
	/* What the readers did in their sections is before what we do next:
	 * pairs with their unlock. Letter D. */
	strata__fence_acquire();
	/* A section that was handed over to a child has not ended. */
	*ret_again = handovers_changed(&scan);
	strata__scan_done(&scan);
	return ret;
}

int
strata__rcu_synchronize(struct strata__rcu *rcu, int64_t timeout_ns)
{
	uint64_t deadline = timeout_ns < 0 ?
		UINT64_MAX :
		strata__os_monotonic_ns() + (uint64_t)timeout_ns;
	bool again = true;
	int ret = 0;

	for (int i = 0; ret == 0 && again && i < PASSES_MAX; i++)
		ret = synchronize_once(rcu, deadline, &again);
	return ret;
}
