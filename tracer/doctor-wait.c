// SPDX-License-Identifier: MIT
/*
 * What does a thread wait for? The system call it sleeps in says it, and for a futex the function
 * of libc that called it. The owner of a mutex stands beside its futex word; it is named only if it
 * is a thread of the target.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/doctor-glib.h"
#include "tracer/fd-look.h"

enum { NR_FUTEX = 202, MUTEX_OWNER = 8 }; /* int __lock; unsigned __count; int __owner; */

/* x86-64's, of those in which a callback may be found asleep; with a descriptor or without. */
static const struct {
	int nr;
	bool fd;
	const char *name;
} calls[] = {
	{ 0, true, "read" },
	{ 1, true, "write" },
	{ 2, false, "open" },
	{ 4, false, "stat" },
	{ 5, true, "fstat" },
	{ 7, false, "poll" },
	{ 16, true, "ioctl" },
	{ 17, true, "pread64" },
	{ 18, true, "pwrite64" },
	{ 19, true, "readv" },
	{ 20, true, "writev" },
	{ 23, false, "select" },
	{ 34, false, "pause" },
	{ 35, false, "nanosleep" },
	{ 40, true, "sendfile" },
	{ 42, true, "connect" },
	{ 43, true, "accept" },
	{ 44, true, "sendto" },
	{ 45, true, "recvfrom" },
	{ 46, true, "sendmsg" },
	{ 47, true, "recvmsg" },
	{ 56, false, "clone" },
	{ 61, false, "wait4" },
	{ 72, true, "fcntl" },
	{ 73, true, "flock" },
	{ 74, true, "fsync" },
	{ 75, true, "fdatasync" },
	{ 77, true, "ftruncate" },
	{ 82, false, "rename" },
	{ 87, false, "unlink" },
	{ 127, false, "rt_sigpending" },
	{ 128, false, "rt_sigtimedwait" },
	{ 202, false, "futex" },
	{ 208, false, "io_getevents" },
	{ 209, false, "io_submit" },
	{ 230, false, "clock_nanosleep" },
	{ 232, true, "epoll_wait" },
	{ 247, false, "waitid" },
	{ 257, false, "openat" },
	{ 262, false, "newfstatat" },
	{ 270, false, "pselect6" },
	{ 271, false, "ppoll" },
	{ 275, true, "splice" },
	{ 277, true, "sync_file_range" },
	{ 281, true, "epoll_pwait" },
	{ 285, true, "fallocate" },
	{ 288, true, "accept4" },
	{ 295, true, "preadv" },
	{ 296, true, "pwritev" },
	{ 299, true, "recvmmsg" },
	{ 307, true, "sendmmsg" },
	{ 326, true, "copy_file_range" },
	{ 327, true, "preadv2" },
	{ 328, true, "pwritev2" },
	{ 426, true, "io_uring_enter" },
};

int64_t doctor_eventfd_count(const struct doctor *d, int fd)
{
	return d->t->live ? fd_level(d->t->pid, fd, true) : -1;
}

/* The innermost function with a name whose name begins like one of libc's waits. */
static char *waiting_function(const struct doctor *d, const struct stack *stack)
{
	static const char *const waits[] = { "pthread_", "__pthread_", "sem_", "mtx_", "cnd_" };

	for (int i = 0; i < stack->n && i < 5; i++) {
		char *name = frame_name(d, &stack->frames[i]);

		for (size_t k = 0; k < G_N_ELEMENTS(waits); k++)
			if (g_str_has_prefix(name, waits[k]))
				return name;
		g_free(name);
	}
	return NULL;
}

static bool is_thread(const struct doctor *d, pid_t tid)
{
	for (size_t i = 0; i < d->patients->len; i++)
		if (((struct patient *)d->patients->pdata[i])->tid == tid)
			return true;
	return false;
}

pid_t doctor_mutex_owner(const struct doctor *d, uint64_t addr)
{
	uint32_t words[3];

	if (target_read(d->t, addr, words, sizeof(words)) || !words[0] ||
	    !is_thread(d, (pid_t)words[MUTEX_OWNER / 4]))
		return 0;
	return (pid_t)words[MUTEX_OWNER / 4];
}

const char *doctor_comm(const struct doctor *d, pid_t tid)
{
	for (size_t i = 0; i < d->t->threads->len; i++) {
		const struct thread *thread = &g_array_index(d->t->threads, struct thread, i);

		if (thread->tid == tid && thread->comm[0])
			return thread->comm;
	}
	return "?"; /* a core does not tell */
}

char *doctor_thread_name(const struct doctor *d, pid_t tid)
{
	const char *comm = doctor_comm(d, tid);

	return strcmp(comm, "?") != 0 ? g_strdup_printf("thread %d \"%s\"", tid, comm)
				      : g_strdup_printf("thread %d", tid);
}

char *doctor_callers(const struct doctor *d, const struct stack *stack, int from, int max)
{
	GString *text = g_string_new(NULL);

	for (int i = from; i < stack->n && i < from + max; i++) {
		char *name = frame_name(d, &stack->frames[i]);

		g_string_append_printf(text, "%s%s", i > from ? " < " : "", name);
		g_free(name);
	}
	return g_string_free(text, FALSE);
}

static char *describe_mutex(struct doctor *d, const struct thread_now *now, GPtrArray *others)
{
	pid_t owner = doctor_mutex_owner(d, now->args[0]);
	struct stack held;
	char *chain, *does, *holder, *text;

	if (!owner || owner == now->tid)
		return g_strdup_printf("waiting for the mutex at 0x%" PRIx64
				       "; who holds it is not proven",
				       now->args[0]);
	holder = doctor_thread_name(d, owner);
	if (others && !stacks_take(d->stacks, owner, 100, &held, NULL)) {
		chain = doctor_callers(d, &held, 0, 8);
		does = held.thread.state == 'R' ? g_strdup("runs")
						: doctor_describe_call(d, &held.thread);
		g_ptr_array_add(others,
				g_strdup_printf("the holder, %s, %s: %s", holder, does, chain));
		g_free(does);
		g_free(chain);
	}
	text = g_strdup_printf("waiting for the mutex at 0x%" PRIx64 ", which %s holds",
			       now->args[0], holder);
	g_free(holder);
	return text;
}

char *doctor_describe_fd(struct doctor *d, int fd)
{
	const struct fd_info *info = fds_get(d->fds, fd);

	return g_strdup_printf("fd %d (%s%s%s)", fd, info->kind, info->detail[0] ? " " : "",
			       info->detail);
}

char *doctor_describe_call(struct doctor *d, const struct thread_now *now)
{
	const char *deep = now->state == 'D' ? ", uninterruptible" : "";
	char *fd, *text;

	if (now->nr < 0)
		return g_strdup_printf("asleep in a page fault%s", deep);
	for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
		if (calls[i].nr != now->nr)
			continue;
		if (!calls[i].fd)
			return g_strdup_printf("asleep in %s%s", calls[i].name, deep);
		fd = doctor_describe_fd(d, (int)now->args[0]);
		text = g_strdup_printf("asleep in %s on %s%s", calls[i].name, fd, deep);
		g_free(fd);
		return text;
	}
	return g_strdup_printf("asleep in system call %ld%s", now->nr, deep);
}

bool doctor_does_io(const struct thread_now *now)
{
	for (size_t i = 0; i < G_N_ELEMENTS(calls); i++)
		if (calls[i].nr == now->nr)
			return calls[i].fd && !is_wait_call(now->nr);
	return false;
}

bool doctor_waits_for_bql(const struct doctor *d, const struct patient *p)
{
	return d->bql && p->now.state == 'S' && p->now.nr == NR_FUTEX && p->now.args[0] == d->bql;
}

uint64_t doctor_mutex_waited_for(const struct doctor *d, const struct stack *stack)
{
	char *function;
	bool is = false;

	if (stack->thread.state == 'R' || stack->thread.nr != NR_FUTEX)
		return 0;
	function = waiting_function(d, stack);
	is = function && strstr(function, "mutex");
	g_free(function);
	return is ? stack->thread.args[0] : 0;
}

const char *doctor_call_name(long nr, bool *ret_fd)
{
	for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
		if (calls[i].nr != nr)
			continue;
		*ret_fd = calls[i].fd;
		return calls[i].name;
	}
	*ret_fd = false;
	return NULL;
}

char *doctor_describe_wait(struct doctor *d, const struct stack *stack, GPtrArray *others)
{
	const struct thread_now *now = &stack->thread;
	char *function, *text;

	if (now->state == 'R')
		return g_strdup("computing, on a CPU");
	if (now->nr != NR_FUTEX)
		return doctor_describe_call(d, now);
	function = waiting_function(d, stack);
	if (function && strstr(function, "mutex"))
		text = describe_mutex(d, now, others);
	else if (function)
		text = g_strdup_printf("asleep in %s", function);
	else
		text = glib_describe_lock(d, stack)
			       ?: g_strdup_printf("asleep in futex, at 0x%" PRIx64, now->args[0]);
	g_free(function);
	return text;
}

void doctor_find_waiters(struct doctor *d, pid_t tid, GPtrArray *others)
{
	GString *list = g_string_new(NULL);
	int n = 0;

	for (size_t i = 0; i < d->patients->len; i++) {
		const struct patient *p = d->patients->pdata[i];

		if (p->tid == tid || p->now.nr != NR_FUTEX || p->now.state != 'S' ||
		    doctor_mutex_owner(d, p->now.args[0]) != tid)
			continue;
		if (n++ < 8)
			g_string_append_printf(list, " %d", p->tid);
	}
	if (n)
		g_ptr_array_add(others, g_strdup_printf("%d thread%s wait%s for a mutex that it "
							"holds:%s%s",
							n, n == 1 ? "" : "s", n == 1 ? "s" : "",
							list->str, n > 8 ? " ..." : ""));
	g_string_free(list, TRUE);
}
