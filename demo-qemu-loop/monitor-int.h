/* SPDX-License-Identifier: MIT */
/*
 * What the monitor's files share.  monitor.c has the socket, clients and lines; monitor-commands.c
 * the table of commands, monitor-info.c those that only look, monitor-poke.c
 * and monitor-set.c those that change something.
 */
#ifndef DEMO_MONITOR_INT_H
#define DEMO_MONITOR_INT_H

#include "iothread.h"
#include "monitor.h"
#include "self-symbols.h"

typedef struct MonitorClient MonitorClient;

struct Monitor {
	unsigned refs; /* bottom halves of the monitor's in other threads may outlive its socket */
	int listen_fd;
	int spare_fd; /* given up to accept and refuse when there are no more descriptors */
	char *path;
	void (*quit)(void);
	SelfSymbols *symbols;
	GPtrArray *clients; /* of MonitorClient */
	GHashTable *fds;    /* by number, of MonitorFd: what add-fd made */
	unsigned blocks;    /* "block"s under way, 0 or 1; its home ends it */
};

/* Any thread.  Without its last reference symbols and the struct go; all else at the close. */
Monitor *monitor_ref(Monitor *mon);
void monitor_unref(Monitor *mon);

typedef enum {
	MONITOR_OK,
	MONITOR_ERROR, /* the answer is the error */
	MONITOR_LATER, /* monitor_answer() will be called */
} MonitorResult;

/* One line that is to be obeyed. */
typedef struct MonitorCall {
	Monitor *mon;
	MonitorClient *client;
	char **args; /* behind the command's name */
	int n_args;
	GString *out; /* the answer, without "ok" */
} MonitorCall;

/* @line is printable ASCII. */
MonitorResult monitor_obey(Monitor *mon, MonitorClient *client, const char *line, GString *out);

/* The answer to a call that was MONITOR_LATER; takes @out.  Main thread; the client may be gone. */
void monitor_answer(MonitorClient *client, GString *out);
MonitorClient *monitor_client_ref(MonitorClient *client);

/* Fills the answer with an error, in one line. */
MonitorResult monitor_error(MonitorCall *call, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* --- contexts ----------------------------------------------------------------------------- */

typedef struct MonitorContext {
	const char *name;
	AioContext *ctx;
	IOThread *iothread; /* that runs it; NULL: the main thread does */
} MonitorContext;

/* All: the main loop's two, then those of the IOThreads.  g_array_unref() it. */
GArray *monitor_contexts(void);

/* Argument @n of the call names one; without it, qemu_aio_context.  False: the error is there. */
bool monitor_find_context(MonitorCall *call, int n, MonitorContext *ret_context);

/* Has the thread of @context call @fn: now if that is this one, else by a bottom half. */
void monitor_run_at_home_full(const MonitorContext *context, QEMUBHFunc *fn, void *opaque,
			      const char *name);
#define monitor_run_at_home(context, fn, opaque)                                                   \
	monitor_run_at_home_full((context), (fn), (opaque), stringify(fn))

/* --- commands ----------------------------------------------------------------------------- */

MonitorResult monitor_info_contexts(MonitorCall *call);
MonitorResult monitor_info_handlers(MonitorCall *call);
MonitorResult monitor_info_bhs(MonitorCall *call);
MonitorResult monitor_info_timers(MonitorCall *call);
MonitorResult monitor_info_iothreads(MonitorCall *call);

MonitorResult monitor_kick(MonitorCall *call);
MonitorResult monitor_block(MonitorCall *call);
MonitorResult monitor_add_fd(MonitorCall *call);
MonitorResult monitor_write_fd(MonitorCall *call);
MonitorResult monitor_remove_fd(MonitorCall *call);

MonitorResult monitor_set(MonitorCall *call);
void monitor_help_settings(GString *out);

/* Takes back all that add-fd made. */
void monitor_remove_fds(Monitor *mon);

#endif
