/* SPDX-License-Identifier: MIT */
/* Writing and reading a recording's metadata: see ctf-metadata.h.
 *
 * TSDL is a language; the reader knows only the lines that the writer makes: a block opens with its
 * name at the start of a line, has one "key = value;" a line behind a tab, and ends with "};". */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "trace/ctf-metadata.h"

#define SIGNATURE	"/* CTF 1.8 */\n"
#define NS		((int64_t)1000000000)
#define BYTE_ORDER_NAME (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? "le" : "be")
#define ENV_MAX		64

/* --- writing ---------------------------------------------------------------------------------- */

static void print_string(FILE *out, const char *text)
{
	fputc('"', out);
	for (; *text; text++) {
		unsigned char c = *text;

		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < ' ' || c == 0x7f)
			fprintf(out, "\\%03o", c);
		else
			fputc(c, out);
	}
	fputc('"', out);
}

static void print_uuid(FILE *out, const uint8_t *uuid)
{
	for (int i = 0; i < CTF_UUID_BYTES; i++)
		fprintf(out, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

static bool is_key(const char *key)
{
	for (const char *c = key; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '_')
			return false;
	return isalpha((unsigned char)key[0]);
}

int ctf_metadata_print(const struct ctf_metadata *metadata, char **ret_text, size_t *ret_size)
{
	/* CTF wants the part below a second to be positive. */
	int64_t offset = (metadata->epoch_ns % NS + NS) % NS;
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	for (size_t i = 0; i < metadata->n_env; i++)
		if (!is_key(metadata->env[i].key))
			return -EINVAL;
	if (metadata->n_env > ENV_MAX)
		return -E2BIG;
	out = open_memstream(&text, &size);
	if (!out)
		return -ENOMEM;
	fprintf(out, SIGNATURE "\ntrace {\n\tmajor = 1;\n\tminor = 8;\n\tuuid = \"");
	print_uuid(out, metadata->uuid);
	fprintf(out, "\";\n\tbyte_order = %s;\n", BYTE_ORDER_NAME);
	fprintf(out,
		"\tpacket.header := struct {\n"
		"\t\tinteger { size = 32; align = 32; signed = false; base = 16; } magic;\n"
		"\t\tinteger { size = 8; align = 8; signed = false; } uuid[16];\n"
		"\t\tinteger { size = 32; align = 32; signed = false; } stream_id;\n"
		"\t\tinteger { size = 64; align = 64; signed = false; } stream_instance_id;\n"
		"\t};\n};\n\nenv {\n\ttrace_format = %lu;\n",
		metadata->format);
	for (size_t i = 0; i < metadata->n_env; i++) {
		fprintf(out, "\t%s = ", metadata->env[i].key);
		print_string(out, metadata->env[i].value);
		fprintf(out, ";\n");
	}
	fprintf(out,
		"};\n\nclock {\n\tname = \"monotonic\";\n"
		"\tdescription = \"CLOCK_MONOTONIC; its offset leads to the epoch\";\n"
		"\tfreq = 1000000000;\n\toffset_s = %" PRId64 ";\n\toffset = %" PRId64 ";\n};\n\n",
		(metadata->epoch_ns - offset) / NS, offset);
	fprintf(out, "%s", loop_tsdl);
	if (fclose(out) != 0) {
		free(text);
		return -ENOMEM;
	}
	*ret_text = text;
	*ret_size = size;
	return 0;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* value is "text"; and becomes text, in place; false when it is not written like that. */
static bool parse_string(char *value)
{
	char *to = value, *from = value + 1;

	if (value[0] != '"')
		return false;
	while (*from && *from != '"') {
		unsigned char c = *from++;

		if (c == '\\' && *from >= '0' && *from <= '3') {
			c = 0;
			for (int i = 0; i < 3; i++) {
				if (*from < '0' || *from > '7')
					return false;
				c = c * 8 + (*from++ - '0');
			}
			if (!c)
				return false;
		} else if (c == '\\') {
			c = *from++;
			if (c != '"' && c != '\\')
				return false;
		}
		*to++ = c;
	}
	if (strcmp(from, "\";") != 0)
		return false;
	*to = '\0';
	return true;
}

static bool parse_number(const char *value, int64_t *ret_number)
{
	int64_t number;
	char *end;

	errno = 0;
	number = strtoll(value, &end, 10);
	if (errno || end == value || strcmp(end, ";") != 0)
		return false;
	*ret_number = number;
	return true;
}

static bool parse_uuid(char *value, uint8_t *ret_uuid)
{
	int digits = 0;

	if (!parse_string(value))
		return false;
	memset(ret_uuid, 0, CTF_UUID_BYTES);
	for (; *value; value++) {
		if (*value == '-')
			continue;
		if (!isxdigit((unsigned char)*value) || digits == 2 * CTF_UUID_BYTES)
			return false;
		ret_uuid[digits / 2] =
			ret_uuid[digits / 2] << 4 |
			(isdigit((unsigned char)*value) ? *value - '0'
							: (*value | 0x20) - 'a' + 10);
		digits++;
	}
	return digits == 2 * CTF_UUID_BYTES;
}

struct parts {
	struct ctf_metadata metadata;
	bool uuid, byte_order, format, seconds, nanoseconds;
	int64_t offset_s, offset;
};

static int parse_env(struct parts *parts, char *key, char *value)
{
	struct ctf_metadata *metadata = &parts->metadata;
	struct ctf_env *entry;
	int64_t number;

	if (strcmp(key, "trace_format") == 0) {
		parts->format = parse_number(value, &number) && number > 0;
		metadata->format = parts->format ? number : 0;
		return parts->format ? 0 : -EPROTO;
	}
	if (!is_key(key) || !parse_string(value) || metadata->n_env == ENV_MAX)
		return -EPROTO;
	entry = &metadata->env[metadata->n_env];
	entry->key = strdup(key);
	entry->value = strdup(value);
	metadata->n_env++;
	return entry->key && entry->value ? 0 : -ENOMEM;
}

static int parse_line(struct parts *parts, const char *block, char *line)
{
	char *value = strstr(line, " = ");

	if (line[0] != '\t' || line[1] == '\t' || !value)
		return 0;
	*value = '\0';
	value += 3;
	line++;
	if (strcmp(block, "env {") == 0)
		return parse_env(parts, line, value);
	if (strcmp(block, "trace {") == 0 && strcmp(line, "uuid") == 0)
		parts->uuid = parse_uuid(value, parts->metadata.uuid);
	else if (strcmp(block, "trace {") == 0 && strcmp(line, "byte_order") == 0)
		parts->byte_order = strncmp(value, BYTE_ORDER_NAME, 2) == 0;
	else if (strcmp(block, "clock {") == 0 && strcmp(line, "offset_s") == 0)
		parts->seconds = parse_number(value, &parts->offset_s);
	else if (strcmp(block, "clock {") == 0 && strcmp(line, "offset") == 0)
		parts->nanoseconds = parse_number(value, &parts->offset);
	return 0;
}

static int parse_lines(struct parts *parts, char *text)
{
	const char *block = "";
	int err = 0;

	for (char *line = text, *end; !err && *line; line = end) {
		end = line + strcspn(line, "\n");
		if (*end)
			*end++ = '\0';
		if (strcmp(line, "};") == 0)
			block = "";
		else if (line[0] != '\t' && line[0])
			block = line;
		else
			err = parse_line(parts, block, line);
	}
	if (err)
		return err;
	if (!parts->uuid || !parts->byte_order || !parts->format || !parts->seconds ||
	    !parts->nanoseconds || parts->offset < 0 || parts->offset >= NS ||
	    parts->offset_s < -(INT64_MAX / NS) || parts->offset_s >= INT64_MAX / NS)
		return -EPROTO;
	parts->metadata.epoch_ns = parts->offset_s * NS + parts->offset;
	return 0;
}

int ctf_metadata_parse(const char *text, size_t size, struct ctf_metadata *ret_metadata)
{
	struct parts parts = { 0 };
	char *copy;
	int err;

	if (size < strlen(SIGNATURE) || memcmp(text, SIGNATURE, strlen(SIGNATURE)) != 0)
		return -EPROTO;
	copy = strndup(text, size);
	parts.metadata.env = calloc(ENV_MAX, sizeof(*parts.metadata.env));
	err = copy && parts.metadata.env ? parse_lines(&parts, copy) : -ENOMEM;
	free(copy);
	if (err)
		ctf_metadata_release(&parts.metadata);
	else
		*ret_metadata = parts.metadata;
	return err;
}

void ctf_metadata_release(struct ctf_metadata *metadata)
{
	for (size_t i = 0; i < metadata->n_env; i++) {
		free((char *)metadata->env[i].key);
		free((char *)metadata->env[i].value);
	}
	free(metadata->env);
	metadata->env = NULL;
	metadata->n_env = 0;
}
