/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * Any bytes as a script of what a program does with a store: transactions,
 * sections, crystallising, unloading, garbage, the limit. A list of layers is
 * the model: every section must see the list as it was when it began, and the
 * store must be clean whenever it is looked at.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"
#include "store.h"

const char fuzz_corpus[] = "corpus-script";
const unsigned fuzz_nr_changes = 1500;

#define STORE      "script"
#define LAYERS_MAX 128
#define OPS_MAX    300
#define READERS    3

struct layer {
	uint32_t dimension, layer;
	uint32_t size;
	uint8_t byte;
};

/* In no order. A dimension may be there without layers. */
struct model {
	struct layer layers[LAYERS_MAX];
	unsigned nr;
	uint8_t dimensions; /* a bit for each of numbers[] */
	bool failed;	    /* what is not there was to be removed */
	bool full;	    /* of the model: the store is left alone */
};

static const uint32_t numbers[] = {1, 2, 511, 512, 1023, STRATA_DIMENSION_MAX};
static const uint32_t layers[] = {0,	 1,	 59,	    60,
				  16383, 16384,	 0x7fffff,  STRATA_LAYER_MAX};
static const uint32_t sizes[] = {0, 1, 64, 4000, 5000, 17000, 70000, 600000};
#define NR_NUMBERS 6u

struct script {
	const uint8_t *at, *end;
	struct strata_store *store;
	struct strata_txn *txn;
	struct strata_reader *readers[READERS];
	bool locked[READERS];
	struct model seen[READERS]; /* when the section began */
	struct model now, staged;
};

static char folder[] = "/dev/shm/strata-fuzz-XXXXXX";
static char content[600000 + 1];

static void
must(int code, const char *what)
{
	fuzz_need(code == 0, "%s gave %d: %s", what, code,
		  strata_last_error()->sentence);
}

static int
told(int code)
{
	fuzz_need(code <= 0 &&
			  (code == 0 ||
			   strata_last_error()->sentence[0] != '\0'),
		  "%d without a word", code);
	return code;
}

static uint8_t
next(struct script *script)
{
	return script->at < script->end ? *script->at++ : 0;
}

/**** the model ****/

static struct layer *
model_find(struct model *model, uint32_t dimension, uint32_t layer)
{
	for (unsigned i = 0; i < model->nr; i++)
		if (model->layers[i].dimension == dimension &&
		    model->layers[i].layer == layer)
			return &model->layers[i];
	return NULL;
}

static unsigned
model_count(const struct model *model, uint32_t dimension)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < model->nr; i++)
		nr += model->layers[i].dimension == dimension;
	return nr;
}

static void
model_put(struct model *model, const struct layer *layer, unsigned number)
{
	struct layer *old = model_find(model, layer->dimension, layer->layer);

	model->dimensions |= (uint8_t)(1u << number);
	if (old != NULL)
		*old = *layer;
	else if (model->nr < LAYERS_MAX)
		model->layers[model->nr++] = *layer;
	else
		model->full = true;
}

static void
model_remove(struct model *model, uint32_t dimension, uint32_t layer)
{
	struct layer *old = model_find(model, dimension, layer);

	if (old == NULL)
		model->failed = true;
	else
		*old = model->layers[--model->nr];
}

static void
model_forget(struct model *model, unsigned number)
{
	unsigned kept = 0;

	if ((model->dimensions & 1u << number) == 0)
		model->failed = true;
	model->dimensions &= (uint8_t)~(1u << number);
	for (unsigned i = 0; i < model->nr; i++)
		if (model->layers[i].dimension != numbers[number])
			model->layers[kept++] = model->layers[i];
	model->nr = kept;
}

/* What an append would get; -1: nothing. */
static int64_t
model_next(const struct model *model, uint32_t dimension)
{
	int64_t last = -1;

	for (unsigned i = 0; i < model->nr; i++)
		if (model->layers[i].dimension == dimension &&
		    model->layers[i].layer > last)
			last = model->layers[i].layer;
	return last < (int64_t)STRATA_LAYER_MAX ? last + 1 : -1;
}

/**** looking ****/

static int
count_layer(uint32_t layer, const struct strata_entry *entry, void *arg)
{
	(void)layer;
	(void)entry;
	(*(unsigned *)arg)++;
	return 0;
}

static bool
is_filled(const char *data, uint8_t byte, uint32_t size)
{
	return size == 0 || ((uint8_t)data[0] == byte &&
			     memcmp(data, data + 1, size - 1) == 0);
}

static void
check_dimension(struct strata_reader *reader, const struct model *model,
		unsigned number)
{
	bool is = (model->dimensions & 1u << number) != 0;
	unsigned nr = 0;
	int code = strata_foreach_layer(reader, numbers[number], count_layer,
					&nr);

	fuzz_need(code == (is ? 0 : STRATA_ENODIM), "dimension %u gave %d",
		  numbers[number], code);
	fuzz_need(nr == model_count(model, numbers[number]),
		  "dimension %u has %u layers", numbers[number], nr);
}

static void
check_section(struct strata_reader *reader, const struct model *model)
{
	const struct strata_entry *entry;

	for (unsigned i = 0; i < model->nr; i++) {
		const struct layer *layer = &model->layers[i];

		must(strata_find(reader, layer->dimension, layer->layer,
				 &entry),
		     "find");
		fuzz_need(entry->size == layer->size &&
				  is_filled(strata_data(reader, entry),
					    layer->byte, layer->size),
			  "layer %u/%u is another one", layer->dimension,
			  layer->layer);
	}
	for (unsigned i = 0; i < NR_NUMBERS; i++)
		check_dimension(reader, model, i);
}

static void
check_clean(struct strata_store *store)
{
	struct strata_verify_report report;

	must(strata_verify(store, 0, NULL, NULL, &report), "verify");
	fuzz_need(report.errors == 0, "%s", report.first);
}

/**** what a script does ****/

static void
do_begin(struct script *script)
{
	if (script->txn != NULL)
		return;
	must(strata_txn_begin(script->store, &script->txn), "begin");
	script->staged = script->now;
}

static void
do_put(struct script *script)
{
	unsigned number = next(script) % NR_NUMBERS;
	struct layer layer = {.dimension = numbers[number]};
	uint8_t random = next(script);
	int code;

	do_begin(script);
	layer.layer = layers[random % 8];
	layer.size = sizes[random / 8 % 8];
	layer.byte = next(script);
	memset(content, layer.byte, layer.size);
	code = told(strata_put(script->txn, layer.dimension, layer.layer, NULL,
			       content, layer.size, 0));
	/* The changes are made in their order, on what is there then. */
	if (code == 0)
		model_put(&script->staged, &layer, number);
}

static void
do_append(struct script *script)
{
	unsigned number = next(script) % NR_NUMBERS;
	struct layer layer = {.dimension = numbers[number], .size = 50};
	int64_t at;

	do_begin(script);
	at = model_next(&script->staged, layer.dimension);
	layer.layer = (uint32_t)at;
	layer.byte = next(script);
	memset(content, layer.byte, layer.size);
	must(strata_append(script->txn, layer.dimension, NULL, content,
			   layer.size, 0, NULL),
	     "append");
	if (at < 0)
		script->staged.failed = true;
	else
		model_put(&script->staged, &layer, number);
}

static void
do_remove(struct script *script)
{
	uint32_t dimension = numbers[next(script) % NR_NUMBERS];
	uint32_t layer = layers[next(script) % 8];

	do_begin(script);
	must(strata_remove(script->txn, dimension, layer), "remove");
	model_remove(&script->staged, dimension, layer);
}

static void
do_remove_dimension(struct script *script)
{
	unsigned number = next(script) % NR_NUMBERS;

	do_begin(script);
	must(strata_remove_dimension(script->txn, numbers[number]), "remove");
	model_forget(&script->staged, number);
}

static void
do_abort(struct script *script)
{
	if (script->txn != NULL)
		strata_txn_abort(script->txn);
	script->txn = NULL;
}

static void
do_commit(struct script *script)
{
	int code;

	if (script->txn == NULL)
		return;
	if (script->staged.full) {
		do_abort(script);
		return;
	}
	code = told(strata_txn_commit(script->txn, NULL));
	if (code != 0) {
		fuzz_need(script->staged.failed || code == STRATA_ELIMIT ||
				  code == STRATA_ECLASS,
			  "commit gave %d: %s", code,
			  strata_last_error()->sentence);
		do_abort(script);
		return;
	}
	fuzz_need(!script->staged.failed, "what is not there was removed");
	script->txn = NULL;
	script->now = script->staged;
}

/* Not while something is staged: the model of that would be old. */
static void
do_crystallize(struct script *script)
{
	told(strata_crystallize(script->store,
				numbers[next(script) % NR_NUMBERS]));
}

static void
do_unload(struct script *script)
{
	unsigned number = next(script) % NR_NUMBERS;

	do_abort(script);
	if (told(strata_unload(script->store, numbers[number], 0)) == 0) {
		model_forget(&script->now, number);
		fuzz_need(!script->now.failed, "what is not there was unloaded");
	}
}

static void
do_gc(struct script *script)
{
	must(strata_gc(script->store, NULL), "gc");
}

static void
do_lock(struct script *script)
{
	unsigned i = next(script) % READERS;

	if (script->locked[i])
		return;
	must(strata_read_lock(script->readers[i]), "lock");
	script->locked[i] = true;
	script->seen[i] = script->now;
}

static void
do_unlock(struct script *script)
{
	unsigned i = next(script) % READERS;

	if (!script->locked[i])
		return;
	check_section(script->readers[i], &script->seen[i]);
	must(strata_read_unlock(script->readers[i]), "unlock");
	script->locked[i] = false;
}

static void
do_verify(struct script *script)
{
	check_clean(script->store);
}

static void
do_limit(struct script *script)
{
	told(strata_limit(script->store,
			  (uint64_t)(next(script) % 32 + 1) << 20));
}

static void
do_describe(struct script *script)
{
	unsigned number = next(script) % NR_NUMBERS;

	do_begin(script);
	must(strata_describe(script->txn, numbers[number], "name", 1, 2),
	     "describe");
	script->staged.dimensions |= (uint8_t)(1u << number);
}

/**** a store for a script ****/

static void
script_begin(struct script *script)
{
	const struct strata_config config = {.struct_size = sizeof(config),
					     .limit = UINT64_C(10) << 20,
					     .readers = 8};

	must(strata_create(STORE, &config), "create");
	must(strata_attach(STORE, STRATA_WRITE, &script->store), "attach");
	for (unsigned i = 0; i < READERS; i++)
		must(strata_reader_open(script->store, &script->readers[i]),
		     "reader");
}

static void
script_end(struct script *script)
{
	do_abort(script);
	for (unsigned i = 0; i < READERS; i++) {
		if (!script->locked[i])
			must(strata_read_lock(script->readers[i]), "lock");
		check_section(script->readers[i], script->locked[i] ?
							  &script->seen[i] :
							  &script->now);
		must(strata_read_unlock(script->readers[i]), "unlock");
		must(strata_reader_close(script->readers[i]), "close");
	}
	check_clean(script->store);
	must(strata_gc(script->store, NULL), "gc");
	check_clean(script->store);
	must(strata_detach(script->store), "detach");
	must(strata_destroy(STORE), "destroy");
}

static void
clean_up(void)
{
	struct dirent **entries;
	char path[512];
	int n = scandir(folder, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder,
			 entries[i]->d_name);
		unlink(path);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	rmdir(folder);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const ops[])(struct script *script) = {
		do_put,	   do_put,	 do_put,   do_append, do_remove,
		do_commit, do_commit,	 do_abort, do_lock,   do_unlock,
		do_gc,	   do_crystallize, do_unload, do_verify,
		do_remove_dimension, do_describe, do_limit,
	};
	static bool made;
	static struct script script;

	if (!made) {
		fuzz_need(mkdtemp(folder) != NULL, "mkdtemp");
		setenv("STRATA_SHM_DIR", folder, 1);
		atexit(clean_up);
	}
	made = true;
	memset(&script, 0, sizeof(script));
	script.at = data;
	script.end = data + size;
	script_begin(&script);
	for (unsigned i = 0; i < OPS_MAX && script.at < script.end; i++)
		ops[next(&script) % (sizeof(ops) / sizeof(ops[0]))](&script);
	script_end(&script);
	return 0;
}
