/* SPDX-License-Identifier: MIT */
/*
 * Switching stacks (QEMU: util/coroutine-ucontext.c).  makecontext() makes the stack of a new
 * coroutine; from then on a switch is sigsetjmp() on the one and siglongjmp() to the other, which
 * costs no system call.  What a debugger needs to unwind one that sleeps is in its env: the stack
 * pointer and the program counter, mangled by glibc.
 *
 * The sanitizers must be told: AddressSanitizer which stack it is on, ThreadSanitizer that this is
 * another flow of control ("fiber").
 */
#undef _FORTIFY_SOURCE /* its siglongjmp() takes another stack for a corrupt one */
#define _FORTIFY_SOURCE 0

#include "osdep.h"
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>
#include "coroutine_int.h"

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define UNDER_ASAN
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define UNDER_ASAN
#endif
#ifdef UNDER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef DEMO_UNDER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

#define COROUTINE_STACK_SIZE (1 << 20)

typedef struct CoroutineUContext {
	Coroutine base;
	void *stack; /* the guard page below is not part of it */
	size_t stack_size;
	sigjmp_buf env;

	void *asan_fake_stack; /* what AddressSanitizer keeps for it while it sleeps */
	void *tsan_fiber;
} CoroutineUContext;

/*
 * Of this thread.  The leader is the thread outside of coroutines.  Only by the functions below,
 * which are not inlined: a coroutine may go on in another thread, where a compiler that has kept
 * the address of a thread's variable would be wrong.
 */
static __thread Coroutine *co_tls_current;
static __thread CoroutineUContext co_tls_leader;

static __attribute__((noinline)) Coroutine *get_current(void)
{
	__asm__ volatile("");
	return co_tls_current;
}

static __attribute__((noinline)) void set_current(Coroutine *co)
{
	__asm__ volatile("");
	co_tls_current = co;
}

static __attribute__((noinline)) CoroutineUContext *get_leader(void)
{
	__asm__ volatile("");
	return &co_tls_leader;
}

/* --- sanitizers --------------------------------------------------------------------------- */

/* Before the switch to @to; @fake_stack is where to keep ours, NULL if we do not come back. */
static inline __attribute__((always_inline)) void start_switch(CoroutineUContext *to,
							       void **fake_stack)
{
#ifdef UNDER_ASAN
	__sanitizer_start_switch_fiber(fake_stack, to->stack, to->stack_size);
#endif
#ifdef DEMO_UNDER_TSAN
	__tsan_switch_to_fiber(to->tsan_fiber, 0);
#endif
	(void)to;
	(void)fake_stack;
}

/* Behind it, on the new stack.  The first switch in a thread comes from its leader. */
static inline __attribute__((always_inline)) void finish_switch(void *fake_stack)
{
#ifdef UNDER_ASAN
	CoroutineUContext *leader = get_leader();
	const void *bottom;
	size_t size;

	__sanitizer_finish_switch_fiber(fake_stack, &bottom, &size);
	if (!leader->stack) {
		leader->stack = (void *)bottom;
		leader->stack_size = size;
	}
#endif
	(void)fake_stack;
}

/* --- birth and death ---------------------------------------------------------------------- */

/* On the stack of who creates it. */
typedef struct Birth {
	CoroutineUContext *self, *creator;
	sigjmp_buf creator_env;
} Birth;

/* makecontext() passes ints only: the halves of the address of a Birth. */
static void coroutine_trampoline(unsigned low, unsigned high)
{
	Birth *birth = (Birth *)(((uintptr_t)high << 16 << 16) | low);
	CoroutineUContext *self = birth->self;
	Coroutine *co = &self->base;

	finish_switch(NULL);
	if (!sigsetjmp(self->env, 0)) {
		/* Born.  The next time here is the first time it is entered. */
		start_switch(birth->creator, &self->asan_fake_stack);
		siglongjmp(birth->creator_env, 1);
	}
	finish_switch(self->asan_fake_stack);

	co->entry(co->entry_arg);
	qemu_coroutine_switch(co, co->caller, COROUTINE_TERMINATE);
	abort(); /* nobody enters it again */
}

static void *alloc_stack(size_t size)
{
	size_t guard = getpagesize();
	char *map = mmap(NULL, size + guard, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);

	/* Stacks grow down: overrunning it is a fault, not a corruption. */
	if (map == MAP_FAILED || mprotect(map, guard, PROT_NONE) < 0)
		abort();
	return map + guard;
}

Coroutine *qemu_coroutine_new(void)
{
	CoroutineUContext *co = g_new0(CoroutineUContext, 1);
	Birth birth = { .self = co, .creator = (CoroutineUContext *)qemu_coroutine_self() };
	ucontext_t uc;

	co->stack_size = COROUTINE_STACK_SIZE;
	co->stack = alloc_stack(co->stack_size);
#ifdef DEMO_UNDER_TSAN
	co->tsan_fiber = __tsan_create_fiber(0);
#endif

	if (getcontext(&uc) < 0)
		abort();
	uc.uc_link = NULL;
	uc.uc_stack.ss_sp = co->stack;
	uc.uc_stack.ss_size = co->stack_size;
	makecontext(&uc, (void (*)(void))coroutine_trampoline, 2, (unsigned)(uintptr_t)&birth,
		    (unsigned)((uintptr_t)&birth >> 16 >> 16));

	if (!sigsetjmp(birth.creator_env, 0)) {
		start_switch(co, &birth.creator->asan_fake_stack);
		setcontext(&uc); /* not swapcontext(), which AddressSanitizer warns of */
	}
	finish_switch(birth.creator->asan_fake_stack);
	return &co->base;
}

void qemu_coroutine_delete(Coroutine *co_)
{
	CoroutineUContext *co = container_of(co_, CoroutineUContext, base);
	size_t guard = getpagesize();

	munmap((char *)co->stack - guard, co->stack_size + guard);
#ifdef DEMO_UNDER_TSAN
	__tsan_destroy_fiber(co->tsan_fiber);
#endif
	g_free(co);
}

/* --- the switch --------------------------------------------------------------------------- */

__attribute__((noinline)) CoroutineAction qemu_coroutine_switch(Coroutine *from_, Coroutine *to_,
								CoroutineAction action)
{
	CoroutineUContext *from = container_of(from_, CoroutineUContext, base);
	CoroutineUContext *to = container_of(to_, CoroutineUContext, base);
	int ret;

	set_current(to_);
	ret = sigsetjmp(from->env, 0);
	if (ret == 0) {
		start_switch(to, action == COROUTINE_TERMINATE ? NULL : &from->asan_fake_stack);
		siglongjmp(to->env, action);
	}
	finish_switch(from->asan_fake_stack);
	return ret;
}

Coroutine *qemu_coroutine_self(void)
{
	if (!get_current()) {
		CoroutineUContext *leader = get_leader();

#ifdef DEMO_UNDER_TSAN
		leader->tsan_fiber = __tsan_get_current_fiber();
#endif
		set_current(&leader->base);
	}
	return get_current();
}

bool qemu_in_coroutine(void)
{
	Coroutine *self = get_current();

	return self && self->caller;
}
