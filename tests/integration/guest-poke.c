// SPDX-License-Identifier: MIT
/*
 * In a guest of the tests: writes a zero to an I/O port, again and again, as a driver gone wild
 * does. usage: poke PORT 1|2 [TIMES]     (of how many bytes; for ever without TIMES)
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>

int main(int argc, char **argv)
{
	unsigned short port;
	long times;

	if (argc < 3 || iopl(3)) {
		fprintf(stderr, "usage: poke PORT 1|2 [TIMES], as root\n");
		return 2;
	}
	port = strtoul(argv[1], NULL, 0);
	times = argc > 3 ? atol(argv[3]) : -1;
	for (long i = 0; times < 0 || i < times; i++) {
		if (argv[2][0] == '1')
			outb(0, port);
		else
			outw(0, port);
	}
	return 0;
}
