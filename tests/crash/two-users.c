/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* A store of one user: its group reads and writes nothing, others do nothing. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "pattern.h"
#include "proc.h"

/*
 * The users are numbers that nobody has; no account is needed for setresuid. The
 * owner makes a store of mode 0640 with a group. A member of the group reads and
 * pins; a stranger does not get in; a guest, whom nobody's pins would protect,
 * gets in by an access control list, a capability or a user namespace, and is
 * refused a slot, but may observe.
 */
enum { OWNER = 61001, MEMBER, STRANGER, GUEST, GROUP = 62001 };

static const struct pattern_set set = {3, 12, 20 << 10};
static const char *folder;
static char name[STRATA_STORE_NAME_MAX + 1];
static mode_t mask;

/**** being somebody ****/

static void
become(uid_t uid, bool in_group)
{
	const gid_t groups[] = {uid, GROUP};

	umask(mask);
	need(setgroups(in_group ? 2 : 1, groups) == 0 &&
		     setresgid(uid, uid, uid) == 0 &&
		     setresuid(uid, uid, uid) == 0,
	     "become user %d: %s", (int)uid, strerror(errno));
	/* Both are lost with the privileges. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_DUMPABLE, 1);
}

static struct strata_store *
attach(unsigned flags)
{
	struct strata_store *store;

	need(strata_attach(name, flags | STRATA_TRUST_OWNER, &store) == 0,
	     "attach as user %d", (int)geteuid());
	return store;
}

static void
refused(int got, int expected, const char *words)
{
	need(got == expected, "user %d got %d, expected %d", (int)geteuid(),
	     got, expected);
	need(strstr(strata_last_error()->sentence, words) != NULL,
	     "'%s' is not said", words);
}

/* Calls fn for each file of the store, and tells how many there are. */
static unsigned
each_file(void (*fn)(const char *path, const char *file))
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	char path[600];
	unsigned nr = 0;

	need(dir != NULL, "opendir");
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		if (fn != NULL)
			fn(path, entry->d_name);
		nr++;
	}
	closedir(dir);
	return nr;
}

static bool
is_lock(const char *file)
{
	return strstr(file, "-lock") != NULL;
}

/**** the owner ****/

static uint64_t generation;

static void
commit_many(struct strata_store *store)
{
	for (unsigned i = 0; i < 150; i++)
		pattern_commit(store, &set, ++generation);
}

static void
collect(struct strata_store *store, bool retains)
{
	struct strata_gc_report report;

	need(strata_gc(store, &report) == 0, "gc");
	need((report.retained != 0) == retains,
	     "readers retain %llu bytes, %s expected",
	     (unsigned long long)report.retained, retains ? "some" : "none");
}

/* Until the next word. */
static void
commit_on_and_on(struct strata_store *store, int in)
{
	struct pollfd pollfd = {.fd = in, .events = POLLIN};

	while (poll(&pollfd, 1, 0) == 0) {
		pattern_commit(store, &set, ++generation);
		need(strata_gc(store, NULL) == 0, "gc");
	}
}

/* Does what it is told, and answers by the same word. */
static void
owner_main(struct proc *parent, void *arg)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = 64 << 20,
				       .mode = 0640,
				       .group = "62001"};
	struct strata_store *store;
	char word = 'c';

	(void)arg;
	become(OWNER, /* in_group= */ true);
	need(strata_create(name, &config) == 0, "create");
	store = attach(STRATA_WRITE);
	pattern_commit(store, &set, ++generation);
	need(strata_crystallize(store, 2) == 0, "crystallize");
	while (word != 'x') {
		proc_say(parent, word);
		need(read(parent->in, &word, 1) == 1, "a word");
		if (word == 'm')
			commit_many(store);
		else if (word == 'r' || word == 'g')
			collect(store, word == 'r');
		else if (word == 'w')
			commit_on_and_on(store, parent->in);
	}
	need(strata_detach(store) == 0, "detach");
	need(strata_destroy(name) == 0, "destroy");
}

static void
tell(struct proc *owner, char word)
{
	proc_say(owner, word);
	proc_hear(owner, word);
}

/* As the config says, whatever the umask; the lock is for nobody else. */
static void
check_mode(const char *path, const char *file)
{
	mode_t expected = is_lock(file) ? 0600 : 0640;
	struct stat st;

	need(stat(path, &st) == 0, "stat");
	need((st.st_mode & 07777) == expected, "%s has mode %o, expected %o",
	     file, st.st_mode & 07777, expected);
	need(st.st_gid == GROUP && st.st_uid == OWNER,
	     "%s belongs to user %d and group %d", file, (int)st.st_uid,
	     (int)st.st_gid);
}

/**** a member of the group ****/

/* Read locks are all that can be had through a descriptor that only reads; they
 * are kept for as long as this process lives, and must be in nobody's way. */
static void
lock_what_can_be(const char *file, int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	need(fcntl(fd, F_OFD_SETLK, &lock) < 0 && errno == EBADF,
	     "a write lock on %s", file);
	if (strstr(file, "-pins") != NULL)
		return; /* of which the owner has write locks */
	lock.l_type = F_RDLCK;
	need(fcntl(fd, F_OFD_SETLK, &lock) == 0, "a read lock on %s: %s", file,
	     strerror(errno));
}

static void
check_read_only(const char *path, const char *file)
{
	char other[700];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	snprintf(other, sizeof(other), "%s.taken", path);
	need((fd < 0) == is_lock(file), "%s: open gave %d", file, fd);
	need(open(path, O_RDWR | O_CLOEXEC) < 0 && errno == EACCES,
	     "%s can be opened for writing", file);
	need(truncate(path, 0) < 0 && errno == EACCES, "truncate %s", file);
	need(chmod(path, 0666) < 0 && errno == EPERM, "chmod %s", file);
	need(unlink(path) < 0 && rename(path, other) < 0, "the name %s", file);
	if (fd < 0)
		return;
	need(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) ==
		     MAP_FAILED,
	     "%s can be mapped for writing", file);
	lock_what_can_be(file, fd); /* stays open */
}

static void
member_main(struct proc *parent, void *arg)
{
	struct strata_reader *reader;
	struct strata_store *store;
	uint64_t first;

	(void)arg;
	become(MEMBER, /* in_group= */ true);
	each_file(check_read_only);
	refused(strata_attach(name, STRATA_READ, &store), STRATA_EOWNER,
		"belongs to user 61001");
	refused(strata_attach(name, STRATA_WRITE | STRATA_TRUST_OWNER, &store),
		STRATA_EACCES, "Permission denied");
	refused(strata_destroy(name), STRATA_EACCES, "");
	store = attach(STRATA_READ);
	need(strata_reader_open(store, &reader) == 0, "reader");
	need(strata_read_lock(reader) == 0, "lock");
	first = pattern_look(reader, &set);
	proc_say(parent, 'l');
	proc_hear(parent, 'l');
	need(pattern_look(reader, &set) == first, "another generation");
	need(strata_read_unlock(reader) == 0, "unlock");
	proc_say(parent, 'u');
	proc_hear(parent, 'u');
	need(strata_read_lock(reader) == 0, "lock");
	need(pattern_look(reader, &set) > first, "nothing was committed");
	need(strata_read_unlock(reader) == 0, "unlock");
	need(strata_detach(store) == 0, "detach");
}

static int
see_member(const struct strata_reader_info *info, void *arg)
{
	*(unsigned *)arg +=
		info->uid == MEMBER && info->alive && info->pin != 0;
	return 0;
}

static unsigned
nr_members_reading(void)
{
	struct strata_store *store = attach(STRATA_READ);
	unsigned nr = 0;

	need(strata_foreach_reader(store, see_member, &nr) == 0, "readers");
	need(strata_detach(store) == 0, "detach");
	return nr;
}

/* Writers respect what a member of the group pins. */
static void
member_pins(struct proc *owner)
{
	struct proc member;

	proc_start(&member, member_main, NULL);
	proc_hear(&member, 'l');
	need(nr_members_reading() == 1, "the member's pin is not seen");
	tell(owner, 'm');
	tell(owner, 'r');
	proc_say(&member, 'l');
	proc_hear(&member, 'u');
	need(nr_members_reading() == 0, "the member's pin is still seen");
	tell(owner, 'g');
	proc_say(&member, 'u');
	proc_join(&member);
}

/**** a stranger ****/

static void
check_closed(const char *path, const char *file)
{
	need(open(path, O_RDONLY | O_CLOEXEC) < 0 && errno == EACCES,
	     "a stranger can open %s", file);
	need(unlink(path) < 0, "a stranger can remove %s", file);
}

static void
stranger_main(struct proc *parent, void *arg)
{
	struct strata_config config = {.struct_size = sizeof(config),
				       .limit = 16 << 20,
				       .mode = 0664};
	struct strata_store *store;

	(void)arg;
	become(STRANGER, /* in_group= */ false);
	each_file(check_closed);
	refused(strata_attach(name, STRATA_TRUST_OWNER, &store), STRATA_EACCES,
		"Permission denied");
	refused(strata_attach(name, STRATA_OBSERVE | STRATA_TRUST_OWNER,
			      &store),
		STRATA_EACCES, "Permission denied");
	/* A store of its own, for the others to fall for. */
	need(strata_create("planted", &config) == 0, "create");
	proc_say(parent, 'p');
	proc_hear(parent, 'p');
	need(strata_destroy("planted") == 0, "destroy");
}

static void
victim_main(struct proc *parent, void *arg)
{
	struct strata_store *store;

	(void)parent;
	(void)arg;
	become(OWNER, /* in_group= */ true);
	refused(strata_attach("planted", STRATA_READ, &store), STRATA_EOWNER,
		"belongs to user 61003");
	refused(strata_attach("planted", STRATA_OBSERVE, &store), STRATA_EOWNER,
		"belongs to user 61003");
	refused(strata_attach("planted", STRATA_WRITE, &store), STRATA_EACCES,
		"Permission denied");
}

static void
stranger_is_kept_out(void)
{
	struct proc stranger, victim;

	proc_start(&stranger, stranger_main, NULL);
	proc_hear(&stranger, 'p');
	proc_start(&victim, victim_main, NULL);
	proc_join(&victim);
	proc_say(&stranger, 'p');
	proc_join(&stranger);
}

/**** observers ****/

/* So many copies of each layer, while the owner commits and reclaims. */
static uint64_t
copy_all(struct strata_store *store, unsigned times)
{
	uint64_t first = 0, last = 0;

	for (unsigned i = 0; i < times * set.nr_dimensions * set.nr_layers;
	     i++) {
		uint32_t dimension = 1 + i % set.nr_dimensions;
		uint32_t layer = i / set.nr_dimensions % set.nr_layers;
		struct strata_copy *copy;
		struct pattern pattern;

		need(strata_copy(store, dimension, layer, 0, &copy) == 0,
		     "copy %u/%u", dimension, layer);
		need(pattern_check(copy->data, copy->entry.size, &pattern) &&
			     pattern.dimension == dimension &&
			     pattern.layer == layer &&
			     pattern.generation >= last,
		     "copy %u is torn, or older than the one before", i);
		last = pattern.generation;
		first = first == 0 ? last : first;
		strata_copy_free(copy);
	}
	return last - first;
}

/* Is refused a slot, in these words, leaves nothing behind, and observes. */
static void
observe(const char *words)
{
	struct strata_stats stats = {.struct_size = sizeof(stats)};
	struct strata_store *store = attach(STRATA_READ);
	unsigned nr_files = each_file(NULL);
	struct strata_reader *reader;

	refused(strata_reader_open(store, &reader), STRATA_EACCES, words);
	refused(strata_reader_open(store, &reader), STRATA_EACCES,
		"strata_copy() needs no slot");
	need(each_file(NULL) == nr_files, "a file was left");
	/* However slow the owner is. */
	for (uint64_t seen = 0; seen < 5;)
		seen += copy_all(store, 10);
	need(strata_stats(store, &stats) == 0, "stats");
	need(stats.nr_layers == (uint64_t)set.nr_dimensions * set.nr_layers,
	     "%llu layers", (unsigned long long)stats.nr_layers);
	need(strata_detach(store) == 0, "detach");
	store = attach(STRATA_OBSERVE);
	copy_all(store, 1);
	need(strata_detach(store) == 0, "detach");
}

/* May read, but not make a file in this folder. */
static void
member_observes(struct proc *parent, void *arg)
{
	(void)parent;
	(void)arg;
	become(MEMBER + 100, /* in_group= */ true);
	observe("Permission denied");
}

/* r for user GUEST, besides 0640; posix_acl_xattr is little-endian. */
static void
grant(const char *path, const char *file)
{
	static const struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} entries[5];
	} acl = {2,
		 {{0x01, 6, UINT32_MAX},
		  {0x02, 4, GUEST},
		  {0x04, 4, UINT32_MAX},
		  {0x10, 4, UINT32_MAX},
		  {0x20, 0, UINT32_MAX}}};

	if (!is_lock(file) && strstr(file, "-pins") == NULL &&
	    setxattr(path, "system.posix_acl_access", &acl, sizeof(acl), 0) !=
		    0)
		need(errno == EOPNOTSUPP, "setxattr: %s", strerror(errno));
}

static void
guest_by_list(struct proc *parent, void *arg)
{
	char path[600];

	(void)parent;
	(void)arg;
	become(GUEST, /* in_group= */ false);
	snprintf(path, sizeof(path), "%s/strata.%s", folder, name);
	if (access(path, R_OK) != 0) {
		puts("no access control lists here: not tested");
		return;
	}
	observe("no writer of store");
}

/* Reads everything, by its capability; its files are its own. */
static void
guest_by_capability(struct proc *parent, void *arg)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct data[2] = {
		{1u << CAP_DAC_READ_SEARCH, 1u << CAP_DAC_READ_SEARCH, 0}};

	(void)parent;
	(void)arg;
	prctl(PR_SET_KEEPCAPS, 1);
	become(GUEST + 100, /* in_group= */ false);
	if (syscall(SYS_capset, &head, data) != 0) {
		printf("capset: %s: capabilities are not tested\n",
		       strerror(errno));
		return;
	}
	observe("no writer of store");
}

static bool
write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, text, strlen(text)) ==
				       (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return done;
}

/* Root of a user namespace that has neither the owner nor the group, which the
 * process is in all the same. */
static void
guest_by_namespace(struct proc *parent, void *arg)
{
	char map[32];
	uid_t uid = MEMBER + 200;

	(void)parent;
	(void)arg;
	become(uid, /* in_group= */ true);
	snprintf(map, sizeof(map), "0 %u 1\n", (unsigned)uid);
	if (unshare(CLONE_NEWUSER) != 0 ||
	    !write_file("/proc/self/setgroups", "deny") ||
	    !write_file("/proc/self/uid_map", map) ||
	    !write_file("/proc/self/gid_map", map)) {
		printf("no user namespaces (%s): not tested\n",
		       strerror(errno));
		return;
	}
	need(geteuid() == 0, "not root of its namespace");
	observe("no writer of store");
}

static void
one_observes(struct proc *owner,
	     void (*run)(struct proc *parent, void *arg))
{
	struct proc observer;

	proc_start(&observer, run, NULL);
	proc_say(owner, 'w');
	proc_join(&observer);
	proc_say(owner, 'n');
	proc_hear(owner, 'w'); /* which it says when the next word comes */
	proc_hear(owner, 'n');
}

/**** all of it ****/

static void
folder_is(uid_t uid, mode_t mode)
{
	need(chown(folder, uid, uid) == 0 && chmod(folder, mode) == 0,
	     "folder: %s", strerror(errno));
}

static void
one_round(mode_t umask_of_all)
{
	struct proc owner;

	mask = umask_of_all;
	generation = 0;
	snprintf(name, sizeof(name), "%s", store_name("users"));
	folder_is(0, 01777);
	proc_start(&owner, owner_main, NULL);
	proc_hear(&owner, 'c');
	need(each_file(check_mode) >= 8, "files are missing");
	member_pins(&owner);
	stranger_is_kept_out();
	each_file(grant);
	one_observes(&owner, guest_by_list);
	one_observes(&owner, guest_by_capability);
	one_observes(&owner, guest_by_namespace);
	folder_is(OWNER, 0755);
	one_observes(&owner, member_observes);
	/* The owner of the folder may remove the member's pins. */
	proc_say(&owner, 'x');
	proc_join(&owner);
	need(each_file(NULL) == 0, "files are left");
	folder_is(0, 0700);
	printf("umask %03o: right\n", (unsigned)mask);
}

/* In a container these numbers may not exist, or setresuid be forbidden. */
static void
try_to_become(struct proc *parent, void *arg)
{
	const gid_t group = GROUP;

	(void)parent;
	(void)arg;
	test_exit(setgroups(1, &group) != 0 || setresgid(GUEST, GUEST, GUEST) ||
		  setresuid(GUEST, GUEST, GUEST) != 0);
}

int
main(void)
{
	struct proc child;

	proc_start(&child, try_to_become, NULL);
	if (proc_wait(&child) != 0) {
		puts("skipped: this process may not become other users "
		     "(setgroups, setresuid); root may");
		return 77;
	}
	folder = shm_begin();
	one_round(077);
	one_round(0);
	shm_end();
	return 0;
}
