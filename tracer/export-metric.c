// SPDX-License-Identifier: MIT
/*
 * See export-metric.h. The bounds of histograms are powers of two nanoseconds less one: there the
 * report's own histograms are exact.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tracer/export-metric.h"

/* Octaves of a report_hist: the buckets end with those up to 1 us, 4 us, ... 17 s. */
#define FIRST_OCTAVE 6
#define LAST_OCTAVE  30
#define OCTAVE_STEP  2

/* A label's value: \, " and newlines are escaped. */
void metric_add_label(GString *labels, const char *name, const char *value)
{
	g_string_append_printf(labels, "%s%s=\"", labels->len ? "," : "", name);
	for (; value && *value; value++) {
		if (*value == '\\' || *value == '"')
			g_string_append_c(labels, '\\');
		if (*value == '\n')
			g_string_append(labels, "\\n");
		else
			g_string_append_c(labels, *value);
	}
	g_string_append_c(labels, '"');
}

/* Takes the value. */
void metric_add_words(GString *labels, const char *name, char *value)
{
	metric_add_label(labels, name, value);
	g_free(value);
}

/* All samples of a metric have to follow its head. */
void metric_head(bool prometheus, const char *name, const char *type, const char *help)
{
	bool counter = !strcmp(type, "counter");
	const char *suffix = counter && prometheus ? "_total" : "";

	printf("# HELP %s%s %s\n# TYPE %s%s %s\n", name, suffix, help, name, suffix, type);
}

void metric_count(const char *name, const char *labels, uint64_t value)
{
	printf("%s_total{%s} %" PRIu64 "\n", name, labels, value);
}

/* Seconds with all digits. */
void metric_put_seconds(uint64_t ns)
{
	printf("%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
}

void metric_histogram(const char *name, const char *labels, const struct report_hist *hist)
{
	uint64_t below = 0;

	for (unsigned int octave = 0; octave <= LAST_OCTAVE; octave++) {
		below += report_hist_octave(hist, octave);
		if (octave < FIRST_OCTAVE || (octave - FIRST_OCTAVE) % OCTAVE_STEP)
			continue;
		printf("%s_bucket{%s,le=\"", name, labels);
		metric_put_seconds(report_hist_from(octave + 1) - 1);
		printf("\"} %" PRIu64 "\n", below);
	}
	printf("%s_bucket{%s,le=\"+Inf\"} %" PRIu64 "\n", name, labels, hist->count);
	printf("%s_sum{%s} ", name, labels);
	metric_put_seconds(hist->total);
	printf("\n%s_count{%s} %" PRIu64 "\n", name, labels, hist->count);
}

/* "thread=...,KEY="VALUE"": to be freed. */
char *metric_with_label(const char *labels, const char *name, const char *value)
{
	GString *text = g_string_new(labels);

	metric_add_label(text, name, value);
	return g_string_free(text, FALSE);
}

void metric_count_with(const char *metric, const char *labels, const char *name, const char *value,
		       uint64_t n)
{
	char *all = metric_with_label(labels, name, value);

	metric_count(metric, all, n);
	g_free(all);
}
