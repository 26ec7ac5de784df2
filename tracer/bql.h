/* SPDX-License-Identifier: MIT */
/*
 * Where the big QEMU lock (BQL) of a target lies: no symbol names it, but the exported functions
 * that take it and let go of it pass its address on.
 */
#ifndef TRACER_BQL_H
#define TRACER_BQL_H

#include "tracer/images.h"

/* The run address of its mutex; 0 unless taking and letting go agree on one. */
uint64_t bql_find(struct images *images);

#endif
