/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Named shared-memory segments: built unseen, published whole, checked. */
#ifndef STRATA_SEGMENT_H
#define STRATA_SEGMENT_H

#include "layout.h"

/* The folder of the segments: a descriptor of its place, kept open, so that it
 * works after chroot and after privileges were dropped. */
struct strata__folder {
	int fd;
	struct strata__file_id id;
	char path[256];
};

/* STRATA_SHM_DIR or /dev/shm. 0 or an error told. */
int strata__folder_open(struct strata__folder *ret);
void strata__folder_close(struct strata__folder *folder);
/* Opens it once more, by its path, if the program has closed the descriptor.
 * Tells when it is another folder by now. */
int strata__folder_mend(struct strata__folder *folder);
/* Free bytes of its file system; UINT64_MAX when the system does not tell. */
uint64_t strata__folder_free(const struct strata__folder *folder);

/* Longest file name of a segment, with its NUL. */
#define STRATA_SEGMENT_NAME 128

/* "strata.NAME": the catalog, the only one that bears the store's name. */
void strata__segment_name_catalog(char *buf, const char *store);
/* "strata-<32 hex>-pool<class>", "-lock", "-region<generation>",
 * "-pins<uid>.<suffix>". */
void strata__segment_name_pool(char *buf, const struct strata__id *id,
			       uint32_t class_);
void strata__segment_name_lock(char *buf, const struct strata__id *id);
void strata__segment_name_region(char *buf, const struct strata__id *id,
				 uint64_t generation);
void strata__segment_name_pins(char *buf, const struct strata__id *id,
			       uint32_t uid, uint32_t suffix);
/* "-turn<uid>.<number>": see pins-own.c. */
void strata__segment_name_turn(char *buf, const struct strata__id *id,
			       uint32_t uid, uint64_t number);

/* The id in the name of a segment that is no catalog; false: it is no such
 * name. */
bool strata__segment_name_id(const char *file, struct strata__id *ret);
/* Calls fn for each name in the folder that begins so, until it returns
 * something else than 0, which is returned. Tells what it cannot read. */
int strata__folder_walk(const struct strata__folder *folder, const char *prefix,
			int (*fn)(const char *file, void *arg), void *arg);

/* Is it a store name? Tells STRATA_ENAME. */
int strata__store_name_check(const char *name);

/*
 * A new segment without a name (O_TMPFILE, or a random hidden name where that
 * is not supported), size bytes long and wholly reserved unless size is 0; mode
 * and group set by fchmod/fchown (group (uint32_t)-1: leave). ret_fd is
 * read-write, close-on-exec. Tells STRATA_ESHM with requested and free bytes
 * when the folder is full, with the docker/k8s hint when it is 64 MiB;
 * STRATA_EACCES; -EPERM when we are no member of that group.
 */
int strata__segment_build(const struct strata__folder *folder, uint64_t size,
			  uint32_t mode, uint32_t group, int *ret_fd);
/* Reserves [offset, offset + size) at its end; on failure the file has its old
 * size. Tells STRATA_ESHM likewise. */
int strata__segment_reserve(const struct strata__folder *folder, int fd,
			    uint64_t offset, uint64_t size);
/* All of size bytes to their place, which is reserved already. Tells. */
int strata__segment_write(const struct strata__folder *folder, int fd,
			  const void *data, size_t size, uint64_t offset);
/* Tells STRATA_ESHM, with needed and free bytes and the hint, and returns it.
 */
int strata__segment_fail_full(const struct strata__folder *folder,
			      uint64_t size);
/* Gives it its name, in one step; STRATA_EEXIST (told) when the name is taken.
 * The descriptor stays open. */
int strata__segment_publish(const struct strata__folder *folder, int fd,
			    const char *name);
/* Closes one that was not published; errno and the last error stay. Where
 * O_TMPFILE is not supported a mere close() would leave a hidden file. */
void strata__segment_discard(const struct strata__folder *folder, int fd);

/*
 * Opens an existing one. Refuses (STRATA_EOWNER) what is not a regular file,
 * has more than one link, is writable by others, or by a group that is not the
 * one given; or is owned by somebody else than root, the effective uid and
 * trusted_uid, which is a uid or one of these. O_NOFOLLOW, O_NONBLOCK,
 * O_CLOEXEC. -ENOENT is returned untold, also when it lost its name meanwhile.
 */
#define STRATA_TRUST_NOBODY ((uint32_t)-1)
/* Files of the group given, whoever owns them: its members may write to the
 * store, by its owner's wish. */
#define STRATA_TRUST_GROUP ((uint32_t)-2)
#define STRATA_GROUP_NONE  ((uint32_t)-1)
/* For the catalog, which says what the group is. */
#define STRATA_GROUP_ANY ((uint32_t)-2)
int strata__segment_open(const struct strata__folder *folder, const char *name,
			 bool writable, uint32_t trusted_uid, uint32_t group,
			 int *ret_fd, uint64_t *ret_size);
/* The same, for who wants to know more of the file than its size. */
struct stat;
int strata__segment_open_stat(const struct strata__folder *folder,
			      const char *name, bool writable,
			      uint32_t trusted_uid, uint32_t group, int *ret_fd,
			      struct stat *ret_st);
int strata__segment_unlink(const struct strata__folder *folder,
			   const char *name);

/* Fills in and checks heads. stamp writes the magic last (release). check tells
 * STRATA_ECORRUPT, STRATA_ELAYOUT, STRATA_EBOOT; id NULL: any store;
 * generation 0: any; size: of the file now, 0: any (a pool may have grown since
 * it was made, others may not). A newer minor is fine, another major is not. */
void strata__head_stamp(struct strata__head *head, enum strata__kind kind,
			uint32_t index, const struct strata__id *id,
			uint64_t generation, uint64_t size);
int strata__head_check(const struct strata__head *head, const char *name,
		       enum strata__kind kind, const struct strata__id *id,
		       uint64_t generation, uint64_t size);

/* Is that the id of another boot than this one? False if either is unknown. */
bool strata__is_other_boot(const struct strata__id *id);

#endif
