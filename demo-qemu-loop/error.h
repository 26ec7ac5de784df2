/* SPDX-License-Identifier: MIT */
/*
 * Error objects, used as in QEMU (qapi/error.h).  A function that can fail takes "Error **errp"
 * last, and its caller chooses what failing means:
 *
 *   Error *err = NULL;  f(&err);   look at err, then error_free() or error_propagate() it
 *   f(errp);                       the caller's caller shall look at it
 *   f(&error_abort);               failing is a bug: print where it was set, abort()
 *   f(&error_fatal);               failing ends the program: print, exit(1)
 *   f(&error_warn);                print it as a warning and go on
 *   f(NULL);                       nobody cares
 *
 * Set an error at most once; error_setg() on one that is set is a bug.  A function that looks at
 * *errp, or adds to it, begins with ERRP_GUARD().
 */
#ifndef DEMO_ERROR_H
#define DEMO_ERROR_H

typedef struct Error Error;

/* For management software, which knows what to do about some (QEMU: qapi/qapi-types-error.h). */
typedef enum ErrorClass {
	ERROR_CLASS_GENERIC_ERROR,
	ERROR_CLASS_COMMAND_NOT_FOUND,
	ERROR_CLASS_DEVICE_NOT_ACTIVE,
	ERROR_CLASS_DEVICE_NOT_FOUND,
	ERROR_CLASS_KVM_MISSING_CAP,
} ErrorClass;

extern Error *error_abort;
extern Error *error_fatal;
extern Error *error_warn;

#define error_setg(errp, fmt, ...)                                                                 \
	error_setg_internal((errp), __FILE__, __LINE__, __func__, (fmt), ##__VA_ARGS__)

/* Appends ": " and what strerror() says about @os_error (positive), unless that is 0. */
#define error_setg_errno(errp, os_error, fmt, ...)                                                 \
	error_setg_errno_internal((errp), __FILE__, __LINE__, __func__, (os_error), (fmt),         \
				  ##__VA_ARGS__)

#define error_setg_file_open(errp, os_errno, filename)                                             \
	error_setg_file_open_internal((errp), __FILE__, __LINE__, __func__, (os_errno), (filename))

#define error_set(errp, err_class, fmt, ...)                                                       \
	error_set_internal((errp), __FILE__, __LINE__, __func__, (err_class), (fmt), ##__VA_ARGS__)

void error_setg_internal(Error **errp, const char *src, int line, const char *func, const char *fmt,
			 ...) __attribute__((format(printf, 5, 6)));
void error_setg_errno_internal(Error **errp, const char *src, int line, const char *func,
			       int os_error, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));
void error_setg_file_open_internal(Error **errp, const char *src, int line, const char *func,
				   int os_errno, const char *filename);
void error_set_internal(Error **errp, const char *src, int line, const char *func,
			ErrorClass err_class, const char *fmt, ...)
	__attribute__((format(printf, 6, 7)));

/* Hands @local_err on to the caller, or frees it if the caller has one already. */
void error_propagate(Error **dst_errp, Error *local_err);
void error_propagate_prepend(Error **dst_errp, Error *local_err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The message's front; a hint is printed after the message, to a person only. */
void error_vprepend(Error *const *errp, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
void error_prepend(Error *const *errp, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void error_append_hint(Error *const *errp, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

const char *error_get_pretty(const Error *err);
ErrorClass error_get_class(const Error *err);
Error *error_copy(const Error *err);
void error_free(Error *err);
void error_free_or_abort(Error **errp);

/* All print to stderr and free; the f forms with a front. */
void error_report_err(Error *err);
void warn_report_err(Error *err);
void error_reportf_err(Error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void warn_reportf_err(Error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As warn_report_err(), but only the first time it gets there.  True if it printed. */
bool warn_report_err_once_cond(bool *printed, Error *err);
#define warn_report_err_once(err)                                                                  \
	({                                                                                         \
		static bool printed_;                                                              \
		warn_report_err_once_cond(&printed_, err);                                         \
	})

/*
 * Makes errp, the parameter of that name, point at an error that can be looked at, whatever the
 * caller gave: NULL and &error_fatal become a local one, which is handed on when the function
 * returns.  &error_abort stays, so that the message has the place of the failure.
 */
#define ERRP_GUARD()                                                                               \
	g_auto(ErrorPropagator) errp_propagator_ = { .errp = errp };                               \
	do {                                                                                       \
		if (!errp || errp == &error_fatal)                                                 \
			errp = &errp_propagator_.local_err;                                        \
	} while (0)

typedef struct ErrorPropagator {
	Error *local_err;
	Error **errp;
} ErrorPropagator;

static inline void error_propagator_cleanup(ErrorPropagator *prop)
{
	error_propagate(prop->errp, prop->local_err);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ErrorPropagator, error_propagator_cleanup);

#endif
