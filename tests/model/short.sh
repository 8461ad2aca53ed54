# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# shellcheck shell=sh disable=SC2034
# What `make check` searches: one reader, few deaths; read by run.sh.

hash_bits=20
optimize=-O0

holds 100000 rcu '-DREADERS=1 -DVMAX=3 -DDEATHS=1'
holds 100000 rcu-loads '-DREADERS=1 -DVMAX=3 -DDEATHS=0'
holds 100000 wlock '-DWRITERS=2 -DDEATHS=2'
holds 100000 sync '-DREADERS=1 -DVMAX=3'
holds 100000 fork '-DREADERS=2 -DSLOTS=2 -DPER_FILE=1'

breaks 'no heavy fence' rcu '-DREADERS=1 -DDEATHS=0 -DNO_HEAVY_FENCE'
breaks 'unlock without release' rcu-loads \
	'-DREADERS=1 -DDEATHS=0 -DUNLOCK_RELAXED'
breaks 'synchronize that looks only at older pins' sync \
	'-DREADERS=1 -DOLDER_ONLY'
breaks 'no list behind the notes' fork \
	'-DREADERS=2 -DSLOTS=2 -DPER_FILE=1 -DONE_LISTING'
