/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/**
 * @file
 * Strata: a shared-memory store of layers for one machine.
 *
 * A *store* has a name and a hard memory limit. It holds *dimensions* (numbers
 * 1 to 2^18-1), and a dimension holds *layers* (numbers 0 to 2^31-1): bytes,
 * with a frequency, a depth, a parent, a name and keywords. Everything lives in
 * named shared-memory segments. There is no server: any process may attach.
 *
 * READING. A process attaches, opens one *reader* per thread and brackets its
 * work by strata_read_lock() and strata_read_unlock(). In between it sees one
 * *version* of the whole store, whatever writers do; content is read in place,
 * through pointers that die at the unlock. The read path (lock, find, use,
 * unlock) makes no system call, takes no lock, allocates nothing and stores to
 * nothing but the reader's own slot. A section may last as long as it likes:
 * that costs memory (what its version reaches is retained), never correctness.
 *
 * WRITING. A *transaction* stages any number of changes to any number of
 * dimensions in private memory, and makes them visible in one instant, by
 * publishing one pointer. Writers exclude each other by a lock that is taken
 * over when its owner dies; readers never wait for a writer nor a writer for
 * readers. New content lies in pool blocks (a *proto*); strata_crystallize()
 * turns a whole dimension into an immutable *region*.
 *
 * WHAT SURVIVES. A process may be killed or stopped at any instruction: readers
 * go on, the next writer finishes or undoes what was begun, and what a dead
 * reader retained is reclaimed without any call by anybody. Shared memory is
 * gone after a reboot; what was crystallised into a store with a directory is
 * in that directory.
 *
 * WHAT YOU MUST NOT DO. Do not use a pointer into the store after the unlock.
 * Do not use one reader in two threads at a time (hand-over is fine if it
 * synchronises), nor a thread's reader from its signal handlers: give the
 * handler a reader of its own, opened beforehand. Do not commit inside a read
 * section of the same thread and expect the section to see it: it will not. Do
 * not hand content to the kernel for longer than the section lasts (vmsplice(2),
 * MSG_ZEROCOPY): the pages are filled again. Do not cancel a thread that is in a
 * call.
 *
 * ERRORS. Functions return 0 or a negative enum strata_error (or -errno for
 * what the system refused); results leave through ret_ parameters, which are
 * untouched on failure. strata_last_error() tells the rest, in words and
 * numbers, for this thread. The library never prints, never exits, never
 * touches signal handlers. What is said of the errors of a function are those
 * that a caller may want to tell apart. Besides, whatever changes a store may
 * fail by STRATA_EACCES (attached for reading), STRATA_EFORK, STRATA_EGONE,
 * STRATA_ETIMEDOUT (the writer lock), STRATA_EINVAL (arguments, or no number is
 * left), STRATA_ENOMEM, STRATA_EMAP, STRATA_ECORRUPT; whatever loads or
 * crystallises also by STRATA_ETOOBIG, STRATA_EREADERS and STRATA_ENOTSUP, since
 * it reads, too; and whatever looks at all readers by -errno, when it cannot.
 *
 * FORK. A child may go on reading with the handles that it inherits; each takes
 * a slot of the child's own at its next use, and the sections that the forking
 * thread locked go on in the child, too, until it unlocks them. Writing in the
 * child needs a new attach: transactions and sessions of the parent are refused
 * with STRATA_EFORK.
 *
 * Sizes are in bytes, times in nanoseconds, unless a name says otherwise.
 */
#ifndef STRATA_STRATA_H
#define STRATA_STRATA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && __GNUC__ >= 4
#define STRATA_API __attribute__((visibility("default")))
#else
#define STRATA_API
#endif

/* Of what is called millions of times a second: the call goes straight to the
 * function, and not by the linkage table. */
#if defined(__has_attribute)
#if __has_attribute(noplt)
#define STRATA_API_OFTEN __attribute__((noplt)) STRATA_API
#endif
#endif
#ifndef STRATA_API_OFTEN
#define STRATA_API_OFTEN STRATA_API
#endif

/** Largest dimension number; the smallest is 1. */
#define STRATA_DIMENSION_MAX ((UINT32_C(1) << 18) - 1)
/** Largest layer number; the smallest is 0. */
#define STRATA_LAYER_MAX ((UINT32_C(1) << 31) - 1)
/** Dimensions 1 to this are the core dimensions. */
#define STRATA_DIMENSION_CORE_MAX 14
/** Longest name of a store, in bytes. */
#define STRATA_STORE_NAME_MAX 64
/** Longest name of a dimension, in bytes. */
#define STRATA_DIMENSION_NAME_MAX 127
/** Longest layer name and longest keyword, in bytes of UTF-8. */
#define STRATA_NAME_MAX 255
/** Most keywords of a layer. */
#define STRATA_KEYWORDS_MAX 64
/** Most size classes of the pools. */
#define STRATA_CLASSES_MAX 8
/** Default hard limit of a store. */
#define STRATA_LIMIT_DEFAULT (UINT64_C(280) << 20)
/** Smallest hard limit of a store. */
#define STRATA_LIMIT_MIN (UINT64_C(8) << 20)

struct strata_store;
struct strata_reader;
struct strata_txn;
struct strata_writer;
struct strata_file;

/**** errors ****/

/**
 * What a function may return besides 0. Values of -1 to -999 are -errno: the
 * system refused and strata_last_error() says what was tried.
 */
enum strata_error {
	STRATA_OK = 0,
	/** An argument or the order of calls is wrong; nothing was done. */
	STRATA_EINVAL = -1001,
	/** Not a store name (letters, digits, '.', '_', '-'; 1 to 64; no
	 *  leading dot). */
	STRATA_ENAME = -1002,
	/** No store of that name. */
	STRATA_ENOSTORE = -1003,
	/** It exists already: a store, a dimension, a layer. */
	STRATA_EEXIST = -1004,
	/** The store has no such dimension. */
	STRATA_ENODIM = -1005,
	/** The dimension has no such layer. */
	STRATA_ENOLAYER = -1006,
	/** The store was destroyed while we were attached. */
	STRATA_EGONE = -1007,
	/** The size class, and those above it, are at their maximum. */
	STRATA_ECLASS = -1008,
	/** The store's hard limit leaves no room. */
	STRATA_ELIMIT = -1009,
	/** The shared-memory file system is full. */
	STRATA_ESHM = -1010,
	/** Larger than this store could ever hold. */
	STRATA_ETOOBIG = -1011,
	/** Somebody else is at it (dimension being loaded, slots all taken). */
	STRATA_EBUSY = -1012,
	/** The time limit passed. */
	STRATA_ETIMEDOUT = -1013,
	/** The layer's region could not be mapped into this process. */
	STRATA_EMAP = -1014,
	/** A handle of the parent process, used in the child. */
	STRATA_EFORK = -1015,
	/** Our pin was overwritten by somebody: what was read in this section
	 *  may be wrong. */
	STRATA_EPIN = -1016,
	/** No reader slot is left for this user in this store. */
	STRATA_EREADERS = -1017,
	/** The store is of another layout or another build. */
	STRATA_ELAYOUT = -1018,
	/** The segment is a leftover of another boot. */
	STRATA_EBOOT = -1019,
	/** Owner or mode of a segment is not to be trusted. */
	STRATA_EOWNER = -1020,
	/** We may not do that (permission). */
	STRATA_EACCES = -1021,
	/** A dimension file is not valid: offset and reason are told. */
	STRATA_EFORMAT = -1022,
	/** Shared memory holds nonsense. */
	STRATA_ECORRUPT = -1023,
	/** The dimension is immutable: only load and reload change it. */
	STRATA_EIMMUTABLE = -1024,
	/** Private memory ran out. */
	STRATA_ENOMEM = -1025,
	/** This machine cannot do that. */
	STRATA_ENOTSUP = -1026,
	/** The store has no directory, or the directory is another store's. */
	STRATA_EDIR = -1027,
	/** The program's own progress function said so. */
	STRATA_ECANCELED = -1028
};

/** The details of a thread's last error. Numbers that do not apply are 0. */
struct strata_error_info {
	int code;              /**< enum strata_error or -errno */
	int sys_errno;         /**< what the system said, or 0 */
	uint32_t dimension;    /**< 0: none */
	int64_t layer;         /**< -1: none */
	uint64_t used;         /**< bytes of the store in use */
	uint64_t reserved;     /**< bytes of memory the store has taken */
	uint64_t limit;        /**< its hard limit */
	uint64_t requested;    /**< bytes that were asked for */
	uint64_t offset;       /**< where in a file or segment */
	uint64_t size;         /**< of that file or segment */
	char sentence[480];    /**< one sentence: what, why, what to do */
};

/**
 * The details of this thread's last failed call.
 * @return never NULL; valid until the thread's next failing call. After
 * success its contents are those of the failure before.
 * Context: any thread, any time; not for signal handlers.
 */
STRATA_API const struct strata_error_info *strata_last_error(void);

/**
 * The short text of an error code.
 * @param code what a function returned
 * @return a constant string, never NULL.
 */
STRATA_API const char *strata_strerror(int code);

/** What strata_log() lets through: this and what is above it. */
enum strata_log_level {
	STRATA_LOG_SILENT = 0,
	STRATA_LOG_WARNING = 1, /**< thresholds, refusals, the dead */
	STRATA_LOG_INFO = 2,    /**< attach, crystallise, reclaim */
	STRATA_LOG_DEBUG = 3    /**< commits; each allocation and free */
};

/**
 * Has fn called, by whichever thread is at work, with what the library does in
 * all stores of this process. At first nothing is said, and nothing is ever
 * printed. Reading says nothing.
 * @param level how much; STRATA_LOG_SILENT: nothing any more
 * @param fn gets one sentence; it must not call this library, whose locks may be
 * held, the writer lock among them: so it must not take long either. NULL:
 * nobody. What it does to errno and strata_last_error() is undone
 * @param arg handed to fn
 * Context: not while another thread is in a call of this library. Off, it costs
 * the writers a load and a branch at each place.
 */
STRATA_API void
strata_log(enum strata_log_level level,
	   void (*fn)(enum strata_log_level level, const char *sentence,
		      void *arg),
	   void *arg);

/** The library's version, e.g. "0.1.0". */
STRATA_API const char *strata_version_string(void);

/**** create, attach, destroy ****/

/** One size class of the pools. */
struct strata_pool_config {
	uint64_t block_size; /**< a power of two, 4 KiB to 16 MiB */
	uint64_t max_size;   /**< bytes of blocks at most, at the first limit */
};

/**
 * Pages of 2 MiB for regions: a process that reads one for the first time is
 * then done with its page faults ten times sooner, and load and crystallize fill
 * them sooner, too; but not while many processes wait for the CPUs, since the
 * kernel has to wait for all of these to make one. The tail below 2 MiB keeps
 * small pages.
 */
enum strata_huge_pages {
	STRATA_HUGE_AUTO = 0, /**< try, go on without */
	STRATA_HUGE_NEVER = 1,
	/** what cannot be had is STRATA_ENOTSUP of load, reload, crystallize */
	STRATA_HUGE_REQUIRE = 2
};

/** How a store is made. Zero bytes mean the default, everywhere. */
struct strata_config {
	size_t struct_size;    /**< sizeof(struct strata_config) */
	uint64_t limit;        /**< hard limit, bytes; 0: 280 MiB */
	uint64_t max_limit;    /**< what the limit may be raised to; 0: 4 x */
	const char *directory; /**< where dimensions become durable, or NULL */
	int adopt;             /**< take a directory that is another store's */
	uint32_t mode;         /**< permission bits, e.g. 0640; 0: 0600 */
	const char *group;     /**< name of the owning group, or NULL */
	uint32_t readers;      /**< reader slots per user; 0: 1024 */
	uint32_t nr_pools;     /**< 0: 4K, 16K, 64K, 256K, scaled to limit */
	struct strata_pool_config pools[STRATA_CLASSES_MAX]; /**< ascending;
								the first 4K */
	enum strata_huge_pages huge_pages;
};

/**
 * Makes a new, empty store.
 * @param name its name, see STRATA_ENAME
 * @param config how, or NULL for the defaults; borrowed for the call
 *
 * Afterwards every process that may can attach. The store appears whole or not
 * at all; a half-destroyed store of that name is cleared away first, and so is
 * what strata_orphans() removes.
 * Cost: some system calls and the reservation of a few MiB.
 * @return 0; STRATA_ENAME; STRATA_EEXIST; STRATA_EINVAL (a size out of range);
 * STRATA_ELIMIT (limit too small for the pools); STRATA_ESHM; STRATA_EDIR;
 * STRATA_EACCES; -errno. On failure nothing is left behind.
 */
STRATA_API int strata_create(const char *name,
			     const struct strata_config *config);

/**
 * Destroys a store under whoever uses it. Sections that are open stay readable
 * until their unlock; the next lock says STRATA_EGONE. In a process that has just
 * attached, and has not mapped every region yet (see strata_attach()), those that
 * it has not met are STRATA_EMAP. Memory that no section needs is given back at
 * once. The directory and its files stay.
 * @param name the store
 * @return 0; STRATA_ENAME; STRATA_ENOSTORE; STRATA_EACCES; STRATA_ETIMEDOUT (a
 * writer holds the lock; named); -errno.
 */
STRATA_API int strata_destroy(const char *name);

/**
 * The same, and if that cannot be done because the store is of another layout
 * or boot, is damaged, or has unusual rights: removes its catalog, and what bears
 * its id, unless somebody holds a lock on any of that. What is not the owner's
 * of the catalog stays; and the segments of a damaged catalog that does not say
 * its id: strata_orphans() finds those. Idle readers are not noticed; they lose
 * nothing that they have mapped.
 * @param name the store
 * @return what strata_destroy() returns; STRATA_EBUSY (who has it is told);
 * STRATA_EOWNER (it is another user's, or no regular file).
 */
STRATA_API int strata_destroy_forced(const char *name);

enum strata_attach_flags {
	STRATA_READ = 0,
	STRATA_WRITE = 1 << 0, /**< transactions, load, crystallise, limit */
	STRATA_TRUST_OWNER = 1 << 1, /**< accept a store that neither we nor
					  root own */
	/** Observe only, see strata_copy(): nothing that writers may give back
	 *  is mapped, no addresses are reserved, and strata_reader_open() is
	 *  refused. Not together with STRATA_WRITE. */
	STRATA_OBSERVE = 1 << 2
};

/**
 * Attaches to a store: maps it (everything but our own user's pins read-only,
 * unless STRATA_WRITE), reserves address space for all it may grow to, and
 * registers the process for the writers' fences. Regions are opened, checked and
 * mapped one by one, as lookups of the first section meet them, and some of the
 * rest at each lock after that: who gives up rights or descriptors after the
 * attach, or wants to keep all of the store if it is destroyed in his first
 * section, calls strata_refresh() before.
 * @param name the store
 * @param flags of enum strata_attach_flags
 * @param ret_store the handle; the caller's, until strata_detach()
 * Cost: tens of microseconds, however much is in the store. Any thread.
 * @return 0; STRATA_ENAME; STRATA_ENOSTORE; STRATA_EACCES; STRATA_EOWNER;
 * STRATA_ELAYOUT; STRATA_EBOOT; STRATA_ECORRUPT; STRATA_ENOMEM; -errno.
 */
STRATA_API int strata_attach(const char *name, unsigned flags,
			     struct strata_store **ret_store);

/**
 * Detaches: closes its readers, unmaps everything. Pointers into the store die.
 * @param store what strata_attach() gave, or NULL (nothing happens)
 * @return 0; STRATA_EINVAL when a reader is inside a section or a transaction
 * or session is open: close those first; nothing was done.
 */
STRATA_API int strata_detach(struct strata_store *store);

/**
 * Maps all regions that are not mapped yet, so that no later lookup or lock has
 * to, until something new is loaded; then lookups take the shortest way.
 * @param store an attached store
 * Cost: some system calls for each region that is not mapped.
 * @return 0; STRATA_EGONE; STRATA_EMAP (some region cannot be mapped; the
 * sentence says which and why; the others are).
 */
STRATA_API int strata_refresh(struct strata_store *store);

/** Name of an attached store; valid until the detach. */
STRATA_API const char *strata_name(const struct strata_store *store);
/** Directory of an attached store, or NULL; valid until the detach. */
STRATA_API const char *strata_directory(const struct strata_store *store);
/** Current version of an attached store: the number of commits so far. */
STRATA_API uint64_t strata_version(const struct strata_store *store);

/** What strata_list() tells of each store of this machine. */
struct strata_list_entry {
	char name[STRATA_STORE_NAME_MAX + 1];
	int status; /**< 0, or the error that an attach would meet */
	uint32_t owner; /**< user id */
	uint32_t mode;
	uint64_t limit;    /**< bytes; 0 when status is not 0 */
	uint64_t reserved; /**< bytes */
	uint64_t version;
};

/**
 * Calls fn for each store on this machine, in the order of names.
 * @param fn returns 0 to go on; anything else ends the walk and is returned
 * @param arg handed to fn
 * @return 0; what fn returned; -errno when the folder cannot be read.
 */
STRATA_API int strata_list(int (*fn)(const struct strata_list_entry *entry,
				     void *arg),
			   void *arg);

/** What strata_orphans() tells of segments of one id. */
struct strata_orphan {
	char id[33]; /**< of the store that they were of, as in their names */
	uint32_t owner; /**< user id */
	/** 0: nobody has them. STRATA_EBUSY: somebody has, or is just making
	 *  the store. Else it cannot be told: STRATA_ELAYOUT, STRATA_ECORRUPT,
	 *  STRATA_EACCES, STRATA_EOWNER, -errno. */
	int status;
	uint64_t files, bytes; /**< that are, or were, to be removed */
	char why[480];         /**< what it is, or who has it, in words */
};

/**
 * Calls fn for segments that no catalog names: of a create or destroy that was
 * killed, or of a store whose catalog somebody removed. Only those of the
 * caller's own, for root those of all users. strata_create() and strata_gc()
 * remove, without a word, what this one removes.
 * @param remove remove those of status 0, before fn is called
 * @param fn returns 0 to go on; anything else ends the walk and is returned
 * @param arg handed to fn
 * @return 0; what fn returned; STRATA_ENOMEM; -errno when the folder cannot be
 * read.
 */
STRATA_API int strata_orphans(int remove,
			      int (*fn)(const struct strata_orphan *orphan,
					void *arg),
			      void *arg);

/**** reading ****/

/** Flags of an entry. */
enum strata_entry_flags {
	STRATA_ENTRY_PRESENT = 1u << 0,
	STRATA_ENTRY_REGION = 1u << 1,   /**< content is in a region */
	STRATA_ENTRY_SIMULATED = 1u << 2 /**< made up by `pack --simulate` */
};

/** A layer, as it lies in the store: one cache line, read in place. */
struct strata_entry {
	uint64_t content;   /**< its place: give it to strata_data() */
	uint64_t size;      /**< of the content, bytes */
	double frequency;   /**< Hz */
	uint64_t meta;      /**< place of the metadata: strata_meta() */
	uint64_t checksum;  /**< XXH3-64 of the content; 0 for a proto */
	uint64_t version;   /**< the version that brought this content */
	uint32_t depth;
	int32_t parent;     /**< layer number, or -1 */
	uint32_t flags;     /**< enum strata_entry_flags */
	uint32_t meta_size; /**< bytes */
};

/** A layer's metadata, decoded; the strings lie in the store. */
struct strata_meta {
	const char *name; /**< NUL-terminated UTF-8, "" when none */
	uint64_t created_ns; /**< CLOCK_REALTIME of the put, to a few ms */
	uint32_t nr_keywords;
	const char *keywords[STRATA_KEYWORDS_MAX];
};

enum strata_dimension_state {
	STRATA_DIMENSION_PROTO = 0,        /**< all in pool blocks */
	STRATA_DIMENSION_CRYSTALLIZED = 1, /**< all in its region */
	STRATA_DIMENSION_HYBRID = 2        /**< region, and changes over it */
};

/** A dimension, as one version has it. */
struct strata_dimension {
	uint32_t id;
	enum strata_dimension_state state;
	int immutable;
	char name[STRATA_DIMENSION_NAME_MAX + 1];
	double frequency_min, frequency_max; /**< Hz */
	uint64_t nr_layers;
	uint64_t nr_protos;     /**< of these, in pool blocks */
	uint64_t content_bytes; /**< of all layers */
	uint64_t region_bytes;  /**< size of its region's image; 0: none */
	uint64_t version;       /**< the commit that changed it last */
};

/**
 * Opens a reader: a handle for one thread at a time, with a slot of its own in
 * the shared table of pins.
 * @param store an attached store
 * @param ret_reader the caller's, until strata_reader_close()
 * Cost: some system calls for the first of a few, none for the others.
 * @return 0; STRATA_EREADERS; STRATA_EACCES (we may not make the pins segment,
 * or no writer would look at it, or the store was attached for observing: see
 * strata_copy()); STRATA_EGONE; STRATA_ENOMEM; STRATA_ESHM; -errno.
 */
STRATA_API int strata_reader_open(struct strata_store *store,
				  struct strata_reader **ret_reader);

/**
 * Closes a reader.
 * @param reader a reader, or NULL
 * @return 0; STRATA_EINVAL inside a section (nothing was done).
 */
STRATA_API int strata_reader_close(struct strata_reader *reader);

/**
 * Enters a read section, or nests in the one that is open.
 * Until the matching strata_read_unlock() everything this reader finds belongs
 * to one version and stays in place. Waits for no other process,
 * except that the first use after a fork may, 3 s at most, where strangers have
 * taken the usual names of the files for pins. Makes system calls only then, and
 * to map regions: some at each lock after the first section until all are mapped,
 * and again when more were loaded (strata_refresh() maps all at once,
 * beforehand). Where there is something to be
 * mapped, here or in a lookup, it waits for a thread of this process that is at
 * it. Async-signal-safe on a reader that the handler owns, but for the first use
 * after a fork, and where something cannot be mapped. Ordering: letters A, B and
 * C of ordering.md.
 * @param reader an open reader
 * @return 0; STRATA_EGONE; STRATA_EINVAL (closed); STRATA_EREADERS or -errno in
 * the child of a fork that could get no slot. On failure there is no section.
 */
STRATA_API_OFTEN int strata_read_lock(struct strata_reader *reader);

/**
 * Leaves the section; pointers into the store die with the outermost unlock.
 * @param reader inside a section
 * @return 0; STRATA_EINVAL outside of a section; STRATA_EPIN when the pin was
 * not ours any more: somebody of our own user wrote over it, and what was read
 * in this section must be thrown away. The section is over in every case.
 */
STRATA_API_OFTEN int strata_read_unlock(struct strata_reader *reader);

/** The version that the open section reads; 0 outside of a section. */
STRATA_API uint64_t strata_reader_version(const struct strata_reader *reader);

/**
 * Finds a layer in the section's version.
 * @param reader inside a section
 * @param dimension 1 to STRATA_DIMENSION_MAX
 * @param layer 0 to STRATA_LAYER_MAX
 * @param ret_entry the entry in place; dies at the unlock
 * Cost: five dependent loads in a store of up to 511 dimensions of up to 48
 * layers; one more for each factor of about 500. The first time that this process
 * meets a region, a few system calls, to map it. No error details are kept for
 * the two "no such" answers: they are answers.
 * @return 0; STRATA_ENODIM; STRATA_ENOLAYER; STRATA_EMAP (the next lookup tries
 * again); STRATA_EINVAL outside
 * of a section or with a number out of range.
 */
STRATA_API_OFTEN int strata_find(struct strata_reader *reader,
				 uint32_t dimension, uint32_t layer,
				 const struct strata_entry **ret_entry);

/**
 * Finds the content of a layer in the section's version, and no more than that.
 * Where all layers of a dimension are below 48 this looks at 16 bytes of the
 * index for a layer instead of 64: four times as many layers stay in the
 * processor's first cache.
 * @param reader inside a section
 * @param dimension 1 to STRATA_DIMENSION_MAX
 * @param layer 0 to STRATA_LAYER_MAX
 * @param ret_size its bytes; untouched when there are none
 * @return the bytes, 64-byte aligned, in place; they die at the unlock. NULL:
 * none; strata_find() has the reason.
 */
STRATA_API_OFTEN const void *strata_get(struct strata_reader *reader,
					uint32_t dimension, uint32_t layer,
					size_t *ret_size);

/**
 * The content of a layer: entry->size bytes, 64-byte aligned, in place.
 * The first word of a reader is the address of the store's window in this
 * process; that is part of the ABI.
 * @param reader the reader that found the entry, in the same section
 * @param entry what strata_find() gave
 * @return the bytes; NULL when the handle is not of this process (fork).
 */
static inline const void *
strata_data(const struct strata_reader *reader,
	    const struct strata_entry *entry)
{
	const char *window = *(const char *const *)(const void *)reader;

	return window != NULL ? window + entry->content : NULL;
}

/**
 * Decodes a layer's metadata.
 * @param reader the reader that found the entry, in the same section
 * @param entry what strata_find() gave
 * @param ret_meta filled in; its strings die at the unlock
 * @return 0; STRATA_ECORRUPT; STRATA_EMAP; STRATA_EINVAL outside of a section.
 */
STRATA_API int strata_meta(struct strata_reader *reader,
			   const struct strata_entry *entry,
			   struct strata_meta *ret_meta);

/**
 * What the section's version says of a dimension.
 * @param reader inside a section
 * @param dimension its number
 * @param ret_dimension filled in; a copy, the caller's
 * @return 0; STRATA_ENODIM; STRATA_EINVAL.
 */
STRATA_API int strata_dimension_get(struct strata_reader *reader,
				    uint32_t dimension,
				    struct strata_dimension *ret_dimension);

/**
 * Calls fn for each layer of a dimension, in the order of numbers.
 * @param reader inside a section
 * @param dimension its number
 * @param fn returns 0 to go on; anything else ends the walk and is returned
 * @param arg handed to fn
 * @return 0; what fn returned; STRATA_ENODIM; STRATA_EINVAL.
 */
STRATA_API int
strata_foreach_layer(struct strata_reader *reader, uint32_t dimension,
		     int (*fn)(uint32_t layer, const struct strata_entry *entry,
			       void *arg),
		     void *arg);

/**
 * Calls fn for each dimension, in the order of numbers.
 * @param reader inside a section
 * @param fn returns 0 to go on; anything else ends the walk and is returned
 * @param arg handed to fn
 * @return 0; what fn returned; STRATA_EINVAL.
 */
STRATA_API int
strata_foreach_dimension(struct strata_reader *reader,
			 int (*fn)(const struct strata_dimension *dimension,
				   void *arg),
			 void *arg);

struct rcu_flavor_struct; /* of liburcu: urcu/flavor.h */

/**
 * Offers the store's read sections as a flavour of liburcu, so that structures
 * in private memory, liburcu's own (cds_lfht_new_flavor()) or others, can be
 * read in the same section as the store. Grace periods are those of this
 * process: they wait for its sections only, of all handles, whatever version
 * these read, and need no commit. read_lock() registers a thread that did not;
 * thread ends unregister. Where no reader slot is to be had, or the store was
 * destroyed, the section protects private memory all the same.
 *
 * Callbacks are called in order by one thread of the flavour, which blocks all
 * signals; a child of a fork has its own, and the callbacks that were queued.
 * synchronize and barrier must not be called inside of a section, barrier not
 * from a callback. In the child of a fork that a callback made its thread goes
 * on calling when the callback returns. A fork inside of a section, of any handle
 * of a store with a flavour, does not pause the threads of liburcu's hash tables
 * that resize by themselves: such a child must not use them.
 * @param store attached
 * @param ret_flavor its functions, good until strata_urcu_flavor_close()
 * @return 0, also when it is open already; STRATA_EBUSY when four other stores
 * of this process have one; STRATA_ENOTSUP (membarrier is forbidden to this
 * process); STRATA_EINVAL; -errno.
 */
STRATA_API int
strata_urcu_flavor(struct strata_store *store,
		   const struct rcu_flavor_struct **ret_flavor);

/**
 * The reader of this thread that the flavour's read_lock() entered a section
 * of, for strata_find() and the like.
 * @return NULL outside of one, or when the section is not one of the store
 */
STRATA_API struct strata_reader *strata_urcu_reader(struct strata_store *store);

/**
 * Closes the flavour when it was opened so often: calls what is queued, and
 * ends its thread. To be called before strata_detach(), not from a callback.
 * @return 0; STRATA_EBUSY while other threads are registered; STRATA_EINVAL.
 */
STRATA_API int strata_urcu_flavor_close(struct strata_store *store);

/**** observing ****/

/**
 * A layer, copied out. All of it is of one version of the store.
 */
struct strata_copy {
	uint64_t version; /**< of the store, that it was current in */
	/** As strata_find() gives it; its places lead nowhere in a copy. */
	struct strata_entry entry;
	const void *data;        /**< entry.size bytes, 64-byte aligned; NULL:
				      left out */
	struct strata_meta meta; /**< its strings lie in the copy */
};

enum strata_copy_flags {
	STRATA_COPY_ALL = 0,
	STRATA_COPY_META = 1 << 0 /**< leave the content out */
};

/**
 * Copies a layer of the current version into private memory, without a reader.
 *
 * Who has no reader slot, because it may not make one or because none is left,
 * can *observe*: writers do not know of it and do not wait for it, so there are
 * no sections and no pointers into the store. What is copied is checked behind
 * the copy: if a writer gave it back meanwhile, the call begins anew with the
 * version that is current by then. It gets through beside writers that commit
 * all the time, as long as what it copies is not replaced and reclaimed faster
 * than it can be copied.
 *
 * @param store attached in any way; any thread, inside or outside of a section
 * @param dimension 1 to STRATA_DIMENSION_MAX
 * @param layer 0 to STRATA_LAYER_MAX
 * @param flags of enum strata_copy_flags
 * @param ret_copy the caller's, until strata_copy_free()
 * Cost: some fifteen system calls, an allocation, and the copying. Stores
 * nothing shared; needs permission to read the store's segments, and the
 * descriptors for three files during the call. Ordering: letter L.
 * @return 0; STRATA_ENODIM and STRATA_ENOLAYER (answers: no details are kept);
 * STRATA_EBUSY (overtaken 100 times); STRATA_EGONE; STRATA_EINVAL;
 * STRATA_EACCES; STRATA_ENOMEM; STRATA_ECORRUPT; -errno.
 */
STRATA_API int strata_copy(struct strata_store *store, uint32_t dimension,
			   uint32_t layer, unsigned flags,
			   struct strata_copy **ret_copy);

/** Frees a copy; NULL is fine. */
STRATA_API void strata_copy_free(struct strata_copy *copy);

/**
 * strata_dimension_get() for observers.
 * @param ret_version the version that it is of, or NULL
 * @return as strata_copy().
 */
STRATA_API int strata_copy_dimension(struct strata_store *store,
				     uint32_t dimension,
				     struct strata_dimension *ret_dimension,
				     uint64_t *ret_version);

/**
 * strata_foreach_dimension() for observers. All that fn is called with is of
 * one version, and was copied before the first call.
 * @param fn returns 0 to go on; anything else ends the walk and is returned;
 * NULL: only the version is asked for
 * @param arg handed to fn
 * @param ret_version the version that it is of, or NULL; set before fn is called
 * @return 0; what fn returned; as strata_copy().
 */
STRATA_API int
strata_copy_dimensions(struct strata_store *store,
		       int (*fn)(const struct strata_dimension *dimension,
				 void *arg),
		       void *arg, uint64_t *ret_version);

/**
 * strata_foreach_layer() for observers, without the contents. All that fn is
 * called with is of one version, and was copied before the first call.
 * @param fn gets a copy that is its own until it returns; returns 0 to go on;
 * anything else ends the walk and is returned
 * @param arg handed to fn
 * Cost: private memory for entries and metadata of the whole dimension.
 * @return 0; what fn returned; as strata_copy().
 */
STRATA_API int
strata_copy_layers(struct strata_store *store, uint32_t dimension,
		   int (*fn)(uint32_t layer, const struct strata_copy *copy,
			     void *arg),
		   void *arg);

/**** waiting ****/

/**
 * Waits until the store is at a version or past it.
 * @param store an attached store
 * @param version to wait for, e.g. strata_version() + 1 for the next commit
 * @param timeout_ns how long at most; negative: for ever
 * A writer session of this thread yields its lock meanwhile.
 * @return 0; STRATA_ETIMEDOUT; STRATA_EGONE. Signals do not end the wait. Wakes
 * at once in general, within 10 ms in a burst of commits, within a second when
 * the writer was killed between its commit and its wake.
 */
STRATA_API int strata_wait(struct strata_store *store, uint64_t version,
			   int64_t timeout_ns);

/**
 * Waits for a grace period: until every section that was open in any process
 * when this was called has ended, or its reader died.
 * @param store an attached store
 * @param timeout_ns how long at most; negative: for ever
 * Writes nothing shared and needs no commit. A writer session of this thread
 * yields its lock before it.
 * @return 0; STRATA_ETIMEDOUT (names the reader that is in the way);
 * STRATA_EINVAL inside a section of a reader of this store that this thread
 * locked (it would wait for itself); STRATA_ENOTSUP where this process may not
 * call membarrier; -errno.
 */
STRATA_API int strata_synchronize(struct strata_store *store,
				  int64_t timeout_ns);

/**** writing ****/

/** What a put says of a layer. Zero bytes are valid defaults but for parent. */
struct strata_attrs {
	size_t struct_size;  /**< sizeof(struct strata_attrs) */
	double frequency;    /**< Hz, finite, not negative */
	uint32_t depth;
	int32_t parent;      /**< layer number, or -1 for none */
	uint32_t flags;      /**< STRATA_ENTRY_SIMULATED or 0 */
	uint32_t nr_keywords;
	const char *name;    /**< or NULL */
	const char *const *keywords;
	uint64_t created_ns; /**< 0: now */
};

/** Initialiser with no parent. */
#define STRATA_ATTRS_INIT { sizeof(struct strata_attrs), 0, 0, -1, 0, 0, 0, 0, 0 }

enum strata_put_flags {
	STRATA_PUT_COPY = 0,
	/** Borrow the content until commit or abort, instead of copying it. */
	STRATA_PUT_BORROW = 1 << 0
};

/**
 * Begins a transaction. Transactions of any threads and processes may be open
 * at the same time; they do not conflict: the last commit wins.
 * @param store attached with STRATA_WRITE
 * @param ret_txn the caller's, until commit or abort
 * @return 0; STRATA_EACCES (not attached for writing); STRATA_EFORK;
 * STRATA_ENOMEM.
 */
STRATA_API int strata_txn_begin(struct strata_store *store,
				struct strata_txn **ret_txn);

/**
 * Puts a layer, new or in place of an old one. The dimension is made if need
 * be. Nobody sees it before the commit.
 * @param txn an open transaction
 * @param dimension 1 to STRATA_DIMENSION_MAX
 * @param layer 0 to STRATA_LAYER_MAX
 * @param attrs borrowed for the call; NULL: none
 * @param data size bytes; may be NULL when size is 0
 * @param size bytes
 * @param flags of enum strata_put_flags
 * @return 0; STRATA_EINVAL (number, name, keyword or frequency out of range);
 * STRATA_ETOOBIG; STRATA_ENOMEM; STRATA_EFORK. On failure the transaction is as
 * before.
 */
STRATA_API int strata_put(struct strata_txn *txn, uint32_t dimension,
			  uint32_t layer, const struct strata_attrs *attrs,
			  const void *data, size_t size, unsigned flags);

/**
 * Like strata_put(), for a layer that must exist at the commit; else the commit
 * says STRATA_ENOLAYER.
 * @param attrs NULL: those of the old layer stay
 */
STRATA_API int strata_replace(struct strata_txn *txn, uint32_t dimension,
			      uint32_t layer, const struct strata_attrs *attrs,
			      const void *data, size_t size, unsigned flags);

/**
 * Like strata_put(), under the number after the dimension's last layer, which
 * is decided at the commit.
 * @param ret_layer written by a successful commit; NULL if nobody asks; must
 * live until then
 */
STRATA_API int strata_append(struct strata_txn *txn, uint32_t dimension,
			     const struct strata_attrs *attrs, const void *data,
			     size_t size, unsigned flags, uint32_t *ret_layer);

/**
 * Removes a layer; the commit says STRATA_ENOLAYER or STRATA_ENODIM when it is
 * not there.
 */
STRATA_API int strata_remove(struct strata_txn *txn, uint32_t dimension,
			     uint32_t layer);

/** Removes a dimension with all its layers; see strata_remove(). */
STRATA_API int strata_remove_dimension(struct strata_txn *txn,
				       uint32_t dimension);

/**
 * Says a dimension's name and frequency range; makes it if need be.
 * @param name up to STRATA_DIMENSION_NAME_MAX bytes of UTF-8
 * @param frequency_min Hz, finite
 * @param frequency_max Hz, finite, not below frequency_min
 */
STRATA_API int strata_describe(struct strata_txn *txn, uint32_t dimension,
			       const char *name, double frequency_min,
			       double frequency_max);

/**
 * Commits: all of it becomes visible in one instant, or none of it does.
 * Waits for the writer lock (30 s at most, unless a session of this thread holds
 * it); copies the staged contents into pool blocks; publishes; retires what was
 * replaced; now and then reclaims what no reader needs any more.
 * @param txn consumed on success; on failure it stays open, to be retried or
 * aborted
 * @param ret_version the version made, or NULL. An empty transaction makes none,
 * waits for nothing, and gives the current one.
 * @return 0; STRATA_ENOLAYER, STRATA_ENODIM (what is to be replaced or removed
 * is not there); STRATA_EIMMUTABLE; STRATA_ECLASS, STRATA_ELIMIT, STRATA_ESHM
 * (numbers in strata_last_error(), with the reader that retains most when
 * readers are the reason); STRATA_ETIMEDOUT (names the lock's holder);
 * STRATA_EGONE; STRATA_EFORK; STRATA_ECORRUPT.
 * Killed half-way: either all of it is visible or none; the next writer cleans.
 */
STRATA_API int strata_txn_commit(struct strata_txn *txn, uint64_t *ret_version);

/** Drops a transaction with everything staged in it; NULL is fine. */
STRATA_API void strata_txn_abort(struct strata_txn *txn);

/**
 * Opens a writer session: this thread keeps the writer lock across its commits,
 * and yields it between them when others wait, in strata_wait() and in
 * strata_synchronize(), and while it loads or crystallises. A commit in it makes
 * no system call, but now and then: whether somebody has removed the catalog by
 * hand it asks once in a tick of the coarse clock (usually some milliseconds).
 * Other handles of this process are others, too: strata_destroy(), and commits by
 * them, wait for the session's end.
 * @param store attached with STRATA_WRITE
 * @param ret_writer the caller's, until strata_writer_close() by the same thread
 * @return 0; STRATA_ETIMEDOUT; STRATA_EACCES; STRATA_EGONE; STRATA_EFORK;
 * STRATA_EINVAL (this thread has one); STRATA_EBUSY (another thread of this
 * process has one on this handle).
 */
STRATA_API int strata_writer_open(struct strata_store *store,
				  struct strata_writer **ret_writer);

/**
 * Closes a session: reclaims, then gives up the lock. NULL is fine.
 * @return 0; STRATA_EINVAL (it is another thread's, and stays open);
 * STRATA_EFORK (it is the parent process's; the handle is gone).
 */
STRATA_API int strata_writer_close(struct strata_writer *writer);

/**** regions ****/

/** How long work is to be done. Zero bytes mean the default, everywhere. */
struct strata_work {
	size_t struct_size; /**< sizeof(struct strata_work) */
	/** Told how many bytes are done, of how many: in the calling thread,
	 *  not oftener than each 4 MiB, and once when all that can be cancelled
	 *  is done. Anything but 0 cancels: STRATA_ECANCELED, and the store and
	 *  its directory are as before. The dimension is locked meanwhile: do
	 *  not load, unload or crystallise it from there. A child that is forked
	 *  there has to end there: what it would go on with is its parent's.
	 *  NULL: nobody asks. */
	int (*progress)(uint64_t done, uint64_t total, void *arg);
	void *arg; /**< handed to progress */
};

/**
 * Turns a dimension's protos, and the region below them, into a new region; in
 * a store with a directory durable before it is published. Readers are not
 * disturbed; layers that are put or removed meanwhile stay so.
 * Waits for others that load, reload, unload or crystallise this dimension
 * (30 s at most).
 * @param store attached with STRATA_WRITE
 * @param dimension its number
 * @return 0 (also when there was nothing to do: all is in the region, and the
 * directory's file has the same bytes); STRATA_ENODIM; STRATA_EIMMUTABLE;
 * STRATA_ELIMIT, STRATA_ESHM; STRATA_EBUSY; STRATA_EGONE; STRATA_EDIR (another
 * store adopted the directory); STRATA_EPIN as strata_read_unlock(); -errno (of
 * the directory's file; of a full disk with bytes needed and free). On failure
 * the store is as it was, and no temporary file is left. The file has the
 * store's mode and group.
 */
STRATA_API int strata_crystallize(struct strata_store *store,
				  uint32_t dimension);

/**
 * The same, with progress.
 * @param work borrowed for the call, or NULL
 * @return also STRATA_ECANCELED; STRATA_EINVAL (struct_size).
 */
STRATA_API int strata_crystallize_with(struct strata_store *store,
				       uint32_t dimension,
				       const struct strata_work *work);

/**
 * Loads a dimension file as a new dimension. Nothing in it is believed.
 * @param store attached with STRATA_WRITE
 * @param path of the file
 * @param ret_dimension the number that the file says, or NULL
 * @return 0; STRATA_EEXIST (use strata_reload()); STRATA_EFORMAT (offset and
 * reason); STRATA_ELIMIT, STRATA_ESHM; STRATA_EBUSY; -errno.
 */
STRATA_API int strata_load(struct strata_store *store, const char *path,
			   uint32_t *ret_dimension);

/** The same, with progress; see strata_crystallize_with(). */
STRATA_API int strata_load_with(struct strata_store *store, const char *path,
				const struct strata_work *work,
				uint32_t *ret_dimension);

/**
 * Replaces a whole dimension, protos included, by a dimension file, in one
 * instant.
 * @param path of the file, or NULL for the dimension's file in the store's
 * directory
 * @return as strata_load(); STRATA_ENODIM; STRATA_EDIR (no path, no directory);
 * STRATA_EINVAL (the file is another dimension's).
 */
STRATA_API int strata_reload(struct strata_store *store, uint32_t dimension,
			     const char *path);

/** The same, with progress; see strata_crystallize_with(). */
STRATA_API int strata_reload_with(struct strata_store *store,
				  uint32_t dimension, const char *path,
				  const struct strata_work *work);

/**
 * Takes a dimension out of the store; readers keep it until their unlock.
 * @param forget also remove its file from the store's directory, even when the
 * dimension is in the store no more
 * @return 0; STRATA_ENODIM; STRATA_EBUSY; STRATA_EDIR; -errno.
 */
STRATA_API int strata_unload(struct strata_store *store, uint32_t dimension,
			     int forget);

/**
 * The path of a dimension's file in a directory, e.g. "DIR/D07.strata".
 * @param size of buffer, bytes
 * @return 0; STRATA_EINVAL (buffer too small, number out of range).
 */
STRATA_API int strata_file_path(const char *directory, uint32_t dimension,
				char *buffer, size_t size);

/** What a dimension file, or strata_file_begin(), says of its dimension. */
struct strata_file_info {
	uint32_t dimension;
	int immutable;
	char name[STRATA_DIMENSION_NAME_MAX + 1];
	double frequency_min, frequency_max;
	uint64_t nr_layers;     /**< out only */
	uint64_t content_bytes; /**< out only */
	uint64_t file_bytes;    /**< out only */
};

/**
 * Begins a dimension file. Nothing is written before strata_file_commit().
 * @param path where it will appear, replacing what is there
 * @param mode permission bits, e.g. 0644
 * @param info dimension, name, range, immutable; borrowed for the call
 * @param ret_file the caller's, until commit or abort
 * @return 0; STRATA_EINVAL; STRATA_ENOMEM.
 */
STRATA_API int strata_file_begin(const char *path, uint32_t mode,
				 const struct strata_file_info *info,
				 struct strata_file **ret_file);

/**
 * Adds a layer to a dimension file.
 * @param layer its number; any order; each once
 * @param attrs borrowed for the call, or NULL
 * @param data size bytes, borrowed until commit or abort
 * @return 0; STRATA_EEXIST; STRATA_EINVAL; STRATA_ENOMEM.
 */
STRATA_API int strata_file_add(struct strata_file *file, uint32_t layer,
			       const struct strata_attrs *attrs,
			       const void *data, size_t size);

/**
 * Like strata_file_add(), with the content of a regular file, which is read at
 * the commit and must not change its size until then.
 * @return also -errno of that file.
 */
STRATA_API int strata_file_add_path(struct strata_file *file, uint32_t layer,
				    const struct strata_attrs *attrs,
				    const char *path);

/**
 * Writes the file under a temporary name, syncs it, renames it into place and
 * syncs the folder.
 * @param file consumed in every case
 * @return 0; -errno; STRATA_EFORMAT (a content file changed its size). On
 * failure no file is left and an old one is untouched.
 */
STRATA_API int strata_file_commit(struct strata_file *file);

/** Drops it; NULL is fine. */
STRATA_API void strata_file_abort(struct strata_file *file);

/**
 * Checks a dimension file.
 * @param path of the file
 * @param quick leave out the checksums of the contents
 * @param ret_info what it says, or NULL
 * @return 0; STRATA_EFORMAT (offset and reason); -errno.
 */
STRATA_API int strata_file_verify(const char *path, int quick,
				  struct strata_file_info *ret_info);

#ifdef __cplusplus
}
#endif

/* Statistics, readers, commits, verify, gc, limit. */
#include "admin.h"

#endif /* STRATA_STRATA_H */
