/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A store's directory: whose it is, by the file in it that names the store. */
#ifndef STRATA_DIRECTORY_H
#define STRATA_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "strata/strata.h"

/* The file in a directory that holds the store's name and a newline. */
#define STRATA_DIRECTORY_FILE "store"

/* A directory that is being given to a new store. */
struct strata__directory {
	char path[4096]; /* absolute, without symbolic links; "" for none */
	int fd;          /* locked, so that no other create takes it */
	bool made;       /* we made the directory */
	bool written;    /* we wrote the file */
	char previous[STRATA_STORE_NAME_MAX + 1]; /* that it named; "": none */
	uint32_t previous_mode, previous_group;   /* of the file that did */
};

/*
 * Makes the directory if it is absent and writes the file. Takes one that names
 * this store or none; one that names another store only with adopt. Tells
 * STRATA_EDIR, STRATA_EACCES, -errno. Follow it by keep or undo.
 */
int strata__directory_take(const char *path, const char *store, bool adopt,
			   uint32_t mode, uint32_t group,
			   struct strata__directory *ret);
/* Is it still that store's? Another one may have adopted it. Tells STRATA_EDIR,
 * -errno. */
int strata__directory_check(const char *path, const char *store);
/* The store exists: what was taken stays. */
void strata__directory_keep(struct strata__directory *directory);
/* It does not: as it was before. The last error stays. */
void strata__directory_undo(struct strata__directory *directory);

#endif
