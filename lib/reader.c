/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The read path: lock, find, use, unlock. */
#include <errno.h>
#include <string.h>

#include "error.h"
#include "heat.h"
#include "meta.h"
#include "store.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* The usual way begins at the beginning of a line of code, and is in one or two:
 * a call costs as much as what is done in it, and half as much again when the
 * CPU fetches more lines for it than it must. */
#define STRATA_CODE_LINE __attribute__((aligned(64)))

/*
 * The usual way through lock, find and unlock is in strata/inline.h, for it is
 * compiled into programs, too. It goes by numbers; here is what they are of.
 * Whoever changes one of these layouts changes STRATA_INLINE_ABI, and gives the
 * old layout's stores, as long as they are read, handles that are in
 * STRATA__WAY_CALL all the time.
 */
#define word_of(type, member) (offsetof(type, member) / sizeof(uint64_t))
_Static_assert(STRATA_LAYOUT_MAJOR == 2, "see above");
_Static_assert(word_of(struct strata__hot, version) == STRATA__HOT_VERSION &&
		       word_of(struct strata__hot, roots) == STRATA__HOT_ROOTS &&
		       word_of(struct strata__hot, segment_epoch) ==
			       STRATA__HOT_EPOCH,
	       "struct strata__hot");
_Static_assert(word_of(struct strata__slot, pin) == STRATA__SLOT_PIN &&
		       word_of(struct strata__slot, sections) ==
			       STRATA__SLOT_SECTIONS,
	       "struct strata__slot");
_Static_assert(STRATA__VERSION_DEAD_BIT == STRATA_VERSION_DEAD &&
		       STRATA__PIN_SECTION_SHIFT == STRATA_VERSION_BITS,
	       "versions and pins");
_Static_assert(STRATA__REF_HEIGHT == STRATA_REF_TAG &&
		       STRATA__ROOT_SLOTS == STRATA_NODE_SLOTS &&
		       STRATA__NEAR_LAYERS == STRATA_INLINE_ENTRIES,
	       "nodes");
_Static_assert(STRATA__NEAR_PLACES ==
			       offsetof(struct strata__dimnode, u.places) &&
		       sizeof(struct strata__place) == 16 &&
		       offsetof(struct strata__place, size) == 8 &&
		       STRATA__NEAR_ENTRIES ==
			       offsetof(struct strata__dimnode, u.entries),
	       "struct strata__dimnode");

/**** the slow ways in ****/

static int __attribute__((noinline, cold))
lock_gone(struct strata_reader *reader)
{
	atomic_store_explicit(&reader->slot->pin, 0, memory_order_release);
	return strata__fail(STRATA_EGONE, "store '%s' was destroyed",
			    reader->store->name);
}

/*
 * Who has once mapped everything maps what is new. Who is new itself maps what
 * its first section meets, so that it has its first value soon, and some of the
 * rest with each section after that.
 */
static void
map_more(struct strata__space *space, uint64_t sections)
{
	if (strata__mapped_epoch(space) != 0)
		(void)strata__space_refresh(space, /* retry= */ false);
	else if (sections > 1)
		strata__space_map_more(space);
}

/*
 * The store's segment epoch is not one at which this handle knows everything to
 * be mapped. The section has begun: a region that cannot be mapped is an error of
 * its layers only.
 */
static void
lock_refresh(struct strata_reader *reader, uint64_t epoch, uint64_t sections)
{
	struct strata__space *space = &reader->store->space;

	if (epoch > strata__mapped_epoch(space))
		map_more(space, sections);
	if (strata__space_is_whole(space, epoch)) {
		reader->slow &= (uint8_t)~STRATA_SLOW_UNMAPPED;
		reader->epoch = epoch;
	} else {
		/* Lookups ask, and the next lock comes here again. */
		reader->slow |= STRATA_SLOW_UNMAPPED;
		reader->epoch = 0;
	}
}

/* The section has begun. */
static int __attribute__((noinline, cold))
lock_slowly(struct strata_reader *reader, uint64_t sections)
{
	uint64_t epoch = strata__inline_epoch(strata__inline_hot(reader));

	if (epoch != reader->epoch)
		lock_refresh(reader, epoch, sections);
	if (sections >= reader->sample_at)
		strata__heat_section(reader, sections);
	strata__reader_ways(reader);
	return 0;
}

/*
 * The handle was another thread's, or is new. Who looks whether a section is his
 * own loads the pin (acquire), and then the thread; and whoever sees one of our
 * pins sees this. Without the fence a fork of the former thread could give its
 * child our section, which nobody there would end.
 */
static void
lock_handed_over(struct strata_reader *reader)
{
	__atomic_store_n(&reader->thread, strata__thread(), __ATOMIC_RELAXED);
	strata__fence_release();
}

/* Any handle that is of this process and outside of a section. */
static int __attribute__((noinline))
lock_any(struct strata_reader *reader)
{
	const uint64_t *hot = strata__inline_hot(reader);
	uint64_t *slot = strata__inline_slot(reader);
	uint64_t number = strata__inline_number(slot), pin, root;

	if (__atomic_load_n(&reader->thread, __ATOMIC_RELAXED) !=
	    strata__thread())
		lock_handed_over(reader);
	if (unlikely(!strata__inline_pin(hot, slot, number, reader->full_fence,
					 &pin, &root)))
		return lock_gone(reader);
	strata__inline_begin(reader, pin, root);
	if (unlikely(reader->slow != 0 || number >= reader->sample_at ||
		     strata__inline_epoch(hot) != reader->epoch))
		return lock_slowly(reader, number);
	return 0;
}

static int __attribute__((noinline))
lock_unusual(struct strata_reader *reader)
{
	int ret;

	if (reader == NULL)
		return strata__fail(STRATA_EINVAL, "no reader");
	if (reader->hot == NULL) {
		ret = strata__reader_revive(reader);
		if (ret != 0)
			return ret;
	}
	if (reader->pin == 0)
		return lock_any(reader);
	reader->nested++;
	strata__reader_ways(reader);
	return 0;
}

int STRATA_CODE_LINE
strata_read_lock(struct strata_reader *reader)
{
	const uint64_t *hot;
	uint64_t *slot;
	uint64_t number, pin, root, epoch;

	if (unlikely(reader == NULL || reader->way != STRATA__WAY_LOCK))
		return lock_unusual(reader);
	hot = strata__inline_hot(reader);
	slot = strata__inline_slot(reader);
	number = strata__inline_number(slot);
	if (unlikely(!strata__inline_may_enter(reader, number)))
		return lock_any(reader);
	if (unlikely(!strata__inline_pin(hot, slot, number, /* full= */ 0, &pin,
					 &root)))
		return lock_gone(reader);
	epoch = strata__inline_epoch(hot);
	strata__inline_begin(reader, pin, root);
	if (unlikely(epoch != reader->epoch))
		return lock_slowly(reader, number);
	return 0;
}

/**** the way out ****/

static int __attribute__((noinline, cold))
unlock_refused(const struct strata_reader *reader)
{
	if (reader != NULL && reader->hot == NULL)
		return strata__fail(STRATA_EINVAL,
				    "the reader is closed, or its section did "
				    "not survive a fork");
	return strata__fail(STRATA_EINVAL, "unlock outside of a section");
}

static int __attribute__((noinline, cold))
unlock_lost(void)
{
	return strata__fail(STRATA_EPIN,
			    "the pin of this section was overwritten by "
			    "another process of this user: throw away what "
			    "was read");
}

static int __attribute__((noinline))
unlock_any(struct strata_reader *reader)
{
	bool lost;

	if (unlikely(reader == NULL || reader->pin == 0))
		return unlock_refused(reader);
	if (reader->nested > 0) {
		reader->nested--;
		strata__reader_ways(reader);
		return 0;
	}
	lost = strata__inline_is_lost(reader);
	strata__inline_leave(reader);
	return lost ? unlock_lost() : 0;
}

int STRATA_CODE_LINE
strata_read_unlock(struct strata_reader *reader)
{
	if (unlikely(reader == NULL || reader->way != STRATA__WAY_READ ||
		     strata__inline_is_lost(reader)))
		return unlock_any(reader);
	strata__inline_leave(reader);
	return 0;
}

uint64_t
strata_reader_version(const struct strata_reader *reader)
{
	return reader != NULL ? strata__pin_version(reader->pin) : 0;
}

/**** finding ****/

static int __attribute__((noinline, cold))
outside(const struct strata_reader *reader)
{
	if (reader == NULL || reader->pin == 0)
		return strata__fail(STRATA_EINVAL, "outside of a read section");
	return strata__fail(STRATA_EINVAL,
			    "dimensions are 1 to %u, layers 0 to %u",
			    STRATA_DIMENSION_MAX, STRATA_LAYER_MAX);
}

/*
 * Can that entry's content be followed here? Its region is mapped at its first
 * use: that is when the system is called, and the mutex taken. Once everything
 * is mapped the handle goes the usual way again, in this section already.
 */
static bool
is_mapped(struct strata_reader *reader, const struct strata__dimnode *node,
	  const struct strata_entry *entry)
{
	struct strata__space *space = &reader->store->space;

	if ((reader->slow & STRATA_SLOW_UNMAPPED) == 0)
		return true;
	if ((entry->flags & STRATA_ENTRY_REGION) == 0)
		return true;
	if (strata__space_map(space, node->region - 1,
			      node->region_generation) != 0)
		return false;
	/* Letter E: what this section reaches has no newer epoch. */
	if (strata__space_is_whole(
		    space, atomic_load_explicit(&reader->hot->segment_epoch,
						memory_order_relaxed))) {
		reader->slow &= (uint8_t)~STRATA_SLOW_UNMAPPED;
		strata__reader_ways(reader);
	}
	return true;
}

/* What was found, by a handle for which the usual way does not do. */
static int __attribute__((noinline, cold))
found_slowly(struct strata_reader *reader, uint32_t dimension, uint64_t slot,
	     uint32_t layer, const struct strata_entry *entry,
	     const struct strata_entry **ret_entry)
{
	if (!is_mapped(reader, strata__tree_dimnode(reader->window, slot),
		       entry))
		return strata__fail_unmapped(dimension);
	if ((reader->slow & STRATA_SLOW_SAMPLED) != 0)
		strata__heat_lookup(reader, dimension, layer);
	*ret_entry = entry;
	return 0;
}

/*
 * A layer of a dimension of up to 16384, in a section of STRATA__WAY_READ; NULL:
 * look on. As in strata/inline.h, what can be added is added before the loads.
 */
static inline const struct strata_entry *
entry_in_leaf(const struct strata_reader *reader, uint32_t dimension,
	      uint32_t layer)
{
	uint32_t child = layer / STRATA_LEAF_ENTRIES;
	const char *children = strata__inline_hidden(
		reader->window + offsetof(struct strata__dimnode, u) +
		(size_t)child * sizeof(uint64_t) - 1);
	const char *entries = strata__inline_hidden(
		reader->window + (size_t)(layer % STRATA_LEAF_ENTRIES) *
					 sizeof(struct strata_entry));
	const struct strata_entry *entry;
	uint64_t node, leaf;

	if (dimension >= STRATA_NODE_SLOTS ||
	    child >= STRATA_DIMENSION_CHILDREN)
		return NULL;
	node = ((const uint64_t *)(const void *)reader->top)[dimension];
	/* The 1 is what the address of the children has too little. */
	if ((node & STRATA_REF_TAG) != 1)
		return NULL;
	leaf = *(const uint64_t *)(const void *)(children + node);
	entry = (const struct strata_entry *)(const void *)(entries + leaf);
	return (entry->flags & STRATA_ENTRY_PRESENT) != 0 ? entry : NULL;
}

/* Whatever is not the usual case of strata_find(): answers that are errors, and
 * stores of many dimensions or layers. */
static int __attribute__((noinline))
find_any(struct strata_reader *reader, uint32_t dimension, uint32_t layer,
	 const struct strata_entry **ret_entry)
{
	const struct strata_entry *entry;
	uint64_t slot;

	if (likely(reader != NULL && reader->way == STRATA__WAY_READ)) {
		entry = entry_in_leaf(reader, dimension, layer);
		if (likely(entry != NULL)) {
			*ret_entry = entry;
			return 0;
		}
	}
	if (unlikely(reader == NULL || reader->pin == 0 ||
		     dimension - 1 >= STRATA_DIMENSION_MAX ||
		     layer > STRATA_LAYER_MAX))
		return outside(reader);
	slot = strata__tree_slot(reader->window, strata__reader_root(reader),
				 dimension);
	if (slot == 0)
		return STRATA_ENODIM;
	entry = strata__tree_entry(reader->window, slot, layer);
	if (entry == NULL)
		return STRATA_ENOLAYER;
	if (unlikely(reader->slow != 0))
		return found_slowly(reader, dimension, slot, layer, entry,
				    ret_entry);
	*ret_entry = entry;
	return 0;
}

int STRATA_CODE_LINE
strata_find(struct strata_reader *reader, uint32_t dimension, uint32_t layer,
	    const struct strata_entry **ret_entry)
{
	const struct strata_entry *entry;

	if (unlikely(reader == NULL || reader->way != STRATA__WAY_READ))
		return find_any(reader, dimension, layer, ret_entry);
	entry = strata__inline_entry(reader, dimension, layer);
	if (unlikely(entry == NULL))
		return find_any(reader, dimension, layer, ret_entry);
	*ret_entry = entry;
	return 0;
}

static const void *__attribute__((noinline))
get_any(struct strata_reader *reader, uint32_t dimension, uint32_t layer,
	size_t *ret_size)
{
	const struct strata_entry *entry;

	if (find_any(reader, dimension, layer, &entry) != 0)
		return NULL;
	*ret_size = entry->size;
	return reader->window + entry->content;
}

/* The address is the result, and not stored: what is read next waits for it,
 * and would wait for the store to be read back. */
const void *STRATA_CODE_LINE
strata_get(struct strata_reader *reader, uint32_t dimension, uint32_t layer,
	   size_t *ret_size)
{
	const void *content;

	if (unlikely(reader == NULL || reader->way != STRATA__WAY_READ))
		return get_any(reader, dimension, layer, ret_size);
	content = strata__inline_content(reader, dimension, layer, ret_size);
	if (unlikely(content == NULL))
		return get_any(reader, dimension, layer, ret_size);
	return content;
}

int
strata_meta(struct strata_reader *reader, const struct strata_entry *entry,
	    struct strata_meta *ret_meta)
{
	if (reader == NULL || reader->pin == 0 || entry == NULL)
		return outside(NULL);
	/* Its dimension is not told here. */
	if ((reader->slow & STRATA_SLOW_UNMAPPED) != 0 &&
	    (entry->flags & STRATA_ENTRY_REGION) != 0 &&
	    strata__space_map_ref(&reader->store->space, entry->content) != 0)
		return strata__fail_unmapped(0);
	return strata__meta_decode(reader->window + entry->meta,
				   entry->meta_size, ret_meta);
}

/**** dimensions and walks ****/

static enum strata_dimension_state
dimension_state(const struct strata__dimnode *node)
{
	if (node->region == 0)
		return STRATA_DIMENSION_PROTO;
	if (node->nr_protos == 0 && node->nr_layers == node->region_layers)
		return STRATA_DIMENSION_CRYSTALLIZED;
	return STRATA_DIMENSION_HYBRID;
}

void
strata__dimension_fill(const struct strata__dimnode *node,
		       struct strata_dimension *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->id = node->id;
	ret->state = dimension_state(node);
	ret->immutable = (node->flags & STRATA_DIMENSION_IMMUTABLE) != 0;
	memcpy(ret->name, node->name, sizeof(ret->name) - 1);
	ret->frequency_min = node->frequency_min;
	ret->frequency_max = node->frequency_max;
	ret->nr_layers = node->nr_layers;
	ret->nr_protos = node->nr_protos;
	ret->content_bytes = node->content_bytes;
	ret->region_bytes = node->region_bytes;
	ret->version = node->version;
}

/* The slot of a dimension, or an error. */
static int
find_slot(struct strata_reader *reader, uint32_t dimension, uint64_t *ret_slot)
{
	uint64_t slot;

	if (reader == NULL || reader->pin == 0 ||
	    dimension - 1 >= STRATA_DIMENSION_MAX)
		return outside(reader);
	slot = strata__tree_slot(reader->window, strata__reader_root(reader),
				 dimension);
	if (slot == 0)
		return STRATA_ENODIM;
	*ret_slot = slot;
	return 0;
}

int
strata_dimension_get(struct strata_reader *reader, uint32_t dimension,
		     struct strata_dimension *ret_dimension)
{
	uint64_t slot = 0;
	int ret = find_slot(reader, dimension, &slot);

	if (ret != 0)
		return ret;
	if (ret_dimension == NULL)
		return strata__fail(STRATA_EINVAL,
				    "dimension_get: no place for it");
	strata__dimension_fill(strata__tree_dimnode(reader->window, slot),
			       ret_dimension);
	return 0;
}

static int __attribute__((cold))
no_function(void)
{
	return strata__fail(STRATA_EINVAL, "foreach: no function");
}

struct each_layer {
	struct strata_reader *reader;
	const struct strata__dimnode *node;
	int (*fn)(uint32_t layer, const struct strata_entry *entry, void *arg);
	void *arg;
};

static int
each_mapped(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	const struct each_layer *each = arg;

	if (!is_mapped(each->reader, each->node, entry))
		return strata__fail_unmapped(each->node->id);
	return each->fn(layer, entry, each->arg);
}

int
strata_foreach_layer(struct strata_reader *reader, uint32_t dimension,
		     int (*fn)(uint32_t layer, const struct strata_entry *entry,
			       void *arg),
		     void *arg)
{
	uint64_t slot = 0;
	int ret = find_slot(reader, dimension, &slot);

	struct each_layer each = {reader, NULL, fn, arg};

	if (ret != 0)
		return ret;
	if (fn == NULL)
		return no_function();
	each.node = strata__tree_dimnode(reader->window, slot);
	if ((reader->slow & STRATA_SLOW_UNMAPPED) != 0)
		return strata__tree_each_layer(reader->window, slot,
					       each_mapped, &each);
	return strata__tree_each_layer(reader->window, slot, fn, arg);
}

struct each_dimension {
	const char *window;
	int (*fn)(const struct strata_dimension *dimension, void *arg);
	void *arg;
};

static int
each_dimension(uint32_t id, uint64_t slot, void *arg)
{
	const struct each_dimension *each = arg;
	struct strata_dimension dimension;

	(void)id;
	strata__dimension_fill(strata__tree_dimnode(each->window, slot),
			       &dimension);
	return each->fn(&dimension, each->arg);
}

int
strata_foreach_dimension(struct strata_reader *reader,
			 int (*fn)(const struct strata_dimension *dimension,
				   void *arg),
			 void *arg)
{
	struct each_dimension each = { NULL, fn, arg };

	if (reader == NULL || reader->pin == 0)
		return outside(reader);
	if (fn == NULL)
		return no_function();
	each.window = reader->window;
	return strata__tree_each_dimension(reader->window,
					   strata__reader_root(reader),
					   each_dimension, &each);
}
