/* SPDX-License-Identifier: AGPL-3.0-only */
/* Copyright (C) 2026 The Strata authors */
/* Keeps what it made of layers in a hash table: parsed STORE DIM <NUMBERS */
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>
#include <urcu/call-rcu.h>
#include <urcu/flavor.h>
#include <urcu/rculfhash.h>

/* A layer of text, parsed. It does not change while it is in the table. */
struct parsed {
	struct cds_lfht_node node;
	struct rcu_head head;
	unsigned layer, nr_lines;
	uint64_t version; /* of the dimension, of which it was made */
};

static struct strata_store *store;
static const struct rcu_flavor_struct *rcu; /* the store's sections */
static struct cds_lfht *table;

static struct parsed *parsed_of(struct cds_lfht_node *node)
{
	return caa_container_of(node, struct parsed, node);
}

static int is_of(struct cds_lfht_node *node, const void *layer)
{
	return parsed_of(node)->layer == *(const unsigned *)layer;
}

static void release(struct rcu_head *head)
{
	free(caa_container_of(head, struct parsed, head));
}

static struct parsed *parse(const char *text, size_t size)
{
	struct parsed *parsed = calloc(1, sizeof(*parsed));

	while (parsed != NULL && size-- > 0)
		parsed->nr_lines += *text++ == '\n';
	return parsed;
}

/* Inside of a section, which protects layers and objects alike. */
static const char *look(unsigned dimension, unsigned layer, unsigned *ret)
{
	struct strata_reader *reader = strata_urcu_reader(store);
	struct strata_dimension info;
	struct cds_lfht_iter iter;
	struct cds_lfht_node *node;
	struct parsed *parsed;
	const char *text;
	size_t size;

	if (reader == NULL || strata_dimension_get(reader, dimension, &info) ||
	    (text = strata_get(reader, dimension, layer, &size)) == NULL)
		return "not there";
	cds_lfht_lookup(table, layer, is_of, &layer, &iter);
	node = cds_lfht_iter_get_node(&iter);
	if (node != NULL && parsed_of(node)->version == info.version) {
		*ret = parsed_of(node)->nr_lines;
		return "kept";
	}
	if ((parsed = parse(text, size)) == NULL)
		return "no memory";
	parsed->layer = layer;
	parsed->version = info.version;
	node = cds_lfht_add_replace(table, layer, is_of, &layer, &parsed->node);
	if (node != NULL) /* freed when those have left who may look at it */
		rcu->update_call_rcu(&parsed_of(node)->head, release);
	*ret = parsed->nr_lines;
	return "parsed";
}

int main(int argc, char **argv)
{
	unsigned layer, nr_lines;

	if (argc != 3 || strata_attach(argv[1], STRATA_READ, &store) != 0 ||
	    strata_urcu_flavor(store, &rcu) != 0) {
		fprintf(stderr, "parsed: %s\n", strata_last_error()->sentence);
		return 1;
	}
	table = cds_lfht_new_flavor(1024, 1024, 1024, 0, rcu, NULL);
	while (table != NULL && scanf("%u", &layer) == 1) {
		nr_lines = 0;
		rcu->read_lock();
		printf("%s", look(atoi(argv[2]), layer, &nr_lines));
		rcu->read_unlock();
		printf(": layer %u, %u lines\n", layer, nr_lines);
		fflush(stdout);
	}
	rcu->barrier(); /* what was replaced is freed; the rest goes with us */
	return strata_urcu_flavor_close(store) || strata_detach(store);
}
