// SPDX-License-Identifier: MIT
/* The commands: what each is about, and which options it takes. See options.h. */
#include <errno.h>
#include <string.h>

#include "tracer/options.h"

const struct command commands[] = {
	{ "fds", TAKES_ANY, "pid tid via duration provenance all layout sysroot json", cmd_fds },
	{ "handlers", TAKES_TARGET, "pid via duration all layout sysroot json", cmd_handlers },
	{ "doctor", TAKES_DOCTOR, "pid via duration min layout sysroot all json", cmd_doctor },
	{ "stalls", TAKES_EITHER, "pid tid duration min layout json", cmd_stalls },
	{ "top", TAKES_PROCESS, "pid duration interval sort overhead layout json", cmd_top },
	{ "record", TAKES_RUN,
	  "pid duration output ring overhead events stacks min on-stall at-end layout json",
	  cmd_record },
	{ "report", TAKES_RECORDING, "diff events histograms html output all json", cmd_report },
	{ "export", TAKES_RECORDING, "to output only watch json", cmd_export },
	{ "list", TAKES_PROCESS, "pid via layout all json", cmd_list },
	{ "layout", TAKES_TARGET, "pid via layout btf sysroot all json", cmd_layout },
};
const size_t n_commands = G_N_ELEMENTS(commands);

const struct command *command_find(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

char *command_names(void)
{
	GString *text = g_string_new(commands[0].name);

	for (size_t i = 1; i < G_N_ELEMENTS(commands); i++)
		g_string_append_printf(text, "%s%s",
				       i + 1 < G_N_ELEMENTS(commands) ? ", " : " and ",
				       commands[i].name);
	return g_string_free(text, FALSE);
}

/* What --sysroot names. */
static int check_sysroot(const struct options *o, struct failure *why)
{
	if (!o->path || g_file_test(o->path, G_FILE_TEST_IS_DIR))
		return fail(why, -EINVAL, "--sysroot goes with a core file");
	if (!g_file_test(o->sysroot, G_FILE_TEST_IS_DIR))
		return fail(why, -EINVAL, "--sysroot takes a directory, not \"%s\"", o->sysroot);
	return 0;
}

int command_check_subject(const struct command *command, const struct options *o,
			  struct failure *why)
{
	if (o->sysroot && check_sysroot(o, why))
		return -EINVAL;
	switch (command->takes) {
	case TAKES_ANY:
		if (o->command && o->pid)
			return fail(why, -EINVAL, "%s takes either -p PID or -- COMMAND",
				    command->name);
		if (o->command)
			return 0;
		if (o->provenance && !o->pid)
			return fail(why, -EINVAL, "--provenance needs -p PID or -- COMMAND");
		/* fall through */
	case TAKES_TARGET:
		if (!o->pid && !o->path)
			return fail(why, -EINVAL, "%s needs -p PID or a core file", command->name);
		if (o->path && o->way_given && o->way != READ_MEM)
			return fail(why, -EINVAL, "a core can only be read --via mem");
		return 0;
	case TAKES_DOCTOR:
		if (!o->pid == !o->path)
			return fail(why, -EINVAL,
				    "%s needs -p PID, a core file or the directory of a recording",
				    command->name);
		return 0;
	case TAKES_PROCESS:
		if (!o->pid || o->path)
			return fail(why, -EINVAL, "%s needs -p PID", command->name);
		return 0;
	case TAKES_RUN:
		if (!o->command == !o->pid)
			return fail(why, -EINVAL, "%s needs either -p PID or -- COMMAND",
				    command->name);
		return 0;
	case TAKES_EITHER:
		if (!o->command + !o->pid + !o->path != 2)
			return fail(why, -EINVAL, "%s needs -p PID, -- COMMAND or a recording",
				    command->name);
		return 0;
	case TAKES_RECORDING:
		if (o->pid || !o->path)
			return fail(why, -EINVAL, "%s needs the directory of a recording",
				    command->name);
	}
	return 0;
}
