/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Child processes that a test starts, talks to, stops and kills. */
#include "proc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "strata/strata.h"

/* In gcc's coverage builds only. */
extern void __gcov_dump(void) __attribute__((weak));

static char folder[] = "/dev/shm/strata-proc-XXXXXX";
static pid_t folder_owner; /* 0: there is none */

/**** failing, leaving, lengths ****/

void
shm_clear(void)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}

void
test_exit(int status)
{
	fflush(NULL);
	if (__gcov_dump != NULL)
		__gcov_dump();
	_exit(status);
}

void
test_fail(const char *file, int line, const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "%s:%d: process %d: ", file, line, (int)getpid());
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (last error of the library: %s)\n",
		strata_last_error()->sentence);
	if (folder_owner == getpid()) {
		shm_clear();
		(void)umount2(folder, MNT_DETACH); /* see small.h */
		rmdir(folder);
	}
	test_exit(1);
}

enum test_length
test_length(void)
{
	const char *wish = getenv("STRATA_TEST_LENGTH");

	if (wish != NULL && strcmp(wish, "short") == 0)
		return TEST_SHORT;
	if (wish != NULL && strcmp(wish, "long") == 0)
		return TEST_LONG;
	return TEST_NORMAL;
}

bool
test_is_sanitized(void)
{
	const char *sanitizers = getenv("SANITIZERS");

	return sanitizers != NULL && sanitizers[0] != '\0';
}

uint64_t
test_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#define RUN_PATIENCE_NS (UINT64_C(240) * 1000 * 1000 * 1000)

struct test_run
test_run_begin(uint64_t length_ns)
{
	uint64_t end_ns = test_now_ns() + length_ns;

	return (struct test_run){end_ns, end_ns + RUN_PATIENCE_NS};
}

bool
test_run_goes_on(const struct test_run *run, bool is_enough)
{
	uint64_t now = test_now_ns();

	return now < run->end_ns || (!is_enough && now < run->deadline_ns);
}

uint64_t
test_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t
test_seed_of(const char *what)
{
	const char *given = getenv("STRATA_TEST_SEED");
	uint64_t seed = test_now_ns() ^ (uint64_t)getpid() << 40;

	if (given != NULL)
		seed = strtoull(given, NULL, 0);
	printf("%s%sSTRATA_TEST_SEED=%" PRIu64 "\n", what,
	       what[0] != '\0' ? ": " : "", seed);
	fflush(stdout);
	return seed;
}

uint64_t
test_seed(void)
{
	return test_seed_of("");
}

/**** the folder of the segments ****/

const char *
shm_begin(void)
{
	need(mkdtemp(folder) != NULL, "mkdtemp: %s", strerror(errno));
	folder_owner = getpid();
	need(setenv("STRATA_SHM_DIR", folder, 1) == 0, "setenv");
	return folder;
}

uint64_t
shm_bytes(unsigned *ret_nr_files)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	struct stat st;
	uint64_t bytes = 0;
	unsigned nr = 0;

	need(dir != NULL, "opendir %s: %s", folder, strerror(errno));
	while ((entry = readdir(dir)) != NULL)
		if (fstatat(dirfd(dir), entry->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode)) {
			bytes += (uint64_t)st.st_blocks * 512;
			nr++;
		}
	closedir(dir);
	if (ret_nr_files != NULL)
		*ret_nr_files = nr;
	return bytes;
}

void
shm_end(void)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;

	need(dir != NULL, "opendir %s: %s", folder, strerror(errno));
	while ((entry = readdir(dir)) != NULL)
		need(strcmp(entry->d_name, ".") == 0 ||
			     strcmp(entry->d_name, "..") == 0,
		     "left behind: %s", entry->d_name);
	closedir(dir);
	need(rmdir(folder) == 0, "rmdir: %s", strerror(errno));
	folder_owner = 0;
}

const char *
store_name(const char *what)
{
	static char name[STRATA_STORE_NAME_MAX + 1];

	snprintf(name, sizeof(name), "test.%s.%d", what, (int)getpid());
	return name;
}

/**** starting and ending ****/

static void
become_child(struct proc *self, const int down[2], const int up[2])
{
	self->pid = 0;
	self->in = down[0];
	self->out = up[1];
	close(down[1]);
	close(up[0]);
	/* No process of a test survives it, however it ends. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void
proc_start(struct proc *proc, void (*run)(struct proc *parent, void *arg),
	   void *arg)
{
	struct proc self;
	int down[2], up[2];
	pid_t pid;

	need(pipe2(down, O_CLOEXEC) == 0 && pipe2(up, O_CLOEXEC) == 0,
	     "pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	need(pid >= 0, "fork: %s", strerror(errno));
	if (pid == 0) {
		become_child(&self, down, up);
		run(&self, arg);
		test_exit(0);
	}
	close(down[0]);
	close(up[1]);
	proc->pid = pid;
	proc->in = up[0];
	proc->out = down[1];
}

int
proc_wait(struct proc *proc)
{
	int status;
	pid_t pid;

	do
		pid = waitpid(proc->pid, &status, 0);
	while (pid < 0 && errno == EINTR);
	need(pid == proc->pid, "waitpid: %s", strerror(errno));
	close(proc->in);
	close(proc->out);
	proc->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void
proc_join(struct proc *proc)
{
	pid_t pid = proc->pid;
	int status = proc_wait(proc);

	need(status == 0, "process %d ended with %d", (int)pid, status);
}

bool
proc_is_running(const struct proc *proc)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	need(waitid(P_PID, (id_t)proc->pid, &info,
		    WEXITED | WNOHANG | WNOWAIT) == 0,
	     "waitid: %s", strerror(errno));
	return info.si_pid == 0;
}

void
proc_kill(struct proc *proc)
{
	int status;

	need(kill(proc->pid, SIGKILL) == 0, "kill: %s", strerror(errno));
	status = proc_wait(proc);
	need(status == 128 + SIGKILL, "a killed process ended with %d", status);
}

void
proc_die(void)
{
	if (__gcov_dump != NULL)
		__gcov_dump();
	kill(getpid(), SIGKILL);
	for (;;)
		pause();
}

void
proc_close_from(int first)
{
	for (int fd = first; fd < 1024; fd++)
		close(fd);
}

/**** orphans ****/

void
proc_adopt_orphans(void)
{
	need(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "prctl: %s",
	     strerror(errno));
}

/* A child that has ended, which stays to be waited for; 0: none. */
static pid_t
ended_child(int flags)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT | flags) != 0)
		need(errno == ECHILD, "waitid: %s", strerror(errno));
	return info.si_pid;
}

static void
reap_orphan(pid_t pid)
{
	int status;

	need(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	need(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	     "orphan %d ended with status %x", (int)pid, (unsigned)status);
}

unsigned
proc_reap_orphans(const struct proc *known, unsigned nr_known)
{
	unsigned nr = 0;
	pid_t pid;

	while ((pid = ended_child(WNOHANG)) != 0) {
		for (unsigned i = 0; i < nr_known; i++)
			if (known[i].pid == pid)
				return nr; /* its turn comes */
		reap_orphan(pid);
		nr++;
	}
	return nr;
}

unsigned
proc_join_orphans(void)
{
	unsigned nr = 0;
	pid_t pid;

	for (; (pid = ended_child(0)) != 0; nr++)
		reap_orphan(pid);
	return nr;
}

/**** stopping ****/

void
proc_wait_stopped(const struct proc *proc)
{
	int status;
	pid_t pid;

	do
		pid = waitpid(proc->pid, &status, WUNTRACED);
	while (pid < 0 && errno == EINTR);
	need(pid == proc->pid && WIFSTOPPED(status),
	     "process %d ended instead of stopping", (int)proc->pid);
}

void
proc_stop(const struct proc *proc)
{
	need(kill(proc->pid, SIGSTOP) == 0, "kill: %s", strerror(errno));
	proc_wait_stopped(proc);
}

void
proc_continue(const struct proc *proc)
{
	need(kill(proc->pid, SIGCONT) == 0, "kill: %s", strerror(errno));
}

/**** talking ****/

void
proc_say(const struct proc *proc, char word)
{
	ssize_t n;

	do
		n = write(proc->out, &word, 1);
	while (n < 0 && errno == EINTR);
	need(n == 1, "cannot say '%c': %s", word, strerror(errno));
}

void
proc_hear(const struct proc *proc, char word)
{
	char heard = 0;
	ssize_t n;

	do
		n = read(proc->in, &heard, 1);
	while (n < 0 && errno == EINTR);
	need(n == 1, "process %d is gone, but should have said '%c'",
	     (int)proc->pid, word);
	need(heard == word, "process %d said '%c', not '%c'", (int)proc->pid,
	     heard, word);
}

void *
proc_shared(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	need(p != MAP_FAILED, "mmap: %s", strerror(errno));
	return p;
}
