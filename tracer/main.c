// SPDX-License-Identifier: MIT
/*
 * loopscope: the command line. Options are parsed by options.c, commands are in cmd-*.c, and this
 * is the one place that prints a failure.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <getopt.h>

#include "tracer/help.h"
#include "tracer/options.h"

/* Of the command that is named, if one is; what else is there has to be right. */
static int print_help(int n, char **words, uint64_t given, struct failure *why)
{
	const struct command *command = n ? command_find(words[0]) : NULL;
	int err;

	if (!command) {
		fputs(help_text, stdout);
		return 0;
	}
	err = options_check(command, given, why);
	if (!err)
		help_print_command(command->name, command->options);
	return err;
}

/* What is left after options: the command, then what it is about (without -p) and a context. */
static int parse_words(int n, char **words, const struct command **ret, struct options *o,
		       uint64_t given, struct failure *why)
{
	const struct command *command = n ? command_find(words[0]) : NULL;
	int at = 1, err;
	char *names;

	if (!command) {
		names = command_names();
		err = n ? fail(why, -EINVAL, "\"%s\" is no command; there are %s", words[0], names)
			: fail(why, -EINVAL, "a command is missing: %s", names);
		g_free(names);
		return err;
	}
	/* getopt_long() leaves what follows "--" behind the words before it. */
	if (command->takes == TAKES_RUN ||
	    ((command->takes == TAKES_ANY || command->takes == TAKES_EITHER) &&
	     !strcmp(words[-1], "--"))) {
		o->command = n > 1 ? &words[1] : NULL;
		at = n;
	}
	if (!o->pid && at < n)
		o->path = words[at++];
	if (!strcmp(command->name, "handlers") && at < n)
		o->context = words[at++];
	if (at < n)
		return fail(why, -EINVAL, "\"%s\" is too much", words[at]);
	err = command_check_subject(command, o, why);
	if (!err)
		err = options_check(command, given, why);
	if (!err)
		*ret = command;
	return err;
}

/* One line; without privilege it ends with the command that has it. */
static int print_failure(const struct failure *why, int exit_code, const char *typed)
{
	fprintf(stderr, "loopscope: %s", why->text);
	if (exit_code == EXIT_USAGE)
		fputs(" (loopscope --help shows how)", stderr);
	else if (exit_code == EXIT_PRIVILEGE)
		fprintf(stderr, "; run: sudo %s", typed);
	fputc('\n', stderr);
	return exit_code;
}

int main(int argc, char **argv)
{
	char *typed = g_strjoinv(" ", argv); /* before getopt_long() changes the order */
	const struct command *command = NULL;
	struct failure why = { 0 };
	struct options options;
	uint64_t given = 0;
	bool help = false;
	int err = options_parse(argc, argv, &options, &given, &help, &why);

	if (!err && help)
		err = print_help(argc - optind, argv + optind, given, &why);
	else if (!err) /* 1: nothing more to do */
		err = parse_words(argc - optind, argv + optind, &command, &options, given, &why);
	if (err < 0)
		err = print_failure(&why, EXIT_USAGE, typed);
	else if (command)
		err = command->run(&options, &why);
	else
		err = EXIT_FINE; /* help and version are all that was asked for */
	if (err < 0)
		err = print_failure(&why, failure_exit(err), typed);
	g_free(typed);
	return err;
}
