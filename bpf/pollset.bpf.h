/* SPDX-License-Identifier: (MIT OR BSD-2-Clause OR GPL-2.0-only) */
/*
 * Sending a poll set in chunks, for the programs that find one. The includer defines how to copy
 * from the thread's memory: long copy(struct sets *s, void *to, __u32 size, const void *from).
 */
#ifndef BPF_POLLSET_BPF_H
#define BPF_POLLSET_BPF_H

#include "bpf/kernel.bpf.h"
#include "bpf/tables.h"

#define MAX_CHUNKS 4096 /* a set of more than 262,144 fds is cut */

struct sets {
	struct task_struct *task; /* whose memory it is; of the iterator only */
	struct tables_wait wait;
	__u64 n, done; /* fds in the set, and sent */
};

static long copy(struct sets *s, void *to, __u32 size, const void *from);

static long send_chunk(__u32 i, struct sets *s)
{
	struct tables_pollset *p = bpf_ringbuf_reserve(&ring, sizeof(*p), 0);
	__u64 n = s->n - s->done;

	if (!p) {
		__sync_fetch_and_add(&lost, 1);
		return 1;
	}
	if (n > TABLES_CHUNK)
		n = TABLES_CHUNK;
	p->type = TABLES_POLLSET;
	p->wait = s->wait;
	p->first = s->done;
	p->n = n;
	p->failed = n && copy(s, p->fds, n * sizeof(p->fds[0]),
			      (void *)(s->wait.args[0] + s->done * sizeof(p->fds[0])));
	bpf_ringbuf_submit(p, BPF_RB_NO_WAKEUP);
	s->done += n;
	return s->done >= s->n;
}

/* Send what the call waits for: all fds of a poll, nothing but the call itself of the others. */
static void send_wait(struct sets *s)
{
	s->wait.timeout[0] = s->wait.timeout[1] = -1;
	if (s->wait.nr == NR_PPOLL && s->wait.args[2])
		copy(s, s->wait.timeout, sizeof(s->wait.timeout), (void *)s->wait.args[2]);
	if (s->wait.nr == NR_POLL || s->wait.nr == NR_PPOLL)
		s->n = s->wait.args[1];
	bpf_loop(MAX_CHUNKS, send_chunk, s, 0);
}

#endif
