/* SPDX-License-Identifier: MIT */
/*
 * How a sleeping AioContext is woken, for spin to try in every order: "make check-spin".
 *
 * Two notifiers each publish an item, call aio_notify() and wait until it was consumed, ROUNDS times.
 * The home thread turns the context until all are, each turn in one of the ways that there are:
 * aio_poll() that may sleep, aio_poll() that may not, or GLib's prepare, poll, check and dispatch.
 * The claim is that nobody sleeps for ever: spin looks for a state in which nothing can go on.
 *
 * Memory is that of x86: a store waits in its thread's buffer, in order; a load does not wait, and
 * sees its own thread's stores.  A barrier waits until the buffer is empty.  System calls do too.
 *
 * A comment "C: ..." quotes the line of the C function, named by the nearest inline above it, that
 * is modelled there; tests/spin/check.py compares order and wording with the sources.
 *
 * With -DMUTANT_name one thing is wrong, and spin must find it; a mutant of demo-qemu-loop/mutants.h
 * that is one of these has the same name here.
 *
 *   NOTIFY_BARRIER      no barrier between setting notified and reading notify_me
 *   NOTIFY_ORDER        notified is set before the item is published
 *   NOTIFY_SUPPRESSED   no write because notified was set already
 *   POLL_BARRIER        aio_poll(): no barrier after raising notify_me
 *   POLL_UNCHECKED      aio_poll(): notified is not looked at before the sleep
 *   POLL_RAISED_LATE    aio_poll(): notified is looked at before notify_me is raised
 *   PREPARE_BARRIER     GLib: no barrier after raising notify_me
 *   PREPARE_RAISED_LATE GLib: notify_me is raised after looking for work
 *   ACCEPT_BARRIER      no barrier after clearing notified
 *   ACCEPT_LATE         notified is cleared after the next turn has looked for work
 *   CLEAR_LATE          the notifier is cleared by the next turn, before it sleeps
 *   ACCEPT_STOLEN       a second thread polls the context: it accepts, and clears the notifier, but
 *                       what there was to do it cannot do for home (QEMU b37548fcd1)
 */
#define NOTIFIERS 2
#define ROUNDS	  2

/* The words that the threads share, and the buffers on the way to them. */
#define NOTIFIED  0
#define NOTIFY_ME 1
#define ITEM	  2 /* + a notifier's number */
#define HOME	  NOTIFIERS

byte mem[ITEM + NOTIFIERS];
chan buffer[NOTIFIERS + 1] = [4] of { byte, byte };
bool eventfd; /* the notifier's counter is not 0 */
byte consumed;
bool all_done;

#define store(who, what, value) buffer[who] ! what, value
#define smp_mb(who)		empty(buffer[who])

/* Home's own stores: what it clears itself it sees cleared. */
#define home_sees(what) (mem[what] && !(buffer[HOME] ?? [eval(what), 0]))
#define any_item	(home_sees(ITEM) || home_sees(ITEM + 1))

proctype drain(byte who)
{
	byte what, value;

end:	do
	:: atomic { buffer[who] ? what, value -> mem[what] = value }
	od
}

/* --- notifying ---------------------------------------------------------------------------- */

inline aio_notify(me)
{
	was_notified = mem[NOTIFIED];
	store(me, NOTIFIED, 1); /* C: qatomic_set_mb(&ctx->notified, true) */
#ifndef MUTANT_NOTIFY_BARRIER
	smp_mb(me);
#endif
	seen_notify_me = mem[NOTIFY_ME]; /* C: mutant_read_notify_me(ctx) */
#ifdef MUTANT_NOTIFY_SUPPRESSED
	if
	:: was_notified -> seen_notify_me = 0
	:: else
	fi;
#endif
	if
	:: seen_notify_me -> /* C: if (notify_me) */
		smp_mb(me);
		eventfd = true /* C: event_notifier_set(&ctx->notifier) */
	:: else
	fi
}

proctype notifier(byte me)
{
	byte round, seen_notify_me;
	bool was_notified;

	for (round : 1 .. ROUNDS) {
#ifdef MUTANT_NOTIFY_ORDER
		aio_notify(me);
		store(me, ITEM + me, 1);
#else
		store(me, ITEM + me, 1);
		aio_notify(me);
#endif
		smp_mb(me);
		mem[ITEM + me] == 0 /* consumed */
	}
}

/* --- home --------------------------------------------------------------------------------- */

/* Bottom halves, handlers, timers. */
inline consume()
{
	for (i : 0 .. NOTIFIERS - 1) {
		if
		:: home_sees(ITEM + i) ->
			store(HOME, ITEM + i, 0);
			consumed++
		:: else
		fi
	}
}

inline aio_notify_accept()
{
	store(HOME, NOTIFIED, 0); /* C: qatomic_set_mb(&ctx->notified, false) */
#ifndef MUTANT_ACCEPT_BARRIER
	smp_mb(HOME);
#endif
}

/* The notifier's handler, if the poll saw it readable. */
inline aio_context_notifier_cb()
{
#ifndef MUTANT_CLEAR_LATE
	if
	:: readable -> eventfd = false /* C: event_notifier_test_and_clear(e) */
	:: else
	fi;
	readable = false
#else
	skip
#endif
}

inline ppoll()
{
	smp_mb(HOME);
#ifdef MUTANT_CLEAR_LATE
	if
	:: readable -> eventfd = false
	:: else
	fi;
#endif
	if
	:: may_sleep -> eventfd
	:: else
	fi;
	readable = eventfd
}

inline aio_poll(blocking)
{
	may_sleep = blocking && !any_item; /* C: aio_compute_timeout(ctx) */
#ifdef MUTANT_ACCEPT_LATE
	aio_notify_accept();
#endif
#ifdef MUTANT_POLL_RAISED_LATE
	if
	:: may_sleep && home_sees(NOTIFIED) -> may_sleep = false
	:: else
	fi;
#endif
	raised = may_sleep;
	if
	:: raised -> /* C: if (may_sleep) */
		notify_me = notify_me + 2;
		store(HOME, NOTIFY_ME, notify_me); /* C: qatomic_set(&ctx->notify_me */
#ifndef MUTANT_POLL_BARRIER
		smp_mb(HOME); /* C: smp_mb() */
#endif
#if !defined(MUTANT_POLL_UNCHECKED) && !defined(MUTANT_POLL_RAISED_LATE)
		if
		:: home_sees(NOTIFIED) -> may_sleep = false /* C: if (mutant_read_notified(ctx)) */
		:: else
		fi
#endif
	:: else
	fi;
	ppoll(); /* C: ->wait(ctx, &ready_list, timeout) */
	if
	:: raised ->
		notify_me = notify_me - 2;
		store(HOME, NOTIFY_ME, notify_me) /* C: qatomic_store_release(&ctx->notify_me */
	:: else
	fi;
#ifndef MUTANT_ACCEPT_LATE
	aio_notify_accept(); /* C: aio_notify_accept(ctx) */
#endif
	assert(notify_me < 2); /* no callback runs while it is raised */
	consume(); /* C: aio_bh_poll(ctx) */
	aio_context_notifier_cb() /* C: aio_dispatch_ready_handlers(ctx, &ready_list */
}

inline aio_ctx_prepare()
{
#ifdef MUTANT_PREPARE_RAISED_LATE
	may_sleep = !any_item;
#endif
	notify_me = notify_me | 1;
	store(HOME, NOTIFY_ME, notify_me); /* C: qatomic_set(&ctx->notify_me */
#ifndef MUTANT_PREPARE_BARRIER
	smp_mb(HOME); /* C: smp_mb() */
#endif
#ifndef MUTANT_PREPARE_RAISED_LATE
	may_sleep = !any_item /* C: aio_compute_timeout(ctx) */
#endif
}

inline aio_ctx_check()
{
	notify_me = notify_me & 2;
	store(HOME, NOTIFY_ME, notify_me); /* C: qatomic_store_release(&ctx->notify_me */
	aio_notify_accept() /* C: aio_notify_accept(ctx) */
}

/* GLib asks only those to check that were not ready at prepare. */
inline g_main_context_iteration()
{
	aio_ctx_prepare();
	raised = may_sleep;
	ppoll();
	if
	:: raised -> aio_ctx_check()
	:: else
	fi;
	consume();
	aio_context_notifier_cb()
}

proctype home()
{
	byte notify_me, i;
	bool may_sleep, raised, readable;

	do
	:: consumed == NOTIFIERS * ROUNDS -> break
	:: else ->
		if
		:: aio_poll(true)
		:: aio_poll(false)
		:: g_main_context_iteration()
		fi
	od;
	all_done = true
}

#ifdef MUTANT_ACCEPT_STOLEN
proctype second_poller()
{
	bool readable = true;

	eventfd || all_done;
	mem[NOTIFIED] = 0;
	aio_context_notifier_cb()
}
#endif

init {
	atomic {
		byte who;

		for (who : 0 .. NOTIFIERS) {
			run drain(who)
		}
		for (who : 0 .. NOTIFIERS - 1) {
			run notifier(who)
		}
		run home();
#ifdef MUTANT_ACCEPT_STOLEN
		run second_poller()
#endif
	}
}
