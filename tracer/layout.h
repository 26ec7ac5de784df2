/* SPDX-License-Identifier: MIT */
/*
 * A layout: where the fields of QEMU's event loop structures lie in one build of it.
 *
 * It comes from debug information (layout-dwarf.c) or is inferred from a running process or a core
 * (infer.c), and every field carries the evidence it was believed on. A field that is not proven
 * has the offset LAYOUT_UNKNOWN: whatever needs it says "unknown". Offsets are in bytes from the
 * start of the structure; globals are link addresses.
 */
#ifndef TRACER_LAYOUT_H
#define TRACER_LAYOUT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "tracer/image.h"

#define LAYOUT_UNKNOWN (-1)

/* The fields, by structure: identifier, structure, path of the field, its size in bytes. */
#define LAYOUT_FIELDS(F)                                                                           \
	F(CTX_HANDLERS, AioContext, "aio_handlers.lh_first", 8)                                    \
	F(CTX_NOTIFY_ME, AioContext, "notify_me", 4)                                               \
	F(CTX_BH_LIST, AioContext, "bh_list.slh_first", 8)                                         \
	F(CTX_SLICES, AioContext, "bh_slice_list.sqh_first", 8)                                    \
	F(CTX_NOTIFIED, AioContext, "notified", 1)                                                 \
	F(CTX_NOTIFIER_RFD, AioContext, "notifier.rfd", 4)                                         \
	F(CTX_NOTIFIER_WFD, AioContext, "notifier.wfd", 4)                                         \
	F(CTX_TLG, AioContext, "tlg.tl", 32)                                                       \
	F(CTX_POLL_HANDLERS, AioContext, "poll_aio_handlers.lh_first", 8)                          \
	F(CTX_FDMON_OPS, AioContext, "fdmon_ops", 8)                                               \
	F(NODE_FD, AioHandler, "pfd.fd", 4)                                                        \
	F(NODE_EVENTS, AioHandler, "pfd.events", 2)                                                \
	F(NODE_REVENTS, AioHandler, "pfd.revents", 2)                                              \
	F(NODE_IO_READ, AioHandler, "io_read", 8)                                                  \
	F(NODE_IO_WRITE, AioHandler, "io_write", 8)                                                \
	F(NODE_IO_POLL, AioHandler, "io_poll", 8)                                                  \
	F(NODE_IO_POLL_READY, AioHandler, "io_poll_ready", 8)                                      \
	F(NODE_IO_POLL_BEGIN, AioHandler, "io_poll_begin", 8)                                      \
	F(NODE_IO_POLL_END, AioHandler, "io_poll_end", 8)                                          \
	F(NODE_OPAQUE, AioHandler, "opaque", 8)                                                    \
	F(NODE_NEXT, AioHandler, "node.le_next", 8)                                                \
	F(NODE_PREV, AioHandler, "node.le_prev", 8)                                                \
	F(NODE_DELETED_PREV, AioHandler, "node_deleted.le_prev", 8)                                \
	F(NODE_POLL_PREV, AioHandler, "node_poll.le_prev", 8)                                      \
	F(BH_CTX, QEMUBH, "ctx", 8)                                                                \
	F(BH_NAME, QEMUBH, "name", 8)                                                              \
	F(BH_CB, QEMUBH, "cb", 8)                                                                  \
	F(BH_OPAQUE, QEMUBH, "opaque", 8)                                                          \
	F(BH_NEXT, QEMUBH, "next.sle_next", 8)                                                     \
	F(BH_FLAGS, QEMUBH, "flags", 4)                                                            \
	F(CTX_FIRST_BH, AioContext, "first_bh", 8) /* this and the next five: before 5.0 */        \
	F(NODE_DELETED, AioHandler, "deleted", 4)                                                  \
	F(BH_OLD_NEXT, QEMUBH, "next", 8)                                                          \
	F(BH_OLD_SCHEDULED, QEMUBH, "scheduled", 1)                                                \
	F(BH_OLD_IDLE, QEMUBH, "idle", 1)                                                          \
	F(BH_OLD_DELETED, QEMUBH, "deleted", 1)                                                    \
	F(SLICE_LIST, BHListSlice, "bh_list.slh_first", 8)                                         \
	F(SLICE_NEXT, BHListSlice, "next.sqe_next", 8)                                             \
	F(TL_CLOCK, QEMUTimerList, "clock", 8)                                                     \
	F(TL_ACTIVE, QEMUTimerList, "active_timers", 8)                                            \
	F(TL_NEXT, QEMUTimerList, "list.le_next", 8)                                               \
	F(TL_NOTIFY_CB, QEMUTimerList, "notify_cb", 8)                                             \
	F(TL_NOTIFY_OPAQUE, QEMUTimerList, "notify_opaque", 8)                                     \
	F(CLOCK_LISTS, QEMUClock, "timerlists.lh_first", 8)                                        \
	F(CLOCK_TYPE, QEMUClock, "type", 4)                                                        \
	F(CLOCK_ENABLED, QEMUClock, "enabled", 1)                                                  \
	F(TIMER_EXPIRE, QEMUTimer, "expire_time", 8)                                               \
	F(TIMER_LIST, QEMUTimer, "timer_list", 8)                                                  \
	F(TIMER_CB, QEMUTimer, "cb", 8)                                                            \
	F(TIMER_OPAQUE, QEMUTimer, "opaque", 8)                                                    \
	F(TIMER_NEXT, QEMUTimer, "next", 8)                                                        \
	F(TIMER_SCALE, QEMUTimer, "scale", 4)                                                      \
	F(IOTHREAD_CTX, IOThread, "ctx", 8)                                                        \
	F(IOTHREAD_ID, IOThread, "id", 8)                                                          \
	F(GCTX_SOURCES, GMainContext, "source_lists", 8)                                           \
	F(GSL_HEAD, GSourceList, "head", 8)                                                        \
	F(GCTX_WAKEUP, GMainContext, "wake_up_rec.fd", 4)                                          \
	F(GCTX_OWNER, GMainContext, "owner", 8)                                                    \
	F(PRIV_READY_TIME, GSourcePrivate, "ready_time", 8)

enum layout_field {
#define F(id, type, path, size) id,
	LAYOUT_FIELDS(F)
#undef F
		N_LAYOUT_FIELDS
};

/* The globals a layout names: link address of the variable. */
enum layout_global { GLOBAL_QEMU_CTX, GLOBAL_IOHANDLER_CTX, GLOBAL_SOURCE_FUNCS, N_LAYOUT_GLOBALS };

/* The structures whose size a layout may know. */
enum layout_type { TYPE_CTX, TYPE_NODE, N_LAYOUT_TYPES };

enum layout_source { LAYOUT_INFERRED, LAYOUT_DWARF };

struct layout {
	enum layout_source source;
	char exe[256];
	char build_id[41];
	int32_t off[N_LAYOUT_FIELDS];
	uint64_t global[N_LAYOUT_GLOBALS]; /* 0: unknown */
	uint32_t size[N_LAYOUT_TYPES];	   /* 0: unknown */
	char *proof[N_LAYOUT_FIELDS]; /* evidence for the field, or why it is unknown; or NULL */
	GPtrArray *notes;	      /* of char *: proofs that are not of one field */
	/* Where libglib keeps its contexts (run addresses; 0: unknown): of one process, not saved.
	 */
	struct {
		bool looked;
		uint64_t default_context, list;
	} glib;
};

struct layout *layout_new(enum layout_source source, const struct image *program);
void layout_free(struct layout *l);

/* Believe a field, or say why it is unknown; the text is kept. */
void layout_set(struct layout *l, enum layout_field f, int32_t off, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void layout_note(struct layout *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Does it know an AioContext? Else it is of a program that is no QEMU, with GLib's part only. */
bool layout_is_qemu(const struct layout *l);
/* Is the field of a structure of GLib's? */
bool layout_is_glib(enum layout_field f);

const char *layout_field_type(enum layout_field f);
const char *layout_field_path(enum layout_field f);
uint32_t layout_field_size(enum layout_field f);
const char *layout_global_name(enum layout_global g);
const char *layout_source_name(enum layout_source source);

/*
 * A field of a structure that was copied to @bytes: its value, zero-extended. Only for known fields
 * that lie within @size: otherwise 0.
 */
uint64_t layout_get(const struct layout *l, enum layout_field f, const void *bytes, size_t size);
/* The length of a copy of a structure that holds every known field of its type. */
size_t layout_extent(const struct layout *l, const char *type);

/* As JSON (one object; the caller owns the reference), and back; -EINVAL names what is wrong. */
json_t *layout_to_json(const struct layout *l);
int layout_from_json(const json_t *json, const struct image *program, struct layout **ret,
		     struct failure *why);

/*
 * As BTF in the file @path, for bpf programs with CO-RE accesses to these structures (libbpf's
 * btf_custom_path). Unknown fields are left out.
 */
int layout_write_btf(const struct layout *l, const char *path, struct failure *why);

/*
 * The layout of @program from its debug information. -ENOENT if it has none that knows AioContext.
 */
int layout_from_dwarf(const struct image *program, struct layout **ret, struct failure *why);

#endif
