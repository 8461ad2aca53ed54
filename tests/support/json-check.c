/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/*
 * Looks at JSON that the tool printed.
 *
 *	json-check FILE...
 *	json-check --manifest MANIFEST DIMENSIONS LAYERS...
 *
 * The first: each file is one object. The second: what `ls STORE --json` and,
 * for each dimension, `ls STORE DIM --json` printed is what the manifest says.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static int nr_wrong;

static void wrong(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

static void
wrong(const char *format, ...)
{
	va_list values;

	va_start(values, format);
	vprintf(format, values);
	va_end(values);
	putchar('\n');
	nr_wrong++;
}

static json_t *
load(const char *path)
{
	json_error_t error;
	json_t *object = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

	if (object == NULL || !json_is_object(object)) {
		printf("%s: line %d: %s\n", path, error.line,
		       object == NULL ? error.text : "no object");
		exit(1);
	}
	return object;
}

/**** comparing ****/

static json_int_t
integer(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Numbers are equal as numbers: 2 and 2.0. What is absent is as given. */
static void
same(const char *what, const json_t *manifest, const char *key,
     const json_t *printed, const char *printed_key, const json_t *absent)
{
	const json_t *a = json_object_get(manifest, key);
	const json_t *b = json_object_get(printed, printed_key);

	if (a == NULL)
		a = absent;
	if (json_is_number(a) && json_is_number(b)
		    ? json_number_value(a) != json_number_value(b)
		    : !json_equal(a, b))
		wrong("%s: '%s' is not as in the manifest", what, key);
}

/* The array's item whose key is a number, or NULL. */
static const json_t *
find(const json_t *array, const char *key, json_int_t number)
{
	const json_t *item;
	size_t i;

	json_array_foreach(array, i, item)
	{
		if (integer(item, key) == number)
			return item;
	}
	return NULL;
}

static void
layer_compare(const char *what, const json_t *layer, const json_t *printed)
{
	const json_t *content = json_object_get(layer, "content");
	json_t *empty = json_string("");
	int simulated = content == NULL &&
			json_object_get(layer, "content_file") == NULL;

	same(what, layer, "layer_num", printed, "layer", NULL);
	same(what, layer, "depth", printed, "depth", NULL);
	same(what, layer, "parent_layer", printed, "parent", NULL);
	same(what, layer, "frequency", printed, "frequency", NULL);
	same(what, layer, "keywords", printed, "keywords", NULL);
	same(what, layer, "name", printed, "name", empty);
	if (json_is_true(json_object_get(printed, "simulated")) != simulated)
		wrong("%s: simulated is wrong", what);
	if (content != NULL &&
	    integer(printed, "size") != (json_int_t)json_string_length(content))
		wrong("%s: its size is wrong", what);
	if (integer(printed, "size") == 0 && simulated)
		wrong("%s: a simulated layer without content", what);
	json_decref(empty);
}

static const json_t *
layers_of(json_t **files, int nr_files, json_int_t id)
{
	int i;

	for (i = 0; i < nr_files; i++) {
		if (integer(files[i], "dimension") == id)
			return json_object_get(files[i], "layers");
	}
	return NULL;
}

static size_t
dimension_compare(const json_t *dimension, const json_t *all_layers,
		  const json_t *printed, const json_t *printed_layers)
{
	json_int_t id = integer(dimension, "id");
	const json_t *layer, *item;
	json_t *no = json_false();
	size_t i, nr = 0;
	char what[64];

	snprintf(what, sizeof(what), "dimension %d", (int)id);
	same(what, dimension, "name", printed, "name", NULL);
	same(what, dimension, "frequency_min", printed, "frequency_min", NULL);
	same(what, dimension, "frequency_max", printed, "frequency_max", NULL);
	same(what, dimension, "immutable", printed, "immutable", no);
	json_decref(no);
	json_array_foreach(all_layers, i, layer)
	{
		if (integer(layer, "dimension_id") != id)
			continue;
		nr++;
		snprintf(what, sizeof(what), "layer %d/%d", (int)id,
			 (int)integer(layer, "layer_num"));
		item = find(printed_layers, "layer",
			    integer(layer, "layer_num"));
		if (item == NULL)
			wrong("%s is missing", what);
		else
			layer_compare(what, layer, item);
	}
	if (json_array_size(printed_layers) != nr ||
	    integer(printed, "layers") != (json_int_t)nr)
		wrong("dimension %d: not %zu layers", (int)id, nr);
	return nr;
}

static int
manifest_compare(const char *path, const char *dimensions_path, char **paths,
		 int nr_paths)
{
	json_t *manifest = load(path), *listing = load(dimensions_path);
	json_t **files = calloc((size_t)nr_paths + 1, sizeof(json_t *));
	const json_t *dimensions = json_object_get(manifest, "dimensions");
	const json_t *layers = json_object_get(manifest, "layers");
	const json_t *printed = json_object_get(listing, "dimensions");
	const json_t *dimension, *item;
	size_t i, nr_layers = 0;
	int k;

	if (files == NULL)
		return 1;
	for (k = 0; k < nr_paths; k++)
		files[k] = load(paths[k]);
	if (json_array_size(printed) != json_array_size(dimensions))
		wrong("there are %zu dimensions, not %zu",
		      json_array_size(printed), json_array_size(dimensions));
	json_array_foreach(dimensions, i, dimension)
	{
		json_int_t id = integer(dimension, "id");

		item = find(printed, "id", id);
		if (item == NULL)
			wrong("dimension %d is missing", (int)id);
		else
			nr_layers += dimension_compare(
				dimension, layers, item,
				layers_of(files, nr_paths, id));
	}
	if (nr_layers != json_array_size(layers))
		wrong("%zu layers, not %zu", nr_layers,
		      json_array_size(layers));
	printf("%zu dimensions, %zu layers\n", json_array_size(dimensions),
	       nr_layers);
	for (k = 0; k < nr_paths; k++)
		json_decref(files[k]);
	free(files);
	json_decref(manifest);
	json_decref(listing);
	return nr_wrong > 0;
}

int
main(int argc, char **argv)
{
	int i;

	if (argc > 3 && strcmp(argv[1], "--manifest") == 0)
		return manifest_compare(argv[2], argv[3], argv + 4, argc - 4);
	if (argc < 2)
		return 2;
	for (i = 1; i < argc; i++)
		json_decref(load(argv[i]));
	return 0;
}
