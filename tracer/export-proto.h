/* SPDX-License-Identifier: MIT */
/*
 * Protocol buffers, as far as writing needs them: a message is bytes to which fields are added, and
 * may become a field of another one.
 *
 *	proto_number(inner, 2, 23);
 *	proto_message(outer, 1, inner);	   and inner is empty again
 */
#ifndef TRACER_EXPORT_PROTO_H
#define TRACER_EXPORT_PROTO_H

#include <glib.h>
#include <stdint.h>

/* uint32, uint64, bool, enum; and int32, int64 by their value as int64_t. */
void proto_number(GByteArray *to, uint32_t field, uint64_t value);
void proto_fixed64(GByteArray *to, uint32_t field, uint64_t value);
void proto_text(GByteArray *to, uint32_t field, const char *text);
void proto_message(GByteArray *to, uint32_t field, GByteArray *message);

#endif
