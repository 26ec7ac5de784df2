// SPDX-License-Identifier: MIT
/*
 * A leaf function with a probe in it, twice: as it is compiled (a nop), and as it is when a tracer
 * has put a call of five bytes in the nop's place.    cc -O2 -o redzone redzone.c && ./redzone
 *
 * A function that calls nobody may keep its variables below the stack pointer, in the 128 bytes of
 * the red zone, which nothing else writes to. The compiler does not know that the nop becomes a
 * call, and a call writes its return address to exactly that place.
 */
#include <stdio.h>

#define NOP  "nopl 0(%rax, %rax, 1)\n"
#define CALL "call 1f\n jmp 2f\n 1: ret\n 2:\n"

#define LEAF(name, probe)                                                                          \
	__attribute__((noinline)) static unsigned long name(unsigned long a, unsigned long b)      \
	{                                                                                          \
		volatile unsigned long first = a, second = b;                                      \
                                                                                                   \
		__asm__ volatile(probe);                                                           \
		return first * 1000 + second;                                                      \
	}

LEAF(with_nop, NOP)
LEAF(with_call, CALL)

int main(void)
{
	printf("nop  %lu\n", with_nop(17, 4));
	printf("call %lu\n", with_call(17, 4));
	return 0;
}
