/* SPDX-License-Identifier: MIT */
/*
 * What goes wrong in GLib programs, each fault by itself: a function that sets it up on the default
 * context. faults-away.c has those whose thread is away from its loop, faults.c the others.
 */
#ifndef GLIB_FAULTS_H
#define GLIB_FAULTS_H

#include <glib.h>

extern gint64 callbacks; /* of the faulty source, counted by all of them */

/* A pipe with a byte in it, which keeps its reader ready: the reading end. */
int ready_pipe(int *ret_writing);
/* On a CPU; the time in which others have it does not count. */
void compute_for(gint64 us);
/* Name the source and attach it to the default context. */
void attach(GSource *source, int priority, const char *name, GSourceFunc callback);

void set_up_compute(void);
void set_up_sleep(void);
void set_up_lock(void);
void set_up_nested_loop(void);
void set_up_nested_iteration(void);
void set_up_no_thread(void);
void set_up_reused_fd(void);
void set_up_poll_for_ever(void);

#endif
