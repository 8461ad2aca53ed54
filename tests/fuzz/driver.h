/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* What runs a fuzz target: its corpus, changes of that, or a fuzzer. */
#ifndef STRATA_TEST_FUZZ_DRIVER_H
#define STRATA_TEST_FUZZ_DRIVER_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/*
 * A target is one C file that has these three. As a plain program (gcc does)
 * it runs the files and folders that it is given; or, without arguments, each
 * file of its corpus and so many changes of them, made by random numbers that
 * STRATA_TEST_SEED repeats; for a minute where STRATA_TEST_LENGTH is long.
 * Configured with --enable-fuzzing it is a libFuzzer program, which without
 * arguments runs its corpus, and fuzzes for a minute where the length is long.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern const char fuzz_corpus[];      /* its folder in tests/fuzz */
extern const unsigned fuzz_nr_changes; /* of the corpus, in make check */

/* What must hold for every input: a sanitizer or the driver tells the rest. */
#define fuzz_need(held, ...)                                                \
	do {                                                                \
		if (!(held)) {                                              \
			fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);     \
			fprintf(stderr, __VA_ARGS__);                       \
			fprintf(stderr, "\n");                              \
			abort();                                            \
		}                                                           \
	} while (0)

#endif
