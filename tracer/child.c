// SPDX-License-Identifier: MIT
/* See child.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracer/child.h"

#define FIND_LOOP_MS 10000 /* how long it has to set up its loop */
#define LOOK_MS	     20	   /* between two looks at it */

int child_start(char *const *argv, struct child *ret, struct failure *why)
{
	int fds[2];
	char byte;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return fail(why, -errno, "pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		return fail(why, -errno, "fork: %s", strerror(errno));
	if (!pid) {
		close(fds[1]);
		/* A tracer that is killed while it holds us (hold.h) leaves nobody stopped. */
		prctl(PR_SET_PDEATHSIG, SIGCONT);
		if (read(fds[0], &byte, 1) != 1)
			_exit(EXIT_FAILED);
		execvp(argv[0], argv);
		fprintf(stderr, "loopscope: cannot run %s: %s\n", argv[0], strerror(errno));
		_exit(EXIT_FAILED);
	}
	close(fds[0]);
	*ret = (struct child){ .pid = pid, .go = fds[1] };
	return 0;
}

void child_go(struct child *child)
{
	if (child->go >= 0) {
		if (write(child->go, "", 1) != 1)
			kill(child->pid, SIGKILL);
		close(child->go);
	}
	child->go = -1;
}

/* A script that runs its program as a process of its own, and waits: say how it can be seen. */
static int explain_children(const struct child *child, int err, struct failure *why)
{
	char *path = g_strdup_printf("/proc/%d/task/%d/children", child->pid, child->pid);
	char *said = g_strdup(why->text), *text = NULL;
	int other;

	if (g_file_get_contents(path, &text, NULL, NULL) && sscanf(text, "%d", &other) == 1)
		fail(why, err,
		     "%s; it has started process %d: look at that with -p, or let the script exec it",
		     said, other);
	g_free(text);
	g_free(said);
	g_free(path);
	return err;
}

int child_find_loop(struct child *child, struct session *s, const volatile sig_atomic_t *stop,
		    struct failure *why)
{
	int err = -ENOENT, step;

	for (int ms = 0; ms < FIND_LOOP_MS && err && !*stop; ms += LOOK_MS) {
		step = child->hold ? hold_wait(child->hold, LOOK_MS, stop, why) : 0;
		session_close(s);
		if (step)
			return step;
		err = child->hold && !hold_runs(child->hold)
			      ? fail(why, -ENOENT, "the command has not begun to run")
			      : session_open_process(s, s->options, child->pid, why);
		if (!err)
			err = session_layout(s, why);
		if (err && waitpid(child->pid, NULL, WNOHANG) == child->pid)
			return fail(why, -ESRCH, "the command ended before it had a loop");
		if (err && !child->hold)
			usleep(LOOK_MS * 1000);
	}
	return err && why ? explain_children(child, err, why) : err;
}

void child_let_be(struct child *child)
{
	hold_end(child->hold);
	child->hold = NULL;
}

void child_end(struct child *child)
{
	if (child->go >= 0)
		close(child->go);
	else
		kill(child->pid, SIGTERM);
	child_let_be(child);
	waitpid(child->pid, NULL, 0);
}
