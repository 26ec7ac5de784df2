// SPDX-License-Identifier: MIT
/*
 * loopscope: the command line. Options are parsed here, commands are in cmd-*.c, and this is the
 * one place that prints a failure.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/help.h"
#include "tracer/session.h"
#include "tracer/top.h"
#include "trace/loop-table.h"
#include "trace/version.h"

static const char help_text[] =
	"loopscope looks into event loops: QEMU's main loop and IOThreads, and those of any program that\n"
	"uses GLib; unmodified and running.\n"
	"\n"
	"  loopscope fds -p PID              which fds do the loops poll, and whose are they?\n"
	"  loopscope fds -- COMMAND          the same, and who made and registered each, from the start on\n"
	"  loopscope handlers -p PID [CTX]   what is registered in each AioContext, GMainContext?\n"
	"  loopscope top -p PID              which callbacks run, how often, how long? live\n"
	"  loopscope record -p PID -o DIR    write down what its loops do; or: record -o DIR -- COMMAND\n"
	"  loopscope report DIR              what a recording says: where time went, who woke whom\n"
	"  loopscope export DIR              a recording event by event; --to: for Perfetto and others\n"
	"  loopscope list -p PID             which events can it give, from where, at what cost?\n"
	"  loopscope doctor -p PID           is a loop blocked, spinning, or asleep with work to do?\n"
	"  loopscope doctor DIR|CORE         the same, as far as a recording or a core file tells\n"
	"  loopscope stalls -p PID           each time a loop was kept from its wait: by what, doing what?\n"
	"                                    also: stalls -- COMMAND, stalls DIR\n"
	"  loopscope layout -p PID           where do the structures' fields lie, and how is it known?\n"
	"\n"
	"handlers, fds and layout also take a core file instead of -p PID.\n"
	"\n"
	"  -p, --pid PID       the process to look at\n"
	"  -t, --tid TID       fds, stalls: only this thread's loop\n"
	"      --via WAY       how to read: iter (a bpf task iterator), mem (process memory), or probe\n"
	"                      (a bpf probe on the next poll of each thread); default: the first that can\n"
	"  -d, --duration S    record, stalls, top: for so many seconds, else until Ctrl-C; doctor: 2;\n"
	"                      probe: wait so long for polls, default 2\n"
	"  -i, --interval S    top: a new picture every S seconds; default 1\n"
	"      --overhead P    top, record: what watching may cost, in percent of a processor, or none;\n"
	"                      default for top 3: on a busy loop it samples, and says so; for record none\n"
	"      --sort KEY      top: by time (the default), rate, p50, p99, max or name\n"
	"      --min TIME      doctor, stalls, record --stacks: what blocks for longer counts (10ms, 0.5s);\n"
	"                      default 10ms, for doctor 100ms\n"
	"  -o, --output PATH   record: the recording, a new or empty directory; export and\n"
	"                      report --html: a file\n"
	"      --ring SIZE     record: of the buffer between kernel and recorder; with --on-stall, of the\n"
	"                      events kept in memory; default 64M\n"
	"      --on-stall TIME record: keep the last events in memory; write them, as recordings in DIR, when\n"
	"                      a loop is kept from its wait for longer, on SIGUSR1, and if the process ends\n"
	"      --at-end        record --on-stall: also at Ctrl-C and at the end of -d\n"
	"      --stacks        record: with the stack of what blocks for longer than --min\n"
	"      --events A,B... record: only these; others get no probe. Names, patterns (bh_*), or groups:\n"
	"                      iterations, polls, callbacks, handlers, bhs, timers, sources, wakeups, nested,\n"
	"                      bql, coroutines\n"
	"      --diff DIR      report: what is different in that recording\n"
	"      --events        report: every kind of event with its count\n"
	"      --histograms    report: of the five slowest callbacks, not of the slowest only\n"
	"      --html          report: a page for a browser, one file that needs nothing else\n"
	"      --to FORMAT     export: text (the default), ndjson or csv, for reading and scripts;\n"
	"                      pftrace (Perfetto), speedscope; openmetrics, prometheus\n"
	"      --only A,B...   export to text, ndjson or csv: only these events\n"
	"      --watch S       export: write FILE again every S seconds, while the recording grows\n"
	"      --provenance    fds -p PID: first watch for -d seconds who makes and registers descriptors\n"
	"      --all           one row for each handler or fd, equal ones not folded\n"
	"      --layout FILE   take the layout from FILE (loopscope layout --json wrote it)\n"
	"      --btf FILE      layout: write it as BTF too, for bpf programs (libbpf's btf_custom_path)\n"
	"      --json          one JSON object a line, each with a type; the last is the total\n"
	"  -v, --verbose       say what the kernel and libbpf say\n"
	"      --help, --version\n"
	"\n"
	"Exit: 0 fine, 1 doctor or stalls found something, 2 wrong usage, 3 no privilege, 4 failed,\n"
	"77 the kernel cannot do it.\n";

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

static const struct command {
	const char *name;
	enum takes takes;
	const char
		*options; /* that it takes beside -v; all that read a process take --via, --all */
	int (*run)(const struct options *options, struct failure *why);
} commands[] = {
	{ "fds", TAKES_ANY, "pid tid via duration provenance all layout json", cmd_fds },
	{ "handlers", TAKES_TARGET, "pid via duration all layout json", cmd_handlers },
	{ "doctor", TAKES_DOCTOR, "pid via duration min layout all json", cmd_doctor },
	{ "stalls", TAKES_EITHER, "pid tid duration min layout json", cmd_stalls },
	{ "top", TAKES_PROCESS, "pid duration interval sort overhead layout json", cmd_top },
	{ "record", TAKES_RUN,
	  "pid duration output ring overhead events stacks min on-stall at-end layout json",
	  cmd_record },
	{ "report", TAKES_RECORDING, "diff events histograms html output all json", cmd_report },
	{ "export", TAKES_RECORDING, "to output only watch json", cmd_export },
	{ "list", TAKES_PROCESS, "pid via layout all json", cmd_list },
	{ "layout", TAKES_TARGET, "pid via layout btf all json", cmd_layout },
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	return NULL;
}

static int parse_pid(const char *text, const char *what, pid_t *ret, struct failure *why)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end || value <= 0 || value > INT32_MAX)
		return fail(why, -EINVAL, "%s takes a number, not \"%s\"", what, text);
	*ret = (pid_t)value;
	return 0;
}

static int parse_way(const char *text, struct options *o, struct failure *why)
{
	for (int way = READ_MEM; way <= READ_PROBE; way++) {
		if (strcmp(text, read_way_name(way)))
			continue;
		o->way = way;
		o->way_given = true;
		return 0;
	}
	return fail(why, -EINVAL, "--via takes mem, iter or probe, not \"%s\"", text);
}

static const char *const format_names[EXPORT_FORMATS] = {
	[EXPORT_TEXT] = "text",
	[EXPORT_NDJSON] = "ndjson",
	[EXPORT_CSV] = "csv",
	[EXPORT_PFTRACE] = "pftrace",
	[EXPORT_SPEEDSCOPE] = "speedscope",
	[EXPORT_OPENMETRICS] = "openmetrics",
	[EXPORT_PROMETHEUS] = "prometheus",
};

static int parse_format(const char *text, struct options *o, struct failure *why)
{
	for (int format = 0; format < EXPORT_FORMATS; format++) {
		if (strcmp(text, format_names[format]))
			continue;
		o->format = format;
		return 0;
	}
	return fail(why, -EINVAL,
		    "--to takes text, ndjson, csv, pftrace, speedscope, openmetrics or "
		    "prometheus, not \"%s\"",
		    text);
}

static int parse_seconds(const char *what, const char *text, int *ret_ms, struct failure *why)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds > 0 && seconds <= 86400))
		return fail(why, -EINVAL, "%s takes seconds, not \"%s\"", what, text);
	*ret_ms = (int)(seconds * 1000);
	return 0;
}

/* "3", "0.5", "none" */
static int parse_percent(const char *text, double *ret, struct failure *why)
{
	char *end;
	double percent = strtod(text, &end);

	if (!strcmp(text, "none"))
		percent = 0;
	else if (end == text || *end || !(percent >= 0.1 && percent <= 100))
		return fail(why, -EINVAL,
			    "--overhead takes a percentage from 0.1 to 100, or none, not \"%s\"",
			    text);
	*ret = percent;
	return 0;
}

static int parse_sort(const char *text, struct options *o, struct failure *why)
{
	int sort = top_sort_of(text);

	if (sort < 0)
		return fail(why, -EINVAL,
			    "--sort takes time, rate, p50, p99, max or name, not \"%s\"", text);
	o->sort = sort;
	return 0;
}

/* "10ms", "0.5s" */
static int parse_min(const char *what, const char *text, int *ret_ms, struct failure *why)
{
	char *unit;
	double time = strtod(text, &unit);

	if (!strcmp(unit, "s"))
		time *= 1000;
	if (unit == text || (strcmp(unit, "s") && strcmp(unit, "ms")) ||
	    !(time >= 1 && time <= 3600000))
		return fail(why, -EINVAL, "%s takes a time such as 10ms or 0.5s, not \"%s\"", what,
			    text);
	*ret_ms = (int)time;
	return 0;
}

/* "4096", "64K", "16M" */
static int parse_size(const char *text, size_t *ret, struct failure *why)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);
	int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 0;

	if (end == text || (*end && (!shift || end[1])) || !value || value > (1ULL << 30) >> shift)
		return fail(why, -EINVAL, "--ring takes a size such as 64K or 16M, not \"%s\"",
			    text);
	*ret = value << shift;
	return 0;
}

enum {
	OPT_VIA = 256,
	OPT_ALL,
	OPT_PROVENANCE,
	OPT_LAYOUT,
	OPT_BTF,
	OPT_RING,
	OPT_SORT,
	OPT_OVERHEAD,
	OPT_DIFF,
	OPT_EVENTS,
	OPT_HISTOGRAMS,
	OPT_HTML,
	OPT_MIN,
	OPT_ONLY,
	OPT_ON_STALL,
	OPT_STACKS,
	OPT_AT_END,
	OPT_TO,
	OPT_WATCH,
	OPT_JSON,
	OPT_HELP,
	OPT_HELP_TABLE,
	OPT_VERSION
};

static const struct option long_options[] = {
	{ "pid", required_argument, NULL, 'p' },
	{ "tid", required_argument, NULL, 't' },
	{ "via", required_argument, NULL, OPT_VIA },
	{ "duration", required_argument, NULL, 'd' },
	{ "interval", required_argument, NULL, 'i' },
	{ "sort", required_argument, NULL, OPT_SORT },
	{ "overhead", required_argument, NULL, OPT_OVERHEAD },
	{ "all", no_argument, NULL, OPT_ALL },
	{ "provenance", no_argument, NULL, OPT_PROVENANCE },
	{ "layout", required_argument, NULL, OPT_LAYOUT },
	{ "btf", required_argument, NULL, OPT_BTF },
	{ "output", required_argument, NULL, 'o' },
	{ "ring", required_argument, NULL, OPT_RING },
	{ "diff", required_argument, NULL, OPT_DIFF },
	{ "events", no_argument, NULL, OPT_EVENTS },
	{ "histograms", no_argument, NULL, OPT_HISTOGRAMS },
	{ "html", no_argument, NULL, OPT_HTML },
	{ "min", required_argument, NULL, OPT_MIN },
	{ "only", required_argument, NULL, OPT_ONLY },
	{ "on-stall", required_argument, NULL, OPT_ON_STALL },
	{ "stacks", no_argument, NULL, OPT_STACKS },
	{ "at-end", no_argument, NULL, OPT_AT_END },
	{ "to", required_argument, NULL, OPT_TO },
	{ "watch", required_argument, NULL, OPT_WATCH },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "verbose", no_argument, NULL, 'v' },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "help-table", no_argument, NULL, OPT_HELP_TABLE },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

/*
 * --help-table: the same for scripts, tab-separated; completion asks it, and the man pages are made
 * with it.
 */
static int print_table(void)
{
	static const char *const takes[] = {
		[TAKES_TARGET] = "target",   [TAKES_ANY] = "any", [TAKES_DOCTOR] = "any",
		[TAKES_PROCESS] = "process", [TAKES_RUN] = "run", [TAKES_RECORDING] = "recording",
		[TAKES_EITHER] = "any",
	};

	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
		printf("command\t%s\t%s\t%s\n", commands[i].name, takes[commands[i].takes],
		       commands[i].options);
	for (size_t i = 0; long_options[i].name; i++)
		printf("option\t%s\t%c\t%s\n", long_options[i].name,
		       long_options[i].val < OPT_VIA ? long_options[i].val : '-',
		       long_options[i].has_arg == required_argument ? "value" : "flag");
	for (int way = READ_MEM; way <= READ_PROBE; way++)
		printf("value\tvia\t%s\n", read_way_name(way));
	for (int format = 0; format < EXPORT_FORMATS; format++)
		printf("value\tto\t%s\n", format_names[format]);
	for (int sort = 0; sort < TOP_SORTS; sort++)
		printf("value\tsort\t%s\n", top_sort_name(sort));
	for (unsigned int id = 0; id < LOOP_EV_END; id++)
		if (loop_event_desc(id))
			printf("value\tonly\t%s\n", loop_event_desc(id)->name);
	return 1;
}

/* record's --events says which; report's is a flag. */
static void options_of_command(int argc, char **argv, struct option *ret)
{
	const struct command *command = NULL;

	for (int i = 1; i < argc && !command && strcmp(argv[i], "--"); i++)
		command = find_command(argv[i]);
	memcpy(ret, long_options, sizeof(long_options));
	for (size_t i = 0; command && command->run == cmd_record && ret[i].name; i++)
		if (ret[i].val == OPT_EVENTS)
			ret[i].has_arg = required_argument;
}

/*
 * Returns 1 when there is nothing more to do; *given has a bit for each of long_options, *help is
 * set when that is all that is wanted of what follows.
 */
static int parse_options(int argc, char **argv, struct options *o, uint64_t *given, bool *help,
			 struct failure *why)
{
	struct option accepted[G_N_ELEMENTS(long_options)];
	int c, err = 0;

	options_of_command(argc, argv, accepted);
	*o = (struct options){ .way = READ_ITER, .timeout_ms = 2000, .overhead = -1 };
	opterr = 0;
	while (!err && (c = getopt_long(argc, argv, ":p:t:d:i:o:v", accepted, NULL)) != -1) {
		for (size_t i = 0; long_options[i].name; i++)
			*given |= (uint64_t)(long_options[i].val == c) << i;
		switch (c) {
		case 'p':
			err = parse_pid(optarg, "-p", &o->pid, why);
			break;
		case 't':
			err = parse_pid(optarg, "-t", &o->tid, why);
			break;
		case 'd':
			err = parse_seconds("-d", optarg, &o->timeout_ms, why);
			o->duration_ms = o->timeout_ms;
			break;
		case 'i':
			err = parse_seconds("-i", optarg, &o->interval_ms, why);
			break;
		case OPT_OVERHEAD:
			err = parse_percent(optarg, &o->overhead, why);
			break;
		case OPT_SORT:
			err = parse_sort(optarg, o, why);
			break;
		case 'o':
			o->output = optarg;
			break;
		case 'v':
			o->verbose = true;
			break;
		case OPT_VIA:
			err = parse_way(optarg, o, why);
			break;
		case OPT_ALL:
			o->all = true;
			break;
		case OPT_PROVENANCE:
			o->provenance = true;
			break;
		case OPT_LAYOUT:
			o->layout = optarg;
			break;
		case OPT_BTF:
			o->btf = optarg;
			break;
		case OPT_RING:
			err = parse_size(optarg, &o->ring, why);
			break;
		case OPT_DIFF:
			o->diff = optarg;
			break;
		case OPT_EVENTS:
			o->events = !optarg;
			o->only = optarg ?: o->only;
			break;
		case OPT_HISTOGRAMS:
			o->histograms = true;
			break;
		case OPT_HTML:
			o->html = true;
			break;
		case OPT_MIN:
			err = parse_min("--min", optarg, &o->min_ms, why);
			break;
		case OPT_ON_STALL:
			err = parse_min("--on-stall", optarg, &o->on_stall_ms, why);
			break;
		case OPT_STACKS:
			o->stacks = true;
			break;
		case OPT_AT_END:
			o->at_end = true;
			break;
		case OPT_ONLY:
			o->only = optarg;
			break;
		case OPT_WATCH:
			err = parse_seconds("--watch", optarg, &o->watch_ms, why);
			break;
		case OPT_TO:
			err = parse_format(optarg, o, why);
			break;
		case OPT_JSON:
			o->json = true;
			break;
		case OPT_HELP:
			*help = true;
			break;
		case OPT_HELP_TABLE:
			return print_table();
		case OPT_VERSION:
			puts("loopscope " LOOPSCOPE_VERSION);
			return 1;
		case ':':
			err = fail(why, -EINVAL, "%s needs a value", argv[optind - 1]);
			break;
		default:
			err = fail(why, -EINVAL, "unknown option %s", argv[optind - 1]);
		}
	}
	return err;
}

/* "fds, handlers, ... and layout", for messages; to be freed. */
static char *command_names(void)
{
	GString *text = g_string_new(commands[0].name);

	for (size_t i = 1; i < G_N_ELEMENTS(commands); i++)
		g_string_append_printf(text, "%s%s",
				       i + 1 < G_N_ELEMENTS(commands) ? ", " : " and ",
				       commands[i].name);
	return g_string_free(text, FALSE);
}

/* Is there what the command is about? */
static int check_subject(const struct command *command, const struct options *o,
			 struct failure *why)
{
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

/* An option that would be ignored is a mistake. */
static int check_options(const struct command *command, uint64_t given, struct failure *why)
{
	int err = 0;

	for (size_t i = 0; !err && long_options[i].name; i++)
		if (given & UINT64_C(1) << i && long_options[i].val != 'v' &&
		    long_options[i].val != OPT_HELP &&
		    !help_lists(command->options, long_options[i].name))
			err = fail(why, -EINVAL, "%s does not take --%s", command->name,
				   long_options[i].name);
	return err;
}

/* Of the command that is named, if one is; what else is there has to be right. */
static int print_help(int n, char **words, uint64_t given, struct failure *why)
{
	const struct command *command = n ? find_command(words[0]) : NULL;
	int err;

	if (!command) {
		fputs(help_text, stdout);
		return 0;
	}
	err = check_options(command, given, why);
	if (!err)
		help_print_command(help_text, command->name, command->options);
	return err;
}

/* What is left after options: the command, then what it is about (without -p) and a context. */
static int parse_words(int n, char **words, const struct command **ret, struct options *o,
		       uint64_t given, struct failure *why)
{
	const struct command *command = n ? find_command(words[0]) : NULL;
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
	err = check_subject(command, o, why);
	if (!err)
		err = check_options(command, given, why);
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
	int err = parse_options(argc, argv, &options, &given, &help, &why);

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
