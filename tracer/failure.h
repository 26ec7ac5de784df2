/* SPDX-License-Identifier: MIT */
/*
 * Why something failed, in one line for the user.
 *
 * A module never prints. A function that can fail takes a struct failure, returns what fail()
 * returns (a negative errno), and only the command line shows the text. The errno decides the
 * exit code: see failure_exit().
 */
#ifndef TRACER_FAILURE_H
#define TRACER_FAILURE_H

struct failure {
	int err;	/* negative errno, 0 while nothing failed */
	char text[512]; /* one line, no newline, safe for a terminal */
};

/* Exit codes of every command. */
enum {
	EXIT_FINE = 0,
	EXIT_FINDING = 1,
	EXIT_USAGE = 2,
	EXIT_PRIVILEGE = 3,
	EXIT_FAILED = 4,
	EXIT_KERNEL = 77,
};

/*
 * Note a failure. @err is a negative errno and is returned, so that callers write
 * "return fail(why, -ENOENT, ...)". @why may be NULL. Text from the target that gets into @fmt is
 * made safe for a terminal here.
 */
int fail(struct failure *why, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The exit code for @err: no privilege, a kernel that cannot do it, wrong usage, or a failed run.
 */
int failure_exit(int err);

#endif
