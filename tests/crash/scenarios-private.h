/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Between the table of the scenarios and what they are made of. */
#ifndef STRATA_TEST_SCENARIOS_PRIVATE_H
#define STRATA_TEST_SCENARIOS_PRIVATE_H

#include "scenarios.h"

/* Dimensions 1 to 3 change together; these are changed in other ways. */
#define GROUP    3
#define LOADED   4
#define CRYSTAL  5
#define GROWN    6 /* larger than all others: the pools grow for it */
#define APPENDED 7
#define TOUCHED  8
/* 9: SCENARIO_WAITERS */
#define LARGE 10 /* its region has a large page, and more */

/* Makes what the writer is to find, and notes it for the judge. */
void prepare_group(void);
void prepare_due(void);
void prepare_unloaded(void);
void prepare_large_file(void);
void prepare_large_hybrid(void);
void prepare_spare(void);
void prepare_loaded(void);
void prepare_contended(void);
void prepare_protos(void);
void prepare_crystal(void);
void prepare_hybrid(void);
void prepare_removable(void);
void prepare_appended(void);
void prepare_leaf(void);
void prepare_damaged(void);
void prepare_small(void);
void prepare_large(void);
void prepare_limit(void);
void prepare_nothing(void);

/* What the writer is killed in. */
void act_commit(void);
void act_refused(void);
void act_session(void);
void act_leave(void);
void act_overfill(void);
void act_append(void);
void act_remove_in_leaf(void);
void act_replace(void);
void act_remove_dimension(void);
void act_load(void);
void act_reload_large(void);
void act_crystallize_large(void);
void act_reload(void);
void act_reload_damaged(void);
void act_unload(void);
void act_forget(void);
void act_crystallize(void);
void act_grow(void);
void act_shrink(void);
void act_gc(void);
void act_limit(void);

/* What others do at the same time. */
void rival_commit(void);
void rival_load(void);
void rival_reload(void);
void rival_crystallize(void);

/* What became of it; nothing between the old and the new. */
enum outcome judge_group(void);
enum outcome judge_unchanged(void);
enum outcome judge_appended(void);
enum outcome judge_leaf(void);
enum outcome judge_replaced(void);
enum outcome judge_removed(void);
enum outcome judge_loaded(void);
enum outcome judge_large(void);
enum outcome judge_large_crystal(void);
enum outcome judge_not_loaded(void);
enum outcome judge_unloaded(void);
enum outcome judge_forgotten(void);
enum outcome judge_crystal(void);
enum outcome judge_durable(void);
enum outcome judge_grown(void);
enum outcome judge_limit(void);

#endif
