/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What is hot: a few lookups of each reader, sampled into its own slot. */
#include "heat.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

/*
 * A count for each layer would be a store in each lookup, to a line that all
 * readers write. So a reader notes one lookup in an eighth of a second at most,
 * in its own slot, on the line that its own locks write anyway. A lookup has not
 * one instruction more for that: the read lock, where the section number is at
 * hand, compares that with the number of the next section that is to be looked
 * at; and a lookup that is due takes the slow way that one in a store with
 * unmapped regions takes, by the same word of the handle.
 *
 * Which lookup of those that come is noted, is a matter of chance: from the one
 * that is due some are let pass, over the ends of sections, so that programs
 * whose sections are all alike do not show their first lookup only.
 *
 * The slot is its user's, who may write anything there: for display.
 */

#define PERIOD_NS (UINT64_C(1) << STRATA_SAMPLE_TICK)
#define SECTIONS_MAX 1024u /* that are let pass between two looks at a clock */
#define LOOKUPS_MAX  16u   /* that are let pass before one is noted */

/**** noting ****/

/* How many sections until the clock is looked at again: so many as came in a
 * period, about, but not so many that a reader which has become slow is not
 * looked at for long. */
static uint32_t
next_step(uint32_t step, uint64_t elapsed_ns)
{
	if (elapsed_ns < PERIOD_NS)
		return step < SECTIONS_MAX / 2 ? 2 * step : SECTIONS_MAX;
	step = (uint32_t)(step * PERIOD_NS / elapsed_ns);
	return step > 0 ? step : 1;
}

/* Who enters sections and looks nothing up shall not go the slow way for ever. */
static void
unmark_idle(struct strata_reader *reader, uint64_t sections)
{
	if (sections - reader->marked_at < SECTIONS_MAX)
		return;
	reader->slow &= (uint8_t)~STRATA_SLOW_SAMPLED;
	strata__reader_ways(reader);
}

void
strata__heat_section(struct strata_reader *reader, uint64_t sections)
{
	uint64_t now = strata__os_realtime_coarse_ns();
	uint64_t elapsed = now - reader->sampled_ns; /* a clock set back: much */

	reader->sample_step = next_step(
		reader->sample_step > 0 ? reader->sample_step : 1, elapsed);
	reader->sample_at = sections + reader->sample_step;
	if ((reader->slow & STRATA_SLOW_SAMPLED) != 0) {
		unmark_idle(reader, sections);
		return;
	}
	if (elapsed < PERIOD_NS)
		return;
	reader->sampled_ns = now;
	reader->marked_at = sections;
	reader->sample_skip = (uint8_t)((sections ^ now >> 10) *
						UINT64_C(0x9e3779b97f4a7c15) >>
					60) %
			      LOOKUPS_MAX;
	reader->slow |= STRATA_SLOW_SAMPLED;
	strata__reader_ways(reader);
}

/* Of what is older than the ticks reach, nobody could tell how old it is. */
static void
forget_old(struct strata__slot *slot, uint64_t now)
{
	uint64_t newest = strata__count(&slot->sampled_ns);

	if (now - newest < (STRATA_SAMPLE_TICKS / 2) << STRATA_SAMPLE_TICK)
		return;
	for (unsigned i = 0; i < STRATA_SLOT_SAMPLES; i++)
		strata__count_set(&slot->samples[i], 0);
}

void
strata__heat_lookup(struct strata_reader *reader, uint32_t dimension,
		    uint32_t layer)
{
	struct strata__slot *slot = reader->slot;
	uint64_t now;

	if (reader->sample_skip > 0) {
		reader->sample_skip--;
		return;
	}
	now = strata__os_realtime_coarse_ns();
	forget_old(slot, now);
	strata__count_set(
		&slot->samples[reader->nr_samples++ % STRATA_SLOT_SAMPLES],
		strata__sample_word(dimension, layer, now));
	strata__count_set(&slot->sampled_ns, now);
	reader->slow &= (uint8_t)~STRATA_SLOW_SAMPLED;
	strata__reader_ways(reader);
}

/**** telling ****/

struct gathered {
	struct strata_sample *list;
	size_t nr, max;
};

static int
gather_room(struct gathered *gathered)
{
	size_t max = gathered->max != 0 ? 2 * gathered->max : 64;
	struct strata_sample *list;

	if (gathered->nr < gathered->max)
		return 0;
	list = reallocarray(gathered->list, max, sizeof(*list));
	if (list == NULL)
		return strata__fail(STRATA_ENOMEM,
				    "no memory for a list of samples");
	gathered->list = list;
	gathered->max = max;
	return 0;
}

/* When it was, by the newest sample's time. */
static uint64_t
sample_time(uint64_t word, uint64_t newest_ns)
{
	uint64_t ticks = ((newest_ns >> STRATA_SAMPLE_TICK) - word) &
			 STRATA_SAMPLE_TICKS;

	if (newest_ns >> STRATA_SAMPLE_TICK < ticks)
		return 0;
	return ticks == 0 ? newest_ns
			  : ((newest_ns >> STRATA_SAMPLE_TICK) - ticks)
				    << STRATA_SAMPLE_TICK;
}

static int
gather(const struct strata__slot *slot, const struct strata__pin *pin,
       struct strata__scan *scan, void *arg)
{
	struct strata__slot copy = *slot;
	struct strata__pin asked = *pin;
	struct gathered *gathered = arg;
	int ret = 0;

	if (!strata__scan_alive(scan, &asked))
		return 0;
	for (unsigned i = 0; ret == 0 && i < STRATA_SLOT_SAMPLES; i++) {
		uint64_t word = strata__count(&copy.samples[i]);
		struct strata_sample *sample;

		if (word >> 46 == 0)
			continue;
		ret = gather_room(gathered);
		if (ret != 0)
			break;
		sample = &gathered->list[gathered->nr++];
		memset(sample, 0, sizeof(*sample));
		sample->dimension = (uint32_t)(word >> 46);
		sample->layer = (uint32_t)(word >> 15) & STRATA_LAYER_MAX;
		sample->time_ns = sample_time(
			word, strata__count(&copy.sampled_ns));
		sample->pid = copy.pid;
		sample->pid_namespace = copy.pid_namespace;
	}
	return ret;
}

int
strata_foreach_sample(struct strata_store *store,
		      int (*fn)(const struct strata_sample *sample, void *arg),
		      void *arg)
{
	struct gathered gathered = {NULL, 0, 0};
	int ret;

	if (store == NULL || fn == NULL)
		return strata__fail(STRATA_EINVAL, "no store, or no function");
	/* fn is called without our mutex. */
	ret = strata__scan_each(&store->rcu, gather, &gathered);
	for (size_t i = 0; ret == 0 && i < gathered.nr; i++)
		ret = fn(&gathered.list[i], arg);
	free(gathered.list);
	return ret;
}
