/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* /dev/shm is full at every single reservation: an error, and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pattern.h"
#include "proc.h"
#include "small.h"
#include "store.h"
#include "testpoint.h"

/*
 * Each operation is made again and again. First the n-th call that asks the
 * system for memory is refused, or interrupted, for each n until the operation
 * makes fewer; then the folder itself has k pages of room, for each k until that
 * is enough. Whenever the operation is refused: it says what was needed and what
 * was free; the store is as it was, no file is left, a reader that sits in a
 * section reads on; and with room the same operation passes. A SIGBUS would end
 * the test.
 */

#define KIB	   UINT64_C(1024)
#define MIB	   (KIB * 1024)
#define STORE_MAX  (STRATA_STORE_NAME_MAX + 1)
#define LIMIT	   (128 * MIB)
#define LARGE_ROOM (256 * MIB)
#define FILE_SIZE  300000
#define LARGE_SIZE ((size_t)(4 * MIB + 100000)) /* of large pages, and a tail */

/* Dimensions: what the reader reads, and what each operation works on. */
enum { KEPT = 1, KEPT_REGION, PUT, CRYSTAL, LOADED, RELOADED, LARGE };

static char name[STORE_MAX], other_name[STORE_MAX];
static char file[96], reload_file[96], large_file[96];
static struct strata_store *store;
static struct proc holder;
static bool is_small; /* the folder is a tmpfs of our own */

/**** contents ****/

static void
put(struct strata_txn *txn, uint32_t dimension, uint32_t layer, size_t size)
{
	struct pattern pattern = {dimension, layer, 1, 0};
	char *data = malloc(size);
	int code;

	need(data != NULL, "memory");
	pattern_fill(data, size, &pattern);
	code = layer == UINT32_MAX
		       ? strata_append(txn, dimension, NULL, data, size, 0,
				       NULL)
		       : strata_put(txn, dimension, layer, NULL, data, size, 0);
	need(code == 0, "put");
	free(data);
}

static struct strata_txn *
begin(void)
{
	struct strata_txn *txn;

	need(strata_txn_begin(store, &txn) == 0, "begin");
	return txn;
}

static int
commit(struct strata_txn *txn)
{
	int code = strata_txn_commit(txn, NULL);

	if (code != 0)
		strata_txn_abort(txn);
	return code;
}

/* Of every class, and a run; times so many of each. */
static int
put_all(uint32_t dimension, uint32_t times)
{
	static const size_t sizes[] = {2000, 10000, 50000, 200000, 600000};
	const uint32_t nr = sizeof(sizes) / sizeof(*sizes);
	struct strata_txn *txn = begin();

	for (uint32_t i = 0; i < nr * times; i++)
		put(txn, dimension, i, sizes[i % nr]);
	return commit(txn);
}

static void
make_file(const char *path, uint32_t dimension, size_t size)
{
	struct strata_file_info info = {.dimension = dimension};
	struct pattern pattern = {dimension, 0, 1, 0};
	static char data[LARGE_SIZE];
	struct strata_file *out;

	pattern_fill(data, size, &pattern);
	need(strata_file_begin(path, 0600, &info, &out) == 0, "file");
	need(strata_file_add(out, 0, NULL, data, size) == 0, "add");
	need(strata_file_commit(out) == 0, "file commit");
}

/**** the reader ****/

static int
check_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	struct pattern pattern;

	need(pattern_check(strata_data(arg, entry), entry->size, &pattern) &&
		     pattern.layer == layer,
	     "layer %u is torn", layer);
	return 0;
}

static void
hold(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *mine;

	(void)arg;
	need(strata_attach(name, STRATA_READ, &mine) == 0, "attach");
	need(strata_reader_open(mine, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	for (;;) {
		for (uint32_t d = KEPT; d <= KEPT_REGION; d++)
			need(strata_foreach_layer(reader, d, check_layer,
						  reader) == 0,
			     "dimension %u is gone", d);
		proc_say(parent, 'h');
		proc_hear(parent, 'c');
	}
}

static void
reader_goes_on(void)
{
	proc_say(&holder, 'c');
	proc_hear(&holder, 'h');
}

/**** operations ****/

struct operation {
	const char *what;
	void (*prepare)(void); /* or NULL; before each run */
	int (*run)(void);
	void (*undo)(void); /* of a run that passed */
};

static void
collect(void)
{
	need(strata_gc(store, NULL) == 0, "gc");
}

static void
remove_dimension(uint32_t dimension)
{
	struct strata_txn *txn = begin();

	need(strata_remove_dimension(txn, dimension) == 0, "remove");
	need(commit(txn) == 0, "remove");
	collect();
}

static int
create_run(void)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = 8 * MIB,
				       .max_limit = 8 * MIB};

	return strata_create(other_name, &config);
}

static void
create_undo(void)
{
	need(strata_destroy(other_name) == 0, "destroy");
}

/* A store with four slots, which are taken: whoever comes makes new pins. */
static struct strata_store *first, *second;
static struct strata_reader *first_reader;

static void
attach_prepare(void)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = 8 * MIB,
				       .max_limit = 8 * MIB,
				       .readers = 4};

	if (first != NULL)
		return;
	need(strata_create(other_name, &config) == 0, "create");
	need(strata_attach(other_name, STRATA_READ, &first) == 0, "attach");
	need(strata_reader_open(first, &first_reader) == 0, "open");
}

static int
attach_run(void)
{
	struct strata_reader *reader;
	int code = strata_attach(other_name, STRATA_WRITE, &second);

	if (code != 0)
		return code;
	code = strata_reader_open(second, &reader);
	if (code == 0)
		return 0;
	need(strata_detach(second) == 0, "detach");
	return code;
}

static void
attach_undo(void)
{
	need(strata_detach(second) == 0 && strata_detach(first) == 0 &&
		     strata_destroy(other_name) == 0,
	     "detach");
	first = second = NULL;
}

static int
put_run(void)
{
	/* Every class but that of the nodes must grow. */
	return put_all(PUT, 15);
}

static void
put_undo(void)
{
	remove_dimension(PUT);
}

static int
append_run(void)
{
	struct strata_txn *txn = begin();

	for (int i = 0; i < 12; i++)
		put(txn, PUT, UINT32_MAX, 300000);
	return commit(txn);
}

static void
crystallize_prepare(void)
{
	struct strata_reader *reader;
	struct strata_dimension found;
	int code;

	need(strata_reader_open(store, &reader) == 0, "open");
	need(strata_read_lock(reader) == 0, "lock");
	code = strata_dimension_get(reader, CRYSTAL, &found);
	strata_read_unlock(reader);
	strata_reader_close(reader);
	if (code == STRATA_ENODIM)
		need(put_all(CRYSTAL, 1) == 0, "put");
	collect();
}

static int
crystallize_run(void)
{
	return strata_crystallize(store, CRYSTAL);
}

static void
crystallize_undo(void)
{
	remove_dimension(CRYSTAL);
}

static int
load_run(void)
{
	return strata_load(store, file, NULL);
}

static void
load_undo(void)
{
	need(strata_unload(store, LOADED, 0) == 0, "unload");
	collect();
}

static int
reload_run(void)
{
	return strata_reload(store, RELOADED, reload_file);
}

static int
large_run(void)
{
	return strata_load(store, large_file, NULL);
}

static void
large_undo(void)
{
	need(strata_unload(store, LARGE, 0) == 0, "unload");
	collect();
}

/* A hybrid, so that the region is copied. */
static void
large_crystallize_prepare(void)
{
	struct strata_txn *txn;

	if (strata_load(store, large_file, NULL) == 0) {
		txn = begin();
		put(txn, LARGE, 1, 100);
		need(commit(txn) == 0, "put");
	}
	collect();
}

static int
large_crystallize_run(void)
{
	return strata_crystallize(store, LARGE);
}

static int
limit_run(void)
{
	return strata_limit(store, LIMIT - 4 * MIB);
}

static void
limit_undo(void)
{
	need(strata_limit(store, LIMIT) == 0, "limit");
}

static const struct operation operations[] = {
	{"create", NULL, create_run, create_undo},
	{"attach", attach_prepare, attach_run, attach_undo},
	{"put", NULL, put_run, put_undo},
	{"append", NULL, append_run, put_undo},
	{"load", NULL, load_run, load_undo},
	{"crystallize", crystallize_prepare, crystallize_run,
	 crystallize_undo},
	{"reload", NULL, reload_run, collect},
	{"load in large pages", NULL, large_run, large_undo},
	{"crystallize in large pages", large_crystallize_prepare,
	 large_crystallize_run, large_undo},
	{"limit", NULL, limit_run, limit_undo},
};
#define NR_OPERATIONS (sizeof(operations) / sizeof(*operations))

/**** what a refusal leaves ****/

struct state {
	struct strata_stats stats;
	uint64_t bytes;
	unsigned nr_files;
};

static struct state
state_now(void)
{
	struct state state = {.stats.struct_size = sizeof(state.stats)};

	need(strata_stats(store, &state.stats) == 0, "stats");
	state.bytes = shm_bytes(&state.nr_files);
	return state;
}

static void
need_clean(void)
{
	struct strata_verify_report report;

	need(strata_verify(store, /* quick= */ 0, NULL, NULL, &report) == 0,
	     "verify");
	need(report.errors == 0, "%s", report.first);
}

static void
need_same(const char *what, const struct state *before)
{
	struct state after = state_now();
	const struct strata_stats *a = &after.stats, *b = &before->stats;

	need(after.nr_files == before->nr_files,
	     "%s: a refusal left %u files, where %u were", what, after.nr_files,
	     before->nr_files);
	need(after.bytes <= before->bytes,
	     "%s: a refusal left %" PRIu64 " bytes, where %" PRIu64 " were",
	     what, after.bytes, before->bytes);
	need(a->version == b->version && a->used == b->used &&
		     a->limit == b->limit && a->reserved <= b->reserved &&
		     a->nr_layers == b->nr_layers &&
		     a->nr_regions == b->nr_regions &&
		     a->region_bytes == b->region_bytes,
	     "%s: a refusal changed the store", what);
}

/* It says how much was needed and how much was free. */
static void
need_told(const char *what, int code)
{
	const struct strata_error_info *error = strata_last_error();
	char number[32];

	need(code == STRATA_ESHM && error->code == code,
	     "%s gave %d and not STRATA_ESHM", what, code);
	need(error->sys_errno == ENOSPC, "the errno is %d", error->sys_errno);
	need(strstr(error->sentence, "is full") != NULL, "that it is full");
	if (error->requested == 0) {
		need(strstr(error->sentence, "inodes") != NULL, "of what");
		return;
	}
	snprintf(number, sizeof(number), "%" PRIu64 " bytes",
		 error->requested);
	need(strstr(error->sentence, number) != NULL, "what was needed");
	need(strstr(error->sentence, " are free") != NULL, "what was free");
	/* Which of them depends on the size of the folder. */
	need(strstr(error->sentence, "remount,size") != NULL ||
		     strstr(error->sentence, "docker run --shm-size") != NULL,
	     "what to do");
}

static void
after_refusal(const struct operation *operation, int code,
	      const struct state *before)
{
	need_told(operation->what, code);
	need_same(operation->what, before);
	need_clean();
	reader_goes_on();
}

/* There is room now. */
static void
must_pass(const struct operation *operation)
{
	need(operation->run() == 0, "%s is refused though there is room",
	     operation->what);
	need_clean();
	operation->undo();
}

/**** refusals that are made up ****/

static struct {
	int err;
	unsigned from, nr; /* calls that are refused, from 1 */
	unsigned calls;
} made_up;

static int
refuse(const char *call)
{
	/* Making a file shorter needs no memory, and what is not long is not
	 * interrupted. */
	if (strcmp(call, "truncate") == 0 ? made_up.err == ENOSPC
					  : (strcmp(call, "open") == 0 ||
					     strcmp(call, "link") == 0) &&
						    made_up.err == EINTR)
		return 0;
	made_up.calls++;
	if (made_up.calls < made_up.from ||
	    made_up.calls - made_up.from >= made_up.nr)
		return 0;
	return made_up.err;
}

static int
run_refused(const struct operation *operation)
{
	int code;

	made_up.calls = 0;
	strata__refusal = refuse;
	code = operation->run();
	strata__refusal = NULL;
	return code;
}

/* Each call of the operation is the first of nr in a row that meet err. */
static void
refuse_each(const struct operation *operation, int err, unsigned nr)
{
	struct state before;
	unsigned refused = 0;
	int code;

	made_up.err = err;
	made_up.nr = nr;
	for (made_up.from = 1;; made_up.from++) {
		if (operation->prepare != NULL)
			operation->prepare();
		before = state_now();
		code = run_refused(operation);
		if (code != 0) {
			need(err != EINTR, "%s was interrupted",
			     operation->what);
			after_refusal(operation, code, &before);
			refused++;
			must_pass(operation);
		} else {
			need_clean();
			operation->undo();
		}
		if (made_up.calls < made_up.from)
			break;
	}
	printf("%s: %u calls, %s %u times: %u refusals\n", operation->what,
	       made_up.calls, err == EINTR ? "EINTR" : "ENOSPC", nr, refused);
	/* A pool that cannot have a step takes what it needs. */
	need(err == EINTR || nr == 1 || made_up.calls == 0 || refused > 0,
	     "%s was never refused", operation->what);
}

static void
refuse_all(const struct operation *operation)
{
	refuse_each(operation, ENOSPC, 1);
	refuse_each(operation, ENOSPC, UINT32_MAX);
	refuse_each(operation, EINTR, 1);
	refuse_each(operation, EINTR, 7);
}

/**** no room in truth ****/

/* First page by page, then in growing strides. */
static uint64_t
next_room(uint64_t pages)
{
	if (test_length() == TEST_LONG || pages < 12)
		return pages + 1;
	return pages + pages / 4 + 1;
}

static void
fill_up(const struct operation *operation)
{
	uint64_t pages = 0;
	unsigned refused = 0;
	struct state before;
	int code;

	for (;;) {
		if (operation->prepare != NULL)
			operation->prepare();
		before = state_now();
		small_resize(small_used() + pages * STRATA_PAGE);
		code = operation->run();
		if (code == 0)
			break;
		after_refusal(operation, code, &before);
		small_resize(LARGE_ROOM);
		must_pass(operation);
		refused++;
		pages = next_room(pages);
	}
	need_clean();
	small_resize(LARGE_ROOM);
	operation->undo();
	printf("%s: passes with %" PRIu64 " pages, %u refusals\n",
	       operation->what, pages, refused);
}

/* Whoever takes something away needs no room. */
static void
remove_when_full(void)
{
	need(put_run() == 0 && load_run() == 0, "put and load");
	small_resize(small_used());
	put_undo();
	small_resize(small_used());
	load_undo();
	need_clean();
	reader_goes_on();
	small_resize(LARGE_ROOM);
}

/* The size that containers get: it says how to get more. */
static void
container_hint(void)
{
	const struct strata_error_info *error = strata_last_error();
	unsigned long long nr_free;
	const char *numbers;
	char path[200];
	int code, fd;

	snprintf(path, sizeof(path), "%s/ballast", getenv("STRATA_SHM_DIR"));
	small_resize(64 * MIB);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	need(fd >= 0, "ballast");
	need(posix_fallocate(fd, 0,
			     (off_t)(64 * MIB - small_used() - 40960)) == 0,
	     "ballast");
	code = put_run();
	need_told("put", code);
	numbers = strstr(error->sentence, " needed, ");
	need(numbers != NULL &&
		     sscanf(numbers, " needed, %llu of 67108864 are free",
			    &nr_free) == 1 &&
		     nr_free <= 40960,
	     "the numbers");
	need(strstr(error->sentence, "docker run --shm-size") != NULL &&
		     strstr(error->sentence, "Kubernetes") != NULL,
	     "the hint");
	need(error->limit == LIMIT && error->reserved != 0 &&
		     error->used != 0,
	     "the store's numbers");
	printf("%s\n", error->sentence);
	close(fd);
	unlink(path);
	small_resize(LARGE_ROOM);
}

/**** all ****/

static void
begin_store(const char *folder)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = LIMIT,
				       .max_limit = LIMIT,
				       .readers = 64};

	strcpy(name, store_name("full"));
	strcpy(other_name, store_name("full-other"));
	snprintf(file, sizeof(file), "%s/file-load", folder);
	snprintf(reload_file, sizeof(reload_file), "%s/file-reload", folder);
	snprintf(large_file, sizeof(large_file), "%s/file-large", folder);
	need(strata_create(name, &config) == 0, "create");
	need(strata_attach(name, STRATA_WRITE, &store) == 0, "attach");
	make_file(file, LOADED, FILE_SIZE);
	make_file(reload_file, RELOADED, FILE_SIZE);
	make_file(large_file, LARGE, LARGE_SIZE);
	need(strata_load(store, reload_file, NULL) == 0, "load");
	need(put_all(KEPT, 1) == 0 && put_all(KEPT_REGION, 1) == 0, "put");
	need(strata_crystallize(store, KEPT_REGION) == 0, "crystallize");
	collect();
	proc_start(&holder, hold, NULL);
	proc_hear(&holder, 'h');
}

static void
end_store(void)
{
	unlink(file);
	unlink(reload_file);
	unlink(large_file);
	proc_kill(&holder);
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

int
main(void)
{
	const char *folder = shm_begin();
	size_t i;

	is_small = small_begin(folder, LARGE_ROOM);
	begin_store(folder);
	for (i = 0; i < NR_OPERATIONS; i++)
		refuse_all(&operations[i]);
	for (i = 0; is_small && i < NR_OPERATIONS; i++)
		fill_up(&operations[i]);
	if (is_small) {
		remove_when_full();
		container_hint();
	}
	end_store();
	if (is_small)
		small_end();
	shm_end();
	if (!is_small)
		printf("mounting is not allowed here: only made-up refusals\n");
	return is_small ? 0 : 77;
}
