// SPDX-License-Identifier: MIT
/* See export-proto.h. */
#include <string.h>

#include "tracer/export-proto.h"

/* How a field's value is laid out; in the low three bits of its tag. */
enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

/* Seven bits a byte, the low ones first; the high bit says that more follow. */
static void put_varint(GByteArray *to, uint64_t value)
{
	uint8_t bytes[10];
	guint n = 0;

	do {
		bytes[n] = value & 0x7f;
		value >>= 7;
		if (value)
			bytes[n] |= 0x80;
		n++;
	} while (value);
	g_byte_array_append(to, bytes, n);
}

static void put_bytes(GByteArray *to, uint32_t field, const void *bytes, guint n)
{
	put_varint(to, field << 3 | WIRE_BYTES);
	put_varint(to, n);
	g_byte_array_append(to, bytes, n);
}

void proto_number(GByteArray *to, uint32_t field, uint64_t value)
{
	put_varint(to, field << 3 | WIRE_VARINT);
	put_varint(to, value);
}

void proto_fixed64(GByteArray *to, uint32_t field, uint64_t value)
{
	uint64_t little = GUINT64_TO_LE(value);

	put_varint(to, field << 3 | WIRE_FIXED64);
	g_byte_array_append(to, (const guint8 *)&little, sizeof(little));
}

void proto_text(GByteArray *to, uint32_t field, const char *text)
{
	put_bytes(to, field, text, (guint)strlen(text));
}

void proto_message(GByteArray *to, uint32_t field, GByteArray *message)
{
	put_bytes(to, field, message->data, message->len);
	g_byte_array_set_size(message, 0);
}
