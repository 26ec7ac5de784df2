/* SPDX-License-Identifier: MIT */
/*
 * What every command begins with: the options, the target, its images and its layout.
 */
#ifndef TRACER_SESSION_H
#define TRACER_SESSION_H

#include <stdbool.h>

#include "tracer/fds.h"
#include "tracer/images.h"
#include "tracer/layout.h"
#include "tracer/loops.h"
#include "tracer/reader.h"
#include "tracer/target.h"

/* What export writes, named by options-values.c. */
enum export_format {
	EXPORT_TEXT,
	EXPORT_NDJSON,
	EXPORT_CSV,
	EXPORT_PFTRACE,
	EXPORT_SPEEDSCOPE,
	EXPORT_OPENMETRICS,
	EXPORT_PROMETHEUS,
	EXPORT_FORMATS,
};

struct options {
	pid_t pid;	     /* 0: none given */
	pid_t tid;	     /* 0: all */
	const char *path;    /* of a core; NULL: none */
	const char *sysroot; /* that the core's files are in; NULL: this system's */
	const char *context; /* what handlers is asked for; NULL: all */
	const char *layout;  /* a layout's file; NULL: find it out */
	const char *btf;     /* layout: also write BTF there; NULL: do not */
	enum read_way way;   /* where @way_given; else the best there is */
	bool way_given;
	int timeout_ms;	    /* how long READ_PROBE waits */
	int duration_ms;    /* record: how long; 0 until the target ends */
	int interval_ms;    /* top: 0: the default */
	int sort;	    /* top: enum top_sort */
	double overhead;    /* top, record: percent of a processor; 0: no limit, < 0: none given */
	int min_ms;	    /* doctor, stalls: what blocks for longer counts; 0: the default */
	size_t ring;	    /* record: bytes of the ring, 0: the default */
	const char *output; /* record: the directory; export, report: the file; NULL: none given */
	char *const *command; /* record: what to run, NULL-terminated; NULL: none */
	bool json, all, verbose;
	bool provenance;	 /* fds: watch who makes and registers descriptors first */
	bool events, histograms; /* report: show these too */
	bool html;		 /* report: a page for a browser */
	int watch_ms;		 /* export: again after so long; 0: once */
	const char *diff;	 /* report: the recording to compare with; NULL: none */
	const char *only; /* export, record: names of events with commas between; NULL: all */
	int on_stall_ms;  /* record: write only what led to one as long; 0: write all */
	bool stacks;	  /* record: of what blocks for longer than min_ms */
	bool at_end;	  /* record, with on_stall_ms: also what led to the end */
	enum export_format format; /* export */
};

struct session {
	const struct options *options;
	struct target *t;
	struct images *images;
	struct fds *fds;
	struct layout *l; /* after session_layout() */
};

/*
 * Open the target that the options name, or one process. The caller closes, also after a failure;
 * closing leaves an empty session.
 */
int session_open(struct session *s, const struct options *options, struct failure *why);
int session_open_process(struct session *s, const struct options *options, pid_t pid,
			 struct failure *why);
void session_close(struct session *s);

/*
 * Find the layout of the target's program: the file that was named, else its debug information,
 * else by inference. A layout that is inferred anew is completed by what an earlier run on the same
 * build could prove and this one could not (a timer, say, when none is armed); what is proven is
 * kept for later in $XDG_CACHE_HOME/loopscope (or ~/.cache/loopscope).
 */
int session_layout(struct session *s, struct failure *why);

/* session_open() and session_layout(): how most commands begin. */
int session_begin(struct session *s, const struct options *options, struct failure *why);

/*
 * Read the loops in the way that was asked for. Without one: by the iterator, or from memory where
 * the kernel or the privileges do not allow that; and where no loop was waiting just then (a busy
 * one hardly ever is), by a probe on its next poll.
 */
int session_read_loops(struct session *s, struct loops **ret, struct failure *why);

/* -ESRCH if the target has ended meanwhile: then what was read of it is not to be shown. */
int session_check_alive(const struct session *s, struct failure *why);

/* The commands: each returns an exit code, or a negative errno with @why set. */
int cmd_fds(const struct options *options, struct failure *why);
int cmd_handlers(const struct options *options, struct failure *why);
int cmd_layout(const struct options *options, struct failure *why);
int cmd_doctor(const struct options *options, struct failure *why);
int cmd_stalls(const struct options *options, struct failure *why);
int cmd_list(const struct options *options, struct failure *why);
int cmd_top(const struct options *options, struct failure *why);
int cmd_record(const struct options *options, struct failure *why);
int cmd_export(const struct options *options, struct failure *why);
int cmd_report(const struct options *options, struct failure *why);

#endif
