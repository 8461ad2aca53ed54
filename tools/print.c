/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Output: sizes and times, text from strangers, aligned tables, JSON. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tool.h"

/**** stdout ****/

int print_errno;

void
print(const char *format, ...)
{
	va_list values;

	va_start(values, format);
	if (vprintf(format, values) < 0)
		print_errno = errno;
	va_end(values);
}

int
line_print_now(void)
{
	if (fflush(stdout) != 0)
		print_errno = errno;
	/*
	 * Of what is line-buffered, or longer than the buffer, printing itself
	 * has failed. It is dropped then, and flushing nothing succeeds.
	 */
	return ferror(stdout) ? TOOL_REFUSED : TOOL_DONE;
}

/**** sizes and times ****/

uint64_t
now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) +
	       (uint64_t)now.tv_nsec;
}

const char *
size_text(uint64_t bytes, char buffer[24])
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes / 1024;
	size_t unit = 0;

	if (bytes < 1024) {
		snprintf(buffer, 24, "%u B", (unsigned)bytes);
		return buffer;
	}
	/* 1023.95 would be printed as 1024.0. */
	while (value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(*units)) {
		value /= 1024;
		unit++;
	}
	snprintf(buffer, 24, "%.1f %s", value, units[unit]);
	return buffer;
}

const char *
count_text(uint64_t number, const char *noun, char buffer[48])
{
	snprintf(buffer, 48, "%llu %s%s", (unsigned long long)number, noun,
		 number == 1 ? "" : "s");
	return buffer;
}

const char *
time_text(uint64_t realtime_ns, char buffer[32])
{
	time_t seconds = (time_t)(realtime_ns / UINT64_C(1000000000));
	struct tm parts;

	if (gmtime_r(&seconds, &parts) == NULL ||
	    strftime(buffer, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
		strcpy(buffer, "?");
	return buffer;
}

const char *
age_text(uint64_t ns, char buffer[24])
{
	double seconds = (double)ns / 1e9;

	if (seconds < 1)
		snprintf(buffer, 24, "%.0f ms", seconds * 1e3);
	else if (seconds < 120)
		snprintf(buffer, 24, "%.1f s", seconds);
	else if (seconds < 7200)
		snprintf(buffer, 24, "%.0f min", seconds / 60);
	else
		snprintf(buffer, 24, "%.0f h", seconds / 3600);
	return buffer;
}

/**** text ****/

/*
 * Length of the UTF-8 character at text, or 0: no overlong forms, surrogates or
 * numbers past the last, and none that its NUL would cut off.
 */
static size_t
utf8_length(const unsigned char *text)
{
	size_t length, i;
	uint32_t code;

	if (*text < 0x80)
		return 1;
	if (*text < 0xc2 || *text > 0xf4)
		return 0;
	length = *text < 0xe0 ? 2 : *text < 0xf0 ? 3 : 4;
	code = *text & (0xffu >> (length + 1));
	for (i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3fu);
	}
	if ((length == 3 && code < 0x800) || (length == 4 && code < 0x10000) ||
	    (code >= 0xd800 && code < 0xe000) || code > 0x10ffff)
		return 0;
	return length;
}

bool
text_is_utf8(const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t length;

	for (; *at != '\0'; at += length) {
		length = utf8_length(at);
		if (length == 0)
			return false;
	}
	return true;
}

/* Control characters: C0, DEL, and C1, which some terminals obey too. */
static bool
is_control(const unsigned char *at, size_t length)
{
	return *at < 0x20 || *at == 0x7f ||
	       (length == 2 && at[0] == 0xc2 && at[1] < 0xa0);
}

static char *
text_replace(const char *text, const char *replacement, bool controls)
{
	const unsigned char *at = (const unsigned char *)text;
	char *copy = x_alloc(strlen(text) * strlen(replacement) + 1);
	char *out = copy;
	size_t length;

	for (; *at != '\0'; at += length) {
		length = utf8_length(at);
		if (length == 0 || (controls && is_control(at, length))) {
			out = stpcpy(out, replacement);
			length = length > 0 ? length : 1;
			continue;
		}
		out = mempcpy(out, at, length);
	}
	return copy;
}

char *
text_clean(const char *text)
{
	return text_replace(text, "?", true);
}

char *
text_utf8(const char *text)
{
	return text_replace(text, "\xef\xbf\xbd", false);
}

/* Characters, as a guess at columns: right but for wide and combining ones. */
static size_t
text_width(const char *text)
{
	size_t width = 0;

	for (; *text != '\0'; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

/**** tables ****/

void
table_init(struct table *table, const struct table_column *columns,
	   size_t nr_columns)
{
	*table = (struct table){columns, nr_columns, NULL, 0};
}

void
table_fini(struct table *table)
{
	size_t i;

	for (i = 0; i < table->nr_cells; i++)
		free(table->cells[i]);
	free(table->cells);
	*table = (struct table){.columns = NULL};
}

static void
cell_add(struct table *table, const char *format, va_list values)
{
	char *raw = NULL;

	if (vasprintf(&raw, format, values) < 0)
		raw = NULL;
	x_check(raw);
	table->cells =
		x_grow(table->cells, table->nr_cells, sizeof(*table->cells));
	table->cells[table->nr_cells++] = text_clean(raw);
	free(raw);
}

void
table_add(struct table *table, const char *format, ...)
{
	va_list values;

	va_start(values, format);
	cell_add(table, format, values);
	va_end(values);
}

const struct table_column table_fields[2] = {{NULL, false}, {NULL, false}};

void
table_field(struct table *table, const char *name, const char *format, ...)
{
	va_list values;

	table_add(table, "%s:", name);
	va_start(values, format);
	cell_add(table, format, values);
	va_end(values);
}

static size_t
column_width(const struct table *table, size_t column)
{
	const char *title = table->columns[column].title;
	size_t width = title != NULL ? text_width(title) : 0;
	size_t i, cell;

	for (i = column; i < table->nr_cells; i += table->nr_columns) {
		cell = text_width(table->cells[i]);
		width = cell > width ? cell : width;
	}
	return width;
}

/*
 * Blanks wait until something follows them: none end a line.
 * @param blanks carried from cell to cell
 */
static void
cell_print(const struct table *table, const size_t *widths, size_t column,
	   const char *text, size_t *blanks)
{
	size_t padding = widths[column] - text_width(text);
	bool right = table->columns[column].right;

	*blanks += right ? padding : 0;
	if (*text != '\0') {
		print("%*s%s", (int)*blanks, "", text);
		*blanks = 0;
	}
	*blanks += (right ? 0 : padding) + 2;
	if (column + 1 == table->nr_columns) {
		print("\n");
		*blanks = 0;
	}
}

void
table_print(const struct table *table)
{
	size_t *widths = x_alloc(table->nr_columns * sizeof(*widths));
	bool titled = table->columns[0].title != NULL;
	size_t blanks = 0;
	size_t i;

	for (i = 0; i < table->nr_columns; i++)
		widths[i] = column_width(table, i);
	for (i = 0; titled && i < table->nr_columns; i++)
		cell_print(table, widths, i, table->columns[i].title, &blanks);
	for (i = 0; i < table->nr_cells; i++)
		cell_print(table, widths, i % table->nr_columns,
			   table->cells[i], &blanks);
	free(widths);
}

/**** JSON ****/

json_t *
json_text(const char *text)
{
	char *valid = text_utf8(text);
	json_t *string = json_string(valid);

	free(valid);
	return string;
}

json_t *
json_number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

static bool
real_is_short(double value)
{
	char digits[32];

	snprintf(digits, sizeof(digits), "%.15g", value);
	return strtod(digits, NULL) == value;
}

/* Whether every number in it survives being written with 15 digits. */
static bool
reals_are_short(json_t *value)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_real(value))
		return real_is_short(json_real_value(value));
	json_array_foreach(value, i, item)
	{
		if (!reals_are_short(item))
			return false;
	}
	json_object_foreach(value, key, item)
	{
		if (!reals_are_short(item))
			return false;
	}
	return true;
}

/* Jansson's own printing has things to free before it is back. */
static int
bytes_print(const char *bytes, size_t size, void *arg)
{
	(void)arg;
	if (fwrite(bytes, 1, size, stdout) == size)
		return 0;
	print_errno = errno;
	return -1;
}

/*
 * Jansson's 17 digits print 0.8 as 0.80000000000000004; 15 print it as it was
 * given, and are taken when nothing is lost.
 */
static void
object_print(json_t *object, size_t flags)
{
	size_t digits = reals_are_short(object) ? 15 : 17;

	json_dump_callback(object, bytes_print, NULL,
			   flags | JSON_REAL_PRECISION(digits));
	print("\n");
	json_decref(object);
}

int
json_print(json_t *object)
{
	object_print(object, JSON_INDENT(2));
	return TOOL_DONE;
}

int
json_print_line(json_t *object)
{
	object_print(object, JSON_COMPACT);
	return line_print_now();
}
