/* SPDX-License-Identifier: MIT */
/* The command line: commands, options, values. All that can fail returns 0 or -EINVAL. */
#ifndef TRACER_OPTIONS_H
#define TRACER_OPTIONS_H

#include "tracer/session.h"

/* --- commands.c --- */

/* What a command is about. */
enum takes {
	TAKES_TARGET,	 /* -p PID or a core file */
	TAKES_ANY,	 /* -p PID, a core file or -- COMMAND */
	TAKES_DOCTOR,	 /* -p PID, a core file or the directory of a recording */
	TAKES_PROCESS,	 /* -p PID */
	TAKES_RUN,	 /* -p PID or -- COMMAND */
	TAKES_RECORDING, /* the directory of a recording */
	TAKES_EITHER,	 /* -p PID, -- COMMAND or a recording */
};

struct command {
	const char *name;
	enum takes takes;
	/* That it takes beside -v; all that read a process take --via, --all. */
	const char *options;
	int (*run)(const struct options *options, struct failure *why);
};

extern const struct command commands[];
extern const size_t n_commands;

/* NULL if there is none of that name. */
const struct command *command_find(const char *name);

/* "fds, handlers, ... and layout", for messages; to be freed. */
char *command_names(void);

/* Is there what the command is about? */
int command_check_subject(const struct command *command, const struct options *o,
			  struct failure *why);

/* --- options.c --- */

/*
 * Returns 1 when there is nothing more to do; *given has a bit for each option, *help is set when
 * that is all that is wanted of what follows.
 */
int options_parse(int argc, char **argv, struct options *o, uint64_t *given, bool *help,
		  struct failure *why);

/* An option that would be ignored is a mistake. */
int options_check(const struct command *command, uint64_t given, struct failure *why);

/* --- options-values.c --- */

extern const char *const export_format_names[EXPORT_FORMATS];

int parse_pid(const char *text, const char *what, pid_t *ret, struct failure *why);
int parse_way(const char *text, struct options *o, struct failure *why);
int parse_format(const char *text, struct options *o, struct failure *why);
int parse_seconds(const char *what, const char *text, int *ret_ms, struct failure *why);
int parse_percent(const char *text, double *ret, struct failure *why);
int parse_sort(const char *text, struct options *o, struct failure *why);
int parse_min(const char *what, const char *text, int *ret_ms, struct failure *why);
int parse_size(const char *text, size_t *ret, struct failure *why);

#endif
