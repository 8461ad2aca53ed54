/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The writers' side of the RCU domain: reading all pins, and waiting for them. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
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

/* Asking takes long where an owner has put thousands of locks on his segment. */
#define ASKING_MAX_NS (UINT64_C(5) * 1000 * 1000)

/* In a pass of this scan that was. */
static bool
has_handed_over(const struct strata__scan *scan, uint32_t owner)
{
	const struct strata__pins_tally *tally =
		strata__pins_tally_of(scan->rcu, owner);

	return scan->rcu->no_tally || (tally != NULL && tally->changes != 0);
}

/*
 * Bytes of a segment in which there are slots of the living. Slots are given
 * from the first one on, and a segment has room for many: so it is small. Who
 * has a slot has a lock on it since before its first pin; where there is none
 * now, behind the fence, no pin protects a candidate. But for the pins of those
 * who died after a fork, whose heirs this pass may have missed: where sections
 * were handed over while we scan, all is read. An answer that cannot be had, or
 * not soon, counts as yes.
 */
static uint64_t
scan_extent(struct strata__scan *scan, uint32_t file)
{
	uint64_t size = scan->rcu->space->geometry->pins_size;
	uint64_t end = STRATA_PINS_SLOTS + STRATA_PAGE;
	int fd = scan->rcu->files[file].fd;
	uint64_t begin;

	if (fd < 0 || has_handed_over(scan, scan->rcu->files[file].owner))
		return size;
	begin = strata__os_monotonic_ns();
	while (end < size && strata__os_is_locked(fd, end, size - end) != 0) {
		if (strata__os_monotonic_ns() - begin > ASKING_MAX_NS)
			return size;
		end = STRATA_PINS_SLOTS + 4 * (end - STRATA_PINS_SLOTS);
	}
	return end < size ? end : size;
}

static uint32_t
nr_slots(const struct strata__rcu *rcu, uint64_t size)
{
	uint64_t nr = (size - STRATA_PINS_SLOTS) / sizeof(struct strata__slot);
	uint32_t all = rcu->space->geometry->readers;

	return nr < all ? (uint32_t)nr : all;
}

/*
 * Reads a segment up to size into the buffer. One that was cut off is read as
 * far as it goes: the pins in what is left stand, and their readers would not
 * notice that they protect nothing. Those behind are 0, and if the segment is
 * made longer again their readers find them so. Whatever else fails is an error.
 */
static int
scan_load(struct strata__rcu *rcu, const struct strata__pins_file *file,
	  uint64_t size, bool *ret_loaded)
{
	int ret;

	*ret_loaded = false;
	if (file->fd < 0)
		return 0;
	if (rcu->buffer == NULL)
		rcu->buffer = aligned_alloc(128,
					    rcu->space->geometry->pins_size);
	if (rcu->buffer == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory for a scan");
	ret = strata__os_pread(file->fd, rcu->buffer, size, 0);
	if (ret == -ENODATA) {
		memset(rcu->buffer, 0, size);
		ret = strata__os_pread(file->fd, rcu->buffer, size, 0);
	}
	if (ret != 0 && ret != -ENODATA)
		return strata__pins_unreadable(file->owner, -ret);
	*ret_loaded = true;
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
	uint64_t size = scan_extent(scan, file);
	bool loaded;
	int ret = scan_load(rcu, &rcu->files[file], size, &loaded);

	STRATA_TESTPOINT("scan.loaded");
	if (!loaded)
		return ret;
	for (uint32_t i = 0; ret == 0 && i < nr_slots(rcu, size); i++) {
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

	while (i < rcu->nr_files && (rcu->files[i].fd < 0 ||
				     rcu->files[i].inode != chunk->inode))
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

static uint64_t
handovers_of(const struct strata__pins_file *file)
{
	uint64_t handovers = 0;

	if (file->fd >= 0)
		(void)strata__os_pread(
			file->fd, &handovers, sizeof(handovers),
			offsetof(struct strata__pins_head, handovers));
	return handovers;
}

/* 0: nothing is followed there. */
static uint64_t
life_of(const struct strata__pins_file *file)
{
	return file->fd >= 0 || file->lost ? file->life : 0;
}

/* Was anything handed over in the segment of that place since it was noted; or
 * is it another one now, whose counter is another's? */
static bool
has_changed(const struct strata__scan *scan, size_t i)
{
	const struct strata__pins_file *file = &scan->rcu->files[i];

	return life_of(file) != scan->files[i].life ||
	       handovers_of(file) != scan->files[i].handovers;
}

static int
handovers_note(struct strata__scan *scan)
{
	size_t nr = scan->rcu->nr_files;
	struct strata__scan_file *files;

	files = realloc(scan->files, (nr + 1) * sizeof(*files));
	if (files == NULL)
		return strata__fail(STRATA_ENOMEM, "no memory for a scan");
	scan->files = files;
	for (; scan->nr_files < nr; scan->nr_files++)
		files[scan->nr_files] = (struct strata__scan_file){ 0 };
	for (size_t i = 0; i < nr; i++) {
		files[i].life = life_of(&scan->rcu->files[i]);
		files[i].handovers = handovers_of(&scan->rcu->files[i]);
	}
	/* Letter K: the pins are read after. */
	strata__fence_acquire();
	return 0;
}

/*
 * Of one user only so many changes are waited for, whatever they are of. Many
 * users who change things in turns could go on for ever: then the scan fails, and
 * nothing is freed.
 */
#define TURNS_MAX 1024

/*
 * The segments, and the counter of each: a segment that was made for a child
 * before its parent's counter was noted has to be among them. So they are listed
 * again behind the notes, until none has come or gone.
 */
static int
files_note(struct strata__scan *scan)
{
	struct strata__rcu *rcu = scan->rcu;
	int ret = strata__pins_list(rcu);

	STRATA_TESTPOINT("scan.listed");
	rcu->has_news = true;
	while (ret == 0 && rcu->has_news) {
		if (scan->turns++ == TURNS_MAX)
			return strata__fail_errno(
				EBUSY,
				"pins segments in %s change faster than they can "
				"be read: look at who owns those named "
				"strata-*-pins* there",
				rcu->space->folder.path);
		rcu->has_news = false;
		ret = handovers_note(scan);
		STRATA_TESTPOINT("scan.noted");
		if (ret == 0)
			ret = strata__pins_list(rcu);
	}
	return ret;
}

/* Did somebody hand over sections since the notes: any, or this owner? Without a
 * bound, and where the answer cannot be had it is yes. */
static bool
anybody_handed_over(struct strata__scan *scan)
{
	bool changed = false;

	/* Letter K: what was read is before this look. */
	strata__fence_acquire();
	for (size_t i = 0; i < scan->nr_files; i++)
		changed |= has_changed(scan, i);
	/* What was read may have been another file, under that number. */
	return strata__pins_mend(scan->rcu) || changed;
}

/* Once for an owner and pass. */
static bool
changes_add(struct strata__scan *scan, uint32_t owner)
{
	struct strata__pins_tally *tally = strata__pins_tally(scan->rcu, owner);

	if (tally == NULL)
		return true;
	if (!tally->has_changed)
		tally->changes++;
	tally->has_changed = true;
	return strata__pins_is_heard(owner, tally->changes);
}

/* Did anybody who is heard? */
static bool
handovers_changed(struct strata__scan *scan)
{
	struct strata__rcu *rcu = scan->rcu;
	bool changed = false;

	for (size_t i = 0; i < rcu->nr_tallies; i++)
		rcu->tallies[i].has_changed = false;
	STRATA_TESTPOINT("scan.read");
	/* Letter K: what was read is before this look. */
	strata__fence_acquire();
	for (size_t i = 0; i < scan->nr_files; i++)
		if (has_changed(scan, i) &&
		    changes_add(scan, rcu->files[i].owner))
			changed = true;
	return changed;
}

/* Did this owner? Without a bound: it makes his own dead count as alive. */
static bool
owner_handed_over(struct strata__scan *scan, uint32_t owner)
{
	bool changed = false;

	/* Letter K: what was asked is before this look. */
	strata__fence_acquire();
	for (size_t i = 0; i < scan->nr_files; i++)
		changed |= scan->rcu->files[i].owner == owner &&
			has_changed(scan, i);
	return changed;
}

static int
pin_compare(const void *a, const void *b)
{
	uint64_t x = strata__pin_version(((const struct strata__pin *)a)->word);
	uint64_t y = strata__pin_version(((const struct strata__pin *)b)->word);

	if (x != y)
		return x < y ? -1 : 1;
	return memcmp(a, b, offsetof(struct strata__pin, alive));
}

/* By version; each of them once, in however many passes it was met. */
static void
pins_sort(struct strata__scan *scan)
{
	size_t nr = 0;

	if (scan->nr < 2)
		return;
	qsort(scan->pins, scan->nr, sizeof(*scan->pins), pin_compare);
	for (size_t i = 1; i < scan->nr; i++)
		if (pin_compare(&scan->pins[nr], &scan->pins[i]) != 0)
			scan->pins[++nr] = scan->pins[i];
	scan->nr = nr + 1;
}

static int
scan_pass(struct strata__scan *scan)
{
	int ret = files_note(scan);

	scan->readers = 0;
	for (uint32_t i = 0; ret == 0 && i < scan->rcu->nr_files; i++)
		ret = scan_file(scan, i);
	if (ret == 0)
		ret = scan_own(scan);
	pins_sort(scan);
	/* Letter D: what the readers of sections that we saw ended did in them
	 * is before what we do next. */
	strata__fence_acquire();
	return ret;
}

/* The descriptors last: a counter may have been read by one that was lost. */
static bool
is_to_be_read_again(struct strata__scan *scan)
{
	bool changed = handovers_changed(scan);

	return strata__pins_mend(scan->rcu) || changed;
}

/*
 * Without the fence; scan_mutex held. A process that forks inside a section sets
 * the child's pin, raises its counter, and may then leave: a pass that read the
 * child's slot before and the parent's after has missed both. So it is done
 * again; what was seen before is kept, which can only protect too much.
 */
static int
scan_read(struct strata__scan *scan)
{
	int ret;

	strata__pins_tallies_begin(scan->rcu);
	do
		ret = scan_pass(scan);
	while (ret == 0 && is_to_be_read_again(scan));
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
	STRATA_TESTPOINT("scan.taken");
	if (err != 0)
		strata__scan_done(ret);
	return err;
}

void
strata__scan_done(struct strata__scan *scan)
{
	free(scan->pins);
	free(scan->files);
	scan->pins = NULL;
	scan->files = NULL;
	scan->nr = scan->max = scan->nr_files = 0;
	pthread_mutex_unlock(&scan->rcu->scan_mutex);
}

/* Is the descriptor still the segment's? */
static bool
is_open(const struct strata__rcu *rcu, const struct strata__pins_file *file)
{
	struct strata__file_id id = { .device = rcu->space->folder.id.device,
				      .inode = file->inode };

	return file->fd >= 0 && strata__os_is_file(file->fd, &id);
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

static bool
ask_if_alive(struct strata__scan *scan, const struct strata__pin *pin)
{
	const struct strata__pins_file *file = &scan->rcu->files[pin->file];
	struct strata__scan_file *mine = pin->file < scan->nr_files ?
		&scan->files[pin->file] :
		NULL;
	uint64_t begin;
	bool alive;

	if (file->inode != pin->inode || (file->fd < 0 && !file->lost))
		return false; /* no reader lived in it */
	if (!is_open(scan->rcu, file))
		return true;
	if (mine != NULL && mine->asked_ns > ASKING_MAX_NS)
		return true;
	STRATA_TESTPOINT("scan.asking");
	begin = strata__os_monotonic_ns();
	/* Last: was it the segment that said so, and were it the counters? */
	alive = slot_is_locked(file, pin->slot) ||
		owner_handed_over(scan, file->owner) ||
		strata__pins_mend(scan->rcu);
	if (mine != NULL)
		mine->asked_ns += strata__os_monotonic_ns() - begin;
	return alive;
}

/* First the pin was read, now the kernel is asked: so a pin that is ignored was
 * left by a reader that was dead already. Unless it died after handing its
 * section over to a child, whose pin we may have missed: then it counts as alive
 * for this scan. */
bool
strata__scan_alive(struct strata__scan *scan, struct strata__pin *pin)
{
	if (pin->alive < 0)
		pin->alive = ask_if_alive(scan, pin);
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
	ret->uid = scan->rcu->files[pin->file].owner;
	ret->pid = slot->pid;
	ret->pid_namespace = slot->pid_namespace;
	memcpy(ret->name, slot->name, sizeof(ret->name) - 1);
	/* Its own word: print only what is harmless on a terminal. */
	for (char *c = ret->name; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f)
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
	uint64_t size = scan->rcu->space->geometry->pins_size;
	bool loaded;
	int ret = scan_load(scan->rcu, &scan->rcu->files[file], size, &loaded);

	if (!loaded)
		return ret;
	for (uint32_t i = 0; ret == 0 && i < nr_slots(scan->rcu, size); i++) {
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
	ret = strata__pins_list(rcu);
	if (ret == 0)
		ret = handovers_note(&scan);
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
	const struct strata__pins_file *file;
	uint64_t word;
	int ret;

	(void)strata__pins_list(scan->rcu); /* opens again what was closed */
	file = &scan->rcu->files[pin->file];
	if (file->inode != pin->inode || (file->fd < 0 && !file->lost))
		return true; /* no reader lived in it */
	if (!is_open(scan->rcu, file))
		return false;
	ret = strata__os_pread(file->fd, &word, sizeof(word),
			       STRATA_PINS_SLOTS +
				       pin->slot * sizeof(struct strata__slot));
	if (ret != 0)
		return ret == -ENODATA; /* truncated: not a reader any more */
	if (word == pin->word && slot_is_locked(file, pin->slot))
		return false;
	return is_open(scan->rcu, file); /* it was the segment that said so */
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
	*ret_again = anybody_handed_over(&scan);
	strata__scan_done(&scan);
	return ret;
}

int
strata__rcu_synchronize(struct strata__rcu *rcu, int64_t timeout_ns)
{
	uint64_t deadline = timeout_ns < 0 ?
		UINT64_MAX :
		strata__os_monotonic_ns() + (uint64_t)timeout_ns;
	bool again = !STRATA_BROKEN(STRATA_NO_GRACE);
	unsigned round = 0;
	int ret = 0;

	while (ret == 0 && again) {
		if (round != 0)
			nap(round - 1);
		round++;
		ret = synchronize_once(rcu, deadline, &again);
		if (ret == 0 && again && strata__os_monotonic_ns() >= deadline)
			ret = strata__fail(STRATA_ETIMEDOUT,
					   "processes that fork inside sections "
					   "did not come to rest in time");
	}
	return ret;
}
