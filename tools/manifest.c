/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Reads a pack manifest: JSON that is checked to the last key. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plan.h"

/* No manifest of any use is larger; stdin may be endless. */
#define MANIFEST_MAX (UINT64_C(1) << 30)

/* Keys that are noted as ignored, each once; more are not listed. */
#define NOTED_MAX 32

struct manifest {
	struct plan *plan;
	char *folder; /* of the manifest: where content_file begins */
	int folder_fd;
	bool simulate;
	char *noted[NOTED_MAX];
	size_t nr_noted;
};

/* An object of the manifest, and what a message calls it. */
struct place {
	struct manifest *manifest;
	json_t *object;
	char name[48]; /* "layers[12]", or "layer 3/7" once that is known */
};

/**** messages ****/

static int wrong(const struct place *place, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int
wrong(const struct place *place, const char *format, ...)
{
	const struct plan *plan = place->manifest->plan;
	char *text = NULL;
	va_list values;
	int status;

	va_start(values, format);
	if (vasprintf(&text, format, values) < 0)
		text = NULL;
	va_end(values);
	status = message_error(plan->args, plan->source, "%s: %s", place->name,
			       text != NULL ? text : "is wrong");
	free(text);
	return status;
}

static const char *
type_text(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
		return "a whole number";
	case JSON_REAL:
		return "a number with a fraction";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		return "null";
	}
	return "?";
}

static int
wrong_type(const struct place *place, const char *key, const char *needed,
	   const json_t *value)
{
	return wrong(place, "'%s' must be %s, not %s", key, needed,
		     type_text(value));
}

static int
missing(const struct place *place, const char *key)
{
	return wrong(place, "the key '%s' is missing", key);
}

/**** keys that are not ours ****/

static bool
note_is_new(struct manifest *manifest, const char *what)
{
	size_t i;

	for (i = 0; i < manifest->nr_noted; i++) {
		if (strcmp(manifest->noted[i], what) == 0)
			return false;
	}
	if (manifest->nr_noted == NOTED_MAX)
		return false;
	manifest->noted[manifest->nr_noted++] = x_dup(what);
	return true;
}

static bool
key_is_known(const char *key, const char *const *known)
{
	for (; *known != NULL; known++) {
		if (strcmp(key, *known) == 0)
			return true;
	}
	return false;
}

static void
note_unknown_keys(const struct place *place, const char *const *known,
		  const char *where)
{
	struct manifest *manifest = place->manifest;
	const char *key;
	json_t *value;
	char *what;

	json_object_foreach(place->object, key, value)
	{
		if (key_is_known(key, known))
			continue;
		what = x_format("the key '%s' of %s is ignored", key, where);
		if (note_is_new(manifest, what))
			message_note(manifest->plan->args,
				     manifest->plan->source, "%s", what);
		free(what);
	}
}

/**** values ****/

/* The getters return a tool_status; what is absent is left as it was. */

static int
get_whole(const struct place *place, const char *key, uint64_t min,
	  uint64_t max, uint64_t *ret)
{
	const json_t *value = json_object_get(place->object, key);
	json_int_t number;

	if (value == NULL)
		return TOOL_DONE;
	if (!json_is_integer(value))
		return wrong_type(place, key, "a whole number", value);
	number = json_integer_value(value);
	if (number < 0 || (uint64_t)number < min || (uint64_t)number > max)
		return wrong(place,
			     "'%s' is %lld; it must be from %llu to "
			     "%llu",
			     key, (long long)number, (unsigned long long)min,
			     (unsigned long long)max);
	*ret = (uint64_t)number;
	return TOOL_DONE;
}

static int
need_whole(const struct place *place, const char *key, uint64_t min,
	   uint64_t max, uint64_t *ret)
{
	if (json_object_get(place->object, key) == NULL)
		return missing(place, key);
	return get_whole(place, key, min, max, ret);
}

static int
need_frequency(const struct place *place, const char *key, double *ret)
{
	const json_t *value = json_object_get(place->object, key);
	double number;

	if (value == NULL)
		return missing(place, key);
	if (!json_is_number(value))
		return wrong_type(place, key, "a number (Hz)", value);
	number = json_number_value(value);
	if (!isfinite(number) || number < 0)
		return wrong(place,
			     "'%s' is %g; it must be finite and not "
			     "negative (Hz)",
			     key, number);
	*ret = number;
	return TOOL_DONE;
}

/*
 * Jansson has refused invalid UTF-8 and U+0000 while parsing, so a string is
 * text and ends where C thinks it does.
 */
static int
check_text(const struct place *place, const char *key, const json_t *value,
	   size_t max)
{
	if (!json_is_string(value))
		return wrong_type(place, key, "a string", value);
	if (json_string_length(value) > max)
		return wrong(place,
			     "'%s' has %zu bytes; at most %zu are "
			     "possible",
			     key, json_string_length(value), max);
	return TOOL_DONE;
}

static int
get_text(const struct place *place, const char *key, size_t max,
	 const char **ret)
{
	const json_t *value = json_object_get(place->object, key);
	int status;

	if (value == NULL)
		return TOOL_DONE;
	status = check_text(place, key, value, max);
	if (status == TOOL_DONE)
		*ret = json_string_value(value);
	return status;
}

static int
get_boolean(const struct place *place, const char *key, int *ret)
{
	const json_t *value = json_object_get(place->object, key);

	if (value == NULL)
		return TOOL_DONE;
	if (!json_is_boolean(value))
		return wrong_type(place, key, "true or false", value);
	*ret = json_is_true(value);
	return TOOL_DONE;
}

/**** dimensions ****/

static int
dimension_name(const struct place *place, struct strata_file_info *info)
{
	const char *name = NULL;
	int status;

	if (json_object_get(place->object, "name") == NULL)
		return missing(place, "name");
	status = get_text(place, "name", STRATA_DIMENSION_NAME_MAX, &name);
	if (status == TOOL_DONE)
		strcpy(info->name, name);
	return status;
}

static int
dimension_range(const struct place *place, struct strata_file_info *info)
{
	int status;

	status = need_frequency(place, "frequency_min", &info->frequency_min);
	if (status != TOOL_DONE)
		return status;
	status = need_frequency(place, "frequency_max", &info->frequency_max);
	if (status != TOOL_DONE)
		return status;
	if (info->frequency_min > info->frequency_max)
		return wrong(place,
			     "'frequency_min' is %g, which is more than "
			     "'frequency_max', %g",
			     info->frequency_min, info->frequency_max);
	return TOOL_DONE;
}

static int
dimension_read(struct place *place, struct plan_dimension *dimension)
{
	static const char *const known[] = {
		"id",
		"name",
		"frequency_min",
		"frequency_max",
		"size_bytes",
		"immutable",
		NULL,
	};
	uint64_t id = 0;
	int status;

	if (!json_is_object(place->object))
		return wrong(place, "must be an object, not %s",
			     type_text(place->object));
	status = need_whole(place, "id", 1, STRATA_DIMENSION_MAX, &id);
	if (status != TOOL_DONE)
		return status;
	dimension->info.dimension = (uint32_t)id;
	snprintf(place->name, sizeof(place->name), "dimension %u",
		 dimension->info.dimension);
	if ((status = dimension_name(place, &dimension->info)) != TOOL_DONE ||
	    (status = dimension_range(place, &dimension->info)) != TOOL_DONE ||
	    (status = get_whole(place, "size_bytes", 0, INT64_MAX,
				&dimension->size_bytes)) != TOOL_DONE ||
	    (status = get_boolean(place, "immutable",
				  &dimension->info.immutable)) != TOOL_DONE)
		return status;
	note_unknown_keys(place, known, "dimensions");
	return TOOL_DONE;
}

static int
dimensions_unique(struct manifest *manifest)
{
	const struct plan *plan = manifest->plan;
	const struct plan_dimension *one;
	size_t i;

	for (i = 1; i < plan->nr_dimensions; i++) {
		one = &plan->dimensions[i];
		if (one[-1].info.dimension == one->info.dimension)
			return message_error(plan->args, plan->source,
					     "dimension %u is there twice: "
					     "dimensions[%zu] and "
					     "dimensions[%zu]",
					     one->info.dimension,
					     one[-1].origin, one->origin);
	}
	return TOOL_DONE;
}

static int
dimensions_read(struct manifest *manifest, const json_t *array)
{
	struct plan_dimension *dimension;
	struct place place;
	size_t i;
	int status;

	for (i = 0; i < json_array_size(array); i++) {
		place.manifest = manifest;
		place.object = json_array_get(array, i);
		snprintf(place.name, sizeof(place.name), "dimensions[%zu]", i);
		dimension = plan_add_dimension(manifest->plan);
		dimension->origin = i;
		status = dimension_read(&place, dimension);
		if (status != TOOL_DONE)
			return status;
	}
	plan_sort_dimensions(manifest->plan);
	return dimensions_unique(manifest);
}

/**** layers ****/

static int
layer_parent(const struct place *place, struct plan_layer *layer)
{
	const json_t *value = json_object_get(place->object, "parent_layer");
	uint64_t parent = 0;
	int status;

	if (value == NULL)
		return missing(place, "parent_layer");
	if (json_is_null(value))
		return TOOL_DONE;
	if (!json_is_integer(value))
		return wrong_type(place, "parent_layer",
				  "a layer number or null", value);
	status = get_whole(place, "parent_layer", 0, STRATA_LAYER_MAX, &parent);
	if (status != TOOL_DONE)
		return status;
	if (parent == layer->number)
		return wrong(place, "'parent_layer' is the layer itself");
	layer->attrs.parent = (int32_t)parent;
	return TOOL_DONE;
}

static int
layer_keywords(const struct place *place, struct plan_layer *layer)
{
	const json_t *array = json_object_get(place->object, "keywords");
	const char **keywords;
	size_t i, nr;
	int status;

	if (array == NULL)
		return missing(place, "keywords");
	if (!json_is_array(array))
		return wrong_type(place, "keywords", "an array of strings",
				  array);
	nr = json_array_size(array);
	if (nr > STRATA_KEYWORDS_MAX)
		return wrong(place,
			     "'keywords' has %zu; at most %d are "
			     "possible",
			     nr, STRATA_KEYWORDS_MAX);
	keywords = plan_keep(place->manifest->plan,
			     x_alloc(nr * sizeof(*keywords)));
	for (i = 0; i < nr; i++) {
		const json_t *keyword = json_array_get(array, i);
		char key[32];

		snprintf(key, sizeof(key), "keywords[%zu]", i);
		status = check_text(place, key, keyword, STRATA_NAME_MAX);
		if (status != TOOL_DONE)
			return status;
		keywords[i] = json_string_value(keyword);
	}
	layer->attrs.keywords = keywords;
	layer->attrs.nr_keywords = (uint32_t)nr;
	return TOOL_DONE;
}

/* A card that a person can read, from what the manifest says of the layer. */
static void
layer_simulate(struct plan *plan, const struct plan_dimension *dimension,
	       struct plan_layer *layer)
{
	char *card = NULL;
	size_t size = 0;
	FILE *out = x_check(open_memstream(&card, &size));
	uint32_t i;

	fprintf(out, "Dimension %u: %s\n", dimension->info.dimension,
		dimension->info.name);
	fprintf(out, "Layer %u", layer->number);
	if (layer->attrs.name != NULL)
		fprintf(out, ": %s", layer->attrs.name);
	fprintf(out, "\nDepth: %u\n", layer->attrs.depth);
	if (layer->attrs.parent >= 0)
		fprintf(out, "Parent: layer %d\n", layer->attrs.parent);
	fprintf(out, "Frequency: %g Hz (dimension: %g to %g Hz)\n",
		layer->attrs.frequency, dimension->info.frequency_min,
		dimension->info.frequency_max);
	for (i = 0; i < layer->attrs.nr_keywords; i++)
		fprintf(out, "%s%s", i == 0 ? "Keywords: " : ", ",
			layer->attrs.keywords[i]);
	fprintf(out,
		"%sThis content is simulated: the manifest had none for "
		"this layer.\n",
		layer->attrs.nr_keywords > 0 ? "\n\n" : "\n");
	fclose(out);
	layer->content = plan_keep(plan, x_check(card));
	layer->size = size;
	layer->attrs.flags |= STRATA_ENTRY_SIMULATED;
	plan->nr_simulated++;
}

/*
 * The library opens the path again when it writes. Somebody who can change the
 * folder in between could put a link there: a manifest is safe to pack when it
 * comes from strangers, not while they are at it.
 */
static int
layer_content_file(const struct place *place, const char *path,
		   struct plan_layer *layer)
{
	struct manifest *manifest = place->manifest;
	const char *reason;
	uint64_t size;

	if (!beneath_check(manifest->folder_fd, path, &size, &reason))
		return wrong(place, "'content_file' '%s': %s", path, reason);
	layer->path = plan_keep(manifest->plan,
				x_format("%s/%s", manifest->folder, path));
	layer->size = (size_t)size;
	return TOOL_DONE;
}

static int
layer_content(const struct place *place, const struct plan_dimension *dimension,
	      struct plan_layer *layer)
{
	const char *text = NULL, *path = NULL;
	int status;

	status = get_text(place, "content", SIZE_MAX, &text);
	if (status != TOOL_DONE)
		return status;
	status = get_text(place, "content_file", PATH_MAX, &path);
	if (status != TOOL_DONE)
		return status;
	if (text != NULL && path != NULL)
		return wrong(place, "has both 'content' and 'content_file'; "
				    "leave one out");
	if (path != NULL)
		return layer_content_file(place, path, layer);
	if (text != NULL) {
		layer->content = text;
		layer->size = strlen(text);
		return TOOL_DONE;
	}
	if (!place->manifest->simulate)
		return wrong(place, "has no 'content' and no 'content_file'; "
				    "--simulate makes a text card instead");
	layer_simulate(place->manifest->plan, dimension, layer);
	return TOOL_DONE;
}

static int
layer_fields(const struct place *place, struct plan_layer *layer)
{
	uint64_t depth = 0;
	int status;

	status = need_whole(place, "depth", 0, UINT32_MAX, &depth);
	layer->attrs.depth = (uint32_t)depth;
	if (status == TOOL_DONE)
		status = layer_parent(place, layer);
	if (status == TOOL_DONE)
		status = layer_keywords(place, layer);
	if (status == TOOL_DONE)
		status = need_frequency(place, "frequency",
					&layer->attrs.frequency);
	if (status == TOOL_DONE)
		status = get_text(place, "name", STRATA_NAME_MAX,
				  &layer->attrs.name);
	return status;
}

static int
layer_read(struct place *place, size_t origin)
{
	static const char *const known[] = {
		"dimension_id", "layer_num", "depth", "parent_layer",
		"keywords",     "frequency", "name",  "content",
		"content_file", NULL,
	};
	struct plan *plan = place->manifest->plan;
	struct plan_dimension *dimension;
	struct plan_layer *layer;
	uint64_t id = 0, number = 0;
	int status;

	if (!json_is_object(place->object))
		return wrong(place, "must be an object, not %s",
			     type_text(place->object));
	status =
		need_whole(place, "dimension_id", 1, STRATA_DIMENSION_MAX, &id);
	if (status == TOOL_DONE)
		status = need_whole(place, "layer_num", 0, STRATA_LAYER_MAX,
				    &number);
	if (status != TOOL_DONE)
		return status;
	snprintf(place->name, sizeof(place->name), "layer %u/%u", (uint32_t)id,
		 (uint32_t)number);
	dimension = plan_find(plan, (uint32_t)id);
	if (dimension == NULL)
		return wrong(place,
			     "'dimension_id' is %u, which 'dimensions' "
			     "does not have",
			     (uint32_t)id);
	layer = plan_add_layer(plan, dimension);
	layer->number = (uint32_t)number;
	layer->origin = origin;
	status = layer_fields(place, layer);
	if (status == TOOL_DONE)
		status = layer_content(place, dimension, layer);
	if (status == TOOL_DONE)
		note_unknown_keys(place, known, "layers");
	return status;
}

/**** what concerns several layers ****/

static bool
has_layer(const struct plan_dimension *dimension, uint32_t number)
{
	size_t low = 0, high = dimension->nr_layers, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (dimension->layers[middle].number == number)
			return true;
		if (dimension->layers[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static int
layers_unique(const struct plan *plan, const struct plan_dimension *dimension)
{
	const struct plan_layer *one;
	size_t i;

	for (i = 1; i < dimension->nr_layers; i++) {
		one = &dimension->layers[i];
		if (one[-1].number == one->number)
			return message_error(plan->args, plan->source,
					     "layer %u/%u is there twice: "
					     "layers[%zu] and layers[%zu]",
					     dimension->info.dimension,
					     one->number, one[-1].origin,
					     one->origin);
	}
	return TOOL_DONE;
}

/* A parent may come by another way later: worth a word, not a refusal. */
static void
parents_note(const struct plan *plan, const struct plan_dimension *dimension)
{
	const struct plan_layer *layer;
	size_t i;

	for (i = 0; i < dimension->nr_layers; i++) {
		layer = &dimension->layers[i];
		if (layer->attrs.parent < 0 ||
		    has_layer(dimension, (uint32_t)layer->attrs.parent))
			continue;
		message_note(plan->args, plan->source,
			     "layer %u/%u: its parent, layer %d, is not in "
			     "the manifest",
			     dimension->info.dimension, layer->number,
			     layer->attrs.parent);
		return;
	}
}

static void
size_note(const struct plan *plan, const struct plan_dimension *dimension)
{
	uint64_t bytes = 0;
	size_t i;

	for (i = 0; i < dimension->nr_layers; i++)
		bytes += dimension->layers[i].size;
	if (dimension->size_bytes != 0 && bytes > dimension->size_bytes)
		message_note(plan->args, plan->source,
			     "dimension %u: its contents take %llu bytes, more "
			     "than its 'size_bytes', %llu",
			     dimension->info.dimension,
			     (unsigned long long)bytes,
			     (unsigned long long)dimension->size_bytes);
}

static int
layers_check(const struct plan *plan)
{
	size_t i;
	int status;

	for (i = 0; i < plan->nr_dimensions; i++) {
		status = layers_unique(plan, &plan->dimensions[i]);
		if (status != TOOL_DONE)
			return status;
		parents_note(plan, &plan->dimensions[i]);
		size_note(plan, &plan->dimensions[i]);
	}
	return TOOL_DONE;
}

static int
layers_read(struct manifest *manifest, const json_t *array)
{
	struct place place;
	size_t i;
	int status;

	for (i = 0; i < json_array_size(array); i++) {
		place.manifest = manifest;
		place.object = json_array_get(array, i);
		snprintf(place.name, sizeof(place.name), "layers[%zu]", i);
		status = layer_read(&place, i);
		if (status != TOOL_DONE)
			return status;
	}
	plan_sort_layers(manifest->plan);
	return layers_check(manifest->plan);
}

/**** the document ****/

static int
need_array(const struct place *place, const char *key, const json_t **ret)
{
	const json_t *value = json_object_get(place->object, key);

	if (value == NULL)
		return missing(place, key);
	if (!json_is_array(value))
		return wrong_type(place, key, "an array", value);
	*ret = value;
	return TOOL_DONE;
}

static int
document_read(struct manifest *manifest)
{
	static const char *const known[] = {"dimensions", "layers", NULL};
	struct place place = {manifest, manifest->plan->document, "manifest"};
	const json_t *dimensions, *layers;
	int status;

	if (!json_is_object(place.object))
		return wrong(&place,
			     "must be an object with 'dimensions' and "
			     "'layers', not %s",
			     type_text(place.object));
	status = need_array(&place, "dimensions", &dimensions);
	if (status == TOOL_DONE)
		status = need_array(&place, "layers", &layers);
	if (status != TOOL_DONE)
		return status;
	if (json_array_size(dimensions) == 0)
		return wrong(&place, "'dimensions' is empty: there is nothing "
				     "to pack");
	note_unknown_keys(&place, known, "the manifest");
	status = dimensions_read(manifest, dimensions);
	if (status == TOOL_DONE)
		status = layers_read(manifest, layers);
	return status;
}

static int
document_parse(struct plan *plan, const char *path)
{
	struct content content;
	json_error_t error;
	int status = content_read(plan->args, path, MANIFEST_MAX,
				  "any manifest may be", &content);

	if (status != TOOL_DONE)
		return status;
	plan->document = json_loadb(content.bytes, content.size,
				    JSON_REJECT_DUPLICATES, &error);
	content_fini(&content);
	if (plan->document == NULL)
		return message_error(plan->args, plan->source,
				     "line %d, column %d: %s", error.line,
				     error.column, error.text);
	return TOOL_DONE;
}

static int
folder_open(struct manifest *manifest, const char *path)
{
	const struct plan *plan = manifest->plan;
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		manifest->folder = x_dup(".");
	else
		manifest->folder = x_format("%.*s", (int)(slash - path), path);
	/* That of "/m.json" is "" here, so that "" "/" "name" is right. */
	manifest->folder_fd = open(slash == path ? "/" : manifest->folder,
				   O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (manifest->folder_fd < 0)
		return message_error(plan->args, plan->source,
				     "its folder cannot be opened: %s",
				     strerror(errno));
	return TOOL_DONE;
}

static void
manifest_fini(struct manifest *manifest)
{
	if (manifest->folder_fd >= 0)
		close(manifest->folder_fd);
	while (manifest->nr_noted > 0)
		free(manifest->noted[--manifest->nr_noted]);
	free(manifest->folder);
}

int
manifest_read(struct plan *plan, const char *path)
{
	struct manifest manifest = {
		.plan = plan,
		.folder_fd = -1,
		.simulate = args_has(plan->args, KEY_SIMULATE),
	};
	int status = folder_open(&manifest, path);

	if (status == TOOL_DONE)
		status = document_parse(plan, path);
	if (status == TOOL_DONE)
		status = document_read(&manifest);
	manifest_fini(&manifest);
	return status;
}
