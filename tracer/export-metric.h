/* SPDX-License-Identifier: MIT */
/*
 * The lines that export-openmetrics.c writes: a metric's head, then its samples, each with labels
 * (KEY="VALUE",KEY="VALUE").
 */
#ifndef TRACER_EXPORT_METRIC_H
#define TRACER_EXPORT_METRIC_H

#include <glib.h>
#include <stdbool.h>

#include "tracer/report-hist.h"

void metric_add_label(GString *labels, const char *name, const char *value);
/* Takes the value. */
void metric_add_words(GString *labels, const char *name, char *value);
/* All samples of a metric have to follow its head. */
void metric_head(bool prometheus, const char *name, const char *type, const char *help);
void metric_count(const char *name, const char *labels, uint64_t value);
/* With all digits. */
void metric_put_seconds(uint64_t ns);
void metric_histogram(const char *name, const char *labels, const struct report_hist *hist);
/* @labels and one more; to be freed. */
char *metric_with_label(const char *labels, const char *name, const char *value);
void metric_count_with(const char *metric, const char *labels, const char *name, const char *value,
		       uint64_t n);

#endif
