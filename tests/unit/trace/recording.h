/* SPDX-License-Identifier: MIT */
/* Known recordings: EACH events of every kind, with values that follow from kind, field and number,
 * so that whoever reads them can say exactly what has to be there. */
#ifndef RECORDING_H
#define RECORDING_H

#include "trace/ctf-reader.h"
#include "trace/ctf-writer.h"

#define EACH	 23
#define THREADS	 3
#define FIRST_NS 1000000000ULL

union recording_event {
	struct loop_event h;
	char bytes[CTF_EVENT_MAX];
};

/* Event number n of a kind; tests/unit/trace/test_babeltrace2.py has the same rule. */
void recording_fill(union recording_event *event, const struct loop_event_desc *desc,
		    unsigned int n);

/* How many events recording_write writes. */
unsigned int recording_total(void);

/* All of them, dealt to THREADS threads, 10 ns apart.  Stops at the first error. */
int recording_write(struct ctf_writer *writer);

/* Read to the end: the error met, or 0; and how many events there were. */
int recording_count(const char *path, uint64_t *ret_events, struct ctf_reader_stats *ret_stats);

/* A new directory under TMPDIR, and removing one with its files. */
char *recording_dir(void);
void recording_remove(char *path);

#endif
