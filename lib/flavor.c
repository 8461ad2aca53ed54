/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The domain as a flavour of liburcu, for private structures of a process. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "error.h"
#include "flavor.h"

/*
 * A private structure that is read inside of sections of a store can be freed
 * after a grace period of this process: when all of its sections that were open
 * have ended, whatever versions they read. strata_synchronize() waits for other
 * processes, too, which know nothing of the structure, and one of which may be
 * stopped.
 *
 * The sections are those of the slots that this process has, by whichever
 * handle they were entered: the flavour's own, one for each thread, or others.
 * A section for which no slot is to be had, or whose store is gone, is counted
 * in private memory instead; read_lock() has no way to fail.
 */

/* A thread, for a flavour. */
struct member {
	struct cds_list_head node;
	struct strata__flavor *flavor; /* NULL: not registered */
	struct strata_reader *reader;  /* NULL: none was to be had */
	unsigned depth;
	bool in_store;  /* the section is one of the reader */
	bool is_worker; /* the thread is the one that calls callbacks */
	/* Odd inside of a section without a reader; raised by each end. */
	_Atomic uint64_t private_section;
};

static struct strata__flavor flavors[STRATA_FLAVORS];
static pthread_mutex_t flavors_mutex = PTHREAD_MUTEX_INITIALIZER;
static __thread struct member members[STRATA_FLAVORS];
static pthread_key_t thread_end;

/**** members ****/

static inline struct member *
own_place(struct strata__flavor *flavor)
{
	return &members[flavor - flavors];
}

static void
member_add(struct strata__flavor *flavor)
{
	struct member *member = own_place(flavor);

	if (strata_reader_open(flavor->store, &member->reader) != 0)
		member->reader = NULL;
	member->flavor = flavor;
	member->is_worker = strata__calls_is_worker(flavor);
	pthread_mutex_lock(&flavor->mutex);
	cds_list_add_tail(&member->node, &flavor->members);
	pthread_mutex_unlock(&flavor->mutex);
	/* A thread that ends without a word takes its memory with it. */
	(void)pthread_setspecific(thread_end, members);
}

static void
member_remove(struct member *member)
{
	struct strata__flavor *flavor = member->flavor;

	if (flavor == NULL)
		return;
	if (member->in_store)
		(void)strata_read_unlock(member->reader);
	(void)strata_reader_close(member->reader);
	pthread_mutex_lock(&flavor->mutex);
	cds_list_del(&member->node);
	pthread_mutex_unlock(&flavor->mutex);
	memset(member, 0, sizeof(*member));
}

static void
members_end(void *arg)
{
	struct member *ending = arg;

	for (unsigned i = 0; i < STRATA_FLAVORS; i++)
		member_remove(&ending[i]);
}

/* Threads need not register: the first lock does. */
static inline struct member *
member_of(struct strata__flavor *flavor)
{
	struct member *member = own_place(flavor);

	if (__builtin_expect(member->flavor == NULL, false))
		member_add(flavor);
	return member;
}

/**** sections ****/

static void
private_begin(struct member *member)
{
	atomic_fetch_add_explicit(&member->private_section, 1,
				  memory_order_relaxed);
	/* Letter T: the mark is visible before anything is read in the section,
	 * or the reads are after the fence of who waits. */
	strata__fence_seq_cst();
}

static void
section_begin(struct strata__flavor *flavor)
{
	struct member *member = member_of(flavor);

	if (member->depth++ != 0)
		return;
	member->in_store =
		member->reader != NULL && strata_read_lock(member->reader) == 0;
	if (!member->in_store)
		private_begin(member);
}

static void
section_end(struct strata__flavor *flavor)
{
	struct member *member = own_place(flavor);

	if (member->depth == 0 || --member->depth != 0)
		return;
	if (member->in_store)
		(void)strata_read_unlock(member->reader);
	else
		/* Letter U: what was read is read before the end is seen. */
		atomic_fetch_add_explicit(&member->private_section, 1,
					  memory_order_release);
	member->in_store = false;
}

static int
section_is_open(struct strata__flavor *flavor)
{
	return own_place(flavor)->depth != 0;
}

/**** grace periods of this process ****/

/* A section that is waited for: of a slot, or of a member's private kind. */
struct open_section {
	const void *where;
	uint64_t number;
};

struct open_sections {
	struct open_section *list;
	size_t nr, max;
};

static uint64_t
slot_section(const struct strata__slot *slot)
{
	/* Letter D: pairs with the release in the unlock. */
	if (atomic_load_explicit(&slot->pin, memory_order_acquire) == 0)
		return 0;
	/* Stored before the pin of its section: seen with it by the fence of
	 * this grace period, and not older ever after. A section that was
	 * inherited by a fork has number 0 in its slot. */
	return 1 + atomic_load_explicit(&slot->sections, memory_order_relaxed);
}

static uint64_t
member_section(const struct member *member)
{
	/* Letter U: pairs with section_end(). */
	uint64_t number = atomic_load_explicit(&member->private_section,
					       memory_order_acquire);

	return number % 2 != 0 ? number : 0;
}

/* Calls fn for each section that is open now; stops when it answers true. Under
 * the mutexes of the members and of the chunks. */
static bool
each_open(struct strata__flavor *flavor,
	  bool (*fn)(const void *where, uint64_t number, void *arg), void *arg)
{
	struct strata__chunk *chunk;
	struct member *member;
	uint64_t number;

	cds_list_for_each_entry (member, &flavor->members, node) {
		number = member_section(member);
		if (number != 0 && fn(member, number, arg))
			return true;
	}
	cds_list_for_each_entry (chunk, &flavor->store->rcu.chunks, node)
		for (uint32_t i = 0; i < STRATA_CHUNK_SLOTS; i++) {
			number = slot_section(&chunk->slots[i]);
			if (number != 0 && fn(&chunk->slots[i], number, arg))
				return true;
		}
	return false;
}

static bool
look(struct strata__flavor *flavor,
     bool (*fn)(const void *where, uint64_t number, void *arg), void *arg)
{
	struct strata__rcu *rcu = &flavor->store->rcu;
	bool found;

	pthread_mutex_lock(&flavor->mutex);
	pthread_mutex_lock(&rcu->mutex);
	found = each_open(flavor, fn, arg);
	pthread_mutex_unlock(&rcu->mutex);
	pthread_mutex_unlock(&flavor->mutex);
	return found;
}

static bool
section_count(const void *where, uint64_t number, void *arg)
{
	struct open_sections *open = arg;

	(void)where;
	(void)number;
	open->max++;
	return false;
}

/* Is there more than there is room for? */
static bool
section_note(const void *where, uint64_t number, void *arg)
{
	struct open_sections *open = arg;

	if (open->nr == open->max)
		return true;
	open->list[open->nr++] = (struct open_section){where, number};
	return false;
}

static bool
section_is_noted(const void *where, uint64_t number, void *arg)
{
	const struct open_sections *open = arg;
	size_t i;

	for (i = 0; i < open->nr; i++)
		if (open->list[i].where == where &&
		    open->list[i].number == number)
			return true;
	return false;
}

/* Any section at all: without memory for a list, that is what is waited for. */
static bool
section_is_any(const void *where, uint64_t number, void *arg)
{
	(void)where;
	(void)number;
	(void)arg;
	return true;
}

static void
pause_for(unsigned round)
{
	struct timespec time = {0, 20000L};

	if (round < 8) {
		sched_yield();
		return;
	}
	time.tv_nsec <<= round < 16 ? round - 8 : 8;
	nanosleep(&time, NULL);
}

static bool
sections_note(struct strata__flavor *flavor, struct open_sections *open)
{
	do {
		free(open->list);
		*open = (struct open_sections){NULL, 0, 4};
		(void)look(flavor, section_count, open);
		open->list = calloc(open->max, sizeof(*open->list));
		if (open->list == NULL)
			return false;
	} while (look(flavor, section_note, open));
	return true;
}

void
strata__flavor_synchronize(struct strata__flavor *flavor)
{
	struct open_sections open = {NULL, 0, 0};
	unsigned round = 0;
	bool noted;

	if (STRATA_BROKEN(STRATA_NO_FLAVOR_GRACE))
		return;
	/* Letter B': a section that is not seen below began after this, and
	 * sees what was done before. Where the kernel refuses what it granted
	 * when the flavour was opened there is no other way than to ask
	 * again. */
	while (strata__heavy_fence(&flavor->store->rcu) != 0)
		pause_for(round++);
	noted = sections_note(flavor, &open);
	round = 0;
	while (look(flavor, noted ? section_is_noted : section_is_any, &open))
		pause_for(round++);
	free(open.list);
	/* What was read in the sections is before what we do next. */
	strata__fence_acquire();
}

/**** forks ****/

/* Is this thread in any section that a grace period of a flavour waits for? */
static bool
is_inside_any(void)
{
	for (unsigned i = 0; i < STRATA_FLAVORS; i++)
		if (flavors[i].store != NULL &&
		    (section_is_open(&flavors[i]) ||
		     strata__is_inside(flavors[i].store)))
			return true;
	return false;
}

/* There is one worker for all hash tables of the process. It may wait for a
 * section of the thread that forks, of whichever flavour and handle, so it is
 * not waited for inside of one. */
static void
atfork_begin(struct strata__flavor *flavor, bool is_inside)
{
	pthread_mutex_lock(&flavor->mutex);
	flavor->atfork_called = is_inside ? NULL : flavor->atfork;
	pthread_mutex_unlock(&flavor->mutex);
	if (flavor->atfork_called != NULL)
		flavor->atfork_called->before_fork(flavor->atfork_called->priv);
}

/* All workers are paused before the first mutex is taken that they use. */
static void
before_fork(void)
{
	bool is_inside;

	pthread_mutex_lock(&flavors_mutex);
	is_inside = is_inside_any();
	for (unsigned i = 0; i < STRATA_FLAVORS; i++)
		if (flavors[i].store != NULL)
			atfork_begin(&flavors[i], is_inside);
	for (unsigned i = 0; i < STRATA_FLAVORS; i++)
		if (flavors[i].store != NULL) {
			strata__calls_before_fork(&flavors[i].calls);
			pthread_mutex_lock(&flavors[i].mutex);
		}
}

static void
flavor_after_fork_parent(struct strata__flavor *flavor)
{
	pthread_mutex_unlock(&flavor->mutex);
	strata__calls_after_fork_parent(&flavor->calls);
	if (flavor->atfork_called != NULL)
		flavor->atfork_called->after_fork_parent(
			flavor->atfork_called->priv);
}

static void
after_fork_parent(void)
{
	for (unsigned i = 0; i < STRATA_FLAVORS; i++)
		if (flavors[i].store != NULL)
			flavor_after_fork_parent(&flavors[i]);
	pthread_mutex_unlock(&flavors_mutex);
}

/* No slot was to be had for the child: its section is a private one from here
 * on, before there is a thread that could wait for it. */
static void
member_adopt(struct member *member)
{
	if (!member->in_store || strata_reader_version(member->reader) != 0)
		return;
	member->in_store = false;
	private_begin(member);
}

/* The other threads are not here: nobody would end their sections, or what they
 * have begun to close. */
static void
flavor_after_fork_child(struct strata__flavor *flavor)
{
	struct member *own = own_place(flavor);

	pthread_mutex_init(&flavor->mutex, NULL);
	CDS_INIT_LIST_HEAD(&flavor->members);
	if (own->flavor != NULL) {
		cds_list_add_tail(&own->node, &flavor->members);
		member_adopt(own);
	}
	if (flavor->is_closing &&
	    !pthread_equal(flavor->closer, pthread_self())) {
		flavor->is_closing = false;
		flavor->users = 1;
	}
	strata__calls_after_fork_child(flavor);
	if (flavor->atfork_called != NULL)
		flavor->atfork_called->after_fork_child(
			flavor->atfork_called->priv);
}

static void
after_fork_child(void)
{
	pthread_mutex_init(&flavors_mutex, NULL);
	for (unsigned i = 0; i < STRATA_FLAVORS; i++)
		if (flavors[i].store != NULL)
			flavor_after_fork_child(&flavors[i]);
}

static void
atfork_register(struct strata__flavor *flavor, struct urcu_atfork *atfork)
{
	pthread_mutex_lock(&flavor->mutex);
	if (flavor->atfork_users++ == 0)
		flavor->atfork = atfork;
	pthread_mutex_unlock(&flavor->mutex);
}

static void
atfork_unregister(struct strata__flavor *flavor)
{
	pthread_mutex_lock(&flavor->mutex);
	if (--flavor->atfork_users == 0)
		flavor->atfork = NULL;
	pthread_mutex_unlock(&flavor->mutex);
}

/**** the functions without arguments ****/

static void
nothing(void)
{
}

#define FLAVOR_FUNCTIONS(n)                                           \
	static void read_lock_##n(void)                               \
	{                                                             \
		section_begin(&flavors[n]);                           \
	}                                                             \
	static void read_unlock_##n(void)                             \
	{                                                             \
		section_end(&flavors[n]);                             \
	}                                                             \
	static int read_ongoing_##n(void)                             \
	{                                                             \
		return section_is_open(&flavors[n]);                  \
	}                                                             \
	static void synchronize_##n(void)                             \
	{                                                             \
		strata__flavor_synchronize(&flavors[n]);              \
	}                                                             \
	static void call_##n(struct rcu_head *head,                   \
			     void (*func)(struct rcu_head *))         \
	{                                                             \
		strata__calls_add(&flavors[n], head, func);           \
	}                                                             \
	static void defer_##n(void (*func)(void *), void *arg)        \
	{                                                             \
		strata__calls_add_deferred(&flavors[n], func, arg);   \
	}                                                             \
	static void barrier_##n(void)                                 \
	{                                                             \
		strata__calls_barrier(&flavors[n]);                   \
	}                                                             \
	static void register_##n(void)                                \
	{                                                             \
		(void)member_of(&flavors[n]);                         \
	}                                                             \
	static void unregister_##n(void)                              \
	{                                                             \
		member_remove(&members[n]);                           \
	}                                                             \
	static void atfork_register_##n(struct urcu_atfork *atfork)   \
	{                                                             \
		atfork_register(&flavors[n], atfork);                 \
	}                                                             \
	static void atfork_unregister_##n(struct urcu_atfork *atfork) \
	{                                                             \
		(void)atfork;                                         \
		atfork_unregister(&flavors[n]);                       \
	}

FLAVOR_FUNCTIONS(0)
FLAVOR_FUNCTIONS(1)
FLAVOR_FUNCTIONS(2)
FLAVOR_FUNCTIONS(3)

#define FLAVOR_TABLE(n)                                                       \
	{                                                                     \
		.read_lock = read_lock_##n, .read_unlock = read_unlock_##n,   \
		.read_ongoing = read_ongoing_##n,                             \
		.read_quiescent_state = nothing, .update_call_rcu = call_##n, \
		.update_synchronize_rcu = synchronize_##n,                    \
		.update_defer_rcu = defer_##n, .thread_offline = nothing,     \
		.thread_online = nothing, .register_thread = register_##n,    \
		.unregister_thread = unregister_##n, .barrier = barrier_##n,  \
		.register_rculfhash_atfork = atfork_register_##n,             \
		.unregister_rculfhash_atfork = atfork_unregister_##n,         \
	}

static const struct rcu_flavor_struct tables[STRATA_FLAVORS] = {
	FLAVOR_TABLE(0),
	FLAVOR_TABLE(1),
	FLAVOR_TABLE(2),
	FLAVOR_TABLE(3),
};

/**** opening and closing ****/

static int once_error;

static void
once(void)
{
	once_error = pthread_key_create(&thread_end, members_end);
	if (once_error == 0)
		once_error = pthread_atfork(before_fork, after_fork_parent,
					    after_fork_child);
}

/* Under the mutex of all: the store's flavour, or a free place; or NULL. */
static struct strata__flavor *
flavor_find(struct strata_store *store)
{
	struct strata__flavor *free_one = NULL;

	for (unsigned i = 0; i < STRATA_FLAVORS; i++) {
		if (flavors[i].store == store)
			return &flavors[i];
		if (flavors[i].store == NULL && free_one == NULL)
			free_one = &flavors[i];
	}
	return free_one;
}

static int
flavor_init(struct strata__flavor *flavor, struct strata_store *store)
{
	int ret = strata__heavy_fence(&store->rcu);

	if (ret != 0)
		return ret;
	memset(flavor, 0, sizeof(*flavor));
	pthread_mutex_init(&flavor->mutex, NULL);
	CDS_INIT_LIST_HEAD(&flavor->members);
	strata__calls_init(&flavor->calls);
	flavor->store = store;
	return 0;
}

int
strata_urcu_flavor(struct strata_store *store,
		   const struct rcu_flavor_struct **ret_flavor)
{
	static pthread_once_t control = PTHREAD_ONCE_INIT;
	struct strata__flavor *flavor;
	int ret = 0;

	if (store == NULL || ret_flavor == NULL)
		return strata__fail(STRATA_EINVAL, "no store");
	pthread_once(&control, once);
	if (once_error != 0)
		return strata__fail_errno(once_error,
					  "cannot install fork handlers");
	pthread_mutex_lock(&flavors_mutex);
	flavor = flavor_find(store);
	if (flavor != NULL && flavor->is_closing)
		ret = strata__fail(STRATA_EBUSY,
				   "the flavour of store '%s' is being closed",
				   store->name);
	else if (flavor == NULL)
		ret = strata__fail(STRATA_EBUSY,
				   "%u stores of this process have a flavour "
				   "already: close one of them",
				   STRATA_FLAVORS);
	else if (flavor->store == NULL)
		ret = flavor_init(flavor, store);
	if (ret == 0) {
		flavor->users++;
		atomic_store_explicit(&store->has_flavor, true,
				      memory_order_relaxed);
		*ret_flavor = &tables[flavor - flavors];
	}
	pthread_mutex_unlock(&flavors_mutex);
	return ret;
}

/* Other threads may be in sections, and have marks in their own memory. The
 * worker, which a callback registered, ends with the flavour. */
static int
check_alone(struct strata__flavor *flavor)
{
	struct member *member;
	unsigned others = 0;

	if (section_is_open(flavor))
		return strata__fail(STRATA_EINVAL,
				    "this thread is inside a section of the "
				    "flavour");
	pthread_mutex_lock(&flavor->mutex);
	cds_list_for_each_entry (member, &flavor->members, node)
		others += member != own_place(flavor) && !member->is_worker;
	pthread_mutex_unlock(&flavor->mutex);
	if (others == 0)
		return 0;
	return strata__fail(STRATA_EBUSY,
			    "%u other threads are registered with the flavour: "
			    "have them unregister, or end",
			    others);
}

/* Under the mutex of all: is this the last close, and may it be? */
static int
close_begin(struct strata__flavor *flavor, bool *ret_last)
{
	int ret;

	*ret_last = false;
	if (flavor == NULL || flavor->store == NULL || flavor->is_closing)
		return strata__fail(STRATA_EINVAL,
				    "the store has no flavour that is open");
	if (strata__calls_are_served_here(flavor))
		return strata__fail(STRATA_EINVAL,
				    "the flavour cannot be closed by one of its "
				    "callbacks");
	if (flavor->users == 1) {
		ret = check_alone(flavor);
		if (ret != 0)
			return ret;
		*ret_last = flavor->is_closing = true;
		flavor->closer = pthread_self();
	}
	flavor->users--;
	return 0;
}

int
strata_urcu_flavor_close(struct strata_store *store)
{
	struct strata__flavor *flavor;
	bool last;
	int ret;

	if (store == NULL)
		return strata__fail(STRATA_EINVAL, "no store");
	pthread_mutex_lock(&flavors_mutex);
	flavor = flavor_find(store);
	ret = close_begin(flavor, &last);
	pthread_mutex_unlock(&flavors_mutex);
	if (ret != 0 || !last)
		return ret;
	/* Without the mutex: a callback may fork. */
	strata__calls_end(flavor);
	member_remove(own_place(flavor));
	pthread_mutex_lock(&flavors_mutex);
	strata__calls_fini(&flavor->calls);
	pthread_mutex_destroy(&flavor->mutex);
	flavor->store = NULL;
	flavor->is_closing = false;
	atomic_store_explicit(&store->has_flavor, false, memory_order_relaxed);
	pthread_mutex_unlock(&flavors_mutex);
	return 0;
}

struct strata_reader *
strata_urcu_reader(struct strata_store *store)
{
	for (unsigned i = 0; i < STRATA_FLAVORS; i++)
		if (members[i].in_store && flavors[i].store == store)
			return members[i].reader;
	return NULL;
}
