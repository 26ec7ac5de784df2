// SPDX-License-Identifier: MIT
/* Threads and copies of stacks from the kernel (bpf/stack.bpf.c). See stack.h. */
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/ptrace.h>
#include <linux/types.h>
#include "bpf/stack.h"
#include "bpf/stack.skel.h"
#include "tracer/attach.h"
#include "tracer/clock.h"
#include "tracer/stack.h"

#define TICK_NS (1000 * 1000) /* of a running thread's own clock */

/* Bits of task_struct's __state, as they have been since 4.14; TASK_FROZEN is of 6.1. */
enum {
	TASK_INTERRUPTIBLE = 0x1,
	TASK_UNINTERRUPTIBLE = 0x2,
	TASK_STOPPED = 0x4,
	TASK_TRACED = 0x8,
	TASK_FROZEN = 0x8000,
};

struct stacks {
	struct target *t;
	struct images *images;
	struct unwinder *unwinder;
	struct stack_bpf *skel;
	struct ring_buffer *ring;
	struct bpf_link *threads, *sleeper;
	/* Where take_copy() puts what comes out of the ring. */
	struct stack *one;
	GArray *many;
	int err;
};

static struct thread_now thread_now(struct target *target, const struct stack_thread *t)
{
	struct thread_now now = { .tid = (pid_t)t->tid,
				  .state = 'R', /* or about to: TASK_WAKING, TASK_NEW */
				  .switches = t->switches,
				  .run_ns = t->run_ns,
				  .delay_ns = t->delay_ns,
				  .nr = target_restarted_call(target, (long)t->nr, t->pc),
				  .sp = t->sp,
				  .pc = t->pc };

	if (t->state & TASK_INTERRUPTIBLE)
		now.state = 'S';
	else if (t->state & TASK_UNINTERRUPTIBLE)
		now.state = 'D';
	else if (t->state & (TASK_STOPPED | TASK_TRACED | TASK_FROZEN))
		now.state = 'T';
	memcpy(now.args, t->args, sizeof(now.args));
	return now;
}

int stacks_unwind(struct stacks *s, const struct stack_copy *copy, struct stack *ret)
{
	ret->thread = thread_now(s->t, &copy->thread);
	return unwinder_run(s->unwinder, copy, ret);
}

static int take_copy(void *arg, void *data, size_t size)
{
	struct stacks *s = arg;
	const struct stack_copy *copy = data;
	struct stack stack;

	if (size < sizeof(*copy))
		return 0;
	s->err = stacks_unwind(s, copy, &stack);
	if (!s->err && s->one)
		*s->one = stack;
	if (!s->err && s->many)
		g_array_append_val(s->many, stack);
	return 0;
}

static int load_failure(int err, struct failure *why)
{
	if (err == -EPERM || err == -EACCES)
		return fail(why, -EPERM,
			    "not allowed to load bpf programs: it needs CAP_BPF and CAP_PERFMON");
	return fail(why, -EOPNOTSUPP,
		    "this kernel cannot run the bpf program that copies stacks (%s)",
		    strerror(-err));
}

static struct bpf_link *attach_iterator(struct bpf_program *prog, pid_t pid)
{
	union bpf_iter_link_info info = { .task = { .pid = pid } };
	LIBBPF_OPTS(bpf_iter_attach_opts, opts, .link_info = &info, .link_info_len = sizeof(info));
	struct bpf_link *link = bpf_program__attach_iter(prog, &opts);

	if (!link && errno == EINVAL) /* before 6.1 an iterator cannot be bound to a process */
		link = bpf_program__attach_iter(prog, NULL);
	return link;
}

int stacks_open(struct target *t, struct images *images, struct stacks **ret, struct failure *why)
{
	struct stacks *s = g_new0(struct stacks, 1);
	int err;

	s->t = t;
	s->images = images;
	s->unwinder = unwinder_new(t, images);
	s->skel = s->unwinder ? stack_bpf__open() : NULL;
	if (!s->skel) {
		err = fail(why, -ENOMEM, "cannot prepare unwinding process %d", t->pid);
		goto cleanup;
	}
	s->skel->rodata->tgid = t->pid;
	attach_prepare(s->skel->progs.copy_at_probe, ATTACH_BEST);
	err = stack_bpf__load(s->skel);
	if (err) {
		err = load_failure(err, why);
		goto cleanup;
	}
	s->ring = ring_buffer__new(bpf_map__fd(s->skel->maps.ring), take_copy, s, NULL);
	s->threads = attach_iterator(s->skel->progs.list_threads, t->pid);
	s->sleeper = attach_iterator(s->skel->progs.copy_sleeper, t->pid);
	if (!s->ring || !s->threads || !s->sleeper) {
		err = errno == ESRCH ? fail(why, -ESRCH, "process %d has exited", t->pid)
				     : load_failure(-errno, why);
		goto cleanup;
	}
	*ret = s;
	return 0;

cleanup:
	stacks_close(s);
	return err;
}

void stacks_close(struct stacks *s)
{
	if (!s)
		return;
	bpf_link__destroy(s->threads);
	bpf_link__destroy(s->sleeper);
	ring_buffer__free(s->ring);
	stack_bpf__destroy(s->skel);
	unwinder_free(s->unwinder);
	g_free(s);
}

uint64_t stacks_lost(const struct stacks *s)
{
	return s->skel->bss->lost;
}

int stacks_threads(struct stacks *s, GArray **ret, struct failure *why)
{
	GArray *threads = g_array_new(FALSE, FALSE, sizeof(struct thread_now));
	int fd = bpf_iter_create(bpf_link__fd(s->threads));
	struct stack_thread buf[64];
	ssize_t n;

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0) {
		for (size_t i = 0; i < n / sizeof(buf[0]); i++) {
			struct thread_now now = thread_now(s->t, &buf[i]);

			g_array_append_val(threads, now);
		}
	}
	if (fd >= 0)
		close(fd);
	if (!threads->len) {
		g_array_free(threads, TRUE);
		return fail(why, -ESRCH, "process %d has exited", s->t->pid);
	}
	*ret = threads;
	return 0;
}

static void run_iterator(struct bpf_link *link)
{
	int fd = bpf_iter_create(bpf_link__fd(link));
	char nothing[16];

	while (fd >= 0 && read(fd, nothing, sizeof(nothing)) > 0)
		;
	if (fd >= 0)
		close(fd);
}

/* Wait until the programs have taken @n stacks. */
static void await(struct stacks *s, int n, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;

	while (*(volatile int *)&s->skel->bss->taken < n && now_ms() < end)
		usleep(500);
}

/* A clock that only ticks while the thread runs, and a program that runs at the tick. */
static int take_runner(struct stacks *s, pid_t tid, int timeout_ms)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
					.size = sizeof(attr),
					.config = PERF_COUNT_SW_CPU_CLOCK,
					.sample_period = TICK_NS };
	int fd = (int)syscall(SYS_perf_event_open, &attr, tid, -1, -1, PERF_FLAG_FD_CLOEXEC);
	struct bpf_link *link;

	if (fd < 0)
		return -errno;
	s->skel->bss->taken = 0;
	s->skel->bss->wanted = 1;
	link = bpf_program__attach_perf_event(s->skel->progs.copy_runner, fd);
	if (!link) {
		close(fd);
		return -errno;
	}
	await(s, 1, timeout_ms);
	s->skel->bss->wanted = 0;
	bpf_link__destroy(link); /* with the event */
	return 0;
}

static void take_sleeper(struct stacks *s, pid_t tid)
{
	s->skel->bss->want_tid = tid;
	run_iterator(s->sleeper);
	ring_buffer__consume(s->ring);
}

int stacks_take(struct stacks *s, pid_t tid, int timeout_ms, struct stack *ret, struct failure *why)
{
	int64_t end = now_ms() + timeout_ms;
	int err = -EAGAIN;

	/* It may fall asleep or wake up between the two: then the other way is tried again. */
	while (err == -EAGAIN) {
		struct stack stack = { .n = 0 };

		s->one = &stack;
		s->err = -ESRCH;
		take_sleeper(s, tid);
		if (!s->err && stack.thread.state == 'R') {
			stack.n = 0;
			s->err = 0;
			err = take_runner(s, tid, 20);
			ring_buffer__consume(s->ring);
		}
		s->one = NULL;
		if (s->err) {
			err = s->err;
		} else if (stack.n) {
			*ret = stack;
			return 0;
		} else {
			err = err ? err : -EAGAIN; /* it did not run meanwhile */
			if (now_ms() >= end)
				break;
		}
	}
	switch (err) {
	case -ESRCH:
		return fail(why, err, "thread %d has exited", tid);
	case -EBADMSG:
		return fail(why, err, "the stack of thread %d cannot be unwound", tid);
	default:
		return fail(why, err, "no stack of thread %d could be taken: %s", tid,
			    strerror(-err));
	}
}

int stacks_at_calls(struct stacks *s, uint64_t function, int arg, uint64_t value, pid_t tid, int n,
		    int timeout_ms, GArray **ret, struct failure *why)
{
	struct image *img = images_at(s->images, function);
	struct attachment *attachment = NULL;
	struct site site;
	int err;

	if (!img)
		return fail(why, -ENOENT, "no image holds the function");
	err = site_at_args(img, function - img->bias, arg + 1, &site, why);
	if (err)
		return err;
	s->skel->bss->want_tid = tid;
	s->skel->bss->want_arg = arg;
	s->skel->bss->want_value = value;
	s->skel->bss->taken = 0;
	s->skel->bss->wanted = n;
	err = attach_sites(s->skel->progs.copy_at_probe, ATTACH_BEST, s->t->pid, &site, 1,
			   &attachment, why);
	if (!err)
		await(s, n, timeout_ms);
	s->skel->bss->wanted = 0;
	attach_remove(attachment);
	if (err)
		return err;
	s->many = g_array_new(FALSE, FALSE, sizeof(struct stack));
	ring_buffer__consume(s->ring);
	*ret = s->many;
	s->many = NULL;
	return 0;
}
