/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* The table of commands, from which help, parsing and dispatch are made. */
#include "tool.h"

static const struct tool_option create_options[] = {
	{KEY_LIMIT, "limit", "SIZE", "hard limit of its memory (280M)"},
	{KEY_MAX_LIMIT, "max-limit", "SIZE",
	 "what the limit can be raised to later (4 x limit)"},
	{KEY_DIR, "dir", "DIR", "folder where crystallized dimensions stay"},
	{KEY_ADOPT, "adopt", NULL, "take a folder that is another store's"},
	{KEY_MODE, "mode", "OCTAL", "who may read and write it (0600)"},
	{KEY_GROUP, "group", "NAME", "group that owns it"},
	{KEY_READERS, "readers", "N", "reader slots per user (1024)"},
	{KEY_POOLS, "pools", "BLOCK:SIZE,...",
	 "size classes, e.g. 4K:32M,16K:128M,64K:80M,256K:40M"},
	{KEY_HUGE_PAGES, "huge-pages", "auto|never|require",
	 "2 MiB pages for regions (auto)"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option destroy_options[] = {
	{KEY_FORCE, "force", NULL,
	 "also one of another layout or boot, or damaged"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option pack_options[] = {
	{KEY_SIMULATE, "simulate", NULL,
	 "make a text card for each layer without content"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option load_options[] = {
	{KEY_CORE, "core", NULL,
	 "every dimension file of the store's directory"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option unload_options[] = {
	{KEY_FORGET, "forget", NULL,
	 "also remove its file from the store's directory"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option put_options[] = {
	{KEY_NAME, "name", "TEXT", "its name"},
	{KEY_FREQUENCY, "frequency", "HZ", "its frequency"},
	{KEY_DEPTH, "depth", "N", "its depth"},
	{KEY_PARENT, "parent", "LAYER|none", "its parent layer"},
	{KEY_KEYWORD, "keyword", "TEXT",
	 "a keyword; once for each; '' alone removes all"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option describe_options[] = {
	{KEY_NAME, "name", "TEXT", "its name"},
	{KEY_FREQUENCY_MIN, "frequency-min", "HZ", "its lowest frequency"},
	{KEY_FREQUENCY_MAX, "frequency-max", "HZ", "its highest frequency"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option ls_options[] = {
	{KEY_HOT, "hot", NULL,
	 "what readers looked up last, by their own word"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option cat_options[] = {
	{KEY_META, "meta", NULL, "print its metadata instead of its content"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option metrics_options[] = {
	{KEY_TEXTFILE, "textfile", "PATH",
	 "write them there, for the textfile collector"},
	{KEY_LISTEN, "listen", "ADDRESS:PORT", "serve them at /metrics"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option stat_options[] = {
	{KEY_EXPLAIN, "explain", NULL, "say what each figure means"},
	{KEY_SUMMARY, "summary", NULL, "print the four-line summary only"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option dump_options[] = {
	{KEY_OUTPUT, "output", "FILE",
	 "write it there, and print the summary"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option top_options[] = {
	{KEY_INTERVAL, "interval", "SECONDS", "between two looks (1)"},
	{KEY_ONCE, "once", NULL, "print one page, without a terminal"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option watch_options[] = {
	{KEY_EXEC, "exec", "COMMAND", "run it by the shell after each line"},
	{KEY_COUNT, "count", "N", "leave after so many lines; 0: never"},
	{0, NULL, NULL, NULL},
};

static const struct tool_option verify_options[] = {
	{KEY_QUICK, "quick", NULL, "leave out the checksums of the contents"},
	{0, NULL, NULL, NULL},
};

const struct tool_command tool_commands[] = {
	{
		.name = "create",
		.synopsis = "STORE",
		.summary = "make a new, empty store",
		.example =
			"strata create core --limit=400M --dir=/var/lib/core",
		.options = create_options,
		.traits = TOOL_ACTS,
		.min_operands = 1,
		.max_operands = 1,
		.run = cmd_create,
	},
	{
		.name = "destroy",
		.synopsis = "STORE",
		.summary = "destroy a store; its directory stays",
		.details =
			"Read sections that are open stay readable until they "
			"end. With --force a store\n"
			"that nobody can attach to goes, too, unless somebody "
			"still holds it.",
		.example = "strata destroy core",
		.options = destroy_options,
		.traits = TOOL_ACTS,
		.min_operands = 1,
		.max_operands = 1,
		.run = cmd_destroy,
	},
	{
		.name = "list",
		.synopsis = "",
		.summary = "list the stores of this machine",
		.details = "And your segments that no store has: leftovers of "
			   "a create or destroy that\n"
			   "died, and of stores whose catalog was removed.",
		.example = "strata list",
		.traits = TOOL_PRINTS,
		.max_operands = 0,
		.run = cmd_list,
	},
	{
		.name = "pack",
		.synopsis = "MANIFEST.json|TREE DIR",
		.summary = "make dimension files from a manifest or a tree",
		.details =
			"In a tree each folder becomes a dimension and each "
			"file in it a layer, in\n"
			"the order of names. A folder '7-colours', 'D07' or "
			"'7' "
			"is dimension 7;\n"
			"others are numbered from 1. Symbolic links and names "
			"that begin with a dot\n"
			"are left out. Nothing is written unless all of the "
			"input is right.",
		.example = "strata pack dimensions.json core.d --simulate\n"
			   "strata pack /usr/share/doc docs.d",
		.options = pack_options,
		.traits = TOOL_PRINTS | TOOL_ACTS,
		.min_operands = 2,
		.max_operands = 2,
		.run = cmd_pack,
	},
	{
		.name = "load",
		.synopsis = "STORE FILE|DIR...\nSTORE --core",
		.summary = "load dimension files as new dimensions",
		.details = "Of a folder, all files D*.strata are loaded. One "
			   "that cannot be loaded does\n"
			   "not stop the others. With --core, dimensions that "
			   "are there already are\n"
			   "left as they are; 'strata reload' replaces one.",
		.example = "strata load core core.d\nstrata load core --core",
		.options = load_options,
		.traits = TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 1,
		.max_operands = -1,
		.run = cmd_load,
	},
	{
		.name = "unload",
		.synopsis = "STORE DIM",
		.summary = "take a dimension out of a store",
		.example = "strata unload core 7",
		.options = unload_options,
		.traits = TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 2,
		.max_operands = 2,
		.run = cmd_unload,
	},
	{
		.name = "reload",
		.synopsis = "STORE DIM [FILE]",
		.summary = "replace a dimension by its file, in one instant",
		.details = "Without FILE it is the dimension's file in the "
			   "store's directory.",
		.example = "strata reload core 7 new/D07.strata",
		.traits = TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 2,
		.max_operands = 3,
		.run = cmd_reload,
	},
	{
		.name = "put",
		.synopsis = "STORE DIM/LAYER [FILE]\nSTORE DIM [FILE]",
		.summary = "put a layer, new or in place of an old one",
		.details = "The content comes from FILE, or from stdin. "
			   "Without a layer number it is\n"
			   "appended after the last one. What no option says "
			   "stays as the old layer\n"
			   "had it.",
		.example = "echo hello | strata put core 99/0 --name=greeting "
			   "--keyword=hello",
		.options = put_options,
		.traits = TOOL_PRINTS | TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 2,
		.max_operands = 3,
		.run = cmd_put,
	},
	{
		.name = "rm",
		.synopsis = "STORE DIM[/LAYER]...",
		.summary = "remove layers or dimensions, in one instant",
		.example = "strata rm core 99/0 99/1",
		.traits = TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 2,
		.max_operands = -1,
		.run = cmd_rm,
	},
	{
		.name = "describe",
		.synopsis = "STORE DIM",
		.summary = "say a dimension's name and range of frequencies",
		.details = "What no option says stays as it was. A dimension "
			   "that is not there yet is\n"
			   "made, without layers.",
		.example = "strata describe core 99 --name=Scratch "
			   "--frequency-max=4.5",
		.options = describe_options,
		.traits = TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 2,
		.max_operands = 2,
		.run = cmd_describe,
	},
	{
		.name = "crystallize",
		.synopsis = "STORE DIM",
		.summary = "turn a dimension into an immutable region",
		.details = "In a store with a directory its file is written "
			   "first.",
		.example = "strata crystallize core 99",
		.traits = TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 2,
		.max_operands = 2,
		.run = cmd_crystallize,
	},
	{
		.name = "ls",
		.synopsis = "STORE [DIM]",
		.summary = "list the dimensions, or the layers of one",
		.details = "With --hot, what is being read, most first: of the "
			   "readers that are there\n"
			   "now, six samples each. 'strata top' sums up more of "
			   "them.",
		.example = "strata ls core\nstrata ls core 7 --json\n"
			   "strata ls core --hot",
		.options = ls_options,
		.traits = TOOL_PRINTS | TOOL_ATTACHES,
		.min_operands = 1,
		.max_operands = 2,
		.run = cmd_ls,
	},
	{
		.name = "cat",
		.synopsis = "STORE DIM/LAYER",
		.summary = "print the content of a layer, or its metadata",
		.example = "strata cat core 7/5 > content\n"
			   "strata cat core 7/5 --meta",
		.options = cat_options,
		.traits = TOOL_PRINTS | TOOL_ATTACHES,
		.min_operands = 2,
		.max_operands = 2,
		.run = cmd_cat,
	},
	{
		.name = "stat",
		.synopsis = "STORE\n--explain",
		.summary = "print the figures of a store",
		.example = "strata stat core\nstrata stat --explain",
		.options = stat_options,
		.traits = TOOL_PRINTS | TOOL_ATTACHES,
				.max_operands = 1,
		.run = cmd_stat,
	},
	{
		.name = "dump",
		.synopsis = "STORE",
		.summary = "print the whole state of a store, as JSON",
		.details = "All layers are of one version. The document is "
			   "described by dump.schema.json.",
		.example = "strata dump core -o core.json",
		.options = dump_options,
		.traits = TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 1,
		.max_operands = 1,
		.run = cmd_dump,
	},
	{
		.name = "readers",
		.synopsis = "STORE",
		.summary = "list who reads a store, and what that retains",
		.example = "strata readers core",
		.traits = TOOL_PRINTS | TOOL_ATTACHES,
		.min_operands = 1,
		.max_operands = 1,
		.run = cmd_readers,
	},
	{
		.name = "top",
		.synopsis = "STORE",
		.summary = "show a store as it lives, on the whole screen",
		.details =
			"Memory with its thresholds (|), pools and regions (# "
			"live, + retired, . free,\n"
			"digits: of dimensions), readers with what they "
			"retain, commits and sections a\n"
			"second, the hottest layers. These are sampled, by the "
			"readers' own word. Keys:\n"
			"q, tab (the other pane), s (sort), / (filter), d "
			"(dimensions), p (pause), + -.",
		.example = "strata top core",
		.options = top_options,
		.traits = TOOL_ATTACHES,
		.min_operands = 1,
		.max_operands = 1,
		.run = cmd_top,
	},
	{
		.name = "watch",
		.synopsis = "STORE",
		.summary = "print a line for each new version",
		.details = "What changed, how large it is, and who did it. "
			   "Versions that come faster\n"
			   "than they are looked at share a line. It sleeps in "
			   "between, and leaves when\n"
			   "the store is destroyed. COMMAND finds the line in "
			   "STRATA_LINE, its parts in\n"
			   "STRATA_STORE, STRATA_FIRST, STRATA_VERSION, "
			   "STRATA_DIMENSIONS and STRATA_BY;\n"
			   "what is committed meanwhile is told when it is "
			   "done. What is too long\n"
			   "for the system, first the line, then the "
			   "dimensions, is left out, and STRATA_CUT\n"
			   "is 1.",
		.example = "strata watch core\n"
			   "strata watch core --exec='strata metrics "
			   "--textfile=core.prom'",
		.options = watch_options,
		.traits = TOOL_PRINTS | TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 1,
		.max_operands = 1,
		.run = cmd_watch,
	},
	{
		.name = "verify",
		.synopsis = "STORE|FILE...",
		.summary = "check stores and dimension files",
		.details =
			"An operand with a slash, or that is a regular file, "
			"is a dimension file.",
		.example = "strata verify core\nstrata verify ./D07.strata",
		.options = verify_options,
		.traits = TOOL_PRINTS | TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 1,
		.max_operands = -1,
		.run = cmd_verify,
	},
	{
		.name = "gc",
		.synopsis = "[STORE]",
		.summary = "give back the memory that no reader needs",
		.details = "Without a store: removes your segments that no "
			   "store has and nobody uses (see\n"
			   "`strata list`). With one, does that, too.",
		.example = "strata gc core\n"
			   "strata gc",
		.traits = TOOL_PRINTS | TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 0,
		.max_operands = 1,
		.run = cmd_gc,
	},
	{
		.name = "limit",
		.synopsis = "STORE SIZE",
		.summary = "change the hard limit of a store",
		.example = "strata limit core 512M",
		.traits = TOOL_ACTS | TOOL_ATTACHES,
		.min_operands = 2,
		.max_operands = 2,
		.run = cmd_limit,
	},
	{
		.name = "metrics",
		.synopsis = "[STORE]...",
		.summary = "print the figures of stores for Prometheus",
		.details = "Without STORE, of all stores of this machine. With "
			   "--listen it goes on until\n"
			   "SIGINT or SIGTERM.",
		.example =
			"strata metrics core\n"
			"strata metrics --textfile=/var/lib/node_exporter/"
			"strata.prom\n"
			"strata metrics --listen=127.0.0.1:9480",
		.options = metrics_options,
		.traits = TOOL_ACTS | TOOL_ATTACHES,
		.max_operands = -1,
		.run = cmd_metrics,
	},
	{
		.name = "doctor",
		.synopsis = "",
		.summary = "look for what is wrong on this machine",
		.details = "Memory, kernel, limits, logind and the stores; "
			   "each finding with what mends\n"
			   "it. The exit code is 1 if there is a problem.",
		.example = "strata doctor",
		.traits = TOOL_PRINTS,
		.max_operands = 0,
		.run = cmd_doctor,
	},
	{.name = NULL},
};
