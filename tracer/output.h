/* SPDX-License-Identifier: MIT */
/*
 * -o FILE: where standard output goes. A file gets its name when it is complete.
 *
 *	char *part = NULL;
 *
 *	err = output_open(path, &part, why);
 *	if (!err)
 *		err = output_close(path, part, write_it(), why);
 *	g_free(part);
 */
#ifndef TRACER_OUTPUT_H
#define TRACER_OUTPUT_H

#include "tracer/failure.h"

/* NULL as @path changes nothing. */
int output_open(const char *path, char **ret_part, struct failure *why);
/* @err, or that all is written; or why not. */
int output_close(const char *path, const char *part, int err, struct failure *why);

#endif
