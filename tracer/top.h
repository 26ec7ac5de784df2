/* SPDX-License-Identifier: MIT */
/*
 * Watching a process's loops live: which callbacks run, how often and for how long, and where the
 * time of each thread goes. The kernel sums up (bpf/top.bpf.c), so that a busy loop sends no more
 * than an idle one; here the sums are read, once for each interval, and become rows.
 *
 * top-sites.c chooses the probes, top-open.c attaches them, top-follow.c learns callbacks;
 * top-read.c reads, top-rows.c sorts and filters, top-plain.c and top-screen.c show.
 */
#ifndef TRACER_TOP_H
#define TRACER_TOP_H

#include <linux/types.h>

#include "bpf/top.h"
#include "tracer/attach.h"
#include "tracer/overhead.h"
#include "tracer/session.h"

/* What is watched, and when: as much as the budget allows. */
enum top_mode {
	TOP_FULL,    /* every call */
	TOP_SAMPLED, /* every call in short windows; between them no probe is there */
	TOP_WAITS,   /* waits only, no callbacks; in windows too, if that has to be */
};

/* What a probe is for, the most important first. */
enum top_group {
	TOP_GROUP_WAITS,     /* poll boundaries */
	TOP_GROUP_CALLBACKS, /* their begins and ends */
	TOP_GROUP_BQL,
	TOP_GROUP_NEWS, /* timers that are armed, handlers that change: callbacks to be learned */
	TOP_GROUPS,
};

struct top_probe {
	struct site at;
	struct top_site means;
	enum top_group group;
};

struct top {
	struct session *s;
	struct top_bpf *skel;
	struct loops *loops;	/* the tables as they were last read; NULL without a layout */
	GPtrArray *probes;	/* struct top_probe *, by cookie */
	GPtrArray *attachments; /* struct attachment * */
	GHashTable *probed;    /* run address -> struct top_probe *, or NULL: it cannot be probed */
	GHashTable *notifiers; /* run addresses of the callbacks of contexts' own notifiers */
	size_t attached;       /* so many of the probes are, the first ones */
	bool usdt;	       /* the program carries probes itself */
	uint64_t changes;      /* of handlers, that were followed */
	int looks;	       /* so often the tables are to be looked at again */
	uint64_t look_ns;      /* not before then */
	uint64_t window_ns;    /* when the window was opened; 0: it is closed */
	int refused;	       /* probes that could not be placed */
	int stepped;	       /* probes the kernel has to single-step */
	int left_out;	       /* probes that an old kernel has no room for */
	/* top-budget.c */
	double budget; /* percent of a processor; 0: none */
	struct overhead_cost cost;
	enum top_mode mode;
	double full_percent;   /* what it would cost not to sample */
	double percent;	       /* what it does cost, about */
	uint64_t on_ns;	       /* for how long probes were there, the last time */
	uint64_t period_ns;    /* from window to window; 0: always one */
	uint64_t opened_ns;    /* before the probes were attached */
	uint64_t next_ns;      /* when something is to be looked at or done */
	uint64_t hits_then[2]; /* hits and those stepped when it was looked at last, and when */
	uint64_t looked_ns;
	/* top-read.c */
	GHashTable *threads; /* tid -> struct top_sum * */
	GHashTable *calls;   /* struct top_key -> struct top_count * */
	GHashTable *names;   /* address ^ name's address -> char * */
	uint64_t read_ns;    /* the last time */
	uint64_t began_ns;
	uint64_t seen_ns, seen_last_ns; /* how long windows were open; up to the last reading */
};

/* --- top-open.c: all return 0 or a negative errno --- */

/* One more copy of the program, to measure what it costs. */
int top_load_copy(pid_t pid, struct overhead_program *ret, struct failure *why);

/* Load the programs and choose the probes. The caller closes, also after a failure. */
int top_open(struct top *top, struct session *s, struct failure *why);
void top_close(struct top *top);

/* Attach the probes and begin to count; remove them, having read what was counted. */
int top_begin(struct top *top, struct failure *why);
void top_end(struct top *top);

/* --- top-follow.c --- */

/* Every some milliseconds: probe where calls come back to, and callbacks that are new. */
void top_follow(struct top *top);

/* --- top-budget.c --- */

/* Measure what a hit costs here. Without success there is no budget, and that is said. */
void top_budget_open(struct top *top, double percent);
/* Every some milliseconds: open and close windows so that the budget is kept. */
int top_budget_keep(struct top *top, struct failure *why);
/* In words, what is done and what is left out. To be freed. */
char *top_budget_words(const struct top *top);
const char *top_mode_name(enum top_mode mode);

/* --- top-read.c, top-read-threads.c --- */

/* One thread in an interval. Shares are of the time in which its state was known. */
struct top_loop {
	pid_t tid;
	char *name;   /* "main loop", "IOThread io0", or the thread's own */
	bool is_loop; /* it has waited, or it is known to be a loop */
	bool known;   /* its state was known for some of the time */
	uint64_t iterations;
	uint64_t by_fd, by_timeout, by_signal, no_wait; /* what ended its waits */
	uint64_t bql_waits;
	double per_s;
	double wait, callbacks, bql, own; /* shares of its time, 0 to 1 */
};

/* A callback in an interval, on one thread. */
struct top_row {
	struct top_key key;
	char *name;
	const char *loop; /* the thread's name, of this view */
	uint64_t calls, timed, total_ns;
	uint64_t p50_ns, p99_ns, max_ns;
	uint64_t running_ns; /* it runs since then; 0: it does not */
	double per_s, share;
};

struct top_view {
	double seconds;		    /* the interval's length */
	double seen_seconds;	    /* in so much of it probes were there */
	GArray *loops;		    /* struct top_loop, by tid; the main thread first */
	GArray *rows;		    /* struct top_row */
	uint64_t calls, iterations; /* sums */
	struct top_lost lost;	    /* since the beginning */
	uint64_t missed;	    /* hits that the kernel did not run a program for */
	double hits, stepped;	    /* of probes, a second */
};

/* What happened since the last time; @total: since the beginning. */
void top_read(struct top *top, bool total, struct top_view *view);
void top_view_clear(struct top_view *view);
uint64_t top_lost_sum(const struct top_view *view);

void top_read_init(struct top *top);
void top_read_free(struct top *top);
/* A window ends: what is under way is taken up to now. */
void top_read_window_end(struct top *top);
/* All hits of probes so far, and those that were single-stepped. */
void top_read_hits(struct top *top, uint64_t hits[2]);
/* Was a window open since the last reading? */
bool top_has_news(const struct top *top);

/* --- top-rows.c --- */

enum top_sort {
	TOP_BY_TIME,
	TOP_BY_RATE,
	TOP_BY_P50,
	TOP_BY_P99,
	TOP_BY_MAX,
	TOP_BY_NAME,
	TOP_SORTS,
};

const char *top_sort_name(enum top_sort sort);
/* -1 if there is none of that name. */
int top_sort_of(const char *name);
void top_sort_rows(GArray *rows, enum top_sort sort);
/* Is @text, in any case, part of what is shown of @row? */
bool top_row_matches(const struct top_row *row, const char *text);
const char *top_kind_name(uint32_t kind);

/* A row that stays where it is on the screen, whatever it does. */
struct top_frozen {
	struct top_row row; /* as it was; its texts are this one's own */
	unsigned at;	    /* its place among the rows */
};

GArray *top_frozen_new(void); /* of struct top_frozen; g_array_free() frees the texts too */
/* Freeze @row at place @at, or let it go if it is frozen. */
void top_freeze(GArray *frozen, const struct top_row *row, unsigned at);
bool top_is_frozen(const GArray *frozen, const struct top_key *key);

/*
 * The rows as they are shown: sorted, those that @filter finds ("": all), and the frozen ones in
 * their places, without numbers if they did nothing. A row's texts stay those of @rows or @frozen.
 */
GArray *top_arrange(const GArray *rows, enum top_sort sort, const char *filter,
		    const GArray *frozen);

/* The value that @per_mille of @n in the histogram are not above: at most a quarter too high. */
uint64_t top_hist_quantile(const uint64_t *hist, uint64_t n, unsigned per_mille, uint64_t max);
uint64_t top_hist_edge(unsigned bucket);

/* --- top-text.c: what people see, line by line, in a terminal or not --- */

enum top_style { TOP_PLAIN, TOP_HEAD, TOP_LOSS, TOP_HOT };

struct top_line {
	char *text; /* safe, at most as wide as was asked for */
	enum top_style style;
	int row; /* the number of the row it shows; -1: none */
};

/* What was seen in how much of the time, what it cost, what was lost: one line each. */
void top_add_status(GArray *lines, const struct top *top, const struct top_view *view, int width);
void top_add_loops(GArray *lines, const struct top_view *view, int width);
void top_add_rows(GArray *lines, const struct top_view *view, int width);
GArray *top_lines_new(void); /* of struct top_line; g_array_free() frees the texts too */
/* "512ns", "1.23ms", "97.1s": at most 6 characters; "-" for 0. */
void top_format_time(char text[8], uint64_t ns);

/* --- top-screen.c: the live view, by ncurses --- */

struct top_screen;

/* NULL where there is no terminal to draw on. */
struct top_screen *top_screen_open(const struct top *top);
void top_screen_close(struct top_screen *screen);
/* Does it want what was summed up since the beginning, not of an interval? */
bool top_screen_wants_total(const struct top_screen *screen);
/* Show @view; the screen owns what is in it then. */
void top_screen_show(struct top_screen *screen, struct top_view *view);
/* Do what was typed; true to end. */
bool top_screen_keys(struct top_screen *screen);

/* --- top-json.c --- */

void top_print_json(const struct top *top, const struct top_view *view);
void top_print_total_json(const struct top *top, const struct top_view *view);

#endif
