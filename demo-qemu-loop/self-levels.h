/* SPDX-License-Identifier: MIT */
/*
 * What lies in descriptors that are ready all the time, for a program that records itself.  In the
 * writer thread only, which has a table of descriptors of its own.
 */
#ifndef DEMO_SELF_LEVELS_H
#define DEMO_SELF_LEVELS_H

#include <stdbool.h>
#include <stdint.h>
#include "trace/loop-table.h"

/* The thread found @fd ready. */
void self_level_note(uint32_t tid, int fd);

/*
 * To be called often, at @now_ns: the next one that has been ready again and again since the last
 * look.  False: no more, and counting begins anew.
 */
bool self_level_next(uint64_t now_ns, struct loop_fd_level *ret);

#endif
