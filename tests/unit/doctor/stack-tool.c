// SPDX-License-Identifier: MIT
/*
 * Prints the stack of a thread, a frame a line: stack-tool PID TID [COUNT]. The last line says
 * whether the chain is whole and how long the last of COUNT takes took. Exit codes as loopscope's.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tracer/attach.h"
#include "tracer/stack.h"

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void print_stack(struct images *images, const struct stack *stack, double us)
{
	for (int i = 0; i < stack->n; i++) {
		char *name = images_name(images, stack->frames[i].pc);
		char *function = images_name(images, stack->frames[i].function);

		printf("%d %s %s\n", i, function, name);
		g_free(name);
		g_free(function);
	}
	printf("%s state=%c nr=%ld us=%.0f\n", stack->whole ? "whole" : "cut", stack->thread.state,
	       stack->thread.nr, us);
}

int main(int argc, char **argv)
{
	struct failure why = { 0 };
	struct images *images = NULL;
	struct stacks *stacks = NULL;
	struct target *t = NULL;
	struct stack stack;
	double start = 0;
	int err;

	if (argc < 3)
		return EXIT_USAGE;
	attach_set_verbose(false);
	err = target_open_pid(atoi(argv[1]), &t, &why);
	if (!err)
		err = images_open(t, &images, &why);
	if (!err)
		err = stacks_open(t, images, &stacks, &why);
	for (int n = argc > 3 ? atoi(argv[3]) : 1; !err && n > 0; n--) {
		start = now_us();
		err = stacks_take(stacks, atoi(argv[2]), 1000, &stack, &why);
	}
	if (!err)
		print_stack(images, &stack, now_us() - start);
	else
		fprintf(stderr, "stack-tool: %s\n", why.text);
	stacks_close(stacks);
	images_close(images);
	target_close(t);
	return err ? failure_exit(err) : EXIT_FINE;
}
