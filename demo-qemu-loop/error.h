/* SPDX-License-Identifier: MIT */
/*
 * Error objects, used as in QEMU (qapi/error.h).  A function that can fail takes "Error **errp"
 * last, and its caller chooses what failing means:
 *
 *   Error *err = NULL;  f(&err);   look at err, then error_free() or error_propagate() it
 *   f(errp);                       the caller's caller shall look at it
 *   f(&error_abort);               failing is a bug: print where it was set, abort()
 *   f(&error_fatal);               failing ends the program: print, exit(1)
 *   f(NULL);                       nobody cares
 *
 * Set an error at most once; error_setg() on one that is set is a bug.
 */
#ifndef DEMO_ERROR_H
#define DEMO_ERROR_H

typedef struct Error Error;

extern Error *error_abort;
extern Error *error_fatal;

#define error_setg(errp, fmt, ...)                                                                 \
	error_setg_internal((errp), __FILE__, __LINE__, __func__, (fmt), ##__VA_ARGS__)

/* Appends ": " and what strerror() says about @os_error (positive), unless that is 0. */
#define error_setg_errno(errp, os_error, fmt, ...)                                                 \
	error_setg_errno_internal((errp), __FILE__, __LINE__, __func__, (os_error), (fmt),         \
				  ##__VA_ARGS__)

void error_setg_internal(Error **errp, const char *src, int line, const char *func, const char *fmt,
			 ...) __attribute__((format(printf, 5, 6)));
void error_setg_errno_internal(Error **errp, const char *src, int line, const char *func,
			       int os_error, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

/* Hands @local_err on to the caller, or frees it if the caller has one already. */
void error_propagate(Error **dst_errp, Error *local_err);
void error_prepend(Error *const *errp, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void error_append_hint(Error *const *errp, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

const char *error_get_pretty(const Error *err);
Error *error_copy(const Error *err);
void error_free(Error *err);
void error_free_or_abort(Error **errp);

/* Both print to stderr and free. */
void error_report_err(Error *err);
void warn_report_err(Error *err);

#endif
