/* SPDX-License-Identifier: MIT */
/*
 * Messages to a person, on stderr, each with the program's name and a newline (QEMU:
 * qemu/error-report.h).  A function that has a caller to tell uses an Error instead (error.h).
 */
#ifndef DEMO_ERROR_REPORT_H
#define DEMO_ERROR_REPORT_H

void error_vreport(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
void warn_vreport(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
void info_vreport(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

void error_report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void warn_report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void info_report(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* True if it was printed: the first time that this *@printed is given. */
bool error_report_once_cond(bool *printed, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
bool warn_report_once_cond(bool *printed, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
#define error_report_once(fmt, ...)                                                                \
	({                                                                                         \
		static bool printed_;                                                              \
		error_report_once_cond(&printed_, fmt, ##__VA_ARGS__);                             \
	})
#define warn_report_once(fmt, ...)                                                                 \
	({                                                                                         \
		static bool printed_;                                                              \
		warn_report_once_cond(&printed_, fmt, ##__VA_ARGS__);                              \
	})

/* As it is: the rest of a message. */
int error_vprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));
int error_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
