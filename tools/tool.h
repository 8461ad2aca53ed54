/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What the parts of the strata command share: arguments, messages, output. */
#ifndef STRATA_TOOL_H
#define STRATA_TOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include <strata/strata.h>

/** What every command returns, and the process with it. */
enum tool_status {
	TOOL_DONE = 0,
	TOOL_REFUSED = 1, /**< one sentence was printed on stderr */
	TOOL_USAGE = 2,   /**< so it was, about the command line */
};

/**** commands and their arguments: commands.c, args.c ****/

/** Options; those below 256 are letters that can be given alone. */
enum tool_key {
	KEY_HELP = 'h',
	KEY_JSON = 'j',
	KEY_QUIET = 'q',
	KEY_SUMMARY = 's',
	KEY_OUTPUT = 'o',
	KEY_VERBOSE = 'v',
	KEY_TRUST_OWNER = 256,
	KEY_LIMIT,
	KEY_MAX_LIMIT,
	KEY_DIR,
	KEY_ADOPT,
	KEY_MODE,
	KEY_GROUP,
	KEY_READERS,
	KEY_POOLS,
	KEY_HUGE_PAGES,
	KEY_SIMULATE,
	KEY_CORE,
	KEY_FORGET,
	KEY_NAME,
	KEY_FREQUENCY,
	KEY_FREQUENCY_MIN,
	KEY_FREQUENCY_MAX,
	KEY_DEPTH,
	KEY_PARENT,
	KEY_KEYWORD,
	KEY_META,
	KEY_LISTEN,
	KEY_TEXTFILE,
	KEY_EXPLAIN,
	KEY_QUICK,
	KEY_FORCE,
	KEY_EXEC,
	KEY_COUNT,
	KEY_INTERVAL,
	KEY_ONCE,
	KEY_HOT,
};

struct tool_option {
	int key;              /**< 0 ends a list of options */
	const char *name;     /**< after the two dashes */
	const char *argument; /**< what help calls its value; NULL: none */
	const char *help;
};

struct tool_args;

/** What a command has besides its own options. */
enum tool_traits {
	TOOL_PRINTS = 1 << 0,   /**< data: --json */
	TOOL_ACTS = 1 << 1,     /**< says what it did: --quiet */
	TOOL_ATTACHES = 1 << 2, /**< to a store: --trust-owner */
};

/** One command: all that help, the option parser and dispatch know of it. */
struct tool_command {
	const char *name;
	const char
		*synopsis; /**< operands; alternatives on lines of their own */
	const char *summary; /**< one line, for the list of commands */
	const char *details; /**< more lines, or NULL */
	const char *example; /**< one command line a line */
	const struct tool_option *options; /**< its own; or NULL */
	unsigned traits;                   /**< of enum tool_traits */
	int min_operands;
	int max_operands; /**< -1: any number */
	int (*run)(const struct tool_args *args);
};

/** The commands in the order of help; ends with a NULL name. */
extern const struct tool_command tool_commands[];

/** An option as it was given. */
struct tool_given {
	int key;
	const char *value; /**< NULL when it takes none */
};

/** A parsed command line. */
struct tool_args {
	const struct tool_command *command;
	char **operands; /**< point into argv */
	int nr_operands;
	struct tool_given *given; /**< in the order of the command line */
	size_t nr_given;
};

/**
 * Parses argv[1..] as options and operands of a command.
 * @param args initialised here; args_fini() afterwards in every case
 * @return TOOL_DONE, or TOOL_USAGE after a message.
 */
int args_parse(struct tool_args *args, const struct tool_command *command,
	       int argc, char **argv);
void args_fini(struct tool_args *args);

/** The i-th option of a command, common ones included; NULL after the last. */
const struct tool_option *command_option(const struct tool_command *command,
					 size_t i);

bool args_has(const struct tool_args *args, int key);
/** The value given last for an option, or NULL. */
const char *args_value(const struct tool_args *args, int key);

/**
 * Readers of numbers: the whole text must be one.
 * @return true; false, with *ret untouched, when it is not or is out of range.
 */
bool parse_number(const char *text, uint64_t max, uint64_t *ret);
bool parse_size(const char *text, uint64_t *ret);
bool parse_frequency(const char *text, double *ret);
/** `7` or `D07`. */
bool parse_dimension(const char *text, uint32_t *ret);
/** `7/5` or `D07/5`. */
bool parse_layer(const char *text, uint32_t *ret_dimension,
		 uint32_t *ret_layer);

/**
 * The same for options: a value that is no number is a usage error.
 * @return TOOL_DONE, also when the option was not given (*ret stays);
 * TOOL_USAGE.
 */
int args_number(const struct tool_args *args, int key, uint64_t max,
		uint64_t *ret);
int args_size(const struct tool_args *args, int key, uint64_t *ret);
int args_frequency(const struct tool_args *args, int key, double *ret);
/** And for an operand that is a dimension, or a layer. */
int args_dimension(const struct tool_args *args, const char *operand,
		   uint32_t *ret);
int args_layer(const struct tool_args *args, const char *operand,
	       uint32_t *ret_dimension, uint32_t *ret_layer);

/**** messages: message.c ****/

/**
 * Prints `strata: COMMAND 'OBJECT': ...` on stderr.
 * @param object what it is about, or NULL
 * @return TOOL_REFUSED.
 */
int message_error(const struct tool_args *args, const char *object,
		  const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/** What the library says of the code that its last call returned. */
const char *refusal_text(int code);
/** message_error() with that. */
int message_refused(const struct tool_args *args, const char *object, int code);
/** Something that is no error, on stderr; not with --quiet. */
void message_note(const struct tool_args *args, const char *object,
		  const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/** What an action did, as a line on stdout; not with --quiet. */
void message_say(const struct tool_args *args, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/** @return TOOL_USAGE. @param args NULL: before there is a command */
int message_usage(const struct tool_args *args, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * A line on a terminal that the next one overwrites; nothing elsewhere.
 * progress_clear() is called by every message.
 */
void progress_show(const struct tool_args *args, uint64_t done, uint64_t total,
		   const char *what);
void progress_clear(void);

/** Allocation that ends the process with a message instead of failing. */
void *x_check(void *block);
void *x_alloc(size_t size);
/** Makes room for one more than nr elements in what x_grow() gave, or NULL. */
void *x_grow(void *block, size_t nr, size_t size);
char *x_dup(const char *text);
char *x_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/**** output: print.c ****/

/** Why something could not be printed on stdout, or 0: stdio tells that only once,
 * and main() is to tell it. print(), and all below, note it. */
extern int print_errno;
/** printf() that does. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** What was printed is to be read now. @return TOOL_REFUSED when it cannot be
 * written. */
int line_print_now(void);

/** "12.4 MiB" and the like; a static buffer per call in one expression. */
#define SIZE_TEXT(bytes) size_text((bytes), (char[24]){0})
const char *size_text(uint64_t bytes, char buffer[24]);
/** "1 layer", "20 layers" */
#define COUNT_TEXT(number, noun) count_text((number), (noun), (char[48]){0})
const char *count_text(uint64_t number, const char *noun, char buffer[48]);
/** CLOCK_REALTIME. */
uint64_t now_ns(void);
/** "2026-11-22T12:00:00Z" */
#define TIME_TEXT(ns) time_text((ns), (char[32]){0})
const char *time_text(uint64_t realtime_ns, char buffer[32]);
/** "3.2 s" */
#define AGE_TEXT(ns) age_text((ns), (char[24]){0})
const char *age_text(uint64_t ns, char buffer[24]);

/** Whether the text is UTF-8. */
bool text_is_utf8(const char *text);
/** A copy, to be freed, in which what could upset a terminal is `?`. */
char *text_clean(const char *text);
/** A copy, to be freed, in which what is not UTF-8 is U+FFFD. */
char *text_utf8(const char *text);

struct table_column {
	const char *title; /**< NULL in the first: no heading */
	bool right;        /**< aligned to the right */
};

/** Rows that are printed, aligned, when all are known. */
struct table {
	const struct table_column *columns;
	size_t nr_columns;
	char **cells; /**< row after row */
	size_t nr_cells;
};

void table_init(struct table *table, const struct table_column *columns,
		size_t nr_columns);
void table_fini(struct table *table);
/** Adds the next cell, left to right and then down. */
void table_add(struct table *table, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void table_print(const struct table *table);

/** The two columns, without heading, of a list of named values. */
extern const struct table_column table_fields[2];
/** Adds a row to such a list. */
void table_field(struct table *table, const char *name, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** A string; what is not UTF-8 in it is replaced. */
json_t *json_text(const char *text);
/** A number; null when JSON cannot say it. */
json_t *json_number(double value);
/** Prints the object with a line feed and frees it. @return TOOL_DONE. */
int json_print(json_t *object);
/** The same on one line, at once. @return TOOL_REFUSED when it cannot be written,
 * which main() will tell. */
int json_print_line(json_t *object);

/**** output that appears whole: output.c ****/

struct output {
	const struct tool_args *args;
	const char *path; /**< NULL: stdout */
	FILE *file;       /**< to be written to */
	char *target;     /**< the file that it replaces; NULL: none */
	char *temporary;  /**< its path; NULL when it has none */
};

/** @param path NULL: stdout. What is there and is no file, such as a device, is
 * written into. @return tool_status; then commit or abort */
int output_open(const struct tool_args *args, const char *path,
		struct output *output);
/** Puts it in its place; aborts when that fails. @return tool_status */
int output_commit(struct output *output);
/** Also after a failure, or twice. */
void output_abort(struct output *output);

/**** facts as JSON: cmd-stat.c, cmd-layer.c ****/

json_t *stat_json(const char *name, const char *directory,
		  const struct strata_stats *stats);
json_t *reader_json(const struct strata_reader_info *info);
json_t *dimension_json(const struct strata_dimension *dimension);
json_t *layer_json(uint32_t layer, const struct strata_entry *entry,
		   const struct strata_meta *meta);
/** The four lines that sum up a store. */
void summary_print(const struct strata_stats *stats, uint64_t time_ns);

/**** stores and files: view.c, input.c ****/

/**
 * An attached store with a read section, as most printing commands need; or
 * without one, where no reader slot is to be had: then it is observed.
 */
struct view {
	const struct tool_args *args;
	const char *name;
	struct strata_store *store;
	struct strata_reader *reader; /**< NULL: observed */
	uint64_t version; /**< of what was seen last */
};

/** Attaches, after the options of the command line. @return tool_status */
int store_attach(const struct tool_args *args, const char *name, unsigned flags,
		 struct strata_store **ret_store);
/** Detaches after anything. @return status, or TOOL_REFUSED. */
int store_detach(const struct tool_args *args, struct strata_store *store,
		 int status);

/**
 * Attaches and enters a section; observes, and says so on stderr, where that
 * cannot be. @return tool_status
 */
int view_open(struct view *view, const struct tool_args *args,
	      const char *name);
/** Enters a section of a store that is attached already. */
int view_enter(struct view *view, const struct tool_args *args,
	       struct strata_store *store);
/**
 * Leaves the section, and detaches.
 * @param status of the work inside
 * @return status, or TOOL_REFUSED when what was read cannot be trusted: so
 * nothing is printed before this.
 */
int view_close(struct view *view, int status);
/** For who looks again and again: attaches, and enters no section yet; each look
 * is between view_begin() and view_end(). A begin that fails has closed the
 * reader. @return tool_status */
int view_attach(struct view *view, const struct tool_args *args,
		const char *name);
int view_begin(struct view *view);
int view_end(struct view *view, int status);
int view_detach(struct view *view, int status);
/** The dimension's facts; says so when it is not there. @return tool_status */
int view_dimension(struct view *view, uint32_t dimension,
		   struct strata_dimension *ret);
/** Calls fn for each dimension. @return a code of the library, or fn's */
int view_dimensions(struct view *view,
		    int (*fn)(const struct strata_dimension *dimension,
			      void *arg),
		    void *arg);
/** The same for the layers of a dimension, with their metadata. */
int view_layers(struct view *view, uint32_t dimension,
		int (*fn)(uint32_t layer, const struct strata_entry *entry,
			  const struct strata_meta *meta, void *arg),
		void *arg);

/** Says so on stderr if no reader slot is to be had, so that what a command that
 * opens no view prints was observed. */
void view_note_observed(const struct tool_args *args,
			struct strata_store *store);

/** A layer, for as long as its view is open. */
struct view_layer {
	const struct strata_entry *entry;
	const void *data;
	struct strata_meta meta;  /**< if asked for */
	struct strata_copy *copy; /**< view_layer_fini() */
};

/**
 * Finds a layer; says so when it is not there.
 * @param with_meta metadata, and no content
 * @return tool_status; view_layer_fini() in every case
 */
int view_layer(struct view *view, uint32_t dimension, uint32_t layer,
	       bool with_meta, struct view_layer *ret);
void view_layer_fini(struct view_layer *layer);
/** Facts of a dimension that a command just made, if they can be had. */
bool store_dimension(struct strata_store *store, uint32_t dimension,
		     struct strata_dimension *ret);
/** Name of a state: `proto`, `crystallized`, `hybrid`. */
const char *state_text(enum strata_dimension_state state);

/** A content in private memory. */
struct content {
	char *bytes;
	size_t size;
};

/**
 * Reads a file, or stdin for `-`, whole.
 * @param max bytes that make sense at most, at least 64 KiB; more is refused
 * @param whose what the maximum is called, for that message
 * @param ret content_fini() by the caller
 * @return tool_status
 */
int content_read(const struct tool_args *args, const char *path, uint64_t max,
		 const char *whose, struct content *ret);
void content_fini(struct content *content);

/** A FILE operand as a path that the library can open. */
struct input {
	int fd; /**< of a copy of stdin, or -1 */
	const char *path;
	char buffer[32];
};

/** Makes `-` a path, copying a pipe. @return tool_status; input_close() */
int input_open(const struct tool_args *args, const char *operand,
	       struct input *input);
void input_close(struct input *input);

/** The files `D*.strata` of a folder, in the order of their names. */
struct file_list {
	char **paths;
	size_t nr;
};

/** @return tool_status; file_list_fini() by the caller in every case */
int file_list_read(const struct tool_args *args, const char *folder,
		   struct file_list *list);
void file_list_add(struct file_list *list, char *path);
void file_list_fini(struct file_list *list);

/**** the commands: cmd-*.c ****/

int cmd_create(const struct tool_args *args);
int cmd_destroy(const struct tool_args *args);
int cmd_list(const struct tool_args *args);
int cmd_limit(const struct tool_args *args);
int cmd_gc(const struct tool_args *args);
int cmd_pack(const struct tool_args *args);
int cmd_load(const struct tool_args *args);
int cmd_unload(const struct tool_args *args);
int cmd_reload(const struct tool_args *args);
int cmd_crystallize(const struct tool_args *args);
int cmd_describe(const struct tool_args *args);
int cmd_put(const struct tool_args *args);
int cmd_rm(const struct tool_args *args);
int cmd_ls(const struct tool_args *args);
int cmd_cat(const struct tool_args *args);
int cmd_stat(const struct tool_args *args);
int cmd_readers(const struct tool_args *args);
int cmd_dump(const struct tool_args *args);
int cmd_metrics(const struct tool_args *args);
int cmd_doctor(const struct tool_args *args);
int cmd_verify(const struct tool_args *args);
int cmd_top(const struct tool_args *args);
int cmd_watch(const struct tool_args *args);

#endif /* STRATA_TOOL_H */
