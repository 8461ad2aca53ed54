/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* All that writers are killed in. */
#include "scenarios-private.h"

#define WAITING UINT32_C(1) << WAITING_WRITERS
#define PINNED  UINT32_C(1) << PINNED_READER
#define KILLED  UINT32_C(1) << KILLED_READER
#define RIVAL   UINT32_C(1) << RIVALS

#define PLAY(what_, prepare_, act_, judge_) \
	.what = what_, .prepare = prepare_, .act = act_, .judge = judge_
/* One that recovers what another left; it commits something else then. */
#define RECOVER(what_, first_, point, judge_)                 \
	PLAY(what_, prepare_nothing, scenario_touch, judge_), \
		.first = first_, .first_point = point

static const struct scenario commit = {
	PLAY("commit", prepare_group, act_commit, judge_group),
	.companies = WAITING | PINNED | KILLED,
};
static const struct scenario reclaim = {
	PLAY("commit that reclaims", prepare_due, act_commit, judge_group),
	.passes = "reclaim.scanned",
	.companies = PINNED | KILLED,
};
static const struct scenario grow = {
	PLAY("commit that grows", prepare_small, act_grow, judge_grown),
	.passes = "pool.grow.reserved",
	.companies = WAITING,
};
static const struct scenario load = {
	PLAY("load", prepare_unloaded, act_load, judge_loaded),
	.companies = WAITING | PINNED,
};
static const struct scenario reload = {
	PLAY("reload", prepare_loaded, act_reload, judge_loaded),
	.passes = "segtab.bury.unlinked",
	.companies = PINNED | KILLED,
};
static const struct scenario hybrid = {
	PLAY("crystallise a hybrid", prepare_hybrid, act_crystallize,
	     judge_crystal),
	.companies = WAITING | PINNED | KILLED,
};
static const struct scenario durable = {
	PLAY("crystallise into a directory", prepare_hybrid, act_crystallize,
	     judge_durable),
	.passes = "newfile.finish.renamed",
	.directory = true,
};
static const struct scenario reload_large = {
	PLAY("reload in large pages", prepare_large_file, act_reload_large,
	     judge_large),
	.passes = "install.collapsed",
	.companies = PINNED,
};
static const struct scenario hybrid_large = {
	PLAY("crystallise in large pages", prepare_large_hybrid,
	     act_crystallize_large, judge_large_crystal),
	.passes = "install.collapsed",
	.companies = PINNED,
};
static const struct scenario reload_spare = {
	PLAY("reload into a spare", prepare_spare, act_reload_large,
	     judge_large),
	.passes = "spare.take.dimension",
	.companies = PINNED | KILLED,
};
static const struct scenario shrink = {
	PLAY("remove and gc", prepare_large, act_shrink, judge_unchanged),
	.passes = "pool.shrink.truncated",
	.companies = WAITING | PINNED | KILLED,
};
static const struct scenario recover_commit = {
	RECOVER("recover a commit", &commit, "edit.commit.version-stored",
		judge_group),
	.passes = "recover.rebuilt",
	.companies = WAITING | PINNED | KILLED,
};

const struct scenario *const scenarios[] = {
	/* The longest first. */
	&(const struct scenario){
		PLAY("reload beside a reload and a crystallise",
		     prepare_contended, act_reload, judge_loaded),
		.rivals = {rival_reload, rival_crystallize},
		.companies = RIVAL},
	&(const struct scenario){
		PLAY("crystallise beside two reloads", prepare_contended,
		     rival_crystallize, judge_loaded),
		.rivals = {rival_reload, rival_reload}, .companies = RIVAL},
	&(const struct scenario){
		PLAY("load beside a load and a crystallise", prepare_unloaded,
		     rival_load, judge_loaded),
		.rivals = {rival_load, rival_crystallize}, .companies = RIVAL},
	&(const struct scenario){PLAY("commit beside two that commit",
				      prepare_group, act_commit, judge_group),
				 .rivals = {rival_commit, rival_commit},
				 .passes = "wlock.wait.slept",
				 .companies = RIVAL},
	&(const struct scenario){PLAY("commit that finds no room",
				      prepare_group, act_overfill,
				      judge_unchanged),
				 .passes = "edit.abort.freed"},
	&hybrid,
	&durable,
	&load,
	&reload,
	&reload_large,
	&hybrid_large,
	&reload_spare,
	&shrink,
	&commit,
	&reclaim,
	&grow,
	&(const struct scenario){PLAY("refused commit", prepare_group,
				      act_refused, judge_unchanged)},
	&(const struct scenario){
		PLAY("session", prepare_group, act_session, judge_group),
		.companies = WAITING},
	&(const struct scenario){
		PLAY("append", prepare_appended, act_append, judge_appended),
		.passes = "tree.grow.raised"},
	&(const struct scenario){PLAY("replace over a region", prepare_crystal,
				      act_replace, judge_replaced)},
	&(const struct scenario){PLAY("remove a dimension", prepare_removable,
				      act_remove_dimension, judge_removed)},
	&(const struct scenario){PLAY("remove in a leaf", prepare_leaf,
				      act_remove_in_leaf, judge_leaf),
				 .passes = "tree.remove.cleared-in-leaf"},
	&(const struct scenario){PLAY("reload of a damaged file",
				      prepare_damaged, act_reload_damaged,
				      judge_not_loaded),
				 .passes = "segtab.bury.unlinked"},
	&(const struct scenario){
		PLAY("commit and leave", prepare_group, act_leave, judge_group),
		.passes = "wlock.detach.unmapped"},
	&(const struct scenario){
		PLAY("unload", prepare_loaded, act_unload, judge_unloaded),
		.companies = PINNED | KILLED},
	&(const struct scenario){PLAY("unload and forget", prepare_crystal,
				      act_forget, judge_forgotten),
				 .passes = "load.forget.unlinked",
				 .directory = true},
	&(const struct scenario){PLAY("crystallise", prepare_protos,
				      act_crystallize, judge_crystal)},
	&(const struct scenario){
		PLAY("gc after a crystallise", prepare_nothing, act_gc,
		     judge_durable),
		.first = &durable, .first_point = "crystallize.file-written",
		.passes = "newfile.sweep.unlinked", .directory = true},
	&(const struct scenario){
		PLAY("limit", prepare_limit, act_limit, judge_limit),
		.companies = WAITING},
	&recover_commit,
	&(const struct scenario){RECOVER("recover a commit not made", &commit,
					 "edit.commit.root-stored",
					 judge_group),
				 .passes = "recover.block.retired"},
	&(const struct scenario){RECOVER("recover a reclaim", &reclaim,
					 "pool.free.freed", judge_group),
				 .passes = "recover.rebuilt"},
	&(const struct scenario){RECOVER("recover a growth", &grow,
					 "pool.grow.reserved", judge_grown),
				 .passes = "recover.rebuilt"},
	&(const struct scenario){RECOVER("recover a load that has a file",
					 &load, "segtab.reserve.named",
					 judge_loaded),
				 .passes = "segtab.bury.unlinked"},
	&(const struct scenario){RECOVER("recover a load", &load,
					 "segtab.publish.allocated",
					 judge_loaded),
				 .passes = "recover.rebuilt"},
	&(const struct scenario){RECOVER("recover a reload", &reload,
					 "segtab.doom.dying", judge_loaded),
				 .passes = "segtab.bury.unlinked"},
	&(const struct scenario){RECOVER("recover a crystallise", &hybrid,
					 "edit.commit.version-stored",
					 judge_crystal),
				 .passes = "segtab.bury.unlinked"},
	&(const struct scenario){RECOVER("recover a gc", &shrink,
					 "pool.shrink.truncated",
					 judge_unchanged),
				 .passes = "recover.rebuilt"},
	&(const struct scenario){RECOVER("recover a recovery", &recover_commit,
					 "recover.mended", judge_group),
				 .passes = "recover.rebuilt",
				 .companies = WAITING},
};
const size_t nr_scenarios = sizeof(scenarios) / sizeof(*scenarios);
