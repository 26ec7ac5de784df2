// SPDX-License-Identifier: MIT
/* The options of all commands, and which command takes which. See options.h. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "tracer/help.h"
#include "tracer/options.h"
#include "tracer/top.h"
#include "trace/loop-table.h"
#include "trace/version.h"

enum {
	OPT_VIA = 256,
	OPT_ALL,
	OPT_PROVENANCE,
	OPT_LAYOUT,
	OPT_BTF,
	OPT_SYSROOT,
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
	{ "sysroot", required_argument, NULL, OPT_SYSROOT },
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

	for (size_t i = 0; i < n_commands; i++)
		printf("command\t%s\t%s\t%s\n", commands[i].name, takes[commands[i].takes],
		       commands[i].options);
	for (size_t i = 0; long_options[i].name; i++)
		printf("option\t%s\t%c\t%s\n", long_options[i].name,
		       long_options[i].val < OPT_VIA ? long_options[i].val : '-',
		       long_options[i].has_arg == required_argument ? "value" : "flag");
	for (int way = READ_MEM; way <= READ_PROBE; way++)
		printf("value\tvia\t%s\n", read_way_name(way));
	for (int format = 0; format < EXPORT_FORMATS; format++)
		printf("value\tto\t%s\n", export_format_names[format]);
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
		command = command_find(argv[i]);
	memcpy(ret, long_options, sizeof(long_options));
	for (size_t i = 0; command && command->run == cmd_record && ret[i].name; i++)
		if (ret[i].val == OPT_EVENTS)
			ret[i].has_arg = required_argument;
}

int options_parse(int argc, char **argv, struct options *o, uint64_t *given, bool *help,
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
		case OPT_SYSROOT:
			o->sysroot = optarg;
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

int options_check(const struct command *command, uint64_t given, struct failure *why)
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
