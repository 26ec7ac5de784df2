// SPDX-License-Identifier: MIT
/* See describe.h. */
#include <inttypes.h>
#include <string.h>

#include <linux/types.h>
#include "bpf/tables.h"
#include "tracer/describe.h"
#include "tracer/out.h"

char *describe_target(const struct loops *loops)
{
	return g_strdup_printf("%s%s (pid %d)", loops->t->live ? "" : "core of ",
			       images_program(loops->images)->name, loops->t->pid);
}

const struct poll_set *find_set(const struct loops *loops, pid_t tid)
{
	for (size_t i = 0; i < loops->tables->sets->len; i++) {
		const struct poll_set *set =
			&g_array_index(loops->tables->sets, struct poll_set, i);

		if (set->tid == tid)
			return set;
	}
	return NULL;
}

const char *call_name(long nr)
{
	switch (nr) {
	case NR_POLL:
		return "poll";
	case NR_PPOLL:
		return "ppoll";
	case NR_EPOLL_WAIT:
		return "epoll_wait";
	case NR_EPOLL_PWAIT:
		return "epoll_pwait";
	case NR_EPOLL_PWAIT2:
		return "epoll_pwait2";
	case NR_IO_URING_ENTER:
		return "io_uring_enter";
	default:
		return "a system call";
	}
}

static const char *thread_name(const struct loops *loops, pid_t tid)
{
	for (size_t i = 0; i < loops->t->threads->len; i++) {
		const struct thread *thread = &g_array_index(loops->t->threads, struct thread, i);

		if (thread->tid == tid)
			return thread->comm;
	}
	return "";
}

char *describe_role(const struct loops *loops, pid_t tid)
{
	const char *name = thread_name(loops, tid);
	const struct context *c = loops_context_of(loops, tid);

	if (c) {
		if (c->kind == CONTEXT_MAIN || c->kind == CONTEXT_IOHANDLER)
			return g_strdup("main loop");
		if (c->kind == CONTEXT_IOTHREAD)
			return g_strdup_printf(
				"%s%s", g_str_has_prefix(c->name, "IOThread ") ? "" : "IOThread ",
				c->name);
		return g_strdup("loop of its own");
	}
	if (loops_gcontext_of(loops, tid))
		return tid == loops->t->pid || !name[0] ? g_strdup("GLib loop")
							: g_strdup_printf("GLib loop \"%s\"", name);
	return name[0] ? g_strdup_printf("thread \"%s\"", name) : g_strdup("thread");
}

char *describe_thread(const struct loops *loops, pid_t tid)
{
	const struct poll_set *set = find_set(loops, tid);
	char *role, *timeout, *text;

	if (!tid)
		return g_strdup(loops->way == READ_PROBE ? "no thread polled it meanwhile"
							 : "no thread waits in it now");
	role = describe_role(loops, tid);
	timeout = set ? out_duration(set->timeout_ns) : NULL;
	if (!set)
		text = g_strdup_printf("%s, thread %d, %s", role, tid,
				       loops->way == READ_PROBE ? "began no poll meanwhile"
								: "awake");
	else if (loops->way == READ_PROBE)
		text = g_strdup_printf("%s, thread %d, entered %s, timeout %s", role, tid,
				       call_name(set->nr), timeout);
	else
		text = g_strdup_printf("%s, thread %d, sleeping in %s, timeout %s", role, tid,
				       call_name(set->nr), timeout);
	g_free(role);
	g_free(timeout);
	return text;
}

char *describe_callback(const struct loops *loops, uint64_t addr)
{
	return addr ? images_name(loops->images, addr) : NULL;
}

char *describe_calls(const struct loops *loops, uint64_t addr)
{
	struct image *img = addr ? images_at(loops->images, addr) : NULL;
	char *calls, *text;

	if (!img || image_symbol_at(img, addr - img->bias))
		return NULL;
	calls = images_calls(loops->images, addr);
	text = calls ? g_strdup_printf("calls %s", calls) : NULL;
	g_free(calls);
	return text;
}

char *describe_opaque(const struct loops *loops, uint64_t addr)
{
	uint32_t size = loops->l->size[TYPE_CTX];

	for (size_t i = 0; i < loops->contexts->len; i++) {
		const struct context *c = loops->contexts->pdata[i];

		if (addr == c->addr)
			return g_strdup(c->name);
		if (addr > c->addr && addr < c->addr + size)
			return g_strdup_printf("%s+0x%" PRIx64, c->name, addr - c->addr);
	}
	return addr ? images_name(loops->images, addr) : NULL;
}

const char *describe_purpose(enum context_kind kind)
{
	switch (kind) {
	case CONTEXT_MAIN:
		return "block layer; the main loop drives it, and aio_poll() in nested waits";
	case CONTEXT_IOHANDLER:
		return "devices, monitors, signals; only the main loop drives it, never aio_poll()";
	case CONTEXT_IOTHREAD:
		return "what was given to this IOThread; its thread drives it by aio_poll() or GLib";
	default:
		return "not one of the main two, and no IOThread is known to own it";
	}
}

const char *describe_why_here(enum context_kind kind, const char *callback)
{
	if (!callback || !g_str_has_prefix(callback, "virtio_queue_host_notifier"))
		return NULL;
	switch (kind) {
	case CONTEXT_MAIN:
		return "its device serves the block layer without an iothread=: drains poll it too";
	case CONTEXT_IOHANDLER:
		return "its device has no iothread=, and no drain may run it: top level only";
	case CONTEXT_IOTHREAD:
		return "its device was given this IOThread (iothread=)";
	default:
		return NULL;
	}
}
