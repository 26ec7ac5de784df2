/* SPDX-License-Identifier: MIT */
/* The events of bench selfrec as LTTng-UST's, with the same arguments. */
/* clang-format off */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER loop
#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "tests/bench/lttng-loop.h"

#if !defined(LTTNG_LOOP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define LTTNG_LOOP_H
#include <stdint.h>
#include <lttng/tracepoint.h>

#define LOOP_PTR(name) lttng_ust_field_integer_hex(uint64_t, name, (uintptr_t)(name))
#define LOOP_U32(name) lttng_ust_field_integer(uint32_t, name, name)
#define LOOP_S32(name) lttng_ust_field_integer(int32_t, name, name)
#define LOOP_S64(name) lttng_ust_field_integer(int64_t, name, name)

LTTNG_UST_TRACEPOINT_EVENT(loop, iteration_begin,
	LTTNG_UST_TP_ARGS(const void *, ctx, uint32_t, kind, uint32_t, blocking),
	LTTNG_UST_TP_FIELDS(LOOP_PTR(ctx) LOOP_U32(kind) LOOP_U32(blocking)))
LTTNG_UST_TRACEPOINT_EVENT(loop, iteration_end,
	LTTNG_UST_TP_ARGS(const void *, ctx, uint32_t, kind, uint32_t, progress),
	LTTNG_UST_TP_FIELDS(LOOP_PTR(ctx) LOOP_U32(kind) LOOP_U32(progress)))
LTTNG_UST_TRACEPOINT_EVENT(loop, timeout_chosen,
	LTTNG_UST_TP_ARGS(const void *, ctx, int64_t, timeout_ns, uint32_t, by, const void *, what,
			  const void *, cb),
	LTTNG_UST_TP_FIELDS(LOOP_PTR(ctx) LOOP_S64(timeout_ns) LOOP_U32(by) LOOP_PTR(what)
			    LOOP_PTR(cb)))
LTTNG_UST_TRACEPOINT_EVENT(loop, poll_enter,
	LTTNG_UST_TP_ARGS(const void *, ctx, uint32_t, n_fds, int64_t, timeout_ns, uint32_t, monitor,
			  uint32_t, depth, uint32_t, bql),
	LTTNG_UST_TP_FIELDS(LOOP_PTR(ctx) LOOP_U32(n_fds) LOOP_S64(timeout_ns) LOOP_U32(monitor)
			    LOOP_U32(depth) LOOP_U32(bql)))
LTTNG_UST_TRACEPOINT_EVENT(loop, poll_exit,
	LTTNG_UST_TP_ARGS(const void *, ctx, int32_t, ret),
	LTTNG_UST_TP_FIELDS(LOOP_PTR(ctx) LOOP_S32(ret)))
LTTNG_UST_TRACEPOINT_EVENT(loop, fd_ready,
	LTTNG_UST_TP_ARGS(const void *, ctx, int32_t, fd, uint32_t, events, uint32_t, revents),
	LTTNG_UST_TP_FIELDS(LOOP_PTR(ctx) LOOP_S32(fd) LOOP_U32(events) LOOP_U32(revents)))
LTTNG_UST_TRACEPOINT_EVENT(loop, handler_begin,
	LTTNG_UST_TP_ARGS(const void *, ctx, const void *, node, int32_t, fd, uint32_t, op,
			  const void *, cb, const void *, opaque),
	LTTNG_UST_TP_FIELDS(LOOP_PTR(ctx) LOOP_PTR(node) LOOP_S32(fd) LOOP_U32(op) LOOP_PTR(cb)
			    LOOP_PTR(opaque)))
LTTNG_UST_TRACEPOINT_EVENT(loop, handler_end,
	LTTNG_UST_TP_ARGS(const void *, ctx, const void *, node, int32_t, fd, uint32_t, op,
			  const void *, cb),
	LTTNG_UST_TP_FIELDS(LOOP_PTR(ctx) LOOP_PTR(node) LOOP_S32(fd) LOOP_U32(op) LOOP_PTR(cb)))

#endif
#include <lttng/tracepoint-event.h>
