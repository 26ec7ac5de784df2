/* SPDX-License-Identifier: MIT */
/* Readers of /proc that are static in their files: proc-*.c have them and call them. */
#ifndef TESTS_FUZZ_PROC_PARTS_H
#define TESTS_FUZZ_PROC_PARTS_H

#include "tracer/target.h"

void fuzz_epoll(struct target *t);   /* fdinfo of an epoll descriptor */
void fuzz_own_tid(struct target *t); /* NSpid in status */

#endif
