/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Command lines: options, operands, and the numbers in them. */
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* More than any command has, common ones included. */
#define OPTIONS_MAX 32

/**** options ****/

static const struct {
	unsigned trait; /* 0: every command */
	struct tool_option option;
} common_options[] = {
	{TOOL_PRINTS, {KEY_JSON, "json", NULL, "print JSON"}},
	{TOOL_ACTS, {KEY_QUIET, "quiet", NULL, "say nothing but errors"}},
	{TOOL_ATTACHES,
	 {KEY_VERBOSE, "verbose", NULL,
	  "tell what is done; twice: each allocation"}},
	{TOOL_ATTACHES,
	 {KEY_TRUST_OWNER, "trust-owner", NULL,
	  "accept a store that neither you nor root own"}},
	{0, {KEY_HELP, "help", NULL, "print this"}},
};

const struct tool_option *
command_option(const struct tool_command *command, size_t i)
{
	const struct tool_option *own = command->options;
	size_t k;

	for (; own != NULL && own->key != 0; own++) {
		if (i-- == 0)
			return own;
	}
	for (k = 0; k < sizeof(common_options) / sizeof(*common_options); k++) {
		unsigned trait = common_options[k].trait;

		if (trait != 0 && (command->traits & trait) == 0)
			continue;
		if (i-- == 0)
			return &common_options[k].option;
	}
	return NULL;
}

/*
 * The leading colon makes getopt_long() tell a missing value from an unknown
 * option, so that both get a sentence of ours.
 */
static void
getopt_tables(const struct tool_command *command, struct option *longs,
	      char *shorts)
{
	const struct tool_option *option;
	size_t i;

	*shorts++ = ':';
	for (i = 0; (option = command_option(command, i)) != NULL; i++) {
		bool valued = option->argument != NULL;

		longs[i] = (struct option){
			option->name, valued ? required_argument : no_argument,
			NULL, option->key};
		if (option->key > UINT8_MAX)
			continue;
		*shorts++ = (char)option->key;
		if (valued)
			*shorts++ = ':';
	}
	longs[i] = (struct option){NULL, 0, NULL, 0};
	*shorts = '\0';
}

static const struct tool_option *
option_find(const struct tool_command *command, int key)
{
	const struct tool_option *option;
	size_t i;

	for (i = 0; (option = command_option(command, i)) != NULL; i++) {
		if (option->key == key)
			break;
	}
	return option;
}

/*
 * getopt_long() leaves the key of a known option, the letter of an unknown one,
 * or 0 for an unknown word, which then is the argument before optind.
 */
static int
option_wrong(const struct tool_args *args, int what, char **argv)
{
	const struct tool_option *option = option_find(args->command, optopt);

	if (optopt == 0)
		return message_usage(args, "unknown option '%s'",
				     argv[optind - 1]);
	if (option == NULL)
		return message_usage(args, "unknown option '-%c'", optopt);
	if (what == ':')
		return message_usage(args, "option '--%s' needs a value, %s",
				     option->name, option->argument);
	return message_usage(args, "option '--%s' takes no value",
			     option->name);
}

static int
operands_check(const struct tool_args *args)
{
	const struct tool_command *command = args->command;

	if (args_has(args, KEY_HELP))
		return TOOL_DONE;
	if (args->nr_operands < command->min_operands)
		return message_usage(args, "too few operands");
	if (command->max_operands >= 0 &&
	    args->nr_operands > command->max_operands)
		return message_usage(args, "'%s' is one operand too many",
				     args->operands[command->max_operands]);
	return TOOL_DONE;
}

int
args_parse(struct tool_args *args, const struct tool_command *command, int argc,
	   char **argv)
{
	struct option longs[OPTIONS_MAX];
	char shorts[2 * OPTIONS_MAX + 2];
	int key;

	*args = (struct tool_args){.command = command};
	args->given = x_alloc((size_t)argc * sizeof(*args->given));
	getopt_tables(command, longs, shorts);
	opterr = 0;
	optind = 1;
	while ((key = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		if (key == '?' || key == ':')
			return option_wrong(args, key, argv);
		args->given[args->nr_given].key = key;
		args->given[args->nr_given++].value = optarg;
	}
	args->operands = argv + optind;
	args->nr_operands = argc - optind;
	return operands_check(args);
}

void
args_fini(struct tool_args *args)
{
	free(args->given);
	args->given = NULL;
	args->nr_given = 0;
}

bool
args_has(const struct tool_args *args, int key)
{
	size_t i;

	for (i = 0; i < args->nr_given; i++) {
		if (args->given[i].key == key)
			return true;
	}
	return false;
}

const char *
args_value(const struct tool_args *args, int key)
{
	const char *value = NULL;
	size_t i;

	for (i = 0; i < args->nr_given; i++) {
		if (args->given[i].key == key)
			value = args->given[i].value;
	}
	return value;
}

/**** numbers ****/

/* Reads digits only: strtoull() would take blanks and signs. */
static const char *
parse_digits(const char *text, uint64_t *ret)
{
	uint64_t number = 0;

	if (*text < '0' || *text > '9')
		return NULL;
	for (; *text >= '0' && *text <= '9'; text++) {
		if (__builtin_mul_overflow(number, 10, &number) ||
		    __builtin_add_overflow(number, *text - '0', &number))
			return NULL;
	}
	*ret = number;
	return text;
}

bool
parse_number(const char *text, uint64_t max, uint64_t *ret)
{
	uint64_t number;
	const char *end = parse_digits(text, &number);

	if (end == NULL || *end != '\0' || number > max)
		return false;
	*ret = number;
	return true;
}

bool
parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KkMmGg";
	uint64_t number;
	const char *end = parse_digits(text, &number);
	const char *unit;

	if (end == NULL)
		return false;
	if (*end != '\0') {
		unit = strchr(units, *end);
		if (unit == NULL || end[1] != '\0')
			return false;
		if (__builtin_mul_overflow(
			    number, UINT64_C(1024) << (unit - units) / 2 * 10,
			    &number))
			return false;
	}
	*ret = number;
	return true;
}

bool
parse_frequency(const char *text, double *ret)
{
	char *end;
	double value;

	/* Digits first: strtod() also takes blanks, "nan" and "infinity". */
	if ((*text < '0' || *text > '9') && *text != '.')
		return false;
	value = strtod(text, &end);
	if (end == text || *end != '\0' || !isfinite(value))
		return false;
	*ret = value;
	return true;
}

static const char *
dimension_digits(const char *text)
{
	return *text == 'D' ? text + 1 : text;
}

bool
parse_dimension(const char *text, uint32_t *ret)
{
	uint64_t number;

	if (!parse_number(dimension_digits(text), STRATA_DIMENSION_MAX,
			  &number) ||
	    number == 0)
		return false;
	*ret = (uint32_t)number;
	return true;
}

bool
parse_layer(const char *text, uint32_t *ret_dimension, uint32_t *ret_layer)
{
	uint64_t dimension, layer;
	const char *end = parse_digits(dimension_digits(text), &dimension);

	if (end == NULL || *end != '/' || dimension == 0 ||
	    dimension > STRATA_DIMENSION_MAX ||
	    !parse_number(end + 1, STRATA_LAYER_MAX, &layer))
		return false;
	*ret_dimension = (uint32_t)dimension;
	*ret_layer = (uint32_t)layer;
	return true;
}

/**** numbers of the command line ****/

static const char *
key_name(const struct tool_args *args, int key)
{
	const struct tool_option *option = option_find(args->command, key);

	return option != NULL ? option->name : "?";
}

int
args_number(const struct tool_args *args, int key, uint64_t max, uint64_t *ret)
{
	const char *text = args_value(args, key);

	if (text == NULL || parse_number(text, max, ret))
		return TOOL_DONE;
	return message_usage(args, "--%s=%s: a number from 0 to %llu is needed",
			     key_name(args, key), text,
			     (unsigned long long)max);
}

int
args_size(const struct tool_args *args, int key, uint64_t *ret)
{
	const char *text = args_value(args, key);
	uint64_t size;

	if (text == NULL)
		return TOOL_DONE;
	/* For the library 0 means the default, which nobody means by 0. */
	if (!parse_size(text, &size) || size == 0)
		return message_usage(args,
				     "--%s=%s: a size is needed, such as "
				     "65536, 64K, 280M or 2G",
				     key_name(args, key), text);
	*ret = size;
	return TOOL_DONE;
}

int
args_frequency(const struct tool_args *args, int key, double *ret)
{
	const char *text = args_value(args, key);

	if (text == NULL || parse_frequency(text, ret))
		return TOOL_DONE;
	return message_usage(args,
			     "--%s=%s: a number of Hz is needed, "
			     "finite and not negative",
			     key_name(args, key), text);
}

int
args_dimension(const struct tool_args *args, const char *operand, uint32_t *ret)
{
	if (parse_dimension(operand, ret))
		return TOOL_DONE;
	return message_usage(args,
			     "'%s' is no dimension: a number from 1 to "
			     "%u is needed, such as 7 or D07",
			     operand, STRATA_DIMENSION_MAX);
}

int
args_layer(const struct tool_args *args, const char *operand,
	   uint32_t *ret_dimension, uint32_t *ret_layer)
{
	if (parse_layer(operand, ret_dimension, ret_layer))
		return TOOL_DONE;
	return message_usage(args,
			     "'%s' is no layer: DIM/LAYER is needed, "
			     "such as 7/5 or D07/5 (dimensions 1 to %u, "
			     "layers 0 to %u)",
			     operand, STRATA_DIMENSION_MAX, STRATA_LAYER_MAX);
}
