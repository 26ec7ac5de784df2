// SPDX-License-Identifier: MIT
/* See export-spool.h. */
#include <errno.h>
#include <glib.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "tracer/export-spool.h"

struct spool {
	FILE *file;
	uint32_t blocks; /* given out */
	int err;	 /* the first */
};

struct spool *spool_new(void)
{
	struct spool *spool;
	FILE *file = tmpfile();

	if (!file)
		return NULL;
	spool = g_new0(struct spool, 1);
	spool->file = file;
	return spool;
}

void spool_free(struct spool *spool)
{
	if (!spool)
		return;
	fclose(spool->file);
	g_free(spool);
}

static off_t block_at(uint32_t number)
{
	return (off_t)number * SPOOL_BLOCK;
}

static void write_block(struct spool *spool, const struct spool_lane *lane)
{
	ssize_t n = pwrite(fileno(spool->file), &lane->block, sizeof(lane->block),
			   block_at(lane->current));

	if (n != sizeof(lane->block) && !spool->err)
		spool->err = n < 0 ? -errno : -ENOSPC;
}

/* A new block for the lane; the one that is full knows it. */
static void next_block(struct spool *spool, struct spool_lane *lane)
{
	uint32_t next = ++spool->blocks;

	if (!next) /* 16 TiB */
		spool->err = -EFBIG;
	if (lane->current) {
		lane->block.next = next;
		write_block(spool, lane);
	} else {
		lane->first = next;
	}
	lane->current = next;
	lane->block.used = lane->block.next = 0;
}

static void put(struct spool *spool, struct spool_lane *lane, const char *text, size_t n)
{
	while (n && !spool->err) {
		size_t room = sizeof(lane->block.text) - lane->block.used;

		if (!lane->current || !room) {
			next_block(spool, lane);
			continue;
		}
		room = MIN(room, n);
		memcpy(lane->block.text + lane->block.used, text, room);
		lane->block.used += room;
		text += room;
		n -= room;
	}
}

void spool_printf(struct spool *spool, struct spool_lane *lane, const char *fmt, ...)
{
	char text[256];
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (n < 0 || (size_t)n >= sizeof(text))
		spool->err = -EOVERFLOW;
	else
		put(spool, lane, text, (size_t)n);
}

int spool_copy(struct spool *spool, struct spool_lane *lane, FILE *to)
{
	uint32_t number = lane->first;
	struct spool_block block;

	if (lane->current && !spool->err)
		write_block(spool, lane);
	while (number && !spool->err) {
		ssize_t n = pread(fileno(spool->file), &block, sizeof(block), block_at(number));

		if (n != sizeof(block)) {
			spool->err = n < 0 ? -errno : -EIO;
			break;
		}
		fwrite(block.text, 1, block.used, to);
		number = block.next;
	}
	return spool->err;
}
