/* SPDX-License-Identifier: MIT */
/* The program itself, named by $DEMO_QEMU_LOOP: its counts, its options, its end. */
#include "loop-test.h"
#include <sys/wait.h>

static const char *program;

typedef struct {
	char *out, *err;
	int status;
} Result;

static Result run(const char *arguments)
{
	char *command = g_strdup_printf("%s %s", program, arguments);
	GError *error = NULL;
	Result result;

	g_spawn_command_line_sync(command, &result.out, &result.err, &result.status, &error);
	g_assert_no_error(error);
	g_assert_true(WIFEXITED(result.status));
	result.status = WEXITSTATUS(result.status);
	g_free(command);
	return result;
}

static void result_free(Result *result)
{
	g_free(result->out);
	g_free(result->err);
}

/* The lines after "... ready", which has the pid in it. */
static void expect_counts(const char *arguments, const char *counts)
{
	Result result = run(arguments);
	char *rest = strstr(result.out, ", ready\n");

	g_assert_cmpstr(result.err, ==, "");
	g_assert_cmpint(result.status, ==, 0);
	g_assert_true(g_str_has_prefix(result.out, "demo-qemu-loop: "));
	g_assert_nonnull(rest);
	g_assert_cmpstr(strchr(rest, '\n') + 1, ==, counts);
	result_free(&result);
}

static void test_five_sources(void)
{
	expect_counts("--scenario five-sources --iterations 94", "iterations=94\n"
								 "bh_calls=21\n"
								 "device_timers=11\n"
								 "context_timers=10\n"
								 "vnc_connections=11\n"
								 "signals=11\n"
								 "notifies=10\n"
								 "wakeups=10\n"
								 "io0_bh_calls=10\n"
								 "io0_replies=10\n");
	expect_counts("--scenario five-sources --iterations 0", "iterations=0\n"
								"bh_calls=0\n"
								"device_timers=0\n"
								"context_timers=0\n"
								"vnc_connections=0\n"
								"signals=0\n"
								"notifies=0\n"
								"wakeups=0\n"
								"io0_bh_calls=0\n"
								"io0_replies=0\n");
}

static void test_signal(void)
{
	expect_counts("--scenario signal --iterations 23", "iterations=23\nsignals=23\n");
}

static void test_many_fds(void)
{
	Result one = run("--scenario many-fds --fds 300 --iterations 50 --seed 7");
	Result same = run("--scenario many-fds --fds 300 --iterations 50 --seed 7");
	Result other = run("--scenario many-fds --fds 300 --iterations 50 --seed 8");

	g_assert_nonnull(strstr(one.out, "iterations=50\nhandlers=300\ncalls=50\norder="));
	g_assert_cmpstr(strstr(one.out, "iterations"), ==, strstr(same.out, "iterations"));
	g_assert_cmpstr(strstr(one.out, "order"), !=, strstr(other.out, "order"));
	result_free(&one);
	result_free(&same);
	result_free(&other);
}

static void test_deleted_handler(void)
{
	expect_counts("--scenario deleted-handler --iterations 10", "iterations=10\n"
								    "remover_calls=10\n"
								    "removed=30\n"
								    "victim_calls=0\n"
								    "nested_polls=10\n");
}

/* The same calls in the same order, whatever the monitor. */
static void expect_fdmon(const char *option, const char *main_monitor, const char *io0_monitor,
			 int completions)
{
	char *arguments = g_strdup_printf("%s --iterations 10 --fds 100", option);
	char *counts = g_strdup_printf("iterations=10\n"
				       "main_monitor=%s\n"
				       "io0_monitor=%s\n"
				       "handlers=100\n"
				       "calls=10\n"
				       "completions=%d\n"
				       "order=%s\n",
				       main_monitor, io0_monitor, completions, "00045902bdfc3d67");

	expect_counts(arguments, counts);
	g_free(arguments);
	g_free(counts);
}

static void test_fdmon(void)
{
	expect_fdmon("--scenario epoll", "poll", "epoll", 0);
	expect_fdmon("--scenario io-uring", "io_uring", "io_uring", 10);
	expect_fdmon("--scenario epoll --fdmon poll", "poll", "poll", 0);
	expect_fdmon("--scenario io-uring --fdmon epoll", "epoll", "epoll", 0);
	expect_fdmon("--scenario io-uring --era 8.2 --fdmon epoll", "poll", "epoll", 0);
	expect_fdmon("--scenario epoll --era 10.2", "io_uring", "io_uring", 10);
}

/* The same in whichever loop it runs. */
static const char *const loops[] = { "", " --fdmon poll", " --fdmon epoll", " --fdmon io_uring",
				     " --era 2.11" };

static void expect_counts_in_all(const char *arguments, const char *counts)
{
	for (unsigned i = 0; i < ARRAY_SIZE(loops); i++) {
		char *with_loop = g_strconcat(arguments, loops[i], NULL);

		expect_counts(with_loop, counts);
		g_free(with_loop);
	}
}

static void test_iothread(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(loops); i++) {
		char *arguments = g_strdup_printf("--scenario iothread --iterations 7%s", loops[i]);

		expect_counts(arguments, "iterations=7\ngiven=7\nreplies=7\n");
		g_free(arguments);
		arguments =
			g_strdup_printf("--scenario iothread-gcontext --iterations 7%s", loops[i]);
		expect_counts(arguments, "iterations=7\ngiven=7\nreplies=7\n");
		g_free(arguments);
		arguments = g_strdup_printf("--scenario busy-polling --iterations 7%s", loops[i]);
		expect_counts(arguments, "iterations=7\nproduced=224\ngiven=7\nreplies=7\n");
		g_free(arguments);
		arguments =
			g_strdup_printf("--scenario deleted-handler --iterations 7%s", loops[i]);
		expect_counts(arguments, "iterations=7\n"
					 "remover_calls=7\n"
					 "removed=21\n"
					 "victim_calls=0\n"
					 "nested_polls=7\n");
		g_free(arguments);
	}
}

/* One that is told, and that the time it takes goes to those who wait for the BQL. */
static void test_spin_warning(void)
{
	Result result = run("--scenario spin-bh --era 2.11 --iterations 3500");

	g_assert_cmpstr(result.err, ==,
			"demo-qemu-loop: warning: I/O thread spun for 1000 iterations\n");
	g_assert_nonnull(strstr(result.out, "iterations=3500\ncalls=3500\n"));
	result_free(&result);
	result = run("--scenario spin-bh --era 2.11 --iterations 1001");
	g_assert_cmpstr(result.err, ==, "");
	result_free(&result);
	result = run("--scenario spin-bh --era 8.2 --iterations 3500");
	g_assert_cmpstr(result.err, ==, "");
	result_free(&result);
}

/* Byte by byte, a command of 28 each; the one that floods is a command ahead. */
static void test_clients(void)
{
	static const char *const scenarios[] = { "client-asks", "client-flood" };

	for (size_t i = 0; i < G_N_ELEMENTS(scenarios); i++) {
		char *arguments = g_strdup_printf("--scenario %s --iterations 84", scenarios[i]);

		expect_counts(arguments, "iterations=84\n"
					 "bytes=84\n"
					 "commands=3\n"
					 "answers=3\n");
		g_free(arguments);
	}
}

/* Three kicks are one event; the last one's BH runs in the next iteration. */
static void test_kicks(void)
{
	expect_counts("--scenario kick-requests --iterations 23", "iterations=23\n"
								  "kicks=66\n"
								  "runs=22\n"
								  "buffers=264\n"
								  "irqs=21\n");
	expect_counts("--scenario kick-flood --iterations 23", "iterations=23\n"
							       "kicks=66\n"
							       "runs=22\n"
							       "buffers=0\n"
							       "irqs=0\n");
}

static void test_contexts(void)
{
	expect_counts("--scenario bh-right-context --iterations 23", "iterations=23\n"
								     "cancels=23\n"
								     "waits=23\n"
								     "exits=23\n");
	expect_counts("--scenario context-moved --iterations 23", "iterations=23\n"
								  "scheduled=23\n"
								  "calls=23\n");
	expect_counts("--scenario context-without-thread --iterations 23", "iterations=23\n"
									   "scheduled=23\n"
									   "calls=0\n");
}

static void test_busy(void)
{
	expect_counts("--scenario busy --iterations 46", "iterations=46\n"
							 "fd_calls=46\n"
							 "bh_calls=23\n"
							 "timer_calls=16\n"
							 "vnc_connections=3\n"
							 "checksum=ea946b9a33f27034\n");
}

static void test_blocked(void)
{
	expect_counts("--scenario blocked-sleep --iterations 2", "iterations=2\ncalls=2\n");
	expect_counts("--scenario blocked-cpu --iterations 2", "iterations=2\ncalls=2\n");
	expect_counts("--scenario blocked-lock --iterations 2", "iterations=2\ncalls=2\n");
}

static void test_waits(void)
{
	expect_counts_in_all("--scenario nested-drain --iterations 23",
			     "iterations=23\n"
			     "drains=23\n"
			     "waits=23\n"
			     "completed=69\n"
			     "client_calls=23\n"
			     "client_calls_in_drain=0\n");
	expect_counts_in_all("--scenario aio-wait --iterations 23", "iterations=23\n"
								    "waits=23\n"
								    "completed=23\n");
}

/* The first request needs a second iteration, for its worker. */
static void test_thread_pool(void)
{
	expect_counts_in_all("--scenario thread-pool --iterations 23", "iterations=23\n"
								       "submitted=22\n"
								       "completed=22\n"
								       "coroutines=11\n"
								       "in_main_thread=0\n"
								       "sum=253\n");
	expect_counts_in_all("--scenario bh-not-cancelled --iterations 509", "iterations=509\n"
									     "submitted=1\n"
									     "completed=1\n"
									     "coroutines=0\n"
									     "in_main_thread=0\n"
									     "sum=1\n");
}

static void test_coroutines(void)
{
	expect_counts_in_all("--scenario coroutines --iterations 115", "iterations=115\n"
								       "in_io0=114\n"
								       "in_main=114\n"
								       "elsewhere=0\n");
}

static void test_devices(void)
{
	expect_counts_in_all("--scenario linux-aio --iterations 46", "iterations=46\n"
								     "writes=23\n"
								     "reads=22\n"
								     "mismatches=0\n"
								     "errors=0\n");
	expect_counts_in_all("--scenario virtio --iterations 46", "iterations=46\n"
								  "kicks=45\n"
								  "net_buffers=69\n"
								  "net_sum=4623\n"
								  "blk_buffers=66\n"
								  "blk_sum=4422\n"
								  "blk_irqs=22\n");
	expect_counts_in_all("--scenario vhost --iterations 46", "iterations=46\n"
								 "handled=225\n"
								 "errors=45\n");
	expect_counts_in_all("--scenario slirp --iterations 46", "iterations=46\n"
								 "fills=46\n"
								 "polls=46\n"
								 "packets=15\n"
								 "timers=15\n"
								 "bh_calls=15\n");
	/* What is drawn, and in which order it is called, is a matter of the seed alone. */
	expect_counts("--scenario drawn-order --seed 5 --iterations 40",
		      "iterations=40\ncalls=295\nremoved=4\norder=2f2ed8983941a090\n");
	expect_counts("--scenario drawn-timeout --seed 5 --iterations 5",
		      "iterations=5\nrounds=4\ncalls=3\norder=0000000000000f24\n");
	expect_counts_in_all("--scenario nbd-server --iterations 46", "iterations=46\n"
								      "servers=12\n"
								      "accepted=12\n"
								      "requests=22\n"
								      "answered=11\n"
								      "waits=12\n");
}

/* Without a stimulus, so each one needs no other reason than its own to go on. */
static void test_spin(void)
{
	expect_counts("--scenario spin-fd --iterations 1009", "iterations=1009\ncalls=1009\n");
	expect_counts("--scenario spin-bh --iterations 1009", "iterations=1009\ncalls=1009\n");
	expect_counts("--scenario spin-timer --iterations 1009", "iterations=1009\ncalls=1009\n");
	expect_counts("--scenario spin-prepare --iterations 1009", "iterations=1009\ncalls=1009\n");
	expect_counts("--scenario spin-idle-bh --iterations 9", "iterations=9\ncalls=9\n");
	expect_counts("--scenario timer-late --iterations 4",
		      "iterations=4\ntimer_calls=4\nbh_calls=15\n");
}

static void expect_usage(const char *arguments, const char *message)
{
	Result result = run(arguments);

	g_assert_cmpint(result.status, ==, 2);
	g_assert_cmpstr(result.out, ==, "");
	g_assert_cmpstr(result.err, ==, message);
	result_free(&result);
}

static void test_usage(void)
{
	expect_usage("", "demo-qemu-loop: which --scenario? demo-qemu-loop --list shows what there "
			 "is\n");
	expect_usage("--scenario nix", "demo-qemu-loop: no scenario 'nix'; demo-qemu-loop --list "
				       "shows what there is\n");
	expect_usage("--nix", "demo-qemu-loop: no option '--nix'; see demo-qemu-loop --help\n");
	expect_usage("--fds", "demo-qemu-loop: --fds needs a value; see demo-qemu-loop --help\n");
	expect_usage("--fds 0", "demo-qemu-loop: --fds needs a number from 1 to 1000000, not '0'; "
				"see demo-qemu-loop --help\n");
	expect_usage("--scenario lost-wakeup --iterations 1",
		     "demo-qemu-loop: lost-wakeup ends by a signal only, not after --iterations\n");
	expect_usage("--era 1.0", "demo-qemu-loop: no era '1.0'; demo-qemu-loop --help shows what "
				  "there is\n");
	expect_usage("--fdmon select",
		     "demo-qemu-loop: --fdmon is poll, epoll or io_uring, not 'select'\n");
	expect_usage("--scenario signal --era 8.2 --fdmon io_uring",
		     "demo-qemu-loop: the main loop of era 8.2 cannot have --fdmon io_uring\n");
	expect_usage("nix", "demo-qemu-loop: unexpected 'nix'; see demo-qemu-loop --help\n");
}

/* By the family's name, which is the scenario's up to a "-", or by all of it. */
static void expect_verdict(const char *line, const char *name)
{
	static const struct {
		const char *begin, *verdict;
	} families[] = {
		{ "aio-wait-kick", "\"NESTED WAIT\"" },
		{ "bh-not-cancelled", "\"SPIN\"" },
		{ "bh-wrong-context", "\"WRONG CONTEXT\"" },
		{ "bql-hold", "\"BQL HOLD\"" },
		{ "blocked-", "\"BLOCKED CALLBACK\"" },
		{ "client-flood", "\"SPIN\"" },
		{ "context-without-thread", "\"WRONG CONTEXT\"" },
		{ "crowd", "\"WRONG CONTEXT\"" },
		{ "coroutine-wrong-context", "\"WRONG CONTEXT\"" },
		{ "starved-source", "\"STARVED SOURCE\"" },
		{ "dead-fd", "\"DEAD FD\"" },
		{ "handler-leak", "\"HANDLER LEAK\"" },
		{ "deleted-handler", "\"NESTED WAIT\"" },
		{ "kick-flood", "\"SPIN\"" },
		{ "lost-wakeup", "\"LOST WAKEUP\"" },
		{ "missing-kick", "\"NESTED WAIT\"" },
		{ "nested-bql", "\"BQL HOLD\"" },
		{ "epoll-upgrade-race", "\"LOST WAKEUP\"" },
		{ "iothread-stop-race", "\"LOST WAKEUP\"" },
		{ "poll-recursion", "\"NESTED WAIT\"" },
		{ "stolen-accept", "\"LOST WAKEUP\"" },
		{ "timer-late", "\"TIMER LATE\"" },
		{ "spin-", "\"SPIN\"" },
	};
	const char *verdict = "null";
	char *end;

	for (size_t i = 0; i < G_N_ELEMENTS(families); i++)
		if (g_str_has_prefix(name, families[i].begin))
			verdict = families[i].verdict;
	end = g_strdup_printf("\", \"verdict\": %s}", verdict);

	g_assert_true(g_str_has_suffix(line, end));
	g_free(end);
}

static void test_list(void)
{
	Result table = run("--list"), json = run("--list --json");
	char **lines = g_strsplit(json.out, "\n", -1);

	for (char **line = lines; **line; line++) {
		char *name = g_strndup(*line + strlen("{\"name\": \""),
				       strcspn(*line + strlen("{\"name\": \""), "\""));

		g_assert_true(g_str_has_prefix(*line, "{\"name\": \""));
		g_assert_nonnull(strstr(*line, "\", \"summary\": \""));
		expect_verdict(*line, name);
		g_assert_nonnull(strstr(table.out, name));
		g_free(name);
	}
	g_strfreev(lines);

	lines = g_strsplit(table.out, "\n", -1);
	for (char **line = lines; *line; line++)
		g_assert_cmpuint(strlen(*line), <=, 100);
	g_strfreev(lines);
	result_free(&table);
	result_free(&json);
}

/* --- until a signal ends it --------------------------------------------------------------- */

/* Runs it, waits for "ready", sends @signal, expects a clean end.  Returns what it says then. */
static char *run_until(const char *scenario, const char *vnc_path, int signal)
{
	char *argv[] = { (char *)program, "--scenario",	    (char *)scenario,
			 (char *)"--vnc", (char *)vnc_path, NULL };
	GError *error = NULL;
	char line[128], *rest = NULL;
	FILE *out;
	GPid pid;
	int fd, status;

	g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid,
				 NULL, &fd, NULL, &error);
	g_assert_no_error(error);
	out = fdopen(fd, "r");
	g_assert_nonnull(fgets(line, sizeof(line), out));
	g_assert_true(g_str_has_suffix(line, ", ready\n"));
	g_assert_cmpint(g_file_test(vnc_path, G_FILE_TEST_EXISTS), ==,
			g_str_equal(scenario, "five-sources") || g_str_equal(scenario, "busy"));

	kill(pid, signal);
#ifdef DEMO_UNDER_TSAN
	/* Its ppoll() sleeps over a signal that ThreadSanitizer took shortly before and keeps. */
	while (waitpid(pid, &status, WNOHANG) == 0) {
		g_usleep(10000);
		kill(pid, signal);
	}
#else
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
#endif
	g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	g_assert_false(g_file_test(vnc_path, G_FILE_TEST_EXISTS));
	getdelim(&rest, &(size_t){ 0 }, '\0', out);
	fclose(out);
	return rest;
}

static void expect_clean_end(const char *scenario, const char *vnc_path, int signal)
{
	char *rest = run_until(scenario, vnc_path, signal);

	g_assert_true(g_str_has_prefix(rest, "iterations="));
	free(rest);
}

static void test_clean_end(void)
{
	char *dir = g_dir_make_tmp("demo-test-XXXXXX", NULL);
	char *path = g_build_filename(dir, "vnc", NULL);

	expect_clean_end("five-sources", path, SIGINT);
	expect_clean_end("five-sources", path, SIGTERM);
	expect_clean_end("signal", path, SIGTERM);
	expect_clean_end("many-fds", path, SIGTERM);
	expect_clean_end("deleted-handler", path, SIGTERM); /* asleep in its nested poll */
	expect_clean_end("busy", path, SIGTERM);
	expect_clean_end("iothread", path, SIGTERM);
	expect_clean_end("iothread-gcontext", path, SIGTERM);
	expect_clean_end("busy-polling", path, SIGTERM);
	expect_clean_end("epoll", path, SIGTERM);
	expect_clean_end("io-uring", path, SIGTERM);
	expect_clean_end("blocked-sleep", path, SIGTERM);
	expect_clean_end("blocked-cpu", path, SIGTERM);
	expect_clean_end("blocked-lock", path, SIGTERM);
	expect_clean_end("spin-fd", path, SIGTERM);
	expect_clean_end("spin-bh", path, SIGTERM);
	expect_clean_end("spin-timer", path, SIGTERM);
	expect_clean_end("spin-prepare", path, SIGTERM);
	expect_clean_end("spin-idle-bh", path, SIGTERM);
	expect_clean_end("timer-late", path, SIGTERM);
	expect_clean_end("nested-drain", path, SIGTERM);
	expect_clean_end("aio-wait", path, SIGTERM);
	expect_clean_end("thread-pool", path, SIGTERM);
	expect_clean_end("bh-not-cancelled", path, SIGTERM);
	expect_clean_end("coroutines", path, SIGTERM);
	expect_clean_end("linux-aio", path, SIGTERM);
	expect_clean_end("virtio", path, SIGTERM);
	expect_clean_end("vhost", path, SIGTERM);
	expect_clean_end("slirp", path, SIGTERM);
	expect_clean_end("nbd-server", path, SIGTERM);
	expect_clean_end("drawn-order", path, SIGTERM);
	expect_clean_end("drawn-timeout", path, SIGTERM);
	g_assert_cmpint(rmdir(dir), ==, 0);
	g_free(path);
	g_free(dir);
}

/*
 * "Ready" says that it sleeps with the bottom half scheduled.  So the one iteration lasts until the
 * signal, whose own notification is not lost, and then the bottom half runs.
 */
static void test_lost_wakeup(void)
{
	for (int i = 0; i < 20; i++) {
		char *rest = run_until("lost-wakeup", "/nonexistent", SIGTERM);

		g_assert_cmpstr(rest, ==, "iterations=1\nbh_calls=1\n");
		free(rest);
	}
}

/*
 * io0 sleeps on with work to do; what ends the program wakes it.  The main loop has nothing to do,
 * and the signal may come before its iteration that says "ready" is over, or in the next.
 */
static void test_races(void)
{
	static const char *const scenarios[][2] = {
		{ "stolen-accept", "calls=0\n" },
		{ "epoll-upgrade-race", "calls=0\n" },
		{ "iothread-stop-race", "" },
		{ "poll-recursion", "calls=50\n" },
	};

	for (unsigned i = 0; i < 10 * G_N_ELEMENTS(scenarios); i++) {
		const char *const *scenario = scenarios[i % G_N_ELEMENTS(scenarios)];
		char *rest = run_until(scenario[0], "/nonexistent", SIGTERM);

		g_assert_true(g_str_has_prefix(rest, "iterations="));
		g_assert_cmpstr(strchr(rest, '\n') + 1, ==, scenario[1]);
		free(rest);
	}
}

/* The condition has come true; the main thread sleeps on in the wait, until the signal. */
static void test_nested_waits(void)
{
	static const char *const scenarios[][2] = {
		{ "missing-kick", "iterations=1\nwaits=1\ncompleted=1\n" },
		{ "aio-wait-kick-barrier", "iterations=1\nwaits=1\ncompleted=1\n" },
		{ "bh-wrong-context", "iterations=1\ncancels=1\nwaits=1\nexits=0\n" },
		{ "coroutine-wrong-context", "iterations=2\nwaits=1\ncommands=0\n" },
		{ "nested-bql", "iterations=1\ncompleted=0\n" },
	};

	for (unsigned i = 0; i < 10 * G_N_ELEMENTS(scenarios); i++) {
		const char *const *scenario = scenarios[i % G_N_ELEMENTS(scenarios)];
		char *rest = run_until(scenario[0], "/nonexistent", SIGTERM);

		g_assert_cmpstr(rest, ==, scenario[1]);
		free(rest);
	}
}

static void test_socket_taken(void)
{
	Result result = run("--scenario five-sources --vnc /dev/null --iterations 1");

	g_assert_cmpint(result.status, ==, 1);
	g_assert_cmpstr(result.out, ==, "");
	g_assert_cmpstr(result.err, ==,
			"demo-qemu-loop: cannot listen on '/dev/null': Address already in use\n");
	g_assert_true(g_file_test("/dev/null", G_FILE_TEST_EXISTS));
	result_free(&result);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	program = g_getenv("DEMO_QEMU_LOOP");
	if (!program) {
		g_printerr("DEMO_QEMU_LOOP must name the program\n");
		return 1;
	}
	g_test_add_func("/program/five-sources-counts-are-exact", test_five_sources);
	g_test_add_func("/program/signal-counts-are-exact", test_signal);
	g_test_add_func("/program/seed-decides-which-fds", test_many_fds);
	g_test_add_func("/program/removed-handlers-are-never-called", test_deleted_handler);
	g_test_add_func("/program/fd-monitor-is-the-one-asked-for", test_fdmon);
	g_test_add_func("/program/iothread-counts-are-exact-in-every-loop", test_iothread);
	g_test_add_func("/program/spin-warning-is-of-its-era", test_spin_warning);
	g_test_add_func("/program/busy-counts-are-exact", test_busy);
	g_test_add_func("/program/clients-counts-are-exact", test_clients);
	g_test_add_func("/program/contexts-counts-are-exact", test_contexts);
	g_test_add_func("/program/kicks-counts-are-exact", test_kicks);
	g_test_add_func("/program/blocked-callbacks-are-one-an-iteration", test_blocked);
	g_test_add_func("/program/waits-counts-are-exact", test_waits);
	g_test_add_func("/program/thread-pool-counts-are-exact", test_thread_pool);
	g_test_add_func("/program/coroutines-counts-are-exact", test_coroutines);
	g_test_add_func("/program/devices-counts-are-exact", test_devices);
	g_test_add_func("/program/each-spin-goes-on-by-itself", test_spin);
	g_test_add_func("/program/lost-wakeup-sleeps-until-a-signal", test_lost_wakeup);
	g_test_add_func("/program/lost-races-sleep-until-a-signal", test_races);
	g_test_add_func("/program/nested-waits-last-until-a-signal", test_nested_waits);
	g_test_add_func("/program/usage-errors-are-one-line-and-2", test_usage);
	g_test_add_func("/program/list-as-table-and-as-json", test_list);
	g_test_add_func("/program/a-signal-ends-it-cleanly", test_clean_end);
	g_test_add_func("/program/socket-that-cannot-be-made-is-1", test_socket_taken);
	return g_test_run();
}
