/* SPDX-License-Identifier: MIT */
/*
 * Text of many lanes that is written at once and read lane after lane: an unnamed temporary file of
 * blocks, each of one lane and chained to its next.
 *
 *	spool_printf(spool, &lane, ...);	as often as wanted, lanes in any order
 *	spool_copy(spool, &lane, stdout);	then each lane once
 *
 * A lane takes a block of memory, however long it gets. Errors are kept and told by spool_copy().
 */
#ifndef TRACER_EXPORT_SPOOL_H
#define TRACER_EXPORT_SPOOL_H

#include <stdint.h>
#include <stdio.h>

#define SPOOL_BLOCK 4096

struct spool_block {
	uint32_t used;
	uint32_t next; /* 0: none; block 0 is no lane's */
	char text[SPOOL_BLOCK - 8];
};

/* Begins zeroed; is to be freed with g_free() by whoever has allocated it. */
struct spool_lane {
	uint32_t first, current; /* block numbers, 0 before there is any text */
	struct spool_block block;
};

struct spool;
/* NULL and errno when there can be no temporary file. */
struct spool *spool_new(void);
void spool_free(struct spool *spool);
void spool_printf(struct spool *spool, struct spool_lane *lane, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* 0 or a negative errno. */
int spool_copy(struct spool *spool, struct spool_lane *lane, FILE *to);

#endif
