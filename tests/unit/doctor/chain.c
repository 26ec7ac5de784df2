// SPDX-License-Identifier: MIT
/*
 * A known chain of calls to unwind: chain WHAT, where WHAT is how it stays in leaf(): "sleep",
 * "run", "deep" (below more stack than is copied), "many" (more frames than are kept), "thread" (in
 * a second thread), "lost" (with a stack pointer that leads nowhere). It says "ready" and the
 * thread's number. The tests compile it without frame pointers and strip it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NOINLINE __attribute__((noinline, noclone))

static const char *what;
static volatile unsigned long turns;
static volatile int done; /* never */

NOINLINE static int leaf(void)
{
	printf("ready %ld\n", (long)syscall(SYS_gettid));
	fflush(stdout);
	if (!strcmp(what, "lost"))
		__asm__ volatile("mov $0x1000, %%rsp\n1: jmp 1b" ::: "memory");
	while (!strcmp(what, "run"))
		turns++;
	while (!done)
		pause();
	return (int)turns;
}

NOINLINE static int middle(int depth)
{
	volatile char pad[1024];

	memset((char *)pad, depth, sizeof(pad));
	return (depth ? middle(depth - 1) : leaf()) + pad[depth % 7];
}

NOINLINE static int top(int depth)
{
	volatile int saved[64];

	saved[depth % 64] = depth;
	return middle(depth) + saved[depth % 64];
}

static void *start(void *depth)
{
	return (void *)(long)(top(*(int *)depth) + 1);
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int depth = 0;

	what = argc > 1 ? argv[1] : "sleep";
	if (!strcmp(what, "deep"))
		depth = 40; /* KiB */
	if (!strcmp(what, "many"))
		depth = 500;
	if (!strcmp(what, "thread")) {
		pthread_create(&thread, NULL, start, &depth);
		pthread_join(thread, NULL);
	}
	return top(depth) + 1;
}
