/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * The loops of a peer, the same for all. Included by the peer's own file,
 *behind static inline functions
 *
 *	void peer_begin(void), peer_end(void)     a section, or nothing
 *	const struct link *peer_peek(const struct link *at)
 *	const char *peer_whole(const struct link *at, size_t *ret_size)
 *
 * and a pointer to the contents that it was set up with, named "held". No
 *guard: this is not a header but text.
 */

/*
 * What a content says is next. Both numbers come by one load, as the index does
 * for peers that want no more than that: a second load of a line whose page is
 * not in the processor's first table of addresses waits half as long again as
 * the first one, and that would be the time of this loop, and not of a peer.
 */
static inline struct link
next_of(const struct link *from)
{
	struct link next;
	uint64_t key;

	memcpy(&key, from, sizeof(key));
	__asm__("" : "+r"(key));
	memcpy(&next, &key, sizeof(key));
	next.index = from->index;
	return next;
}

static uint64_t
loop_chain(uint64_t steps)
{
	struct link at = {1, 0, 0};

	for (uint64_t i = 0; i < steps; i++) {
		peer_begin();
		at = next_of(peer_peek(&at));
		peer_end();
	}
	return at.index;
}

static inline uint64_t
loop_chain_section(uint64_t steps)
{
	struct link at = {1, 0, 0};

	peer_begin();
	for (uint64_t i = 0; i < steps; i++)
		at = next_of(peer_peek(&at));
	peer_end();
	return at.index;
}

static uint64_t
loop_many(uint64_t steps)
{
	uint64_t sum = 0;

	for (uint64_t step = 0; step < steps; step += PEER_TOTAL)
		for (uint32_t i = 0; i < PEER_TOTAL; i++) {
			peer_begin();
			sum += peer_peek(&held->order[i])->index;
			peer_end();
		}
	return sum;
}

static inline uint64_t
loop_many_section(uint64_t steps)
{
	uint64_t sum = 0;

	for (uint64_t step = 0; step < steps; step += PEER_TOTAL) {
		peer_begin();
		for (uint32_t i = 0; i < PEER_TOTAL; i++)
			sum += peer_peek(&held->order[i])->index;
		peer_end();
	}
	return sum;
}

static uint64_t
loop_whole(uint64_t steps)
{
	uint64_t sum = 0;
	size_t size;

	for (uint64_t i = 0; i < steps; i++) {
		const char *data;

		peer_begin();
		data = peer_whole(&held->order[i % PEER_TOTAL], &size);
		sum += bench_sum(data, size);
		peer_end();
	}
	return sum;
}

static void
loop_until(const _Atomic int *stop, _Atomic uint64_t *done)
{
	uint64_t sum = 0, nr = 0;

	while (atomic_load_explicit(stop, memory_order_relaxed) == 0)
		for (uint32_t i = 0; i < PEER_TOTAL; i++) {
			peer_begin();
			sum += peer_peek(&held->order[i])->index;
			peer_end();
			/* Often enough for slow peers, and seldom enough for
			 * the raw one. */
			if (++nr % 8 != 0)
				continue;
			atomic_store_explicit(done, nr, memory_order_relaxed);
			if (atomic_load_explicit(stop, memory_order_relaxed))
				break;
		}
	bench_use(sum);
}

static bool
loop_same(void)
{
	bool same = true;
	size_t size;

	for (uint32_t i = 0; i < PEER_TOTAL; i++) {
		const struct link *at = &held->order[i];
		const char *data;

		peer_begin();
		data = peer_whole(at, &size);
		same = same && size == held->sizes[at->index] &&
		       memcmp(data, held->data[at->index], size) == 0;
		peer_end();
	}
	return same;
}

#define PEER_LOOPS                                                   \
	.chain = loop_chain, .many = loop_many, .whole = loop_whole, \
	.until = loop_until, .same = loop_same
#define PEER_SECTION_LOOPS                               \
	PEER_LOOPS, .chain_section = loop_chain_section, \
		    .many_section = loop_many_section
