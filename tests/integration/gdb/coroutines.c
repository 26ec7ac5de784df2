// SPDX-License-Identifier: MIT
/*
 * Coroutines in the structures that QEMU keeps them in, made with <ucontext.h> and jump buffers:
 * one sleeps, one has entered another which waits in pause() for ever. Prints the addresses of all,
 * then "ready". Debuggers are to find their ways back.
 */
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK (64 << 10)

typedef struct Coroutine Coroutine;
typedef void CoroutineEntry(void *opaque);

struct Coroutine {
	CoroutineEntry *entry;
	void *entry_arg;
	Coroutine *caller;
	const char *scheduled;
};

typedef struct {
	Coroutine base;
	void *stack;
	size_t stack_size;
	sigjmp_buf env;
} CoroutineUContext;

static __thread Coroutine *co_tls_current;
static __thread CoroutineUContext co_tls_leader;
static CoroutineUContext *starting;

static CoroutineUContext *self(void)
{
	if (!co_tls_current)
		co_tls_current = &co_tls_leader.base;
	return (CoroutineUContext *)co_tls_current;
}

/* The exported name and the way to it are QEMU's. */
__attribute__((noinline)) void qemu_coroutine_switch(Coroutine *from_, Coroutine *to_)
{
	CoroutineUContext *from = (CoroutineUContext *)from_, *to = (CoroutineUContext *)to_;

	co_tls_current = to_;
	if (!sigsetjmp(from->env, 0))
		siglongjmp(to->env, 1);
}

__attribute__((noinline)) bool qemu_in_coroutine(void)
{
	return co_tls_current && co_tls_current->caller;
}

static void coroutine_trampoline(void)
{
	CoroutineUContext *co = starting;

	if (!sigsetjmp(co->env, 0))
		siglongjmp(self()->env, 1);
	co->base.entry(co->base.entry_arg);
	abort();
}

static CoroutineUContext *create(CoroutineEntry *entry, void *opaque)
{
	CoroutineUContext *co = calloc(1, sizeof(*co));
	ucontext_t uc, back;

	co->base.entry = entry;
	co->base.entry_arg = opaque;
	co->stack_size = STACK;
	co->stack = malloc(STACK);
	getcontext(&uc);
	uc.uc_link = &back;
	uc.uc_stack.ss_sp = co->stack;
	uc.uc_stack.ss_size = STACK;
	makecontext(&uc, coroutine_trampoline, 0);
	starting = co;
	if (!sigsetjmp(self()->env, 0))
		swapcontext(&back, &uc);
	return co;
}

__attribute__((noinline)) static void enter(CoroutineUContext *co)
{
	Coroutine *from = &self()->base;

	co->base.caller = from;
	qemu_coroutine_switch(from, &co->base);
}

__attribute__((noinline)) static void yield(void)
{
	Coroutine *from = co_tls_current, *to = from->caller;

	from->caller = NULL;
	qemu_coroutine_switch(from, to);
}

__attribute__((noinline)) static void waits_inside(int n)
{
	if (n)
		waits_inside(n - 1);
	else
		yield();
	__asm__ volatile("" ::: "memory");
}

static void sleeper(void *opaque)
{
	(void)opaque;
	waits_inside(3);
}

static void inner(void *opaque)
{
	(void)opaque;
	puts("ready");
	fflush(stdout);
	for (;;)
		pause();
}

static void outer(void *opaque)
{
	enter(opaque);
}

CoroutineUContext *sleeping, *entered, *running;

int main(void)
{
	sleeping = create(sleeper, NULL);
	running = create(inner, NULL);
	entered = create(outer, running);
	enter(sleeping);
	printf("sleeping %p\nentered %p\nrunning %p\n", (void *)sleeping, (void *)entered,
	       (void *)running);
	enter(entered);
	return qemu_in_coroutine();
}
