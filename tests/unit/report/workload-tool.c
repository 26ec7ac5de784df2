/* SPDX-License-Identifier: MIT */
/* Write a known recording for tests and benches from outside:  workload-tool NAME DIR [EVENTS] */
#include <stdio.h>
#include <stdlib.h>

#include "workload.h"

int main(int argc, char **argv)
{
	uint64_t events = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;

	if (argc < 3 || !workload_write(argv[1], argv[2], events)) {
		fputs("usage: workload-tool known|queues|hostile|many DIR [EVENTS]\n", stderr);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
