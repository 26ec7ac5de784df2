/* SPDX-License-Identifier: MIT */
/* The memory of a ring of events; the header says how it is used. */
#include "osdep.h"
#include <sys/mman.h>
#include "record-ring.h"

/*
 * The same pages twice in a row, or NULL.  mremap() of no bytes of a shared mapping maps it once
 * more: so it takes no descriptor, whose number the program would miss.
 */
static char *map_twice(size_t size)
{
	char *bytes = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (bytes == MAP_FAILED)
		return NULL;
	if (mmap(bytes, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) != MAP_FAILED &&
	    mremap(bytes, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, bytes + size) != MAP_FAILED)
		return bytes;
	munmap(bytes, 2 * size);
	return NULL;
}

int record_ring_init(RecordRing *ring, size_t size)
{
	size_t rounded = getpagesize();
	char *bytes;

	while (rounded < size)
		rounded *= 2;
	bytes = map_twice(rounded);
	if (!bytes)
		return -ENOMEM;
	*ring = (RecordRing){ .bytes = bytes, .size = rounded };
	return 0;
}

void record_ring_destroy(RecordRing *ring)
{
	munmap(ring->bytes, 2 * ring->size);
}
