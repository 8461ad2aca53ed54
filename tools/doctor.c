/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What doctor looks at on the machine, apart from the stores. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/magic.h>
#include <linux/membarrier.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "doctor.h"

/* What Docker and Kubernetes give a container that did not ask. */
#define CONTAINER_SHM (UINT64_C(64) << 20)

/**** the system's files ****/

/* The value of `key` + `separator` in a file below the root, the last one; the
 * caller frees it. A separator ' ' stands for one blank or more. NULL: none. */
static char *
setting_read(const struct doctor *doctor, const char *path, const char *key,
	     char separator)
{
	char *name = x_format("%s%s", doctor->root, path);
	FILE *file = fopen(name, "re");
	char *line = NULL, *value = NULL;
	size_t room = 0, length = strlen(key), blanks;

	free(name);
	if (file == NULL)
		return NULL;
	while (getline(&line, &room, file) >= 0) {
		const char *text = line + strspn(line, " \t");

		if (strncasecmp(text, key, length) != 0)
			continue;
		text += length;
		blanks = strspn(text, " \t");
		if (separator == ' ' ? blanks == 0 : text[blanks] != separator)
			continue;
		text += blanks;
		if (separator != ' ')
			text += 1 + strspn(text + 1, " \t");
		free(value);
		value = x_dup(text);
		value[strcspn(value, " \t\n")] = '\0';
	}
	free(line);
	fclose(file);
	return value;
}

/* The first line of a file below the root; the caller frees it. NULL: none. */
static char *
line_read(const struct doctor *doctor, const char *path)
{
	char *name = x_format("%s%s", doctor->root, path);
	FILE *file = fopen(name, "re");
	char *line = NULL;
	size_t room = 0;
	bool done;

	free(name);
	if (file == NULL)
		return NULL;
	done = getline(&line, &room, file) >= 0;
	fclose(file);
	if (!done) {
		free(line);
		return NULL;
	}
	line[strcspn(line, "\n")] = '\0';
	return line;
}

/**** mounts ****/

/* Where the file system of the folder is mounted, and with what options, both
 * to be freed. If nobody knows: at the folder, with none. */
static void
mount_find(const char *folder, char **ret_place, char **ret_options)
{
	char *real = realpath(folder, NULL);
	FILE *file = fopen("/proc/self/mounts", "re");
	char *line = NULL;
	size_t room = 0, best = 0;

	*ret_place = x_dup(folder);
	*ret_options = x_dup("");
	while (real != NULL && file != NULL &&
	       getline(&line, &room, file) >= 0) {
		char place[4096], options[4096];
		size_t length;

		if (sscanf(line, "%*s %4095s %*s %4095s", place, options) != 2)
			continue;
		length = strlen(place);
		/* The root's is "/", the prefix of all. */
		if (length > 1 && (strncmp(real, place, length) != 0 ||
				   (real[length] != '/' && real[length] != 0)))
			continue;
		if (length < best)
			continue;
		best = length;
		free(*ret_place);
		free(*ret_options);
		*ret_place = x_dup(place);
		*ret_options = x_dup(options);
	}
	free(line);
	free(real);
	if (file != NULL)
		fclose(file);
}

/* What mends it by an option of the mount: only the place where it is mounted
 * can be remounted, not a folder in it. */
static char *
remount_text(const char *folder, const char *option)
{
	char *place, *options, *text;

	mount_find(folder, &place, &options);
	text = x_format("mount -o remount,%s %s", option, place);
	free(place);
	free(options);
	return text;
}

static bool
is_tmpfs(const char *folder)
{
	struct statfs what;

	return statfs(folder, &what) == 0 && what.f_type == TMPFS_MAGIC;
}

/**** memory ****/

/* What the stores may still take of the folder, by their limits. */
static uint64_t
promised(const struct doctor *doctor)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < doctor->nr_stores; i++) {
		const struct strata_list_entry *store = &doctor->stores[i];

		if (store->status == 0 && store->limit > store->reserved)
			sum += store->limit - store->reserved;
	}
	return sum;
}

static void
memory_size(struct doctor *doctor, uint64_t size, uint64_t available)
{
	uint64_t wanted = promised(doctor);
	char *mend, *remount, *option;

	if (size <= CONTAINER_SHM) {
		mend = x_format("docker run --shm-size=1g, or in Kubernetes an "
				"emptyDir with medium: Memory mounted at %s",
				doctor->folder);
		finding_add(doctor, FINDING_WARNING, "shared memory", mend,
			    "%s has %s, what a container gets that does not "
			    "ask: less than a store of the default limit",
			    doctor->folder, SIZE_TEXT(size));
		return;
	}
	if (wanted > available) {
		option = x_format(
			"size=%lluM",
			(unsigned long long)((size - available + wanted) >>
					     20) +
				1);
		remount = remount_text(doctor->folder, option);
		mend = x_format("%s, or lower the limits: strata limit STORE "
				"SIZE",
				remount);
		free(option);
		free(remount);
		finding_add(doctor, FINDING_WARNING, "shared memory", mend,
			    "%s has %s free of %s, and the stores may by their "
			    "limits take %s more: commits will be refused "
			    "before the limits are reached",
			    doctor->folder, SIZE_TEXT(available),
			    SIZE_TEXT(size), SIZE_TEXT(wanted));
		return;
	}
	finding_add(doctor, FINDING_OK, "shared memory", NULL,
		    "%s has %s free of %s; the stores may by their limits take "
		    "%s more",
		    doctor->folder, SIZE_TEXT(available), SIZE_TEXT(size),
		    SIZE_TEXT(wanted));
}

void
doctor_memory(struct doctor *doctor)
{
	struct statvfs room;

	if (statvfs(doctor->folder, &room) != 0) {
		finding_add(doctor, FINDING_PROBLEM, "shared memory",
			    x_format("mount -t tmpfs tmpfs %s", doctor->folder),
			    "%s cannot be looked at: %s", doctor->folder,
			    strerror(errno));
		return;
	}
	if (!is_tmpfs(doctor->folder))
		finding_add(doctor, FINDING_WARNING, "shared memory",
			    x_format("mount -t tmpfs tmpfs %s", doctor->folder),
			    "%s is not a tmpfs: stores there are written to a "
			    "disk",
			    doctor->folder);
	/* No fragments: a tmpfs without a limit. */
	if (room.f_blocks != 0)
		memory_size(doctor, (uint64_t)room.f_blocks * room.f_frsize,
			    (uint64_t)room.f_bavail * room.f_frsize);
	if (room.f_files != 0 && room.f_favail < 64)
		finding_add(doctor, FINDING_PROBLEM, "shared memory",
			    remount_text(doctor->folder, "nr_inodes=100000"),
			    "%s has room for %llu more files; a store needs "
			    "some ten, and one for each dimension",
			    doctor->folder, (unsigned long long)room.f_favail);
}

/**** kernel ****/

static void
kernel_membarrier(struct doctor *doctor)
{
	const int wanted = MEMBARRIER_CMD_GLOBAL_EXPEDITED |
			   MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;
	long known = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	if (known >= 0 && (known & wanted) == wanted)
		finding_add(doctor, FINDING_OK, "membarrier", NULL,
			    "there: read locks need no fence");
	else
		finding_add(
			doctor, FINDING_NOTE, "membarrier",
			x_dup("Linux 4.16 or later, and a seccomp profile that "
			      "lets membarrier(2) through"),
			"not to be had here (%s): stores made here use full "
			"fences, a few ns for each read lock",
			known < 0 ? strerror(errno) : "too few commands");
}

static void
kernel_files(struct doctor *doctor)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd = open(doctor->folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0) {
		finding_add(doctor, FINDING_PROBLEM, "segments",
			    x_format("chmod 1777 %s, or another file system "
				     "there",
				     doctor->folder),
			    "no file can be made in %s: %s", doctor->folder,
			    strerror(errno));
		return;
	}
	if (fcntl(fd, F_OFD_SETLK, &lock) != 0)
		finding_add(doctor, FINDING_PROBLEM, "file locks", NULL,
			    "open file description locks do not work in %s "
			    "(%s): neither writers nor readers can be",
			    doctor->folder, strerror(errno));
	else
		finding_add(doctor, FINDING_OK, "file locks", NULL,
			    "unnamed files and their locks work in %s",
			    doctor->folder);
	close(fd);
	if (access("/proc/self/fd", X_OK) != 0)
		finding_add(doctor, FINDING_PROBLEM, "proc",
			    x_dup("mount -t proc proc /proc"),
			    "/proc is not mounted, by which segments get their "
			    "names: %s",
			    strerror(errno));
}

void
doctor_kernel(struct doctor *doctor)
{
	kernel_membarrier(doctor);
	kernel_files(doctor);
}

/**** large pages ****/

static bool
kernel_collapses(void)
{
	struct utsname name;
	unsigned major = 0, minor = 0;

	return uname(&name) == 0 &&
	       sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 1));
}

void
doctor_huge_pages(struct doctor *doctor)
{
	char *place, *options;
	const char *huge;

	/* Others have no such option. */
	if (!is_tmpfs(doctor->folder))
		return;
	mount_find(doctor->folder, &place, &options);
	huge = strstr(options, "huge=");
	if (huge != NULL && strncmp(huge, "huge=never", 10) != 0)
		finding_add(doctor, FINDING_OK, "large pages", NULL,
			    "%s is mounted with %.*s", place,
			    (int)strcspn(huge, ","), huge);
	else
		finding_add(
			doctor, FINDING_NOTE, "large pages",
			remount_text(doctor->folder, "huge=advise"),
			"%s is mounted without huge=: its pages are of 4 KiB%s",
			place,
			kernel_collapses()
				? ", unless the kernel is asked to collapse "
				  "them"
				: "");
	free(place);
	free(options);
}

/**** limits ****/

static void
limits_control_group(struct doctor *doctor)
{
	char *line = line_read(doctor, "/proc/self/cgroup");
	const char *group =
		line != NULL && strncmp(line, "0::", 3) == 0 ? line + 3 : "/";
	char *path = x_format("/sys/fs/cgroup%s/memory.max", group);
	char *most = line_read(doctor, path);
	uint64_t bytes;

	if (most != NULL && parse_number(most, UINT64_MAX, &bytes))
		finding_add(doctor, FINDING_NOTE, "control group", NULL,
			    "processes here have %s of memory together; a "
			    "segment counts for who first wrote its pages",
			    SIZE_TEXT(bytes));
	free(most);
	free(path);
	free(line);
}

void
doctor_limits(struct doctor *doctor)
{
	struct rlimit limit;
	char *text;
	uint64_t mappings;

	if (getrlimit(RLIMIT_AS, &limit) == 0 &&
	    limit.rlim_cur != RLIM_INFINITY)
		finding_add(
			doctor, FINDING_WARNING, "address space",
			x_dup("ulimit -v unlimited"),
			"limited to %s; each attach reserves as much as the "
			"store may ever have, and more",
			SIZE_TEXT(limit.rlim_cur));
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 256)
		finding_add(doctor, FINDING_WARNING, "open files",
			    x_dup("ulimit -n 1024"),
			    "limited to %llu; a writer keeps about ten for "
			    "each store, and one for each user who reads",
			    (unsigned long long)limit.rlim_cur);
	text = line_read(doctor, "/proc/sys/vm/max_map_count");
	if (text != NULL && parse_number(text, UINT64_MAX, &mappings) &&
	    mappings < 4096)
		finding_add(doctor, FINDING_WARNING, "mappings",
			    x_dup("sysctl vm.max_map_count=65530"),
			    "limited to %llu for a process; each region is one",
			    (unsigned long long)mappings);
	free(text);
	limits_control_group(doctor);
}

/**** RemoveIPC ****/

/* The drop-ins of logind. Of two with the same name the first one here hides
 * the other. */
static void
drop_ins_find(const struct doctor *doctor, glob_t *ret_files)
{
	static const char *const folders[] = {"/etc/systemd", "/run/systemd",
					      "/usr/local/lib/systemd",
					      "/usr/lib/systemd"};

	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		char *pattern = x_format("%s%s/logind.conf.d/*.conf",
					 doctor->root, folders[i]);

		(void)glob(pattern, i > 0 ? GLOB_APPEND : 0, NULL, ret_files);
		free(pattern);
	}
}

static const char *
file_name(const glob_t *files, size_t i)
{
	return strrchr(files->gl_pathv[i], '/') + 1;
}

static bool
is_hidden(const glob_t *files, size_t i)
{
	for (size_t j = 0; j < i; j++)
		if (strcmp(file_name(files, j), file_name(files, i)) == 0)
			return true;
	return false;
}

/* The last word of logind's files on it, in the order in which it reads them:
 * its own, then the drop-ins by their names, whatever folder they are in. */
static char *
remove_ipc_setting(const struct doctor *doctor)
{
	char *value = setting_read(doctor, "/etc/systemd/logind.conf",
				   "RemoveIPC", '=');
	size_t skip = strlen(doctor->root);
	const char *last = "";
	glob_t files;

	drop_ins_find(doctor, &files);
	for (size_t i = 0; i < files.gl_pathc; i++) {
		const char *name = file_name(&files, i);
		char *next;

		if (strcmp(name, last) < 0 || is_hidden(&files, i))
			continue;
		next = setting_read(doctor, files.gl_pathv[i] + skip,
				    "RemoveIPC", '=');
		if (next == NULL)
			continue;
		free(value);
		value = next;
		last = name;
	}
	globfree(&files);
	return value;
}

static bool
says_no(const char *value)
{
	static const char *const words[] = {"no", "false", "off",
					    "0",  "n",     "f"};

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcasecmp(value, words[i]) == 0)
			return true;
	return false;
}

/* Users below this number are the system's, whose files logind leaves. */
static uint64_t
first_person(const struct doctor *doctor)
{
	char *text =
		setting_read(doctor, "/etc/login.defs", "SYS_UID_MAX", ' ');
	uint64_t last = 999;

	if (text != NULL)
		(void)parse_number(text, UINT32_MAX, &last);
	free(text);
	return last + 1;
}

static bool
lingers(const struct doctor *doctor, const char *user)
{
	char *path =
		x_format("%s/var/lib/systemd/linger/%s", doctor->root, user);
	bool found = access(path, F_OK) == 0;

	free(path);
	return found;
}

static void
remove_ipc_store(struct doctor *doctor, const struct strata_list_entry *store)
{
	struct passwd *user = getpwuid(store->owner);
	char number[16];
	const char *name = number;

	snprintf(number, sizeof(number), "%u", (unsigned)store->owner);
	if (user != NULL)
		name = user->pw_name;
	if (lingers(doctor, name))
		return;
	finding_add(doctor, FINDING_WARNING, "RemoveIPC",
		    x_format("loginctl enable-linger %s, or RemoveIPC=no in "
			     "/etc/systemd/logind.conf, or a store of a system "
			     "user",
			     name),
		    "the store '%s' goes when its owner %s logs out: logind "
		    "removes what that user has in /dev/shm",
		    store->name, name);
}

void
doctor_remove_ipc(struct doctor *doctor)
{
	char *running = x_format("%s/run/systemd/system", doctor->root);
	char *value = remove_ipc_setting(doctor);
	uint64_t first = first_person(doctor);
	size_t before = doctor->nr_findings, i;

	if (access(running, F_OK) != 0)
		finding_add(doctor, FINDING_OK, "RemoveIPC", NULL,
			    "systemd does not run here: nobody removes "
			    "segments at logout");
	else if (value != NULL && says_no(value))
		finding_add(doctor, FINDING_OK, "RemoveIPC", NULL,
			    "RemoveIPC=%s: nobody removes segments at logout",
			    value);
	else
		for (i = 0; i < doctor->nr_stores; i++)
			if (doctor->stores[i].owner >= first)
				remove_ipc_store(doctor, &doctor->stores[i]);
	if (doctor->nr_findings == before)
		finding_add(doctor, FINDING_OK, "RemoveIPC", NULL,
			    "logind removes segments of users who log out; all "
			    "stores are of system users, or of such that "
			    "linger");
	free(value);
	free(running);
}
