// SPDX-License-Identifier: MIT
/* See failure.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "tracer/failure.h"
#include "tracer/text.h"

int fail(struct failure *why, int err, const char *fmt, ...)
{
	va_list args;

	if (!why)
		return err;
	va_start(args, fmt);
	vsnprintf(why->text, sizeof(why->text), fmt, args);
	va_end(args);
	text_make_safe(why->text);
	why->err = err;
	return err;
}

int failure_exit(int err)
{
	switch (-err) {
	case 0:
		return EXIT_FINE;
	case EPERM:
	case EACCES:
		return EXIT_PRIVILEGE;
	case EOPNOTSUPP:
		return EXIT_KERNEL;
	case EINVAL:
		return EXIT_USAGE;
	default:
		return EXIT_FAILED;
	}
}
