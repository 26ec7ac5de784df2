/* SPDX-License-Identifier: MIT */
/*
 * The words for what was found: threads, callbacks, owners. Text and JSON use the same ones, and so
 * do the gdb commands. Every string returned is to be freed.
 */
#ifndef TRACER_DESCRIBE_H
#define TRACER_DESCRIBE_H

#include "tracer/loops.h"

/* "qemu-system-x86_64 (pid 4711)", for a core "core of qemu-system-x86_64 (pid 4711)". */
char *describe_target(const struct loops *loops);

/* What a thread is to the loops: "main loop", "IOThread io0", "GLib loop", or its own name. */
char *describe_role(const struct loops *loops, pid_t tid);

/* The poll set of @tid, or NULL if it was not waiting. */
const struct poll_set *find_set(const struct loops *loops, pid_t tid);

/* "main loop, thread 4711, sleeping in ppoll, timeout 970 ms". */
char *describe_thread(const struct loops *loops, pid_t tid);

/* The name of a function, or NULL for 0. */
char *describe_callback(const struct loops *loops, uint64_t addr);

/* "calls read, memset" for a function that has no name of its own; NULL for one that has. */
char *describe_calls(const struct loops *loops, uint64_t addr);

/* An argument: a symbol in an image, "context+0x24" inside a context, or a bare address. */
char *describe_opaque(const struct loops *loops, uint64_t addr);

/* What a context is for and what may drive it. Not to be freed. */
const char *describe_purpose(enum context_kind kind);

/* Why a virtio queue's notifier, known by its callback, is in this context; else NULL. */
const char *describe_why_here(enum context_kind kind, const char *callback);

/* "sleeping in ppoll" and so on. Not to be freed. */
const char *call_name(long nr);

#endif
