/* SPDX-License-Identifier: MIT */
/*
 * What the rows of a report in JSON are made of: numbers, names, addresses, durations. See
 * report-json.c for what they mean.
 */
#ifndef TRACER_REPORT_JSON_ROW_H
#define TRACER_REPORT_JSON_ROW_H

#include <jansson.h>

#include "tracer/report-model.h"

void row_put(json_t *row, const char *key, uint64_t value);
void row_put_text(json_t *row, const char *key, const char *text);
/* Takes the text. */
void row_put_words(json_t *row, const char *key, char *words);
void row_put_address(json_t *row, const char *key, uint64_t addr);
/* The environment is the recorder's text: it is made safe. */
void row_put_env(json_t *row, const char *key, const struct report *report, const char *name);
json_t *row_new(const char *type);
json_t *row_new_of_thread(const char *type, const struct report_thread *thread);
void row_put_ctx(json_t *row, const struct report *report, uint64_t ctx);
json_t *row_histogram(const struct report_hist *hist);
void row_put_hist(json_t *row, const struct report_hist *hist);
void row_put_calls(json_t *row, const struct report *report, const struct report_calls *calls);
json_t *row_calls(const struct report *report, const struct report_calls *calls);
json_t *row_texts(const GPtrArray *array);

#endif
