/* SPDX-License-Identifier: MIT */
/*
 * Where descriptors come from: which system call made each, which function registered it with a
 * loop, when, on which thread and with which stack.
 *
 * What happened before the watch began is not known, and told so; a command, and whatever program
 * it becomes, is watched from its first instruction.
 */
#ifndef TRACER_PROVENANCE_H
#define TRACER_PROVENANCE_H

#include "tracer/child.h"
#include "tracer/stack.h"

struct provenance;

/*
 * Begin to watch process @pid; a @command has not begun to run, and tells where it is (@child).
 * Errors: -EPERM, -EOPNOTSUPP. The caller ends it; NULL is fine there.
 */
int provenance_begin(pid_t pid, struct provenance **ret, struct failure *why);
int provenance_begin_command(struct child *child, struct provenance **ret, struct failure *why);
void provenance_free(struct provenance *p);

/* Watch no more. What was seen can be asked for until provenance_free(). */
void provenance_end(struct provenance *p);

enum origin_known {
	ORIGIN_SEEN,
	ORIGIN_OLDER,	  /* it was open before the watch began */
	ORIGIN_INHERITED, /* the same, of a command: from whoever started it */
	ORIGIN_UNSEEN, /* by something that is not watched: a message of another process's, say */
};

struct origin {
	enum origin_known known;
	const char *call; /* "socket", "aio_set_fd_handler": what made or registered it */
	int64_t at_ns;	  /* since the watch began */
	pid_t tid;
	struct stack stack; /* n is 0 where it could not be unwound */
};

/* Asked of an open session on that process. */
void provenance_made(struct provenance *p, struct session *s, int fd, struct origin *ret);
void provenance_registered(struct provenance *p, struct session *s, int fd, struct origin *ret);

/* How many found no room. */
uint64_t provenance_lost(const struct provenance *p);

/*
 * The functions of @o's stack, outermost first, without the C library's at its end: a GPtrArray of
 * char *, to be freed.
 */
GPtrArray *provenance_chain(struct session *s, const struct origin *o);

/* "socket() in vnc_display_open, 12.3 ms after start", or "older than attach". To be freed. */
char *provenance_text(struct provenance *p, struct session *s, const struct origin *o);

#endif
