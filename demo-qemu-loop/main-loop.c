/* SPDX-License-Identifier: MIT */
/*
 * The main loop: QEMU's own wrapped around GLib's.  QEMU: util/main-loop.c.
 *
 * GLib's g_main_context_iteration() is taken apart, so that the poll in its middle is ours: with a
 * timeout in nanoseconds, with descriptors of others in the set, and without the BQL.
 *
 *   main_loop_wait
 *     poll notifiers: FILL
 *     os_host_main_loop_wait
 *       glib_pollfds_fill            prepare, query
 *       bql_unlock                   vCPUs get their turn (see era.h)
 *       qemu_poll_ns                 the sleep
 *       bql_lock
 *       glib_pollfds_poll            check, dispatch: both contexts and all other GSources
 *     poll notifiers: OK or ERR
 *     qemu_clock_run_all_timers      device timers come last
 */
#include "osdep.h"
#include <sys/signalfd.h>
#include "loop-trace.h"
#include "main-loop.h"
#include "replay.h"

#define MAX_MAIN_LOOP_SPIN 1000

static AioContext *qemu_aio_context;
static AioContext *iohandler_ctx;
static QEMUBH *qemu_notify_bh;

/* The poll set: [0, glib_pollfds_idx) from the poll notifiers, then glib_n_poll_fds of GLib's. */
static GArray *gpollfds;
static int glib_pollfds_idx;
static int glib_n_poll_fds;
static int max_priority;

static NotifierList main_loop_poll_notifiers = NOTIFIER_LIST_INITIALIZER(main_loop_poll_notifiers);

/* --- the two contexts --------------------------------------------------------------------- */

AioContext *qemu_get_aio_context(void)
{
	return qemu_aio_context;
}

static void iohandler_init(void)
{
	if (!iohandler_ctx)
		iohandler_ctx = aio_context_new(&error_abort);
}

AioContext *iohandler_get_aio_context(void)
{
	iohandler_init();
	return iohandler_ctx;
}

GSource *iohandler_get_g_source(void)
{
	iohandler_init();
	return aio_get_g_source(iohandler_ctx);
}

void qemu_set_fd_handler(int fd, IOHandler *fd_read, IOHandler *fd_write, void *opaque)
{
	iohandler_init();
	aio_set_fd_handler(iohandler_ctx, fd, fd_read, fd_write, NULL, NULL, opaque);
}

void event_notifier_set_handler(EventNotifier *e, EventNotifierHandler *handler)
{
	iohandler_init();
	aio_set_event_notifier(iohandler_ctx, e, handler, NULL, NULL);
}

bool qemu_in_main_thread(void)
{
	return qemu_get_current_aio_context() == qemu_get_aio_context();
}

QEMUBH *qemu_bh_new_full(QEMUBHFunc *cb, void *opaque, const char *name,
			 MemReentrancyGuard *reentrancy_guard)
{
	return aio_bh_new_full(qemu_aio_context, cb, opaque, name, reentrancy_guard);
}

/* --- waking ------------------------------------------------------------------------------- */

/* Being scheduled is all it does: it makes prepare answer "do not sleep". */
static void notify_event_cb(void *opaque G_GNUC_UNUSED)
{
}

void qemu_notify_event(void)
{
	/* The clocks exist before the loop, and a timer may be armed then. */
	if (qemu_notify_bh)
		qemu_bh_schedule(qemu_notify_bh);
}

/* A device timer is not in any context, so the loop itself must look at its deadline again. */
static void qemu_timer_notify_cb(void *opaque G_GNUC_UNUSED, QEMUClockType type G_GNUC_UNUSED)
{
	qemu_notify_event();
}

/* --- signals as a descriptor -------------------------------------------------------------- */

/* Calls what sigaction(2) was given, but from the loop: the handler may do anything. */
static void sigfd_handler(void *opaque)
{
	int fd = GPOINTER_TO_INT(opaque);
	struct signalfd_siginfo info;
	struct sigaction action;
	ssize_t len;

	for (;;) {
		do {
			len = read(fd, &info, sizeof(info));
		} while (len < 0 && errno == EINTR);
		if (len != sizeof(info))
			return; /* EAGAIN: no more are pending */

		sigaction(info.ssi_signo, NULL, &action);
		probe_signal_dispatch(fd, info.ssi_signo, info.ssi_pid, action.sa_handler);
		if (action.sa_flags & SA_SIGINFO) {
			siginfo_t si = {
				.si_signo = info.ssi_signo,
				.si_errno = info.ssi_errno,
				.si_code = info.ssi_code,
			};

			/* A union: each signal has its own members. */
			switch (info.ssi_signo) {
			case SIGBUS:
				si.si_addr = (void *)(uintptr_t)info.ssi_addr;
				break;
			case SIGIO:
				si.si_band = info.ssi_band;
				si.si_fd = info.ssi_fd;
				break;
			default:
				si.si_pid = info.ssi_pid;
				si.si_uid = info.ssi_uid;
				break;
			}
			action.sa_sigaction(info.ssi_signo, &si, NULL);
		} else if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN) {
			action.sa_handler(info.ssi_signo);
		}
	}
}

/* SIGINT stays what it is, so that a debugger's Ctrl-C works. */
static int qemu_signal_init(Error **errp)
{
	sigset_t set;
	int fd, err;

	/* For vCPU threads, which open it for themselves. */
	sigemptyset(&set);
	sigaddset(&set, SIG_IPI);
	sigaddset(&set, SIGIO);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, SIGBUS);
	pthread_sigmask(SIG_BLOCK, &set, NULL);

	sigdelset(&set, SIG_IPI);
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0) {
		err = errno;
		error_setg_errno(errp, err, "failed to create signalfd");
		return -err;
	}
	qemu_set_fd_handler(fd, sigfd_handler, NULL, GINT_TO_POINTER(fd));
	return 0;
}

/* --- initialization ----------------------------------------------------------------------- */

static void attach_to_default(GSource *source, const char *name)
{
	g_source_set_name(source, name);
	loop_source_attach(source, NULL);
	g_source_unref(source);
}

int qemu_init_main_loop(Error **errp)
{
	int ret;

	init_clocks(qemu_timer_notify_cb);

	ret = qemu_signal_init(errp);
	if (ret)
		return ret;

	qemu_aio_context = aio_context_new(errp);
	if (!qemu_aio_context)
		return -EMFILE;
	qemu_set_current_aio_context(qemu_aio_context);
	qemu_notify_bh = qemu_bh_new(notify_event_cb, NULL);

	gpollfds = g_array_new(FALSE, FALSE, sizeof(GPollFD));
	attach_to_default(aio_get_g_source(qemu_aio_context), "aio-context");
	attach_to_default(iohandler_get_g_source(), "io-handler");
	if (probe_enabled(context_new)) {
		loop_trace_context(qemu_aio_context, LOOP_CONTEXT_KIND_MAIN, "qemu_aio_context");
		loop_trace_context(iohandler_get_aio_context(), LOOP_CONTEXT_KIND_IOHANDLER,
				   "iohandler_ctx");
	}
	return 0;
}

/* --- one iteration ------------------------------------------------------------------------ */

void main_loop_poll_add_notifier(Notifier *notify)
{
	notifier_list_add(&main_loop_poll_notifiers, notify);
}

void main_loop_poll_remove_notifier(Notifier *notify)
{
	notifier_remove(notify);
}

static int64_t poll_timeout_ns(const MainLoopPoll *mlpoll)
{
	return mlpoll->timeout == UINT32_MAX ? -1 : (int64_t)mlpoll->timeout * SCALE_MS;
}

/* Last added, first called.  Returns the last one to lower the timeout, or NULL. */
static Notifier *call_poll_notifiers(MainLoopPoll *mlpoll, enum loop_poll_phase phase)
{
	Notifier *notifier, *next, *lowered_by = NULL;

	QLIST_FOREACH_SAFE (notifier, &main_loop_poll_notifiers.notifiers, node, next) {
		__typeof__(notifier->notify) cb = notifier->notify;
		uint32_t before = mlpoll->timeout;

		probe_poll_notifier_begin(notifier, cb, phase);
		cb(notifier, mlpoll);
		probe_poll_notifier_end(notifier, cb, phase, poll_timeout_ns(mlpoll));
		if (mlpoll->timeout < before)
			lowered_by = notifier;
	}
	return lowered_by;
}

/* Appends GLib's descriptors to the set and lowers *@cur_timeout (ns) to what GLib asks for. */
static void glib_pollfds_fill(int64_t *cur_timeout)
{
	GMainContext *context = g_main_context_default();
	int needed = glib_n_poll_fds, timeout;
	bool ready;

	ready = g_main_context_prepare(context, &max_priority);
	probe_prepare(context, ready, max_priority);

	/* Query tells how many there are; last time's number is nearly always right at once. */
	glib_pollfds_idx = gpollfds->len;
	do {
		glib_n_poll_fds = needed;
		g_array_set_size(gpollfds, glib_pollfds_idx + needed);
		needed = g_main_context_query(context, max_priority, &timeout,
					      &g_array_index(gpollfds, GPollFD, glib_pollfds_idx),
					      needed);
	} while (needed != glib_n_poll_fds);
	probe_query(context, glib_n_poll_fds, loop_ms_to_ns(timeout));

	*cur_timeout = qemu_soonest_timeout(*cur_timeout, loop_ms_to_ns(timeout));
	if (probe_enabled(timeout_chosen))
		loop_trace_end_timeout(context, *cur_timeout);
}

/* The array goes back as query gave it: GLib pairs it with its own list by position. */
static void glib_pollfds_poll(void)
{
	GMainContext *context = g_main_context_default();
	GPollFD *pfds = &g_array_index(gpollfds, GPollFD, glib_pollfds_idx);

	bool ready = g_main_context_check(context, max_priority, pfds, glib_n_poll_fds);

	probe_check(context, loop_trace_n_ready(ready), max_priority);
	probe_dispatch_begin(context);
	loop_progress = false;
	if (ready)
		g_main_context_dispatch(context);
}

/*
 * In older eras an iteration that does not sleep keeps the BQL.  Enough of those in a row keep the
 * vCPUs from it altogether: hence a sleep is made up, and the first time it is told.
 */
static int64_t spin_check(int64_t timeout)
{
	static unsigned spin_counter;
	static bool told;
	Error *err = NULL;

	if (timeout != 0) {
		spin_counter = 0;
		return timeout;
	}
	if (spin_counter <= MAX_MAIN_LOOP_SPIN) {
		spin_counter++;
		return 0;
	}
	if (!told) {
		told = true;
		error_setg(&err, "I/O thread spun for %d iterations", MAX_MAIN_LOOP_SPIN);
		warn_report_err(err);
	}
	spin_counter = 0;
	return SCALE_MS;
}

static int os_host_main_loop_wait(int64_t timeout)
{
	GMainContext *context = g_main_context_default();
	const LoopEra *era = qemu_aio_context->era;
	bool drop_bql;
	int ret;

	/* Or a thread that attaches a source would think nobody sleeps here, and not wake us. */
	g_main_context_acquire(context);

	glib_pollfds_fill(&timeout);
	if (era->spin_warning)
		timeout = spin_check(timeout);

	drop_bql = bql_locked() && (era->bql_dropped_always || timeout != 0);
	if (drop_bql)
		bql_unlock();
	replay_mutex_unlock();

	probe_poll_enter(context, gpollfds->len, timeout, LOOP_FDMON_POLL, loop_depth, loop_bql());
	ret = qemu_poll_ns((GPollFD *)gpollfds->data, gpollfds->len, timeout);
	if (ret < 0)
		ret = -errno;
	probe_poll_exit(context, ret);
	if (ret > 0 && probe_enabled(fd_ready))
		loop_trace_ready_fds(context, (GPollFD *)gpollfds->data, gpollfds->len);

	replay_mutex_lock();
	if (drop_bql)
		bql_lock();

	/* Also after an error: an interrupted poll leaves timers and bottom halves to run. */
	glib_pollfds_poll();

	g_main_context_release(context);
	return ret;
}

void main_loop_wait(int nonblocking)
{
	MainLoopPoll mlpoll = {
		.state = MAIN_LOOP_POLL_FILL,
		.timeout = nonblocking ? 0 : UINT32_MAX,
		.pollfds = gpollfds,
	};
	GMainContext *context = g_main_context_default();
	Notifier *lowered_by;
	int64_t asked_ns, timeout_ns;

	loop_depth++;
	if (probe_enabled(iteration_begin) && loop_depth == 1)
		probe_iteration_begin(context, LOOP_LOOP_KIND_MAIN_LOOP_WAIT, !nonblocking);

	g_array_set_size(gpollfds, 0);
	lowered_by = call_poll_notifiers(&mlpoll, LOOP_POLL_PHASE_FILL);

	asked_ns = poll_timeout_ns(&mlpoll);
	timeout_ns = qemu_soonest_timeout(asked_ns, timerlistgroup_deadline_ns(&main_loop_tlg));
	/* Later, so that the deadline which the trace computes is no longer than this one. */
	if (probe_enabled(timeout_chosen))
		loop_trace_begin_timeout(asked_ns, lowered_by);

	if (os_host_main_loop_wait(timeout_ns) < 0) {
		mlpoll.state = MAIN_LOOP_POLL_ERR;
		call_poll_notifiers(&mlpoll, LOOP_POLL_PHASE_ERR);
	} else {
		mlpoll.state = MAIN_LOOP_POLL_OK;
		call_poll_notifiers(&mlpoll, LOOP_POLL_PHASE_OK);
	}

	loop_progress |= qemu_clock_run_all_timers();
	probe_dispatch_end(context, loop_progress);

	if (probe_enabled(iteration_end) && loop_depth == 1)
		probe_iteration_end(context, LOOP_LOOP_KIND_MAIN_LOOP_WAIT, loop_progress);
	loop_depth--;
}
