/* SPDX-License-Identifier: MIT */
/*
 * Waiting for another thread to be where a script needs it.  notify_me tells that it wants to
 * sleep, but not that it has looked for work since and found none; only the kernel knows that it
 * sleeps.
 */
#include "osdep.h"
#include "atomic.h"
#include "demo.h"

/* The letter that ps shows: the first one behind the name, which may have anything in it. */
static char thread_state(int thread_id)
{
	char *path = g_strdup_printf("/proc/self/task/%d/stat", thread_id);
	char *text = NULL, *name_end = NULL;
	char state = '?';

	if (g_file_get_contents(path, &text, NULL, NULL))
		name_end = strrchr(text, ')');
	if (name_end && name_end[1] == ' ')
		state = name_end[2];
	g_free(text);
	g_free(path);
	return state;
}

void demo_wait_asleep(AioContext *ctx, int thread_id)
{
	while (!demo_stopping() &&
	       (!qatomic_read(&ctx->notify_me) || thread_state(thread_id) != 'S'))
		g_usleep(50);
}

/* Bit 0 of notify_me is GLib's, the rest counts aio_poll()s. */
void demo_wait_nested(AioContext *ctx, int thread_id)
{
	while (!demo_stopping() &&
	       (qatomic_read(&ctx->notify_me) < 2 || thread_state(thread_id) != 'S'))
		g_usleep(50);
}

void demo_wait_blocked(const int *thread_id)
{
	while (!demo_stopping() &&
	       (!qatomic_read(thread_id) || thread_state(qatomic_read(thread_id)) != 'S'))
		g_usleep(50);
}
