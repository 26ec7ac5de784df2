/* SPDX-License-Identifier: MIT */
/* Messages to a person; the header says how they are used. */
#include "osdep.h"
#include "error-report.h"

int error_vprintf(const char *fmt, va_list ap)
{
	return vfprintf(stderr, fmt, ap);
}

int error_printf(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = error_vprintf(fmt, ap);
	va_end(ap);
	return n;
}

/* One call of fprintf(): messages of several threads do not mix. */
static void report(const char *kind, const char *fmt, va_list ap)
{
	char *message = g_strdup_vprintf(fmt, ap);

	fprintf(stderr, "%s: %s%s\n", g_get_prgname() ?: "demo", kind, message);
	g_free(message);
}

void error_vreport(const char *fmt, va_list ap)
{
	report("", fmt, ap);
}

void warn_vreport(const char *fmt, va_list ap)
{
	report("warning: ", fmt, ap);
}

void info_vreport(const char *fmt, va_list ap)
{
	report("info: ", fmt, ap);
}

void error_report(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_vreport(fmt, ap);
	va_end(ap);
}

void warn_report(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	warn_vreport(fmt, ap);
	va_end(ap);
}

void info_report(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	info_vreport(fmt, ap);
	va_end(ap);
}

bool error_report_once_cond(bool *printed, const char *fmt, ...)
{
	bool first = !*printed;
	va_list ap;

	*printed = true;
	va_start(ap, fmt);
	if (first)
		error_vreport(fmt, ap);
	va_end(ap);
	return first;
}

bool warn_report_once_cond(bool *printed, const char *fmt, ...)
{
	bool first = !*printed;
	va_list ap;

	*printed = true;
	va_start(ap, fmt);
	if (first)
		warn_vreport(fmt, ap);
	va_end(ap);
	return first;
}
