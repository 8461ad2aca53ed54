/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* strata doctor: what is wrong on this machine, and what mends it. */
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "doctor.h"

/**** findings ****/

void
finding_add(struct doctor *doctor, enum finding_level level,
	    const char *subject, char *mend, const char *format, ...)
{
	struct finding *finding;
	va_list list;

	doctor->findings = x_grow(doctor->findings, doctor->nr_findings,
				  sizeof(*doctor->findings));
	finding = &doctor->findings[doctor->nr_findings++];
	*finding = (struct finding){level, subject, NULL, mend};
	va_start(list, format);
	if (vasprintf(&finding->text, format, list) < 0)
		finding->text = NULL;
	va_end(list);
	x_check(finding->text);
}

static const char *
level_text(enum finding_level level)
{
	static const char *const texts[] = {"ok", "note", "warning", "PROBLEM"};

	return texts[level];
}

static int
findings_print(const struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->nr_findings; i++) {
		const struct finding *finding = &doctor->findings[i];

		print("%-8s  %s: %s\n", level_text(finding->level),
		       finding->subject, finding->text);
		if (finding->mend != NULL)
			print("%-8s    mend: %s\n", "", finding->mend);
	}
	return TOOL_DONE;
}

static int
findings_json(const struct doctor *doctor)
{
	json_t *list = json_array();

	for (size_t i = 0; i < doctor->nr_findings; i++) {
		const struct finding *finding = &doctor->findings[i];
		json_t *item = json_object();

		json_object_set_new(
			item, "level",
			json_string(finding->level == FINDING_PROBLEM
					    ? "problem"
					    : level_text(finding->level)));
		json_object_set_new(item, "subject",
				    json_string(finding->subject));
		json_object_set_new(item, "text", json_text(finding->text));
		json_object_set_new(item, "mend",
				    finding->mend != NULL
					    ? json_text(finding->mend)
					    : json_null());
		json_array_append_new(list, item);
	}
	return json_print(json_pack("{s:o}", "findings", list));
}

/**** stores ****/

static int
store_note(const struct strata_list_entry *entry, void *arg)
{
	struct doctor *doctor = arg;

	doctor->stores = x_grow(doctor->stores, doctor->nr_stores,
				sizeof(*doctor->stores));
	doctor->stores[doctor->nr_stores++] = *entry;
	return 0;
}

/* What to do about a store that no attach would accept. */
static char *
store_mend(const struct strata_list_entry *store)
{
	switch (store->status) {
	case STRATA_EACCES:
		return x_format("look as its owner (user %u) or as root",
				(unsigned)store->owner);
	case STRATA_EGONE:
		return x_format("strata gc, or strata create %s over it",
				store->name);
	default:
		return x_format("strata destroy --force %s", store->name);
	}
}

static void
store_look(struct doctor *doctor, const struct strata_list_entry *store)
{
	if (store->status == 0)
		finding_add(doctor, FINDING_OK, "store", NULL,
			    "'%s' is whole: version %llu, %s of %s",
			    store->name, (unsigned long long)store->version,
			    SIZE_TEXT(store->reserved),
			    SIZE_TEXT(store->limit));
	else
		finding_add(doctor,
			    store->status == STRATA_EACCES ? FINDING_NOTE
							   : FINDING_PROBLEM,
			    "store", store_mend(store),
			    "'%s' (user %u) cannot be attached: %s",
			    store->name, (unsigned)store->owner,
			    strata_strerror(store->status));
}

static void
doctor_stores(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->nr_stores; i++)
		store_look(doctor, &doctor->stores[i]);
	if (doctor->nr_stores == 0)
		finding_add(doctor, FINDING_OK, "store", NULL,
			    "there is none on this machine");
}

/**** leftovers ****/

/* Since the last of them was written to or given a name; 0: not known. */
static uint64_t
leftover_age(const struct doctor *doctor, const char *id)
{
	char *pattern = x_format("%s/strata-%s-*", doctor->folder, id);
	uint64_t now = now_ns(), youngest = 0;
	glob_t files;
	struct stat st;

	if (glob(pattern, 0, NULL, &files) == 0) {
		for (size_t i = 0; i < files.gl_pathc; i++)
			if (lstat(files.gl_pathv[i], &st) == 0 &&
			    (uint64_t)st.st_ctim.tv_sec > youngest)
				youngest = (uint64_t)st.st_ctim.tv_sec;
		globfree(&files);
	}
	free(pattern);
	youngest *= UINT64_C(1000000000);
	return youngest != 0 && now > youngest ? now - youngest : 0;
}

static int
orphan_look(const struct strata_orphan *orphan, void *arg)
{
	struct doctor *doctor = arg;
	bool removable = orphan->status == 0;

	finding_add(doctor,
		    removable ? FINDING_WARNING : FINDING_NOTE, "leftover",
		    removable ? x_dup("strata gc") : NULL,
		    "%s of a store that is gone (strata-%s-*, user %u, %s, "
		    "untouched for %s): %s",
		    COUNT_TEXT(orphan->files, "segment"), orphan->id,
		    (unsigned)orphan->owner, SIZE_TEXT(orphan->bytes),
		    AGE_TEXT(leftover_age(doctor, orphan->id)), orphan->why);
	return 0;
}

static void
doctor_leftovers(struct doctor *doctor)
{
	size_t before = doctor->nr_findings;
	int code = strata_orphans(/* remove= */ 0, orphan_look, doctor);

	if (code != 0)
		finding_add(doctor, FINDING_PROBLEM, "leftover", NULL,
			    "they cannot be looked for: %s",
			    refusal_text(code));
	else if (doctor->nr_findings == before)
		finding_add(doctor, FINDING_OK, "leftover", NULL,
			    "no segments of stores that are gone");
}

/**** the command ****/

static void
doctor_fini(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->nr_findings; i++) {
		free(doctor->findings[i].text);
		free(doctor->findings[i].mend);
	}
	free(doctor->findings);
	free(doctor->stores);
}

/* A monitor wants to know by the exit code. */
static int
doctor_status(const struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->nr_findings; i++)
		if (doctor->findings[i].level == FINDING_PROBLEM)
			return TOOL_REFUSED;
	return TOOL_DONE;
}

int
cmd_doctor(const struct tool_args *args)
{
	const char *folder = secure_getenv("STRATA_SHM_DIR");
	const char *root = secure_getenv("STRATA_DOCTOR_ROOT");
	struct doctor doctor = {
		.args = args,
		.folder =
			folder != NULL && *folder != '\0' ? folder : "/dev/shm",
		.root = root != NULL ? root : "",
	};
	int code = strata_list(store_note, &doctor);
	int status;

	if (code != 0)
		finding_add(&doctor, FINDING_PROBLEM, "store", NULL,
			    "the stores cannot be listed: %s",
			    refusal_text(code));
	doctor_memory(&doctor);
	doctor_kernel(&doctor);
	doctor_huge_pages(&doctor);
	doctor_limits(&doctor);
	doctor_remove_ipc(&doctor);
	if (code == 0)
		doctor_stores(&doctor);
	doctor_leftovers(&doctor);
	status = args_has(args, KEY_JSON) ? findings_json(&doctor)
					  : findings_print(&doctor);
	if (status == TOOL_DONE)
		status = doctor_status(&doctor);
	doctor_fini(&doctor);
	return status;
}
