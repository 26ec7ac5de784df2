/* SPDX-License-Identifier: MIT */
/*
 * demo-qemu-loop, the program: picks a scenario and runs it.  See --help.
 * Exit status: 0 it ran, 1 it could not be set up, 2 usage.
 */
#include "osdep.h"
#include <getopt.h>
#include "demo.h"
#include "self-record.h"
#include "trace/version.h"

static const char usage[] =
	"Usage: demo-qemu-loop --scenario NAME [--iterations N]\n"
	"       demo-qemu-loop --list [--json]\n"
	"\n"
	"A main loop made as QEMU's, to look at with a tracer or a debugger.\n"
	"\n"
	"  --scenario NAME  what to run; --list tells what there is\n"
	"  --iterations N   run N scripted iterations, print exact counts, exit;\n"
	"                   without it, wait for events until SIGINT or SIGTERM\n"
	"  --seed S         where a script makes a choice, the same S makes the same one (1)\n"
	"  --fds N          many-fds, crowd: how many descriptors (1000)\n"
	"  --hold MS        blocked-*, bql-hold: how long the loop is kept each time (400)\n"
	"  --vnc PATH       five-sources, busy: the listening socket\n"
	"                   (in $XDG_RUNTIME_DIR, or in a new directory in /tmp)\n"
	"  --record DIR     record every event into the new directory DIR, as loopscope would\n"
	"  --record-buffer KIB\n"
	"                   room for a thread's events until they are written (8192)\n"
	"  --era E          the loop of which QEMU, below; without it, that of the scenario\n"
	"  --fdmon M        how contexts wait: poll, epoll or io_uring; means --era 10.2, unless\n"
	"                   that says otherwise\n"
	"  --monitor PATH   a Unix socket that takes commands, a line each; help lists them\n"
	"  --list           list the scenarios; with --json one object a line\n"
	"  --help, --version\n"
	"\n"
	"Try: demo-qemu-loop --scenario five-sources --iterations 90\n"
	"\n"
	"Eras:\n";

static void print_usage(void)
{
	fputs(usage, stdout);
	for (const LoopEra *era = loop_eras; era->name; era++)
		printf("  %-16s %s\n", era->name, era->summary);
}

/* One line, then out. */
static void __attribute__((noreturn, format(printf, 1, 2))) usage_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("demo-qemu-loop: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(2);
}

static const DemoScenario *find_scenario(const char *name)
{
	const DemoScenario *scenario = demo_scenario_by_name(name);

	if (!scenario)
		usage_error("no scenario '%s'; demo-qemu-loop --list shows what there is", name);
	return scenario;
}

/* The strings are ours and need no escaping. */
static void print_json(const DemoScenario *s)
{
	printf("{\"name\": \"%s\", \"summary\": \"%s\", \"verdict\": ", s->name, s->summary);
	if (s->verdict)
		printf("\"%s\"}\n", s->verdict);
	else
		printf("null}\n");
}

static void list(bool json)
{
	if (!json)
		printf("%-23s %-16s %s\n", "NAME", "VERDICT", "SUMMARY");
	for (const DemoScenario *const *family = demo_families; *family; family++) {
		for (const DemoScenario *s = *family; s->name; s++) {
			if (json)
				print_json(s);
			else
				printf("%-23s %-16s %s\n", s->name, s->verdict ?: "-", s->summary);
		}
	}
}

static int64_t parse_number(const char *option, const char *value, int64_t min, int64_t max)
{
	gint64 number;

	if (!g_ascii_string_to_signed(value, 10, min, max, &number, NULL))
		usage_error("--%s needs a number from %" PRId64 " to %" PRId64
			    ", not '%s'; see demo-qemu-loop --help",
			    option, min, max, value);
	return number;
}

static const LoopEra *parse_era(const char *value)
{
	const LoopEra *era = loop_era_by_name(value);

	if (!era)
		usage_error("no era '%s'; demo-qemu-loop --help shows what there is", value);
	return era;
}

static enum loop_fdmon parse_fdmon(const char *value)
{
	static const char *const names[] = {
		[LOOP_FDMON_POLL] = "poll",
		[LOOP_FDMON_EPOLL] = "epoll",
		[LOOP_FDMON_IO_URING] = "io_uring",
	};

	for (int i = LOOP_FDMON_POLL; i < (int)ARRAY_SIZE(names); i++) {
		if (g_str_equal(value, names[i]))
			return i;
	}
	usage_error("--fdmon is poll, epoll or io_uring, not '%s'", value);
}

/* What the host has not got, the library replaces; what QEMU had not got is an error. */
static void check_loop(const DemoOptions *options)
{
	if (options->fdmon == LOOP_FDMON_IO_URING && options->era && !options->era->fd_tag)
		usage_error("the main loop of era %s cannot have --fdmon io_uring",
			    options->era->name);
}

/* --- recording ---------------------------------------------------------------------------- */

static const char *recording; /* where to, or NULL */

/* In the writer thread: what it met, while the program goes on. */
static void recording_failed(int err)
{
	fprintf(stderr, "demo-qemu-loop: %s: %s; what is there can be read\n", recording,
		strerror(-err));
}

/* Also when the program exits in the middle of something. */
static void end_recording(void)
{
	SelfRecordStats stats;

	if (self_record_end(&stats))
		fprintf(stderr,
			"demo-qemu-loop: %s: %" PRIu64 " events of %u threads, %" PRIu64 " lost\n",
			recording, stats.events, stats.threads, stats.lost);
}

static int begin_recording(size_t buffer_bytes)
{
	Error *err = NULL;
	int ret = self_record_begin(recording, buffer_bytes, recording_failed, &err);

	if (ret < 0)
		error_report_err(err);
	else
		atexit(end_recording);
	return ret;
}

int main(int argc, char **argv)
{
	enum {
		OPT_SCENARIO = 256,
		OPT_ITERATIONS,
		OPT_SEED,
		OPT_FDS,
		OPT_HOLD,
		OPT_VNC,
		OPT_LIST,
		OPT_JSON,
		OPT_RECORD,
		OPT_RECORD_BUFFER,
		OPT_ERA,
		OPT_FDMON,
		OPT_MONITOR
	};
	static const struct option longopts[] = {
		{ "scenario", required_argument, NULL, OPT_SCENARIO },
		{ "iterations", required_argument, NULL, OPT_ITERATIONS },
		{ "seed", required_argument, NULL, OPT_SEED },
		{ "fds", required_argument, NULL, OPT_FDS },
		{ "hold", required_argument, NULL, OPT_HOLD },
		{ "vnc", required_argument, NULL, OPT_VNC },
		{ "record", required_argument, NULL, OPT_RECORD },
		{ "record-buffer", required_argument, NULL, OPT_RECORD_BUFFER },
		{ "era", required_argument, NULL, OPT_ERA },
		{ "fdmon", required_argument, NULL, OPT_FDMON },
		{ "monitor", required_argument, NULL, OPT_MONITOR },
		{ "list", no_argument, NULL, OPT_LIST },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{},
	};
	DemoOptions options = {
		.iterations = -1, .seed = 1, .fds = 1000, .hold_ns = 400LL * SCALE_MS
	};
	const DemoScenario *scenario = NULL;
	size_t record_buffer = SELF_RECORD_BUFFER;
	bool do_list = false, json = false;
	int c;

	g_set_prgname("demo-qemu-loop");
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":hV", longopts, NULL)) != -1) {
		switch (c) {
		case OPT_SCENARIO:
			scenario = find_scenario(optarg);
			break;
		case OPT_ITERATIONS:
			options.iterations = parse_number("iterations", optarg, 0, INT64_MAX);
			break;
		case OPT_SEED:
			options.seed = parse_number("seed", optarg, 0, UINT32_MAX);
			break;
		case OPT_FDS:
			options.fds = parse_number("fds", optarg, 1, 1000000);
			break;
		case OPT_HOLD:
			options.hold_ns = parse_number("hold", optarg, 1, 3600000) * SCALE_MS;
			break;
		case OPT_VNC:
			options.vnc_path = optarg;
			break;
		case OPT_RECORD:
			recording = optarg;
			break;
		case OPT_RECORD_BUFFER:
			record_buffer = parse_number("record-buffer", optarg, 4, 1 << 20) << 10;
			break;
		case OPT_ERA:
			options.era = parse_era(optarg);
			break;
		case OPT_FDMON:
			options.fdmon = parse_fdmon(optarg);
			break;
		case OPT_MONITOR:
			options.monitor_path = optarg;
			break;
		case OPT_LIST:
			do_list = true;
			break;
		case OPT_JSON:
			json = true;
			break;
		case 'h':
			print_usage();
			return 0;
		case 'V':
			puts("demo-qemu-loop " LOOPSCOPE_VERSION);
			return 0;
		case ':':
			usage_error("%s needs a value; see demo-qemu-loop --help",
				    argv[optind - 1]);
		default:
			usage_error("no option '%s'; see demo-qemu-loop --help", argv[optind - 1]);
		}
	}
	if (optind < argc)
		usage_error("unexpected '%s'; see demo-qemu-loop --help", argv[optind]);

	if (do_list) {
		list(json);
		return 0;
	}
	if (!scenario)
		usage_error("which --scenario? demo-qemu-loop --list shows what there is");
	if (scenario->hangs && options.iterations >= 0)
		usage_error("%s ends by a signal only, not after --iterations", scenario->name);
	check_loop(&options);
	if (recording && begin_recording(record_buffer) < 0)
		return 1;
	return demo_run(scenario, &options);
}
