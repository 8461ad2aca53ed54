/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The random driver's writers: every operation is written down, then done. */
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "content.h"
#include "random.h"
#include "testpoint.h"

#define MIB(n) (UINT64_C(n) << 20)
/* A dimension that has so many layers gets no more. */
#define FULL 20u

struct pen {
	struct writer *me;
	unsigned index;
	uint64_t random;
	struct strata_store *store;
	struct strata_reader *reader;
	struct strata_writer *session; /* or NULL */
	struct model model;            /* right in our own dimensions */
	struct operation *operation;   /* that is being done */
	uint64_t newest;               /* version that must be seen */
	char *buffers[NR_CHANGES];
};

static uint64_t
chance(struct pen *pen, uint64_t of)
{
	return (test_random(&pen->random) >> 16) % of;
}

static uint32_t
own_dim(struct pen *pen)
{
	return FIRST_OWN + pen->index * NR_OWN + (uint32_t)chance(pen, NR_OWN);
}

static bool
is_own(uint32_t dim)
{
	return dim >= FIRST_OWN;
}

static bool
is_shortage(int ret)
{
	return ret == STRATA_ECLASS || ret == STRATA_ELIMIT ||
	       ret == STRATA_ESHM;
}

/**** dying, stopping, yielding at test points ****/

static struct writer *self;
static uint64_t yields;

static void
at_point(const char *point)
{
	uint32_t fuse = atomic_load_explicit(&self->fuse, memory_order_relaxed);

	(void)point;
	if (test_random(&yields) % 32 == 0)
		sched_yield();
	if (fuse == 0)
		return;
	atomic_store_explicit(&self->fuse, fuse - 1, memory_order_relaxed);
	if (fuse != 1)
		return;
	if (!self->fuse_stops)
		proc_die();
	if (atomic_load_explicit(&shared->pause, memory_order_relaxed) == 0)
		kill(getpid(), SIGSTOP);
}

/**** writing down ****/

static void
plan_begin(struct pen *pen, bool exact)
{
	struct operation *operation;

	operation = &pen->me->operations[atomic_load_explicit(
		&pen->me->nr, memory_order_relaxed)];
	memset(operation, 0, sizeof(*operation));
	operation->exact = exact;
	pen->me->serial++;
	pen->operation = operation;
}

static struct change *
plan_change(struct pen *pen, enum change_kind kind, uint32_t dim)
{
	struct operation *operation = pen->operation;
	struct change *change = &operation->changes[operation->nr];

	change->kind = kind;
	change->dim = dim;
	change->number = ((uint64_t)(pen->index + 1) << 40 |
			  pen->me->serial << 4 | operation->nr);
	change->attrs = chance(pen, 2) != 0;
	operation->nr++;
	return change;
}

/* From here on the judge asks what became of it. */
static void
plan_end(struct pen *pen)
{
	uint32_t nr = atomic_load_explicit(&pen->me->nr, memory_order_relaxed);

	pen->operation->low = strata_version(pen->store);
	atomic_store_explicit(&pen->operation->fate, PLANNED,
			      memory_order_relaxed);
	atomic_store_explicit(&pen->me->nr, nr + 1, memory_order_release);
}

static void
nothing_happened(struct pen *pen, int ret)
{
	atomic_store_explicit(&pen->operation->fate, NOTHING,
			      memory_order_release);
	figure(is_shortage(ret) ? SHORT : REFUSED);
}

static void
it_happened(struct pen *pen, uint64_t high)
{
	struct operation *operation = pen->operation;
	const char *wrong;

	operation->high = high;
	if (operation->exact)
		operation->low = high - 1;
	atomic_store_explicit(&operation->fate, HAPPENED, memory_order_release);
	pen->newest = high;
	for (uint32_t i = 0; i < operation->nr; i++) {
		if (!is_own(operation->changes[i].dim))
			continue;
		wrong = model_apply(&pen->model, &operation->changes[i]);
		need(wrong == NULL,
		     "version %" PRIu64 " did what cannot be: %s", high, wrong);
	}
}

/**** transactions: what they will do ****/

static uint32_t
any_layer(struct pen *pen)
{
	static const uint32_t far[] = {47, 61, 40000};
	uint64_t at = chance(pen, 14);

	return at < 11 ? (uint32_t)at : far[at - 11];
}

struct choice {
	uint64_t left;
	uint32_t layer;
};

static int
choose_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct choice *choice = arg;

	(void)entry;
	choice->layer = layer;
	return choice->left-- == 0 ? 1 : 0;
}

/* One that is there, in ours by the model, in others' as a section sees it;
 * gives how many there are. */
static uint64_t
existing_layer(struct pen *pen, const struct model *model, uint32_t dim,
	       uint32_t *ret_layer)
{
	const struct dim *own = &model->dims[dim];
	struct strata_dimension dimension = {.nr_layers = 0};
	struct choice choice = {0, 0};

	if (is_own(dim)) {
		if (own->nr != 0)
			*ret_layer = own->layers[chance(pen, own->nr)].layer;
		return own->nr;
	}
	need(strata_read_lock(pen->reader) == 0, "lock");
	(void)strata_dimension_get(pen->reader, dim_number(dim), &dimension);
	if (dimension.nr_layers != 0) {
		choice.left = chance(pen, dimension.nr_layers);
		(void)strata_foreach_layer(pen->reader, dim_number(dim),
					   choose_layer, &choice);
	}
	need(strata_read_unlock(pen->reader) == 0, "unlock");
	*ret_layer = choice.layer;
	return dimension.nr_layers;
}

static void
plan_put(struct pen *pen, uint32_t dim)
{
	struct change *change;

	if (chance(pen, 4) == 0) {
		change = plan_change(pen, APPEND, dim);
		/* For its size; the number is decided later. */
		change->layer = APPENDED | (uint32_t)chance(pen, 7);
	} else {
		change = plan_change(pen, PUT, dim);
		change->layer = any_layer(pen);
	}
}

static void
plan_any(struct pen *pen, const struct model *model, uint32_t dim)
{
	uint32_t layer = 0;
	uint64_t nr = existing_layer(pen, model, dim, &layer), kind;
	bool present = is_own(dim) ? model->dims[dim].present : nr != 0;

	kind = chance(pen, 32);
	if (kind == 0 && present)
		(void)plan_change(pen, DROP, dim);
	else if (kind == 1)
		(void)plan_change(pen, DESCRIBE, dim);
	else if (nr != 0 && (nr >= FULL || kind < 8))
		plan_change(pen, REMOVE, dim)->layer = layer;
	else if (nr != 0 && kind < 16)
		plan_change(pen, REPLACE, dim)->layer = layer;
	else
		plan_put(pen, dim);
}

/* First the mark; then anything, in our own dimensions and in those of all. The
 * model goes along, so that all of it can be done, as far as we know. */
static void
plan_transaction(struct pen *pen)
{
	static struct model model;
	uint64_t nr = 1 + chance(pen, NR_CHANGES - 2);
	struct operation *operation = pen->operation;

	model = pen->model;
	plan_change(pen, PUT, MARKS)->layer = pen->index;
	for (uint64_t i = 0; i < nr; i++) {
		uint32_t dim =
			chance(pen, 3) != 0
				? own_dim(pen)
				: FIRST_OPEN + (uint32_t)chance(pen, NR_OPEN);

		if (is_own(dim) && model.dims[dim].immutable)
			continue;
		plan_any(pen, &model, dim);
		if (is_own(dim))
			need(model_apply(
				     &model,
				     &operation->changes[operation->nr - 1]) ==
				     NULL,
			     "the plan is wrong");
	}
}

/* The last change is one that cannot be done. */
static void
plan_refusal(struct pen *pen)
{
	uint32_t dim = own_dim(pen);

	plan_change(pen, REMOVE, dim)->layer = 1000000;
}

/**** transactions: doing it ****/

static const char *
hex(char *text, size_t size, uint64_t number)
{
	snprintf(text, size, "%" PRIx64, number);
	return text;
}

static struct strata_attrs
attrs_of(const char *name, uint64_t number)
{
	struct strata_attrs attrs = STRATA_ATTRS_INIT;

	attrs.name = name;
	attrs.frequency = (double)number;
	return attrs;
}

/* What a change puts, in its own buffer, so that it can be lent. */
static size_t
make_content(struct pen *pen, uint32_t i, uint32_t dim, uint32_t layer,
	     uint64_t number)
{
	content_fill(pen->buffers[i], dim_number(dim), layer, number);
	return content_size(dim_number(dim), layer, number);
}

static int
stage_content(struct pen *pen, struct strata_txn *txn, uint32_t i)
{
	const struct change *change = &pen->operation->changes[i];
	unsigned flags = chance(pen, 2) != 0 ? STRATA_PUT_BORROW : 0;
	uint32_t number = dim_number(change->dim);
	char name[24];
	struct strata_attrs attrs = attrs_of(
		hex(name, sizeof(name), change->number), change->number);
	const struct strata_attrs *said = change->attrs ? &attrs : NULL;
	size_t size;

	size = make_content(pen, i, change->dim, change->layer, change->number);
	if (change->kind == APPEND)
		return strata_append(txn, number, said, pen->buffers[i], size,
				     flags, NULL);
	if (change->kind == REPLACE)
		return strata_replace(txn, number, change->layer, said,
				      pen->buffers[i], size, flags);
	return strata_put(txn, number, change->layer, said, pen->buffers[i],
			  size, flags);
}

static int
stage(struct pen *pen, struct strata_txn *txn, uint32_t i)
{
	const struct change *change = &pen->operation->changes[i];
	uint32_t number = dim_number(change->dim);
	char name[24];

	switch (change->kind) {
	case PUT:
	case APPEND:
	case REPLACE:
		return stage_content(pen, txn, i);
	case REMOVE:
		return strata_remove(txn, number, change->layer);
	case DROP:
		return strata_remove_dimension(txn, number);
	default:
		return strata_describe(txn, number,
				       hex(name, sizeof(name), change->number),
				       0, 1);
	}
}

static struct strata_txn *
staged(struct pen *pen)
{
	struct strata_txn *txn;

	need(strata_txn_begin(pen->store, &txn) == 0, "begin");
	for (uint32_t i = 0; i < pen->operation->nr; i++)
		need(stage(pen, txn, i) == 0, "stage");
	return txn;
}

/* Another writer may have removed what this one wants to change. */
static bool
depends_on_others(const struct operation *operation)
{
	for (uint32_t i = 0; i < operation->nr; i++) {
		const struct change *change = &operation->changes[i];

		if (!is_own(change->dim) &&
		    (change->kind == REMOVE || change->kind == REPLACE ||
		     change->kind == DROP))
			return true;
	}
	return false;
}

static void
transaction(struct pen *pen)
{
	bool refused = chance(pen, 12) == 0;
	struct strata_txn *txn;
	uint64_t version;
	int ret;

	plan_begin(pen, /* exact= */ true);
	plan_transaction(pen);
	if (refused)
		plan_refusal(pen);
	txn = staged(pen);
	if (chance(pen, 16) == 0) {
		strata_txn_abort(txn);
		figure(ABORTS);
		return; /* it was never written down */
	}
	plan_end(pen);
	ret = strata_txn_commit(txn, &version);
	if (ret == 0) {
		need(!refused, "what cannot be done was committed");
		it_happened(pen, version);
		figure(COMMITS);
		return;
	}
	need(is_shortage(ret) ||
		     ((refused || depends_on_others(pen->operation)) &&
		      (ret == STRATA_ENOLAYER || ret == STRATA_ENODIM ||
		       ret == STRATA_EIMMUTABLE)),
	     "commit: %d", ret);
	strata_txn_abort(txn);
	nothing_happened(pen, ret);
}

/**** regions ****/

static void
add_to_file(struct pen *pen, struct strata_file *file,
	    const struct change *change, uint32_t layer)
{
	char name[24];
	struct strata_attrs attrs = attrs_of(
		hex(name, sizeof(name), change->number), change->number);
	size_t size =
		make_content(pen, layer, change->dim, layer, change->number);

	need(strata_file_add(file, layer, &attrs, pen->buffers[layer], size) ==
		     0,
	     "add to a file");
}

static void
make_file(struct pen *pen, const struct change *change, char *path, size_t size)
{
	struct strata_file_info info = {.dimension = dim_number(change->dim),
					.immutable = change->immutable};
	struct strata_file *file;

	hex(info.name, sizeof(info.name), change->number);
	snprintf(path, size, "%s/in-%u", files, change->dim);
	need(strata_file_begin(path, 0600, &info, &file) == 0, "begin a file");
	for (uint32_t layer = 0; layer < change->layer; layer++)
		add_to_file(pen, file, change, layer);
	need(strata_file_commit(file) == 0, "write a file");
}

static void
done(struct pen *pen, int ret, const char *what, enum figure which)
{
	need(ret == 0 || is_shortage(ret), "%s: %d", what, ret);
	if (ret != 0) {
		nothing_happened(pen, ret);
		return;
	}
	it_happened(pen, strata_version(pen->store));
	figure(which);
}

/* One that is not there, if chance has it: most are. */
static uint32_t
dim_to_load(struct pen *pen)
{
	uint32_t dim = own_dim(pen);

	for (uint64_t i = chance(pen, 2) * NR_OWN; i != 0; i--)
		if (pen->model.dims[dim].present)
			dim = own_dim(pen);
	return dim;
}

static void
load(struct pen *pen, uint32_t dim)
{
	bool present = pen->model.dims[dim].present;
	struct change *change;
	char path[300];

	plan_begin(pen, /* exact= */ false);
	change = plan_change(pen, LOAD, dim);
	change->layer = 1 + (uint32_t)chance(pen, NR_CHANGES);
	change->immutable = chance(pen, 4) == 0;
	make_file(pen, change, path, sizeof(path));
	plan_end(pen);
	if (present)
		done(pen, strata_reload(pen->store, dim_number(dim), path),
		     "reload", RELOADS);
	else
		done(pen, strata_load(pen->store, path, NULL), "load", LOADS);
}

static void
unload(struct pen *pen, uint32_t dim)
{
	bool forget = shared->directory && chance(pen, 2) != 0;

	if (!pen->model.dims[dim].present)
		return;
	plan_begin(pen, /* exact= */ false);
	(void)plan_change(pen, UNLOAD, dim);
	plan_end(pen);
	done(pen, strata_unload(pen->store, dim_number(dim), forget), "unload",
	     UNLOADS);
}

/* Contents stay; so nothing is written down. Of others' dimensions nobody knows
 * whether they are there. */
static void
crystallize(struct pen *pen)
{
	uint32_t dim = (uint32_t)chance(pen, NR_DIMS);
	const struct dim *own = &pen->model.dims[dim];
	bool known = dim >= FIRST_OWN + pen->index * NR_OWN &&
		     dim < FIRST_OWN + (pen->index + 1) * NR_OWN;
	int ret = strata_crystallize(pen->store, dim_number(dim));

	if (is_shortage(ret)) {
		figure(SHORT);
		return;
	}
	if (known)
		need(ret == (!own->present    ? STRATA_ENODIM
			     : own->immutable ? STRATA_EIMMUTABLE
					      : 0),
		     "crystallise: %d", ret);
	need(ret == 0 || ret == STRATA_ENODIM || ret == STRATA_EIMMUTABLE,
	     "crystallise: %d", ret);
	if (ret == 0)
		figure(CRYSTALS);
}

/**** the rest ****/

static void
limit(struct pen *pen)
{
	uint64_t most = shared->tight ? MIB(3) : MIB(24);
	int ret = strata_limit(pen->store, MIB(9) + chance(pen, most));

	need(ret == 0 || ret == STRATA_ELIMIT, "limit: %d", ret);
	figure(LIMITS);
}

static void
wait_somehow(struct pen *pen)
{
	int ret;

	if (chance(pen, 2) == 0)
		ret = strata_wait(pen->store, strata_version(pen->store) + 1,
				  1000000);
	else
		ret = strata_synchronize(pen->store, 5000000);
	need(ret == 0 || ret == STRATA_ETIMEDOUT, "wait: %d", ret);
	figure(WAITS);
}

static void
verify(struct pen *pen)
{
	struct strata_verify_report report;

	need(strata_verify(pen->store, chance(pen, 2) != 0, NULL, NULL,
			   &report) == 0,
	     "verify");
	need(report.errors == 0, "%" PRIu64 " errors: %s", report.errors,
	     report.first);
	figure(VERIFIES);
}

static void
end_session(struct pen *pen)
{
	need(strata_writer_close(pen->session) == 0, "close a session");
	pen->session = NULL;
}

static void
attach(struct pen *pen)
{
	need(strata_attach(store_is, STRATA_WRITE, &pen->store) == 0, "attach");
	need(strata_reader_open(pen->store, &pen->reader) == 0, "open");
}

static void
detach(struct pen *pen)
{
	if (pen->session != NULL)
		end_session(pen);
	need(strata_detach(pen->store) == 0, "detach");
}

static void
maintain(struct pen *pen)
{
	switch (chance(pen, 8)) {
	case 0:
	case 1:
		need(strata_gc(pen->store, NULL) == 0, "gc");
		figure(GCS);
		break;
	case 2:
		limit(pen);
		break;
	case 3:
		wait_somehow(pen);
		break;
	case 4:
		verify(pen);
		break;
	case 5:
		detach(pen);
		attach(pen);
		break;
	default:
		if (pen->session != NULL)
			end_session(pen);
		else
			need(strata_writer_open(pen->store, &pen->session) == 0,
			     "open a session");
	}
}

/* What is ours is as the model says, whatever the others do. */
static void
look(struct pen *pen)
{
	need(strata_read_lock(pen->reader) == 0, "lock");
	need(strata_reader_version(pen->reader) >= pen->newest,
	     "version %" PRIu64 " after a commit of version %" PRIu64,
	     strata_reader_version(pen->reader), pen->newest);
	for (uint32_t i = 0; i < NR_OWN; i++) {
		uint32_t dim = FIRST_OWN + pen->index * NR_OWN + i;

		need(sight_of(pen->reader, dim) ==
			     dim_print(&pen->model.dims[dim]),
		     "version %" PRIu64
		     ": dimension %u is not what was made of it",
		     strata_reader_version(pen->reader), dim_number(dim));
	}
	need(strata_read_unlock(pen->reader) == 0, "unlock");
}

static void
turn(struct pen *pen)
{
	uint64_t what = chance(pen, 32);

	if (what < 20)
		transaction(pen);
	else if (what < 22)
		load(pen, dim_to_load(pen));
	else if (what < 25)
		unload(pen, own_dim(pen));
	else if (what < 28)
		crystallize(pen);
	else
		maintain(pen);
	look(pen);
}

/* Stands still until the judge has judged. */
static void
pause_if_told(struct pen *pen, const struct proc *parent)
{
	bool full = atomic_load_explicit(&pen->me->nr, memory_order_relaxed) ==
		    NR_OPERATIONS;

	if (!full &&
	    atomic_load_explicit(&shared->pause, memory_order_acquire) == 0)
		return;
	if (pen->session != NULL)
		end_session(pen);
	atomic_store_explicit(&pen->me->fuse, 0, memory_order_relaxed);
	proc_say(parent, 'p');
	proc_hear(parent, 'g');
}

void
writer_main(struct proc *parent, void *arg)
{
	static struct pen pen;

	pen.me = self = arg;
	pen.index = (unsigned)(pen.me - shared->writers);
	pen.random = seed_of(pen.index + 1, pen.me->attempt);
	yields = ~pen.random;
	pen.model = shared->model;
	for (uint32_t i = 0; i < NR_CHANGES; i++) {
		pen.buffers[i] = malloc(content_size_max(7) + 8);
		need(pen.buffers[i] != NULL, "memory");
	}
	strata__testpoint = at_point;
	attach(&pen);
	for (;;) {
		pause_if_told(&pen, parent);
		if (atomic_load_explicit(&shared->stop, memory_order_relaxed) !=
		    0)
			break;
		turn(&pen);
	}
	detach(&pen);
	for (uint32_t i = 0; i < NR_CHANGES; i++)
		free(pen.buffers[i]);
}
