/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What `strata pack` is about to write: made by a reader, then written. */
#ifndef STRATA_PLAN_H
#define STRATA_PLAN_H

#include <sys/stat.h>

#include "tool.h"

/**
 * A layer to be. Its strings and content are borrowed from the plan's owner of
 * memory: see plan_keep().
 */
struct plan_layer {
	uint32_t number;
	size_t origin; /**< index in the manifest's "layers" */
	struct strata_attrs attrs;
	const char *content; /**< bytes, or NULL when path has them */
	size_t size;
	const char *path; /**< a regular file, or NULL */
};

/** A dimension to be. */
struct plan_dimension {
	struct strata_file_info info;
	size_t origin;       /**< index in the manifest's "dimensions" */
	const char *folder;  /**< of a tree; or NULL */
	uint64_t size_bytes; /**< what the manifest expects at most; 0: none */
	struct plan_layer *layers;
	size_t nr_layers;
};

/** All of it. */
struct plan {
	const struct tool_args *args; /**< for messages */
	const char *source;           /**< the manifest or tree, likewise */
	struct plan_dimension *dimensions;
	size_t nr_dimensions;
	uint64_t nr_layers, nr_simulated;
	void **kept; /**< freed with the plan */
	size_t nr_kept;
	json_t *document; /**< a manifest whose strings are borrowed */
};

void plan_init(struct plan *plan, const struct tool_args *args,
	       const char *source);
void plan_fini(struct plan *plan);

/** Has the plan free the block at its end. @return the block */
void *plan_keep(struct plan *plan, void *block);
/** @return the new dimension; dies at the next call */
struct plan_dimension *plan_add_dimension(struct plan *plan);
/** @return the new layer, with no parent; dies at the next call */
struct plan_layer *plan_add_layer(struct plan *plan,
				  struct plan_dimension *dimension);
/** Orders the dimensions by number. */
void plan_sort_dimensions(struct plan *plan);
/** In an ordered plan. @return NULL when there is none */
struct plan_dimension *plan_find(const struct plan *plan, uint32_t id);
/** Orders the layers of each dimension by number. */
void plan_sort_layers(struct plan *plan);

/**
 * Reads a manifest, and checks all that is in it.
 * @param path the manifest, or `-`
 * @return tool_status
 */
int manifest_read(struct plan *plan, const char *path);

/**
 * Reads a tree of folders and files.
 * @param output what the plan will be written into: left out when it lies in
 * the tree; NULL when it does not exist
 */
int tree_read(struct plan *plan, const char *path, const struct stat *output);

/**
 * Checks that a path leads to a regular file in or below a folder: not by
 * "..", by a leading slash, or by a symbolic link.
 * @param folder_fd open folder
 * @param path relative to it
 * @param ret_size of the file
 * @param ret_reason what is wrong, when false is returned
 */
bool beneath_check(int folder_fd, const char *path, uint64_t *ret_size,
		   const char **ret_reason);

#endif /* STRATA_PLAN_H */
