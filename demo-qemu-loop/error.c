/* SPDX-License-Identifier: MIT */
/* Error objects; the header says how they are used. */
#include "osdep.h"
#include "error.h"
#include "error-report.h"

struct Error {
	char *msg;
	ErrorClass err_class;
	const char *src, *func;
	int line;
	GString *hint;
};

/* Only their addresses mean something. */
Error *error_abort;
Error *error_fatal;
Error *error_warn;

/* Whether it was a special destination; but for the warning, those do not come back. */
static bool error_handle(Error **errp, Error *err)
{
	if (errp == &error_abort) {
		fprintf(stderr, "Unexpected error in %s() at %s:%d:\n", err->func, err->src,
			err->line);
		error_report_err(err);
		abort();
	}
	if (errp == &error_fatal) {
		error_report_err(err);
		exit(1);
	}
	if (errp == &error_warn) {
		warn_report_err(err);
		return true;
	}
	return false;
}

static void error_setv(Error **errp, const char *src, int line, const char *func,
		       ErrorClass err_class, int os_error, const char *fmt, va_list ap)
{
	Error *err;
	int saved_errno = errno;

	if (!errp)
		return;
	assert(*errp == NULL);

	err = g_new0(Error, 1);
	err->err_class = err_class;
	err->src = src;
	err->line = line;
	err->func = func;
	err->msg = g_strdup_vprintf(fmt, ap);
	if (os_error) {
		char *bare = err->msg;

		err->msg = g_strdup_printf("%s: %s", bare, g_strerror(os_error));
		g_free(bare);
	}
	if (!error_handle(errp, err))
		*errp = err;
	errno = saved_errno;
}

void error_setg_internal(Error **errp, const char *src, int line, const char *func, const char *fmt,
			 ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_setv(errp, src, line, func, ERROR_CLASS_GENERIC_ERROR, 0, fmt, ap);
	va_end(ap);
}

void error_setg_errno_internal(Error **errp, const char *src, int line, const char *func,
			       int os_error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_setv(errp, src, line, func, ERROR_CLASS_GENERIC_ERROR, os_error, fmt, ap);
	va_end(ap);
}

void error_setg_file_open_internal(Error **errp, const char *src, int line, const char *func,
				   int os_errno, const char *filename)
{
	error_setg_errno_internal(errp, src, line, func, os_errno, "Could not open '%s'", filename);
}

void error_set_internal(Error **errp, const char *src, int line, const char *func,
			ErrorClass err_class, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_setv(errp, src, line, func, err_class, 0, fmt, ap);
	va_end(ap);
}

void error_propagate(Error **dst_errp, Error *local_err)
{
	if (!local_err || error_handle(dst_errp, local_err))
		return;
	if (dst_errp && !*dst_errp)
		*dst_errp = local_err;
	else
		error_free(local_err);
}

void error_propagate_prepend(Error **dst_errp, Error *local_err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_vprepend(&local_err, fmt, ap);
	va_end(ap);
	error_propagate(dst_errp, local_err);
}

void error_vprepend(Error *const *errp, const char *fmt, va_list ap)
{
	char *front, *old;

	if (!errp || !*errp)
		return;
	front = g_strdup_vprintf(fmt, ap);
	old = (*errp)->msg;
	(*errp)->msg = g_strconcat(front, old, NULL);
	g_free(old);
	g_free(front);
}

void error_prepend(Error *const *errp, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_vprepend(errp, fmt, ap);
	va_end(ap);
}

void error_append_hint(Error *const *errp, const char *fmt, ...)
{
	va_list ap;

	if (!errp || !*errp)
		return;
	if (!(*errp)->hint)
		(*errp)->hint = g_string_new(NULL);
	va_start(ap, fmt);
	g_string_append_vprintf((*errp)->hint, fmt, ap);
	va_end(ap);
}

const char *error_get_pretty(const Error *err)
{
	return err->msg;
}

ErrorClass error_get_class(const Error *err)
{
	return err->err_class;
}

Error *error_copy(const Error *err)
{
	Error *copy = g_new0(Error, 1);

	*copy = *err;
	copy->msg = g_strdup(err->msg);
	copy->hint = err->hint ? g_string_new(err->hint->str) : NULL;
	return copy;
}

void error_free(Error *err)
{
	if (!err)
		return;
	g_free(err->msg);
	if (err->hint)
		g_string_free(err->hint, TRUE);
	g_free(err);
}

void error_free_or_abort(Error **errp)
{
	assert(errp && *errp);
	error_free(*errp);
	*errp = NULL;
}

/* The hint stands below the message. */
static void error_print(void (*report)(const char *fmt, ...), Error *err)
{
	report("%s", err->msg);
	if (err->hint)
		error_printf("%s", err->hint->str);
	error_free(err);
}

void error_report_err(Error *err)
{
	error_print(error_report, err);
}

void warn_report_err(Error *err)
{
	error_print(warn_report, err);
}

void error_reportf_err(Error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_vprepend(&err, fmt, ap);
	va_end(ap);
	error_report_err(err);
}

void warn_reportf_err(Error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_vprepend(&err, fmt, ap);
	va_end(ap);
	warn_report_err(err);
}

bool warn_report_err_once_cond(bool *printed, Error *err)
{
	if (*printed) {
		error_free(err);
		return false;
	}
	*printed = true;
	warn_report_err(err);
	return true;
}
