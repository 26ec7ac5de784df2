// SPDX-License-Identifier: MIT
/*
 * A program without probes whose IOThread runs a coroutine on a stack that lies above its own:
 * there a return probe makes the kernel forget the returns it awaits on the thread's own stack, and
 * the thread dies. For each line it reads, a bottom half enters the coroutine, which polls, which
 * runs another bottom half. Prints how many of each there were.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "osdep.h"

#include "iothread.h"
#include "main-loop.h"

#define STACK_SIZE (256 * 1024)
#define GUARD_SIZE 4096 /* below it, as every coroutine's stack has */

static ucontext_t own, coroutine;
static AioContext *ctx;
static QemuSemaphore done;
static int outer_calls, inner_calls;

static void inner(void *opaque)
{
	(void)opaque;
	inner_calls++;
}

static void run_coroutine(void)
{
	for (;;) {
		aio_bh_schedule_oneshot(ctx, inner, NULL);
		while (aio_poll(ctx, false))
			;
		swapcontext(&coroutine, &own);
	}
}

static void outer(void *opaque)
{
	(void)opaque;
	assert((char *)&opaque < (char *)coroutine.uc_stack.ss_sp);
	outer_calls++;
	swapcontext(&own, &coroutine);
	qemu_sem_post(&done);
}

int main(void)
{
	char line[16], *memory;
	IOThread *io0;

	/* Mappings grow downwards: what is mapped before the thread's stack lies above it. */
	getcontext(&coroutine);
	memory = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(memory, GUARD_SIZE, PROT_NONE);
	coroutine.uc_stack.ss_size = STACK_SIZE - GUARD_SIZE;
	coroutine.uc_stack.ss_sp = memory + GUARD_SIZE;
	makecontext(&coroutine, run_coroutine, 0);

	qemu_init_main_loop(&error_fatal);
	qemu_sem_init(&done, 0);
	io0 = iothread_create("io0", &error_fatal);
	ctx = iothread_get_aio_context(io0);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		aio_bh_schedule_oneshot(ctx, outer, NULL);
		qemu_sem_wait(&done);
	}
	printf("outer=%d inner=%d\n", outer_calls, inner_calls);
	iothread_destroy(io0);
	return 0;
}
