// SPDX-License-Identifier: MIT
/*
 * The doctor on a core file: what one moment proves.
 *
 * A core has no duration and no kernel: nothing is known of how long, of what a descriptor holds,
 * of what the clocks say. So it is said only where the state itself is wrong: a thread asleep in
 * its poll with a bottom half scheduled, a timer armed and no timeout, or notify_me 0; asleep in a
 * callback; in a nested wait; with the big lock, while others wait for it; what stands in the lists
 * of handlers (doctor-core-lists.c) and in contexts that no thread runs (doctor-context.c). If any
 * thread is about to wake another, nothing is said of sleepers. Each says that it was one look.
 */
#include <errno.h>
#include <string.h>

#include <linux/ptrace.h>
#include <linux/types.h>
#include "bpf/stack.h"
#include "tracer/describe.h"
#include "tracer/doctor-core.h"
#include "tracer/doctor-hold.h"
#include "tracer/doctor-lost.h"
#include "tracer/doctor-nested.h"

/* Whoever is in one of these may be about to wake a sleeper. */
static const char *const notifiers[] = {
	"aio_bh_enqueue",	   "aio_bh_schedule_oneshot_full",
	"aio_co_schedule",	   "aio_notify",
	"aio_set_fd_handler",	   "aio_wait_kick",
	"event_notifier_set",	   "qemu_bh_schedule",
	"qemu_bh_schedule_idle",   "qemu_notify_event",
	"timer_mod_anticipate_ns", "timer_mod_ns",
};

/* --- the threads ---------------------------------------------------------------------------- */

static void take_thread(struct doctor *d, struct unwinder *u, const struct thread *thread,
			GPtrArray *stacks)
{
	struct stack_copy *copy = g_new0(struct stack_copy, 1);
	struct stack *stack = g_new0(struct stack, 1);
	struct patient *p = g_new0(struct patient, 1);

	p->tid = thread->tid;
	p->now = (struct thread_now){ .tid = thread->tid,
				      .state = thread->sleeping ? 'S' : 'R',
				      .nr = thread->sleeping ? thread->nr : -1,
				      .sp = thread->regs.rsp,
				      .pc = thread->regs.rip };
	memcpy(p->now.args, thread->args, sizeof(p->now.args));
	p->blocked.others = g_ptr_array_new_with_free_func(g_free);
	p->nested.evidence = g_ptr_array_new_with_free_func(g_free);
	g_ptr_array_add(d->patients, p);
	copy->thread.tid = (uint32_t)thread->tid;
	copy->regs.rax = thread->regs.rax;
	copy->regs.rbx = thread->regs.rbx;
	copy->regs.rcx = thread->regs.rcx;
	copy->regs.rdx = thread->regs.rdx;
	copy->regs.rsi = thread->regs.rsi;
	copy->regs.rdi = thread->regs.rdi;
	copy->regs.rbp = thread->regs.rbp;
	copy->regs.rsp = thread->regs.rsp;
	copy->regs.rip = thread->regs.rip;
	copy->regs.r8 = thread->regs.r8;
	copy->regs.r9 = thread->regs.r9;
	copy->regs.r10 = thread->regs.r10;
	copy->regs.r11 = thread->regs.r11;
	copy->regs.r12 = thread->regs.r12;
	copy->regs.r13 = thread->regs.r13;
	copy->regs.r14 = thread->regs.r14;
	copy->regs.r15 = thread->regs.r15;
	if (unwinder_run(u, copy, stack))
		stack->n = 0;
	stack->thread = p->now;
	g_ptr_array_add(stacks, stack);
	g_free(copy);
}

static bool is_notifying(const struct doctor *d, const GPtrArray *stacks)
{
	for (size_t i = 0; i < stacks->len; i++) {
		const struct stack *stack = stacks->pdata[i];

		for (size_t k = 0; k < G_N_ELEMENTS(notifiers); k++)
			if (stack_holds(stack, doctor_function(d, notifiers[k])))
				return true;
	}
	return false;
}

static void keep_stack(struct finding *f, const struct stack *stack)
{
	f->stack = g_memdup2(stack, sizeof(*stack));
}

/* --- verdicts ------------------------------------------------------------------------------- */

static void check_sleeper(struct doctor *d, struct patient *p, const struct stack *stack)
{
	GArray *list = g_array_new(FALSE, FALSE, sizeof(struct missed));
	struct finding *f;

	g_array_set_clear_func(list, missed_clear);
	lost_check_sleeper(d, p, list);
	if (list->len) {
		const struct missed *first = &g_array_index(list, struct missed, 0);

		f = finding_new(d, "LOST WAKEUP", p);
		f->span = g_strdup("asleep with work to do");
		f->culprit = g_strdup(first->culprit);
		for (size_t i = 0; i < list->len; i++)
			finding_say(f, "%s", g_array_index(list, struct missed, i).proof);
		finding_say(f, "%s", ONE_LOOK);
		f->advice = missed_advice(first);
		keep_stack(f, stack);
	}
	g_array_free(list, TRUE);
}

static void check_nested(struct doctor *d, struct patient *p, const struct stack *stack,
			 const struct nest *nest)
{
	const struct poll_set *set = find_set(d->loops, p->tid);

	if (!set || !set->timeout_ns || nest->poll + 1 >= stack->n)
		return;
	nested_note(d, p, stack, nest);
	finding_say(nested_finding(d, p, "now", "its loop waits for that"), "%s", ONE_LOOK);
}

static void check_callback(struct doctor *d, struct patient *p, const struct stack *stack,
			   const struct where *w)
{
	char *wait = doctor_describe_wait(d, stack, NULL), *waiters = hold_waiters(d, p->tid);
	struct finding *f = finding_new(d, "BLOCKED CALLBACK", p);

	f->span = g_strdup("in it now");
	f->culprit = doctor_callback_name(d, stack->frames[w->callback].function, stack);
	finding_say(f, "%s", wait);
	if (waiters)
		finding_say(f, "%s", waiters);
	finding_say(f, "%s", ONE_LOOK);
	f->advice = strstr(wait, "mutex")
			    ? "Look at the holder: a callback must not wait for a lock "
			      "that is held for long."
			    : "A callback must not sleep: make the descriptor "
			      "non-blocking, or do this in a thread.";
	keep_stack(f, stack);
	g_free(wait);
	g_free(waiters);
}

/* A thread that runs no loop: asleep, with the lock that others wait for. */
static void check_holder(struct doctor *d, struct patient *p, const struct stack *stack)
{
	char *waiters = hold_waiters(d, p->tid), *wait;
	struct finding *f;

	if (!waiters)
		return;
	wait = doctor_describe_wait(d, stack, NULL);
	f = finding_new(d, "BQL HOLD", p);
	f->span = g_strdup("now");
	f->culprit = hold_culprit(d, p->tid, stack);
	finding_say(f, "meanwhile it is %s", wait);
	finding_say(f, "%s", waiters);
	finding_say(f, "%s", ONE_LOOK);
	f->advice = "What it does there must not wait with the lock held: hand it to a thread or a "
		    "bottom half, or make the call asynchronous.";
	keep_stack(f, stack);
	g_free(wait);
	g_free(waiters);
}

static void examine(struct doctor *d, struct patient *p, const struct stack *stack, bool notifying)
{
	struct nest nest;
	struct where w;

	if (p->now.state != 'S' || !stack->n)
		return;
	doctor_where(d, stack, &w);
	p->is_loop |= w.machine >= 0;
	if (is_wait_call(p->now.nr) && doctor_nest(d, p->tid, stack, &nest))
		check_nested(d, p, stack, &nest);
	if (is_wait_call(p->now.nr) && !notifying && !doctor_has_finding(d, p->tid, NULL))
		check_sleeper(d, p, stack);
	if (is_wait_call(p->now.nr) || w.for_bql)
		return;
	if (w.machine >= 0 && w.callback >= 0)
		check_callback(d, p, stack, &w);
	else if (w.machine < 0)
		check_holder(d, p, stack);
}

int core_examine(struct doctor *d, struct target *t, struct images *images, struct layout *l,
		 struct fds *fds, struct failure *why)
{
	GPtrArray *stacks = g_ptr_array_new_with_free_func(g_free);
	struct unwinder *u;
	bool notifying;
	int err;

	doctor_begin(d, t, images, l, fds);
	u = unwinder_new(t, images);
	err = u ? loops_read(t, images, l, fds, READ_MEM, 0, &d->loops, why)
		: fail(why, -ENOMEM, "cannot prepare unwinding");
	if (err)
		goto cleanup;
	for (size_t i = 0; i < t->threads->len; i++)
		take_thread(d, u, &g_array_index(t->threads, struct thread, i), stacks);
	doctor_note_homes(d);
	doctor_learn_callbacks(d);
	notifying = is_notifying(d, stacks);
	for (size_t i = 0; i < d->patients->len; i++)
		examine(d, d->patients->pdata[i], stacks->pdata[i], notifying);
	if (!notifying) {
		core_check_lists(d, stacks);
		contexts_look(d);
		contexts_conclude(d);
	}

cleanup:
	unwinder_free(u);
	g_ptr_array_free(stacks, TRUE);
	return err;
}
