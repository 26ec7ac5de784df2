/* SPDX-License-Identifier: MIT */
/* Which QEMU has which switch; the header says what they mean. */
#include "osdep.h"
#include "era.h"

const LoopEra loop_eras[] = {
	{
		.name = "2.11",
		.summary = "the BQL is kept around polls that do not sleep; the spin warning",
		.spin_warning = true,
	},
	{
		.name = "8.2",
		.summary = "the BQL is dropped around every poll; a GPollFD for each handler",
		.bql_dropped_always = true,
	},
	{
		.name = "10.0",
		.summary = "busy polling is adapted for each handler",
		.bql_dropped_always = true,
		.poll_per_handler = true,
	},
	{
		.name = "10.2",
		.summary = "io_uring; GLib polls one fd for a whole context",
		.bql_dropped_always = true,
		.poll_per_handler = true,
		.fd_tag = true,
		.io_uring_default = true,
	},
	{},
};

struct LoopSettings loop_settings = {
	.iothread_poll_max_ns = 32768,
};

const LoopEra *loop_era_by_name(const char *name)
{
	for (const LoopEra *era = loop_eras; era->name; era++) {
		if (g_str_equal(era->name, name))
			return era;
	}
	return NULL;
}

const LoopEra *loop_era_today(void)
{
	return &loop_eras[ARRAY_SIZE(loop_eras) - 2];
}
