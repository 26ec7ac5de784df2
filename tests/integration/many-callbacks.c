// SPDX-License-Identifier: MIT
/*
 * A program with the loop's probes that has more callbacks than top has room for: for each line it
 * reads, every one of the N callbacks of its argument is called once, as the probes tell it. It
 * answers with a line.
 */
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "trace/loop_probes.h"

static const char ctx, node;

static void call_each(uintptr_t n)
{
	for (uintptr_t i = 0; i < n; i++) {
		const void *cb = (const void *)((i + 1) << 12); /* of nobody's code */

		probe_handler_begin(&ctx, &node, 0, 1, cb, NULL);
		probe_handler_end(&ctx, &node, 0, 1, cb);
	}
}

int main(int argc, char **argv)
{
	uintptr_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
	struct pollfd in = { .fd = 0, .events = POLLIN };
	char line[16];

	setvbuf(stdin, NULL, _IONBF, 0);
	puts("ready");
	for (;;) {
		fflush(stdout);
		probe_poll_enter(&ctx, 1, -1, 1, 1, 0);
		poll(&in, 1, -1);
		probe_poll_exit(&ctx, 1);
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		call_each(n);
		puts("done");
	}
}
