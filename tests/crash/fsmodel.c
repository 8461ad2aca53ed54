/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The states in which a folder may be after the power was lost. */
#include "fsmodel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hash.h"
#include "proc.h"

#define BLOCK       4096u
#define EFFECTS_MAX 10
#define NOTHING     UINT32_MAX
#define STATES_MAX  100000

/* What was lost of the writes since the last sync. */
enum loss {
	LOST_NOTHING,
	LOST_ALL,
	LOST_BYTES,      /* the length is there, and zeroes */
	LOST_HALF,       /* all but a first part */
	LOST_END,        /* the same, and no block's end */
	LOST_ODD_BLOCKS, /* zeroes instead */
	LOST_SOME_BLOCKS,
	LOST_LAST,       /* the last write */
	LOST_ALL_BUT_LAST,
	NR_LOSSES
};

/* One entry of the folder becomes that file, or goes. */
struct effect {
	const char *name;
	unsigned file; /* NOTHING: it goes */
};

/* Where the enumeration is. */
struct model {
	const struct fs_record *record;
	uint64_t seed;
	unsigned nr_ops;
	struct fs_name durable[FS_FILES_MAX]; /* the folder */
	unsigned nr_durable;
	struct effect effects[EFFECTS_MAX]; /* since */
	unsigned nr_effects;
	unsigned synced[FS_FILES_MAX]; /* operations before its last sync */
};

/**** names ****/

static void
name_set(struct fs_name *names, unsigned *nr, const struct effect *effect)
{
	unsigned i;

	for (i = 0; i < *nr; i++)
		if (strcmp(names[i].name, effect->name) == 0)
			break;
	if (effect->file == NOTHING) {
		if (i < *nr)
			names[i] = names[--*nr];
		return;
	}
	need(i < FS_FILES_MAX, "more than %d names", FS_FILES_MAX);
	strcpy(names[i].name, effect->name);
	names[i].file = effect->file;
	if (i == *nr)
		++*nr;
}

/* The folder with those of the effects whose bits are set. */
static unsigned
names_with(const struct model *model, unsigned mask, struct fs_name *names)
{
	unsigned nr = model->nr_durable;

	memcpy(names, model->durable, sizeof(model->durable));
	for (unsigned i = 0; i < model->nr_effects; i++)
		if ((mask >> i & 1) != 0)
			name_set(names, &nr, &model->effects[i]);
	return nr;
}

static unsigned
name_now(const struct model *model, const char *name)
{
	struct fs_name names[FS_FILES_MAX];
	unsigned nr = names_with(model, ~0u, names);

	for (unsigned i = 0; i < nr; i++)
		if (strcmp(names[i].name, name) == 0)
			return names[i].file;
	need(false, "the record misses how %s was made", name);
	return NOTHING;
}

static void
effect_add(struct model *model, const char *name, unsigned file)
{
	need(model->nr_effects < EFFECTS_MAX,
	     "more than %d operations on names before a sync", EFFECTS_MAX);
	model->effects[model->nr_effects++] = (struct effect){name, file};
}

/* One operation more has been done. */
static void
step(struct model *model)
{
	const struct fs_op *op = &model->record->ops[model->nr_ops++];
	struct fs_name names[FS_FILES_MAX];
	unsigned file;

	switch (op->kind) {
	case FS_CREATE:
		effect_add(model, op->name, op->file);
		break;
	case FS_RENAME:
		file = name_now(model, op->name);
		effect_add(model, op->to, file);
		effect_add(model, op->name, NOTHING);
		break;
	case FS_UNLINK:
		effect_add(model, op->name, NOTHING);
		break;
	case FS_SYNC_FOLDER:
		model->nr_durable = names_with(model, ~0u, names);
		memcpy(model->durable, names, sizeof(names));
		model->nr_effects = 0;
		break;
	case FS_SYNC:
		model->synced[op->file] = model->nr_ops;
		break;
	case FS_WRITE:
	case FS_TRUNCATE:
		break;
	}
}

/**** contents ****/

struct content {
	char *data;
	size_t size;
};

static void
grow(struct content *content, size_t size)
{
	if (size <= content->size)
		return;
	content->data = realloc(content->data, size + 1);
	memset(content->data + content->size, 0, size - content->size);
	content->size = size;
}

/* A write of which not all is there. */
static void
write_lossy(struct content *content, const struct fs_op *op, enum loss loss,
	    uint64_t *random)
{
	bool keep;

	grow(content, op->offset + op->size);
	for (size_t i = 0, n; i < op->size; i += n) {
		uint64_t block = (op->offset + i) / BLOCK;

		n = (block + 1) * BLOCK - (op->offset + i);
		if (n > op->size - i)
			n = op->size - i;
		keep = loss == LOST_ODD_BLOCKS ? block % 2 == 0
					       : test_random(random) % 4 != 0;
		if (loss != LOST_BYTES && keep)
			memcpy(content->data + op->offset + i, op->data + i, n);
	}
}

static bool
is_change(const struct fs_op *op, unsigned file)
{
	return (op->kind == FS_WRITE || op->kind == FS_TRUNCATE) &&
	       op->file == file;
}

static void
apply(struct content *content, const struct fs_op *op)
{
	if (op->kind == FS_WRITE) {
		grow(content, op->offset + op->size);
		memcpy(content->data + op->offset, op->data, op->size);
	} else {
		grow(content, op->offset);
		content->size = op->offset;
	}
}

/* Which of the changes since the last sync is the last? NOTHING: none is. */
static unsigned
last_change(const struct model *model, unsigned file)
{
	for (unsigned i = model->nr_ops; i-- > model->synced[file];)
		if (is_change(&model->record->ops[i], file))
			return i;
	return NOTHING;
}

static struct content
content_of(const struct model *model, unsigned file, enum loss loss)
{
	const struct fs_file *initial = &model->record->files[file];
	unsigned last = last_change(model, file);
	struct content content = {calloc(1, 1), 0};
	uint64_t random = model->seed;
	size_t durable;

	grow(&content, initial->size);
	if (initial->size != 0)
		memcpy(content.data, initial->data, initial->size);
	for (unsigned i = 0; i < model->synced[file]; i++)
		if (is_change(&model->record->ops[i], file))
			apply(&content, &model->record->ops[i]);
	durable = content.size;
	for (unsigned i = model->synced[file]; i < model->nr_ops; i++) {
		const struct fs_op *op = &model->record->ops[i];

		if (!is_change(op, file) || loss == LOST_ALL ||
		    (loss == LOST_LAST && i == last))
			continue;
		if (op->kind == FS_TRUNCATE || loss == LOST_NOTHING ||
		    loss == LOST_HALF || loss == LOST_END ||
		    loss == LOST_LAST ||
		    (loss == LOST_ALL_BUT_LAST && i == last))
			apply(&content, op);
		else
			write_lossy(&content, op,
				    loss == LOST_ALL_BUT_LAST ? LOST_BYTES
							      : loss,
				    &random);
	}
	if (last != NOTHING && content.size > durable) {
		if (loss == LOST_HALF)
			content.size = durable +
				(content.size - durable) / 2 / BLOCK * BLOCK;
		if (loss == LOST_END)
			content.size -= 1 + test_random(&random) %
						    (content.size - durable);
	}
	return content;
}

/**** states ****/

static void
state_make(const struct model *model, unsigned mask, enum loss loss,
	   struct fs_state *ret)
{
	struct fs_name names[FS_FILES_MAX];
	struct content content;

	ret->nr_ops = model->nr_ops;
	ret->nr = names_with(model, mask, names);
	for (unsigned i = 0; i < ret->nr; i++) {
		content = content_of(model, names[i].file, loss);
		strcpy(ret->files[i].name, names[i].name);
		ret->files[i].data = content.data;
		ret->files[i].size = content.size;
	}
}

static void
state_free(struct fs_state *state)
{
	for (unsigned i = 0; i < state->nr; i++)
		free(state->files[i].data);
}

/* The same for the same names and bytes, after as many operations. */
static uint64_t
state_hash(const struct fs_state *state)
{
	uint64_t hash = state->nr_ops;

	for (unsigned i = 0; i < state->nr; i++) {
		uint64_t one[3] = {
			strata__hash(state->files[i].name,
				     strlen(state->files[i].name)),
			state->files[i].size,
			strata__hash(state->files[i].data,
				     state->files[i].size)};

		hash += strata__hash(one, sizeof(one));
	}
	return hash;
}

void
fs_each_state(const struct fs_record *record, uint64_t seed,
	      void (*fn)(const struct fs_state *state, void *arg), void *arg)
{
	uint64_t *seen = malloc(STATES_MAX * sizeof(*seen));
	struct model model = {.record = record, .seed = seed};
	unsigned nr_seen = 0, i;
	struct fs_state state;
	uint64_t hash;

	memcpy(model.durable, record->names, sizeof(model.durable));
	model.nr_durable = record->nr_names;
	for (;;) {
		for (unsigned mask = 0; mask < 1u << model.nr_effects; mask++)
			for (unsigned loss = 0; loss < NR_LOSSES; loss++) {
				state_make(&model, mask, loss, &state);
				hash = state_hash(&state);
				for (i = 0; i < nr_seen; i++)
					if (seen[i] == hash)
						break;
				if (i == nr_seen) {
					need(nr_seen < STATES_MAX, "states");
					seen[nr_seen++] = hash;
					fn(&state, arg);
				}
				state_free(&state);
			}
		if (model.nr_ops == record->nr_ops)
			break;
		step(&model);
	}
	free(seen);
}

/**** real folders ****/

static unsigned
nr_in(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	unsigned nr = 0;

	need(dir != NULL, "opendir %s: %s", folder, strerror(errno));
	while ((entry = readdir(dir)) != NULL)
		nr += strcmp(entry->d_name, ".") != 0 &&
		      strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return nr;
}

static bool
has_file(const char *folder, const char *name, const char *data, size_t size)
{
	char path[512], *real = malloc(size + 1);
	ssize_t n;
	bool same;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, real, size + 1) : -1;
	same = n == (ssize_t)size && memcmp(real, data, size) == 0;
	if (fd >= 0)
		close(fd);
	free(real);
	return same;
}

bool
fs_is_complete(const struct fs_record *record, const char *folder)
{
	struct model model = {.record = record};
	struct fs_state state;
	bool same;

	memcpy(model.durable, record->names, sizeof(model.durable));
	model.nr_durable = record->nr_names;
	while (model.nr_ops < record->nr_ops)
		step(&model);
	state_make(&model, ~0u, LOST_NOTHING, &state);
	same = nr_in(folder) == state.nr;
	for (unsigned i = 0; same && i < state.nr; i++)
		same = has_file(folder, state.files[i].name,
				state.files[i].data, state.files[i].size);
	state_free(&state);
	return same;
}

void
fs_empty(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;

	need(dir != NULL, "opendir %s: %s", folder, strerror(errno));
	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

void
fs_write(const struct fs_state *state, const char *folder)
{
	char path[512];
	FILE *file;

	fs_empty(folder);
	for (unsigned i = 0; i < state->nr; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder,
			 state->files[i].name);
		file = fopen(path, "we");
		need(file != NULL, "%s: %s", path, strerror(errno));
		need(fwrite(state->files[i].data, 1, state->files[i].size,
			    file) == state->files[i].size &&
			     fclose(file) == 0,
		     "%s: %s", path, strerror(errno));
	}
}
