// SPDX-License-Identifier: MIT
/* The values of options, from text. See options.h. */
#include <errno.h>
#include <string.h>

#include "tracer/options.h"
#include "tracer/top.h"

int parse_pid(const char *text, const char *what, pid_t *ret, struct failure *why)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end || value <= 0 || value > INT32_MAX)
		return fail(why, -EINVAL, "%s takes a number, not \"%s\"", what, text);
	*ret = (pid_t)value;
	return 0;
}

int parse_way(const char *text, struct options *o, struct failure *why)
{
	for (int way = READ_MEM; way <= READ_PROBE; way++) {
		if (strcmp(text, read_way_name(way)))
			continue;
		o->way = way;
		o->way_given = true;
		return 0;
	}
	return fail(why, -EINVAL, "--via takes mem, iter or probe, not \"%s\"", text);
}

const char *const export_format_names[EXPORT_FORMATS] = {
	[EXPORT_TEXT] = "text",
	[EXPORT_NDJSON] = "ndjson",
	[EXPORT_CSV] = "csv",
	[EXPORT_PFTRACE] = "pftrace",
	[EXPORT_SPEEDSCOPE] = "speedscope",
	[EXPORT_OPENMETRICS] = "openmetrics",
	[EXPORT_PROMETHEUS] = "prometheus",
};

int parse_format(const char *text, struct options *o, struct failure *why)
{
	for (int format = 0; format < EXPORT_FORMATS; format++) {
		if (strcmp(text, export_format_names[format]))
			continue;
		o->format = format;
		return 0;
	}
	return fail(why, -EINVAL,
		    "--to takes text, ndjson, csv, pftrace, speedscope, openmetrics or "
		    "prometheus, not \"%s\"",
		    text);
}

int parse_seconds(const char *what, const char *text, int *ret_ms, struct failure *why)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !(seconds > 0 && seconds <= 86400))
		return fail(why, -EINVAL, "%s takes seconds, not \"%s\"", what, text);
	*ret_ms = (int)(seconds * 1000);
	return 0;
}

/* "3", "0.5", "none" */
int parse_percent(const char *text, double *ret, struct failure *why)
{
	char *end;
	double percent = strtod(text, &end);

	if (!strcmp(text, "none"))
		percent = 0;
	else if (end == text || *end || !(percent >= 0.1 && percent <= 100))
		return fail(why, -EINVAL,
			    "--overhead takes a percentage from 0.1 to 100, or none, not \"%s\"",
			    text);
	*ret = percent;
	return 0;
}

int parse_sort(const char *text, struct options *o, struct failure *why)
{
	int sort = top_sort_of(text);

	if (sort < 0)
		return fail(why, -EINVAL,
			    "--sort takes time, rate, p50, p99, max or name, not \"%s\"", text);
	o->sort = sort;
	return 0;
}

/* "10ms", "0.5s" */
int parse_min(const char *what, const char *text, int *ret_ms, struct failure *why)
{
	char *unit;
	double time = strtod(text, &unit);

	if (!strcmp(unit, "s"))
		time *= 1000;
	if (unit == text || (strcmp(unit, "s") && strcmp(unit, "ms")) ||
	    !(time >= 1 && time <= 3600000))
		return fail(why, -EINVAL, "%s takes a time such as 10ms or 0.5s, not \"%s\"", what,
			    text);
	*ret_ms = (int)time;
	return 0;
}

/* "4096", "64K", "16M" */
int parse_size(const char *text, size_t *ret, struct failure *why)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);
	int shift = *end == 'K' ? 10 : *end == 'M' ? 20 : 0;

	if (end == text || (*end && (!shift || end[1])) || !value || value > (1ULL << 30) >> shift)
		return fail(why, -EINVAL, "--ring takes a size such as 64K or 16M, not \"%s\"",
			    text);
	*ret = value << shift;
	return 0;
}
