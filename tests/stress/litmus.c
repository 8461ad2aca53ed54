/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Litmus of the two fences, with a store buffer that is made slow. */
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proc.h"
#include "snapshot.h"
#include "store.h"

#if defined(__x86_64__)
#include <immintrin.h>

/*
 * The reader runs the real strata_read_lock(), in a process and on a CPU of its
 * own; the writer does what a commit and a scan do, by hand, in the fewest
 * instructions:
 *
 *	reader                              writer
 *	  load version: v                     store version v + 1
 *	  store pin = v (delayed)             heavy fence
 *	  light fence                         load pin: p
 *	  load version: still v, validated
 *
 * Forbidden: the reader has validated v, and p is not v. Then a reclaim would
 * free what v reaches.
 *
 * On x86 only the store buffer can bring that about, and it drains within some
 * ten nanoseconds; so the test point between the first load and the pin stores
 * to lines that were flushed from all caches: the pin waits behind them, while
 * the loads go ahead. Without that delay the test shows nothing either way.
 */
#define NR_LINES    48u
#define MODE_ROUNDS UINT64_C(200000) /* of a variant that must hold */
#define ENOUGH      1000u /* forbidden outcomes, of one that must not */
#define GUARD_S     400u  /* seconds; a hanging test is ended */
#define FEWEST      UINT64_C(1000) /* rounds that say something */

struct variant {
	const char *name;
	bool membarrier;
	unsigned broken;
	bool forbidden_expected;
};

static const struct variant variants[] = {
	{"membarrier, whole", true, 0, false},
	{"membarrier, no heavy fence", true, STRATA_NO_HEAVY_FENCE, true},
	{"full barriers, whole", false, 0, false},
	{"full barriers, no light fence", false, STRATA_NO_LIGHT_FENCE, true},
};

/* One line for each word: what they share is only what is tested. */
struct line {
	_Alignas(128) _Atomic uint64_t word;
};

/* Of one variant, shared. Rounds count from 1; 0 is nobody yet. */
struct bench {
	struct line slot_offset; /* of the reader's slot in its segment */
	struct line ready;       /* round that the reader is about to begin */
	struct line go;          /* round that the writer began */
	struct line pinned;      /* pin word that the writer saw... */
	struct line seen;        /* ...in this round */
	struct line read;        /* version that the reader validated... */
	struct line over;        /* ...in this round */
	_Atomic uint32_t stop;
	struct line flushed[NR_LINES];
};

struct litmus {
	struct bench *bench;
	const struct variant *variant;
	uint64_t seed, limit_ns;
	uint64_t rounds, forbidden, stale; /* results; the writer's */
	const char *store;
	int cpus[2];
};

static struct bench *delayed; /* whose flushed lines the hook stores to */

/**** rounds ****/

static uint64_t
get(struct line *line)
{
	return atomic_load_explicit(&line->word, memory_order_acquire);
}

static void
set(struct line *line, uint64_t to)
{
	atomic_store_explicit(&line->word, to, memory_order_release);
}

/* Where the other one was descheduled, spinning keeps it so. */
static bool
await(struct bench *bench, struct line *line, uint64_t round)
{
	for (unsigned spins = 1; get(line) != round; spins++) {
		if (atomic_load_explicit(&bench->stop, memory_order_relaxed))
			return false;
		if (spins % 4096 == 0)
			sched_yield();
		else
			_mm_pause();
	}
	return true;
}

/* From nothing to some microseconds, so that each order of events is met. */
static void
dally(uint64_t *random, unsigned most_bits)
{
	uint64_t n =
		test_random(random) >> (63 - test_random(random) % most_bits);

	while (n-- != 0)
		__asm__ volatile("" ::: "memory");
}

static void
run_on(int cpu)
{
	cpu_set_t only;

	CPU_ZERO(&only);
	CPU_SET(cpu, &only);
	need(sched_setaffinity(0, sizeof(only), &only) == 0, "CPU %d", cpu);
}

/**** the reader ****/

static void
flush_lines(struct bench *bench)
{
	for (unsigned i = 0; i < NR_LINES; i++)
		_mm_clflush(&bench->flushed[i]);
	_mm_mfence();
}

static void
delay_stores(const char *name)
{
	if (delayed == NULL || strcmp(name, "reader.lock.version-read") != 0)
		return;
	for (unsigned i = 0; i < NR_LINES; i++)
		atomic_store_explicit(&delayed->flushed[i].word, i,
				      memory_order_relaxed);
}

/* The section is kept open until the writer has looked for its pin. */
static bool
reader_round(struct bench *bench, struct strata_reader *reader, uint64_t round,
	     uint64_t *random)
{
	uint64_t version;

	flush_lines(bench);
	set(&bench->ready, round);
	if (!await(bench, &bench->go, round))
		return false;
	dally(random, 6);
	need(strata_read_lock(reader) == 0, "lock");
	version = strata_reader_version(reader);
	if (!await(bench, &bench->seen, round))
		return false;
	need(strata_read_unlock(reader) == 0, "unlock");
	atomic_store_explicit(&bench->read.word, version, memory_order_relaxed);
	set(&bench->over, round);
	return true;
}

static void
tell_slot(struct bench *bench, const struct strata_reader *reader)
{
	uint64_t slot = reader->chunk->first +
			(uint64_t)(reader->slot - reader->chunk->slots);

	set(&bench->slot_offset,
	    STRATA_PINS_SLOTS + slot * sizeof(struct strata__slot));
}

static void
reader_main(struct proc *parent, void *arg)
{
	struct litmus *litmus = arg;
	struct bench *bench = litmus->bench;
	uint64_t random = litmus->seed + 1, round = 1;
	struct strata_store *store;
	struct strata_reader *reader;

	(void)parent;
	alarm(GUARD_S);
	run_on(litmus->cpus[0]);
	need(strata_attach(litmus->store, STRATA_READ, &store) == 0, "attach");
	need(strata_reader_open(store, &reader) == 0, "reader");
	need(reader->full_fence != litmus->variant->membarrier,
	     "the reader has the other fence");
	tell_slot(bench, reader);
	delayed = bench;
	strata__testpoint = delay_stores;
	while (reader_round(bench, reader, round, &random))
		round++;
}

/**** the writer ****/

static uint64_t
writer_round(struct litmus *litmus, struct strata_store *store,
	     struct strata__slot *slot, uint64_t round, uint64_t *random)
{
	struct bench *bench = litmus->bench;
	struct strata__hot *hot = &store->space.catalog->hot;
	uint64_t pin;

	set(&bench->go, round);
	dally(random, 14);
	atomic_store_explicit(&hot->version, round, memory_order_release);
	strata__heavy_fence(&store->rcu);
	pin = atomic_load_explicit(&slot->pin, memory_order_relaxed);
	atomic_store_explicit(&bench->pinned.word, pin, memory_order_relaxed);
	set(&bench->seen, round);
	return pin;
}

/* Version round - 1 was current until this round made it round. */
static void
judge(struct litmus *litmus, uint64_t round, uint64_t pin)
{
	uint64_t version = atomic_load_explicit(&litmus->bench->read.word,
						memory_order_relaxed);

	litmus->rounds++;
	if (version == round)
		return;
	need(version == round - 1, "round %" PRIu64 " read version %" PRIu64,
	     round, version);
	litmus->stale++;
	litmus->forbidden += strata__pin_version(pin) != version;
}

/* Does it say what is expected of its variant? Or, of one that must hold, that
 * it does not: that will not change. */
static bool
is_decided(const struct litmus *litmus)
{
	if (litmus->variant->forbidden_expected)
		return litmus->forbidden != 0;
	return litmus->forbidden != 0 ||
	       (litmus->rounds >= FEWEST && litmus->stale != 0);
}

/* Enough rounds to say that it holds, or enough outcomes to say it does not; or
 * the time is over, and it is decided. */
static bool
is_enough(const struct litmus *litmus, const struct test_run *run)
{
	if (litmus->forbidden >= ENOUGH)
		return true;
	if (!litmus->variant->forbidden_expected &&
	    litmus->rounds >= MODE_ROUNDS && litmus->stale != 0)
		return true;
	return litmus->rounds % 256 == 0 &&
	       !test_run_goes_on(run, is_decided(litmus));
}

/* The store's version is the round; version 1 is that of an empty store. */
static void
write_rounds(struct litmus *litmus, struct strata_store *store,
	     struct strata__slot *slot)
{
	struct test_run run = test_run_begin(litmus->limit_ns);
	uint64_t random = litmus->seed, pin;

	for (uint64_t round = 1; !is_enough(litmus, &run); round++) {
		need(await(litmus->bench, &litmus->bench->ready, round),
		     "ready");
		pin = writer_round(litmus, store, slot, round, &random);
		need(await(litmus->bench, &litmus->bench->over, round), "over");
		judge(litmus, round, pin);
	}
}

/* The reader's slot, mapped from its segment as nobody else does. */
static struct strata__slot *
find_slot(struct litmus *litmus, struct strata_store *store)
{
	char name[STRATA_SEGMENT_NAME];
	uint64_t offset;
	char *map;
	int fd;

	while ((offset = get(&litmus->bench->slot_offset)) == 0)
		sched_yield();
	strata__segment_name_pins(name, &store->space.id, geteuid(), 0);
	fd = openat(store->space.folder.fd, name, O_RDONLY | O_CLOEXEC);
	need(fd >= 0, "open %s", name);
	map = mmap(NULL, store->space.geometry->pins_size, PROT_READ,
		   MAP_SHARED, fd, 0);
	need(map != MAP_FAILED, "map %s", name);
	close(fd);
	return (struct strata__slot *)(void *)(map + offset);
}

static void
writer_main(struct proc *parent, void *arg)
{
	struct litmus *litmus = arg;
	struct strata_store *store;

	(void)parent;
	alarm(GUARD_S);
	run_on(litmus->cpus[1]);
	need(strata_attach(litmus->store, STRATA_WRITE, &store) == 0, "attach");
	write_rounds(litmus, store, find_slot(litmus, store));
}

/**** variants ****/

/* As a store that was created where membarrier is not to be had. */
static void
make_store(const char *name, bool membarrier)
{
	const struct strata_config config = {.struct_size = sizeof(config),
					     .limit = STRATA_LIMIT_MIN,
					     .readers = 4};
	struct strata_store *store;

	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	if (!membarrier)
		store->space.catalog->geometry.membarrier = 0;
	need(strata_detach(store) == 0, "detach");
}

/* The writer ends by itself; the reader when it is told. */
static void
run_variant(struct litmus *litmus)
{
	struct proc reader, writer;

	make_store(litmus->store, litmus->variant->membarrier);
	strata__broken = litmus->variant->broken;
	proc_start(&reader, reader_main, litmus);
	proc_start(&writer, writer_main, litmus);
	proc_join(&writer);
	atomic_store_explicit(&litmus->bench->stop, 1, memory_order_relaxed);
	proc_join(&reader);
	strata__broken = 0;
	need(strata_destroy(litmus->store) == 0, "destroy");
}

static bool
is_as_expected(const struct litmus *litmus)
{
	if (litmus->variant->forbidden_expected)
		return litmus->forbidden != 0;
	return litmus->forbidden == 0 && litmus->rounds >= FEWEST &&
	       litmus->stale != 0;
}

static bool
holds(const struct variant *variant, const int cpus[2], uint64_t seed)
{
	struct litmus *litmus = proc_shared(sizeof(*litmus));
	bool right;

	litmus->bench = proc_shared(sizeof(*litmus->bench));
	litmus->store = store_name("litmus");
	litmus->variant = variant;
	litmus->seed = seed;
	litmus->limit_ns = snapshot_length_ns(3, 6, 60);
	litmus->cpus[0] = cpus[0];
	litmus->cpus[1] = cpus[1];
	run_variant(litmus);
	right = is_as_expected(litmus);
	printf("%-30s %9" PRIu64 " %9" PRIu64 " %9" PRIu64 "  %-8s  %s\n",
	       variant->name, litmus->rounds, litmus->stale, litmus->forbidden,
	       variant->forbidden_expected ? "some" : "none",
	       right ? "right" : "WRONG");
	munmap(litmus->bench, sizeof(*litmus->bench));
	munmap(litmus, sizeof(*litmus));
	return right;
}

static bool
two_cpus(int cpus[2])
{
	cpu_set_t allowed;
	int nr = 0;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return false;
	for (int cpu = 0; cpu < CPU_SETSIZE && nr < 2; cpu++)
		if (CPU_ISSET(cpu, &allowed))
			cpus[nr++] = cpu;
	return nr == 2;
}

int
main(void)
{
	bool right = true;
	uint64_t seed;
	int cpus[2];

	if (!two_cpus(cpus)) {
		puts("skipped: two CPUs are needed");
		return 77;
	}
	if (getenv("STRATA_COVERAGE") != NULL) {
		puts("skipped: the atomic counters of coverage are fences");
		return 77;
	}
	if (strata__os_membarrier_register() != 0) {
		puts("skipped: this kernel has no membarrier");
		return 77;
	}
	shm_begin();
	seed = test_seed();
	printf("%-30s %9s %9s %9s  %s\n", "variant", "rounds", "stale",
	       "forbidden", "expected");
	for (size_t i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
		right &= holds(&variants[i], cpus, test_random(&seed));
	shm_end();
	return right ? 0 : 1;
}

#else

int
main(void)
{
	puts("skipped: only x86 can flush the lines that delay a store");
	return 77;
}

#endif
