// SPDX-License-Identifier: MIT
/*
 * See hold.h. At an exec the new program's entry point gets a probe; where its libraries lie is
 * known when that is hit, as the loader has mapped them by then.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/types.h>
#include "bpf/hold.h"
#include "bpf/hold.skel.h"
#include "tracer/attach.h"
#include "tracer/clock.h"
#include "tracer/hold.h"
#include "tracer/reader.h"

#define LOOK_MS 100 /* for *stop, whose signal may come between a look and the wait */

struct hold {
	struct hold_bpf *skel;
	struct attachment *entry;
	struct image *program;
	struct hold_steps steps;
	bool entered; /* it runs @program */
	pid_t pid;
	int pidfd;
	int stops;	 /* a signalfd of SIGCHLD, */
	sigset_t others; /* which is blocked meanwhile; what was blocked before */
};

static void go_on(struct hold *h)
{
	h->skel->bss->held = HOLD_NOWHERE;
	kill(h->pid, SIGCONT);
}

/* Errors mean that it is not held at its entry: its file is not ours to read, or proves no start.
 */
static int await_entry(struct hold *h)
{
	struct site site;
	GElf_Ehdr header;
	int err;

	image_close(h->program);
	h->program = NULL;
	err = image_open_exe(h->pid, &h->program, NULL);
	if (err)
		return err;
	if (!gelf_getehdr(h->program->elf, &header))
		return -ENOEXEC;
	err = site_at_args(h->program, header.e_entry, 0, &site, NULL);
	return err ? err
		   : attach_sites(h->skel->progs.on_entry, ATTACH_BEST, h->pid, &site, 1, &h->entry,
				  NULL);
}

/* What is to be done where the process stands. */
static int take_step(struct hold *h, struct failure *why)
{
	uint32_t at = h->skel->bss->held;
	int err = 0;

	attach_remove(h->entry);
	h->entry = NULL;
	h->entered = false;
	if (at == HOLD_EXEC) {
		if (h->steps.begun)
			h->steps.begun(h->steps.arg);
		if (!await_entry(h)) {
			go_on(h);
			return 0;
		}
	}
	h->entered = true;
	if (h->program)
		err = h->steps.at_entry(h->steps.arg, &h->program, why);
	if (!err)
		go_on(h);
	return err;
}

static bool has_stopped(const struct hold *h)
{
	siginfo_t info = { 0 };

	return h->skel->bss->held && !waitid(P_PID, h->pid, &info, WSTOPPED | WNOHANG) &&
	       info.si_pid == h->pid;
}

int hold_wait(struct hold *h, int timeout_ms, const volatile sig_atomic_t *stop,
	      struct failure *why)
{
	struct pollfd p[] = { { .fd = h->stops, .events = POLLIN },
			      { .fd = h->pidfd, .events = POLLIN } };
	uint64_t end = now_ns() + (uint64_t)timeout_ms * 1000000, now = now_ns();
	struct signalfd_siginfo signal;
	int err = 0;

	for (; !err && !*stop && now < end && !p[1].revents; now = now_ns()) {
		poll(p, G_N_ELEMENTS(p), (int)MIN((end - now) / 1000000 + 1, LOOK_MS));
		if (p[0].revents && read(h->stops, &signal, sizeof(signal)) < 0)
			continue;
		if (has_stopped(h))
			err = take_step(h, why);
	}
	return err;
}

bool hold_runs(const struct hold *h)
{
	return h->entered && !h->skel->bss->held;
}

int hold_begin(pid_t pid, const struct hold_steps *steps, struct hold **ret, struct failure *why)
{
	struct hold *h = g_new0(struct hold, 1);
	sigset_t stops;
	int err;

	h->pid = pid;
	h->steps = *steps;
	sigemptyset(&stops);
	sigaddset(&stops, SIGCHLD);
	sigprocmask(SIG_BLOCK, &stops, &h->others);
	h->stops = signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK);
	h->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	h->skel = hold_bpf__open();
	if (h->stops < 0 || h->pidfd < 0 || !h->skel) {
		err = bpf_failure(-errno, why);
		goto cleanup;
	}
	h->skel->rodata->tgid = pid;
	attach_prepare(h->skel->progs.on_entry, ATTACH_BEST);
	err = hold_bpf__load(h->skel);
	if (err) {
		bpf_failure(err, why);
		goto cleanup;
	}
	h->skel->links.on_exec = bpf_program__attach(h->skel->progs.on_exec);
	if (!h->skel->links.on_exec) {
		err = bpf_failure(-errno, why);
		goto cleanup;
	}
	*ret = h;
	return 0;

cleanup:
	hold_end(h);
	return err;
}

void hold_end(struct hold *h)
{
	if (!h)
		return;
	attach_remove(h->entry);
	if (h->skel && h->skel->links.on_exec) {
		bpf_link__destroy(h->skel->links.on_exec);
		h->skel->links.on_exec = NULL;
		if (h->skel->bss->held)
			go_on(h);
	}
	hold_bpf__destroy(h->skel);
	image_close(h->program);
	if (h->pidfd >= 0)
		close(h->pidfd);
	if (h->stops >= 0)
		close(h->stops);
	sigprocmask(SIG_SETMASK, &h->others, NULL);
	g_free(h);
}
