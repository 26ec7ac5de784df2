// SPDX-License-Identifier: MIT
/* Fixed words, numbers and arrays of a report: see report-words.h. */
#include <string.h>
#include <time.h>

#include "tracer/report-words.h"
#include "tracer/text.h"

/* --- what there is, in order ------------------------------------------------------------------ */

static int thread_rank(const struct report_thread *thread)
{
	if (thread->loop_kind == LOOP_LOOP_KIND_MAIN_LOOP_WAIT)
		return 0;
	return report_is_loop(thread) ? 1 : 2;
}

static int by_rank(const void *a, const void *b)
{
	const struct report_thread *x = *(void *const *)a, *y = *(void *const *)b;
	int rank = thread_rank(x) - thread_rank(y);

	return rank ? rank : (x->tid > y->tid) - (x->tid < y->tid);
}

static int by_key(const struct report_key *a, const struct report_key *b)
{
	const uint64_t x[] = { a->a, a->b, a->c, a->d }, y[] = { b->a, b->b, b->c, b->d };

	for (size_t i = 0; i < G_N_ELEMENTS(x); i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

/* Every entry begins with its key. */
static int greatest_first(const void *a, uint64_t x, const void *b, uint64_t y)
{
	if (x != y)
		return x > y ? -1 : 1;
	return by_key(a, b);
}

#define GREATEST_FIRST(type, member)                                                               \
	const struct type *x = *(void *const *)a, *y = *(void *const *)b;                          \
                                                                                                   \
	return greatest_first(x, x->member, y, y->member)

int report_by_address(const void *a, const void *b)
{
	return by_key(*(void *const *)a, *(void *const *)b);
}

int report_by_total(const void *a, const void *b)
{
	GREATEST_FIRST(report_callback, calls.ns.total);
}

int report_by_waits(const void *a, const void *b)
{
	GREATEST_FIRST(report_chooser, count);
}

int report_by_wakeups(const void *a, const void *b)
{
	GREATEST_FIRST(report_wakeup, count);
}

int report_by_nested(const void *a, const void *b)
{
	GREATEST_FIRST(report_nested, calls.ns.total);
}

int report_by_wait(const void *a, const void *b)
{
	GREATEST_FIRST(report_bql, wait.ns.total);
}

GPtrArray *report_sorted(const struct report_map *map, GCompareFunc compare)
{
	GPtrArray *array = g_ptr_array_new();
	void *entry;

	report_each (map, entry)
		g_ptr_array_add(array, entry);
	g_ptr_array_sort(array, compare);
	return array;
}

GPtrArray *report_threads(const struct report *report)
{
	GPtrArray *array = report_sorted(&report->threads, by_rank);

	for (uint32_t i = array->len; i-- > 0;)
		if (!report_is_told((struct report_thread *)array->pdata[i]))
			g_ptr_array_remove_index(array, i);
	return array;
}

void report_span(const struct report *report, uint64_t *ret_first_ns, uint64_t *ret_end_ns)
{
	uint64_t first_ns = report->end_ns, end_ns = report->begin_ns;
	const struct report_thread *thread;

	report_each (&report->threads, thread) {
		if (!report_is_told(thread))
			continue;
		first_ns = MIN(first_ns, thread->first_ns);
		end_ns = MAX(end_ns, thread->end_ns);
	}
	*ret_first_ns = MIN(first_ns, end_ns);
	*ret_end_ns = end_ns;
}

uint64_t report_callbacks_ns(const struct report_thread *thread)
{
	uint64_t ns = 0;

	for (int kind = 0; kind <= REPORT_NOTIFIER; kind++)
		ns += thread->time_ns[kind];
	return ns;
}

uint64_t report_other_ns(const struct report_thread *thread)
{
	uint64_t known = thread->unknown_ns;

	for (int kind = 0; kind < REPORT_KINDS; kind++)
		if (kind != REPORT_ITERATION && kind != REPORT_AIO_POLL && kind != REPORT_AIO_WAIT)
			known += thread->time_ns[kind];
	return thread->end_ns - thread->first_ns - known;
}

/* --- words of the table and of ours ----------------------------------------------------------- */

const char *report_kind_name(enum report_kind kind)
{
	static const char *const names[REPORT_KINDS] = {
		[REPORT_HANDLER] = "handler",
		[REPORT_BH] = "BH",
		[REPORT_TIMER] = "timer",
		[REPORT_SOURCE] = "GSource",
		[REPORT_NOTIFIER] = "poll notifier",
		[REPORT_ITERATION] = "iteration",
		[REPORT_DISPATCH] = "dispatch",
		[REPORT_POLL] = "poll",
		[REPORT_NESTED_POLL] = "poll",
		[REPORT_AIO_POLL] = "aio_poll",
		[REPORT_AIO_WAIT] = "AIO_WAIT_WHILE",
		[REPORT_BUSY_POLL] = "busy polling",
		[REPORT_BQL_WAIT] = "BQL",
	};

	return names[kind];
}

const char *report_cause_name(enum report_cause cause)
{
	static const char *const names[REPORT_CAUSES] = {
		[REPORT_BY_FD] = "fd",		 [REPORT_BY_NOTIFY] = "notify",
		[REPORT_BY_TIMEOUT] = "timeout", [REPORT_BY_NOTHING] = "no_sleep",
		[REPORT_BY_ERROR] = "error",	 [REPORT_BY_UNKNOWN] = "unknown_fd",
	};

	return names[cause];
}

const char *report_range_name(enum report_range range)
{
	static const char *const names[REPORT_RANGES] = {
		[REPORT_NO_WAIT] = "0",		 [REPORT_BELOW_1_MS] = "<1 ms",
		[REPORT_BELOW_10_MS] = "<10 ms", [REPORT_BELOW_100_MS] = "<100 ms",
		[REPORT_BELOW_1_S] = "<1 s",	 [REPORT_FROM_1_S] = ">=1 s",
		[REPORT_FOR_EVER] = "for ever",	 [REPORT_RANGE_UNKNOWN] = "unknown",
	};

	return names[range];
}

const char *report_enum_name(unsigned int id, const char *field, uint32_t value)
{
	const struct loop_event_desc *desc = loop_event_desc(id);

	for (unsigned int i = 0; desc && value && i < desc->n_fields; i++)
		if (!strcmp(desc->fields[i].name, field))
			return loop_field_name(&desc->fields[i], value);
	return NULL;
}

/* --- numbers ---------------------------------------------------------------------------------- */

char *report_duration(uint64_t ns)
{
	static const struct {
		double ns;
		const char *name;
	} units[] = { { 1, "ns" }, { 1e3, "us" }, { 1e6, "ms" }, { 1e9, "s" }, { 3.6e12, "h" } };
	size_t unit = 0;
	double value;

	if (!ns)
		return g_strdup("0");
	/* A step later for hours: "5400 s" says more than "1.5 h". */
	while (unit + 1 < G_N_ELEMENTS(units) &&
	       (double)ns >= units[unit + 1].ns * (unit == 3 ? 2 : 0.9995))
		unit++;
	value = (double)ns / units[unit].ns;
	return g_strdup_printf("%.*f %s",
			       !unit || value >= 99.95 ? 0
			       : value >= 9.995	       ? 1
						       : 2,
			       value, units[unit].name);
}

char *report_number(uint64_t number)
{
	char digits[24];
	int n = g_snprintf(digits, sizeof(digits), "%lu", (unsigned long)number);
	GString *text = g_string_new(NULL);

	for (int i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			g_string_append_c(text, ',');
		g_string_append_c(text, digits[i]);
	}
	return g_string_free(text, FALSE);
}

char *report_env(const struct report *report, const char *key)
{
	const char *value = ctf_reader_env(report->reader, key);
	char *safe = value && value[0] ? g_strdup(value) : NULL;

	if (safe)
		text_make_safe(safe);
	return safe;
}

char *report_begin_text(const struct report *report, bool utc)
{
	int64_t ns = (int64_t)(report->begin_ns + (uint64_t)ctf_reader_epoch_ns(report->reader));
	time_t seconds = ns / 1000000000;
	char text[64];
	struct tm tm;

	if (ns < 0 || !(utc ? gmtime_r(&seconds, &tm) : localtime_r(&seconds, &tm)))
		return g_strdup("an unknown time");
	strftime(text, sizeof(text), utc ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);
	if (!utc)
		return g_strdup(text);
	return g_strdup_printf("%s.%03dZ", text, (int)(ns / 1000000 % 1000));
}
