/* SPDX-License-Identifier: MIT */
/*
 * What the fuzzers share. Each is one file, fuzz-NAME.c, that makes what it is given into a file, a
 * folder or /proc and has loopscope's own code read it; tests/fuzz/README.md tells how they are
 * run.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* What libFuzzer calls. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Send standard output, which is not what is looked at, to nowhere. */
void fuzz_be_quiet(void);

/* The path of a file in memory with these bytes; the same one each time. */
const char *fuzz_file(const uint8_t *data, size_t size);

/* Takes bytes from the front of the input; zeros when there are none left. */
struct fuzz_input {
	const uint8_t *data;
	size_t size;
};
uint8_t fuzz_u8(struct fuzz_input *in);
uint64_t fuzz_bytes(struct fuzz_input *in, size_t size); /* at most 8, little endian */

#endif
