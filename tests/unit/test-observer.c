/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Observers: what they copy is of one version, and they disturb nobody. */
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "attached.h"

/* What a writer does while an observer copies: at the passages of a point that
 * come after the first few. */
static struct {
	const char *point;
	unsigned skip; /* passages */
	unsigned times; /* it is done, then never again */
	void (*act)(void);
	unsigned attempts; /* of the observer */
	bool acting;
} meanwhile;

static void
hook(const char *name)
{
	if (meanwhile.acting)
		return;
	if (is_point(name, "observe.begun"))
		meanwhile.attempts++;
	if (!is_point(name, meanwhile.point) || meanwhile.times == 0)
		return;
	if (meanwhile.skip > 0) {
		meanwhile.skip--;
		return;
	}
	meanwhile.times--;
	meanwhile.acting = true;
	meanwhile.act();
	meanwhile.acting = false;
}

static void
act_at(const char *point, unsigned skip, unsigned times, void (*act)(void))
{
	meanwhile.point = point;
	meanwhile.skip = skip;
	meanwhile.times = times;
	meanwhile.act = act;
	meanwhile.attempts = 0;
	strata__testpoint = hook;
}

static void
teardown(void)
{
	strata__broken = 0;
	store_teardown();
}

TestSuite(observer, .init = store_setup, .fini = teardown, .timeout = 60);

static struct strata_copy *
copy_of(struct strata_store *of, uint32_t dimension, uint32_t layer)
{
	struct strata_copy *copy = NULL;

	must(strata_copy(of, dimension, layer, STRATA_COPY_ALL, &copy));
	return copy;
}

/* Is a copy of the layer size equal bytes? */
static bool
copies(struct strata_store *of, uint32_t dimension, uint32_t layer, char byte,
       uint64_t size)
{
	struct strata_copy *copy = copy_of(of, dimension, layer);
	bool is = copy->entry.size == size && is_filled(copy->data, byte, size);

	strata_copy_free(copy);
	return is;
}

/**** what is copied ****/

Test(observer, copies_all_of_a_layer)
{
	static const char *const keywords[] = {"green", "blue"};
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	struct strata_txn *txn = txn_begin();
	struct strata_copy *copy;

	attrs.frequency = 432.5;
	attrs.depth = 3;
	attrs.parent = 7;
	attrs.name = "the name";
	attrs.keywords = keywords;
	attrs.nr_keywords = 2;
	attrs.created_ns = 12345;
	must(strata_put(txn, 9, 8, &attrs, "content", 7, 0));
	commit(txn);
	copy = copy_of(store, 9, 8);
	cr_expect_eq(copy->version, 2);
	cr_expect_eq(copy->entry.size, 7);
	cr_expect_eq(copy->entry.frequency, 432.5);
	cr_expect_eq(copy->entry.depth, 3);
	cr_expect_eq(copy->entry.parent, 7);
	cr_expect_eq(copy->entry.version, 2);
	cr_expect_arr_eq(copy->data, "content", 7);
	cr_expect_eq((uintptr_t)copy->data % 64, 0);
	cr_expect_str_eq(copy->meta.name, "the name");
	cr_expect_eq(copy->meta.created_ns, 12345);
	cr_assert_eq(copy->meta.nr_keywords, 2);
	cr_expect_str_eq(copy->meta.keywords[1], "blue");
	strata_copy_free(copy);
	must(strata_copy(store, 9, 8, STRATA_COPY_META, &copy));
	cr_expect_null(copy->data);
	cr_expect_eq(copy->entry.size, 7);
	cr_expect_str_eq(copy->meta.name, "the name");
	strata_copy_free(copy);
	strata_copy_free(NULL);
}

/* Every way through the index: inline, leaves, inner nodes, directories; every
 * home of contents: each class, runs, regions. */
Test(observer, copies_from_everywhere)
{
	static const struct {
		uint32_t dimension, layer;
		size_t size;
	} places[] = {{1, 0, 10},       {1, 59, 5000},
		      {2, 60, 30000},   {3, 20000, 100000},
		      {4, STRATA_LAYER_MAX, 700},
		      {511, 1, 300000}, {512, 2, 1000000},
		      {STRATA_DIMENSION_MAX, 3, 0}};
	const size_t nr = sizeof(places) / sizeof(places[0]);

	for (unsigned i = 0; i < nr; i++)
		put(places[i].dimension, places[i].layer, (char)('a' + i),
		    places[i].size);
	for (int round = 0; round < 2; round++) {
		for (unsigned i = 0; i < nr; i++)
			cr_expect(copies(store, places[i].dimension,
					 places[i].layer, (char)('a' + i),
					 places[i].size),
				  "round %d, place %u", round, i);
		for (unsigned i = 0; round == 0 && i < nr; i++)
			must(strata_crystallize(store, places[i].dimension));
	}
	put(2, 61, 'z', 20);
	cr_expect(copies(store, 2, 60, 'c', 30000), "hybrid, region");
	cr_expect(copies(store, 2, 61, 'z', 20), "hybrid, proto");
}

static int
see_none(const struct strata_dimension *dimension, void *arg)
{
	(void)dimension;
	(void)arg;
	return 1;
}

Test(observer, no_such_is_an_answer)
{
	const struct strata_error_info *error = strata_last_error();
	struct strata_copy *copy = NULL;
	struct strata_dimension dimension;

	cr_expect_eq(strata_copy(store, 1, 0, 0, &copy), STRATA_ENODIM,
		     "an empty store");
	must(strata_copy_dimensions(store, see_none, NULL, NULL));
	expect_error(strata_copy_dimensions(store, NULL, NULL, NULL),
		     STRATA_EINVAL, "no function");
	put(1, 5, 'a', 10);
	put(2, 100, 'a', 10);
	expect_error(strata_copy(store, 0, 0, 0, &copy), STRATA_EINVAL,
		     "dimensions are 1 to 262143");
	cr_expect_eq(strata_copy(store, 3, 0, 0, &copy), STRATA_ENODIM);
	cr_expect_eq(strata_copy(store, 5000, 0, 0, &copy), STRATA_ENODIM);
	cr_expect_eq(strata_copy(store, 1, 4, 0, &copy), STRATA_ENOLAYER);
	cr_expect_eq(strata_copy(store, 1, 60, 0, &copy), STRATA_ENOLAYER);
	cr_expect_eq(strata_copy(store, 2, 5, 0, &copy), STRATA_ENOLAYER);
	cr_expect_eq(strata_copy(store, 2, 200, 0, &copy), STRATA_ENOLAYER);
	cr_expect_eq(strata_copy(store, 2, STRATA_LAYER_MAX, 0, &copy),
		     STRATA_ENOLAYER);
	cr_expect_eq(strata_copy_dimension(store, 3, &dimension, NULL),
		     STRATA_ENODIM);
	cr_expect_eq(strata_copy_layers(store, 3, NULL, NULL), STRATA_ENODIM);
	cr_expect_eq(error->code, STRATA_EINVAL, "no details of answers");
	cr_expect_null(copy);
	expect_error(strata_copy(NULL, 1, 0, 0, &copy), STRATA_EINVAL, "store");
	expect_error(strata_copy(store, 1, 5, 2, &copy), STRATA_EINVAL,
		     "unknown flags");
	expect_error(strata_copy(store, 1, 5, 0, NULL), STRATA_EINVAL,
		     "no place for it");
}

/**** lists ****/

struct list {
	unsigned nr, end;
	uint32_t ids[80];
	uint64_t bytes;
	void (*act)(void);
};

static int
see_dimension(const struct strata_dimension *dimension, void *arg)
{
	struct list *list = arg;

	list->ids[list->nr++] = dimension->id;
	list->bytes += dimension->content_bytes;
	if (list->act != NULL)
		list->act();
	return list->nr == list->end ? 42 : 0;
}

static int
see_layer(uint32_t layer, const struct strata_copy *copy, void *arg)
{
	struct list *list = arg;

	cr_expect_null(copy->data);
	cr_expect_str_eq(copy->meta.name, layer % 2 != 0 ? "odd" : "");
	list->ids[list->nr++] = layer;
	list->bytes += copy->entry.size;
	if (list->act != NULL)
		list->act();
	return list->nr == list->end ? 42 : 0;
}

static void
put_named(uint32_t dimension, uint32_t layer, size_t size)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;
	struct strata_txn *txn = txn_begin();
	char data[100] = "";

	attrs.name = layer % 2 != 0 ? "odd" : NULL;
	must(strata_put(txn, dimension, layer, &attrs, data, size, 0));
	commit(txn);
}

static void
unload_all(void)
{
	struct strata_txn *txn = txn_begin();

	if (find_layer(1, 0) != 0) {
		strata_txn_abort(txn);
		return;
	}
	must(strata_remove_dimension(txn, 1));
	commit(txn);
	must(strata_gc(store, NULL));
}

Test(observer, lists_layers_of_every_height)
{
	static const uint32_t last[] = {59, 60, 16384, 8388608,
					STRATA_LAYER_MAX};

	for (unsigned i = 0; i < 5; i++) {
		struct list list = {.nr = 0};

		put_named(1, 0, 3);
		put_named(1, 7, 4);
		put_named(1, last[i], 5);
		for (int round = 0; round < 2; round++) {
			memset(&list, 0, sizeof(list));
			must(strata_copy_layers(store, 1, see_layer, &list));
			cr_assert_eq(list.nr, 3, "last %u", last[i]);
			cr_expect_eq(list.ids[0], 0);
			cr_expect_eq(list.ids[1], 7);
			cr_expect_eq(list.ids[2], last[i]);
			cr_expect_eq(list.bytes, 12);
			must(strata_crystallize(store, 1));
		}
		list = (struct list){.end = 2};
		cr_expect_eq(strata_copy_layers(store, 1, see_layer, &list),
			     42);
		cr_expect_eq(list.nr, 2, "fn ends the walk");
		unload_all();
	}
}

Test(observer, what_is_listed_was_copied_before)
{
	struct list list = {.act = unload_all};

	for (uint32_t i = 0; i < 70; i++)
		put_named(1, i, 10);
	must(strata_copy_layers(store, 1, see_layer, &list));
	cr_expect_eq(list.nr, 70);
	cr_expect_eq(list.bytes, 700);
	cr_expect_eq(find_layer(1, 0), STRATA_ENODIM, "it is gone meanwhile");
}

Test(observer, lists_dimensions)
{
	static const uint32_t ids[] = {1, 14, 511, 512, 100000,
				       STRATA_DIMENSION_MAX};
	struct strata_dimension dimension, other;
	struct list list = {.nr = 0};
	uint64_t version = 0;

	for (unsigned i = 0; i < 3; i++)
		put(ids[i], 0, 'a', 10);
	must(strata_copy_dimensions(store, see_dimension, &list, &version));
	cr_expect_eq(list.nr, 3);
	cr_expect_eq(version, 4);
	for (unsigned i = 3; i < 6; i++)
		put(ids[i], 0, 'a', 10);
	must(strata_crystallize(store, 14));
	memset(&list, 0, sizeof(list));
	must(strata_copy_dimensions(store, see_dimension, &list, NULL));
	cr_assert_eq(list.nr, 6);
	cr_expect_arr_eq(list.ids, ids, sizeof(ids));
	cr_expect_eq(list.bytes, 60);
	must(find_dimension(14, &dimension));
	must(strata_copy_dimension(store, 14, &other, &version));
	cr_expect_arr_eq(&dimension, &other, sizeof(other));
	cr_expect_eq(version, strata_version(store));
	list = (struct list){.end = 4};
	cr_expect_eq(strata_copy_dimensions(store, see_dimension, &list, NULL),
		     42);
}

/**** while writers write ****/

static void
replace(void)
{
	put(1, 0, 'b', 200000);
	must(strata_gc(store, NULL));
}

/* Overtaken at each of the copies that a call makes: root, node, content. */
Test(observer, begins_anew_when_it_is_overtaken)
{
	for (unsigned skip = 0; skip < 4; skip++) {
		put(1, 0, 'a', 100000);
		act_at("observe.copied", skip, 1, replace);
		cr_expect(copies(store, 1, 0, 'b', 200000), "%u", skip);
		cr_expect_eq(meanwhile.attempts, 2, "%u", skip);
		cr_expect_eq(meanwhile.times, 0, "%u", skip);
	}
}

/* What the test above says of the check is that it is needed. */
Test(observer, would_copy_anything_without_its_check)
{
	struct strata_copy *copy;

	put(1, 0, 'a', 100000);
	strata__broken = STRATA_NO_RECHECK;
	act_at("observe.copied", 2, 1, replace);
	copy = copy_of(store, 1, 0);
	strata__broken = 0;
	cr_expect_eq(meanwhile.attempts, 1);
	cr_expect_eq(copy->entry.size, 100000);
	cr_expect(!is_filled(copy->data, 'a', 100000),
		  "freed before it was copied: poisoned, or another's");
	strata_copy_free(copy);
}

static void
add_elsewhere(void)
{
	put(2, 0, 'x', 1000);
}

/* Retired is not reclaimed. */
Test(observer, is_not_disturbed_by_commits)
{
	struct strata_copy *copy;

	put(1, 0, 'a', 100000);
	act_at("observe.copied", 0, 100, add_elsewhere);
	copy = copy_of(store, 1, 0);
	cr_expect_eq(meanwhile.attempts, 1);
	cr_expect_eq(copy->version, 2);
	cr_expect(is_filled(copy->data, 'a', 100000));
	cr_expect_gt(strata_version(store), 4, "others committed");
	strata_copy_free(copy);
}

Test(observer, gives_up_at_last)
{
	struct strata_copy *copy = NULL;

	put(1, 0, 'a', 100000);
	act_at("observe.copied", 0, UINT32_MAX, replace);
	expect_error(strata_copy(store, 1, 0, 0, &copy), STRATA_EBUSY,
		     "100 times");
	cr_expect_eq(meanwhile.attempts, 100);
	cr_expect_null(copy);
}

static void
remove_and_shrink(void)
{
	struct strata_gc_report report;

	remove_layer(1, 0);
	must(strata_gc(store, &report));
	cr_assert_gt(report.given_back, 0, "the pool's file is shorter");
}

/* Through a mapping this would be SIGBUS. */
Test(observer, survives_a_pool_that_shrinks)
{
	struct strata_copy *copy;

	put(1, 0, 'a', 2000000);
	act_at("observe.begun", 0, 1, remove_and_shrink);
	cr_expect_eq(strata_copy(store, 1, 0, 0, &copy), STRATA_ENOLAYER);
	put(1, 0, 'a', 2000000);
	act_at("observe.copied", 2, 1, remove_and_shrink);
	cr_expect_eq(strata_copy(store, 1, 0, 0, &copy), STRATA_ENOLAYER);
	cr_expect_eq(meanwhile.attempts, 2);
}

/**** while the next life of a block begins ****/

static struct {
	unsigned placed; /* blocks that are still to be found before it begins */
	unsigned taken;  /* blocks that the writer takes before it dies */
	bool freed, done, ended;
} next_life;

static void
take_again(struct proc *parent, void *arg)
{
	static char data[100000];
	struct strata_txn *txn;

	(void)parent;
	(void)arg;
	need(strata_attach(STORE, STRATA_WRITE, &store) == 0, "attach");
	memset(data, 'c', sizeof(data));
	points_die_at("pool.take.dated", next_life.taken + 1);
	need(strata_txn_begin(store, &txn) == 0 &&
		     strata_put(txn, 1, 0, NULL, data, sizeof(data), 0) == 0 &&
		     strata_txn_commit(txn, NULL) == 0,
	     "put");
}

/* What was found is freed before it is copied, and behind the copy somebody dies
 * who has just begun to take it. */
static void
begin_next_life(const char *name)
{
	struct proc writer;

	if (next_life.done)
		return;
	if (!next_life.freed) {
		if (!is_point(name, "observe.placed") || next_life.placed-- > 0)
			return;
		next_life.freed = true;
		strata__testpoint = NULL;
		replace();
		strata__testpoint = begin_next_life;
	} else if (is_point(name, "observe.copied")) {
		next_life.done = true;
		proc_start(&writer, take_again, NULL);
		next_life.ended = proc_wait(&writer) == 0;
	}
}

static void
observe_next_life(unsigned placed, unsigned taken)
{
	struct strata_copy *copy;

	put(1, 0, 'a', 100000);
	memset(&next_life, 0, sizeof(next_life));
	next_life.placed = placed;
	next_life.taken = taken;
	strata__testpoint = begin_next_life;
	copy = copy_of(store, 1, 0);
	strata__testpoint = NULL;
	cr_assert(next_life.done);
	/* The one that died committed nothing. */
	cr_expect(next_life.ended ?
			  is_filled(copy->data, 'c', 100000) :
			  copy->entry.size == 200000 &&
				  is_filled(copy->data, 'b', 200000),
		  "%u blocks found, %u taken", placed, taken);
	strata_copy_free(copy);
}

/* A record that says that its block is in use says since when: the observer does
 * not take the next life of a block for the one that it was looking for. */
Test(observer, is_not_deceived_by_a_life_that_begins)
{
	for (unsigned placed = 0; placed < 3; placed++) {
		unsigned taken = 0;

		do
			observe_next_life(placed, taken++);
		while (!next_life.ended);
		cr_expect_gt(taken, 2, "a node and a content at least");
	}
}

static void
unload(void)
{
	must(strata_unload(store, 7, /* forget= */ 0));
	must(strata_gc(store, NULL));
}

static void
reload(void)
{
	must(strata_reload(store, 7, file_of("again", 7, 2, 70000)));
	must(strata_gc(store, NULL));
}

/* Before a region is opened, between its metadata and its content, behind it. */
Test(observer, survives_regions_that_go)
{
	struct strata_copy *copy;

	for (unsigned skip = 1; skip < 4; skip++) {
		must(strata_load(store, file_of("first", 7, 3, 50000), NULL));
		act_at("observe.copied", skip, 1, reload);
		cr_expect(copies(store, 7, 1, 'b', 70000), "%u", skip);
		cr_expect_eq(meanwhile.attempts, 2, "%u", skip);
		act_at("observe.copied", skip, 1, unload);
		cr_expect_eq(strata_copy(store, 7, 1, 0, &copy), STRATA_ENODIM,
			     "%u", skip);
		cr_expect_eq(meanwhile.attempts, 2, "%u", skip);
	}
}

static void
destroy(void)
{
	must(strata_destroy(STORE));
}

Test(observer, is_told_that_the_store_is_gone)
{
	struct strata_store *other = NULL;
	struct strata_copy *copy;

	for (unsigned skip = 0; skip < 4; skip++) {
		put(1, 0, 'a', 100000);
		if (skip % 2 != 0)
			must(strata_crystallize(store, 1));
		other = store_attach(STRATA_OBSERVE);
		act_at("observe.copied", skip, 1, destroy);
		expect_error(strata_copy(other, 1, 0, 0, &copy), STRATA_EGONE,
			     "was destroyed");
		expect_error(strata_copy(other, 1, 0, 0, &copy), STRATA_EGONE,
			     "was destroyed");
		must(strata_detach(other));
		must(strata_detach(store));
		must(strata_create(STORE, NULL));
		store = store_attach(STRATA_WRITE);
	}
}

/**** alone ****/

Test(observer, attached_for_observing_it_has_nothing_else)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)}, ours;
	struct strata_reader *reader = NULL;
	struct strata_store *other = NULL;
	struct strata_txn *txn = NULL;
	unsigned files = folder_files(/* remove= */ false);

	put(1, 0, 'a', 100);
	put(2, 0, 'a', 100);
	must(strata_crystallize(store, 2));
	ours = stats_now();
	expect_error(strata_attach(STORE, STRATA_OBSERVE | STRATA_WRITE,
				   &other),
		     STRATA_EINVAL, "who observes does not write");
	other = store_attach(STRATA_OBSERVE);
	cr_expect_null(other->space.window, "no addresses");
	cr_expect(copies(other, 1, 0, 'a', 100));
	cr_expect(copies(other, 2, 0, 'a', 100));
	must(strata_refresh(other));
	must(strata_stats(other, &stats));
	cr_expect_eq(stats.version, strata_version(store));
	cr_expect_eq(stats.nr_layers, 2);
	cr_expect_eq(stats.nr_crystallized, 1);
	cr_expect_eq(stats.used, ours.used);
	must(strata_wait(other, 2, 0));
	expect_error(strata_reader_open(other, &reader), STRATA_EACCES,
		     "attached for observing");
	expect_error(strata_txn_begin(other, &txn), STRATA_EACCES, "");
	must(strata_detach(other));
	cr_expect_eq(folder_files(/* remove= */ false), files + 1,
		     "only the region is new");
}

Test(observer, keeps_no_descriptor)
{
	struct strata_store *other = store_attach(STRATA_OBSERVE);
	struct list list = {.nr = 0};
	unsigned nr;

	put_named(1, 0, 10);
	must(strata_crystallize(store, 1));
	nr = nr_descriptors();
	cr_expect(copies(other, 1, 0, '\0', 10));
	must(strata_copy_layers(other, 1, see_layer, &list));
	must(strata_copy_dimensions(other, see_dimension, &list, NULL));
	cr_expect_eq(nr_descriptors(), nr);
	must(strata_detach(other));
}

Test(observer, tells_what_it_lacks)
{
	struct rlimit old, none;
	struct strata_copy *copy;
	int code;

	put(1, 0, 'a', 100);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = old;
	none.rlim_cur = 0;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	code = strata_copy(store, 1, 0, 0, &copy);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	cr_expect_eq(code, -EMFILE, "%s", strata_last_error()->sentence);
	cr_expect(copies(store, 1, 0, 'a', 100), "and then it has it");
}

/* Nothing in the store can make it go round, or wild. */
Test(observer, tells_damage)
{
	struct strata_copy *copy;
	struct strata__dimnode *node;
	uint64_t *slot, kept;
	struct strata__hot *hot;

	put(1, 0, 'a', 100);
	hot = &store->space.catalog->hot;
	slot = (uint64_t *)strata__node_at(
		       &store->space,
		       atomic_load_explicit(&hot->roots[hot->version & 1],
					    memory_order_relaxed)) +
		1;
	node = strata__node_at(&store->space, *slot);
	kept = *slot;
	*slot += 64;
	expect_error(strata_copy(store, 1, 0, 0, &copy), STRATA_ECORRUPT,
		     "run strata verify");
	*slot = UINT64_C(1) << 60;
	expect_error(strata_copy(store, 1, 0, 0, &copy), STRATA_ECORRUPT, "");
	*slot = kept | 5;
	expect_error(strata_copy(store, 1, 0, 0, &copy), STRATA_ECORRUPT, "");
	*slot = kept;
	node->u.entries[0].size = UINT64_MAX;
	expect_error(strata_copy(store, 1, 0, 0, &copy), STRATA_ECORRUPT, "");
	node->u.entries[0].size = 1000000;
	expect_error(strata_copy(store, 1, 0, 0, &copy), STRATA_ECORRUPT, "");
	node->u.entries[0].size = 100;
	node->u.entries[0].meta -= 8 * node->u.entries[0].size;
	expect_error(strata_copy(store, 1, 0, 0, &copy), STRATA_ECORRUPT, "");
	node->u.entries[0].meta += 8 * node->u.entries[0].size;
	node->u.entries[0].flags |= STRATA_ENTRY_REGION;
	expect_error(strata_copy(store, 1, 0, 0, &copy), STRATA_ECORRUPT, "");
	node->region = UINT32_MAX;
	expect_error(strata_copy(store, 1, 0, 0, &copy), STRATA_ECORRUPT, "");
	node->region = 0;
	node->u.entries[0].flags &= ~(uint32_t)STRATA_ENTRY_REGION;
	cr_expect(copies(store, 1, 0, 'a', 100));
}
