/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Metrics as text, and the server that hands them out. */
#ifndef STRATA_METRICS_H
#define STRATA_METRICS_H

#include "tool.h"

/**
 * Looks at the stores that the operands name, or at all, and writes a page.
 * @return 0, or what strata_list() returned.
 */
int metrics_write(const struct tool_args *args, FILE *file);

/**
 * Serves such pages until SIGINT or SIGTERM.
 * @param address `HOST:PORT`, HOST a number; port 0: any
 * @return tool_status
 */
int metrics_serve(const struct tool_args *args, const char *address);

#endif /* STRATA_METRICS_H */
