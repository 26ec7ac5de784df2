// SPDX-License-Identifier: MIT
/*
 * A target that hits one function N times and prints what it computed.
 *
 * It prints "ready", waits for a line, calls hot() N times and prints the result: the same number
 * whether or not somebody traces it. hot() is a leaf that keeps values in the red zone below the
 * stack pointer, which a probe that rewrites code carelessly would destroy.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

__attribute__((noinline)) uint64_t hot(uint64_t a, uint64_t b);

__asm__(".text\n.globl hot\n.type hot, @function\nhot:\n.cfi_startproc\n"
	"	movq %rdi, -8(%rsp)\n"
	"	movq %rsi, -16(%rsp)\n"
	"	nop\n"
	"	movq -8(%rsp), %rax\n"
	"	movabsq $6364136223846793005, %rcx\n"
	"	imulq %rcx, %rax\n"
	"	addq -16(%rsp), %rax\n"
	"	ret\n.cfi_endproc\n.size hot, .-hot\n");

int main(int argc, char **argv)
{
	uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000, x = 1;
	struct timespec a, b;

	puts("ready");
	fflush(stdout);
	getchar();
	clock_gettime(CLOCK_MONOTONIC, &a);
	for (uint64_t i = 0; i < n; i++)
		x = hot(x, i);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%016lx %.9f\n", (unsigned long)x,
	       (double)(b.tv_sec - a.tv_sec) + (b.tv_nsec - a.tv_nsec) / 1e9);
	return 0;
}
