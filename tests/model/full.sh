# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# shellcheck shell=sh disable=SC2034
# What `make model` searches; read by run.sh.

hash_bits=25
optimize=-O2

echo '# What holds'
holds 1000000 rcu '-DREADERS=2 -DVMAX=3 -DDEATHS=1'
holds 1000000 rcu '-DREADERS=2 -DVMAX=3 -DDEATHS=2 -DRECLAIM_FIRST'
holds 1000000 rcu '-DREADERS=1 -DVMAX=4 -DDEATHS=3'
holds 1000000 rcu '-DREADERS=2 -DVMAX=3 -DDEATHS=0 -DFULL_FENCE'
holds 1000000 rcu-loads '-DREADERS=2 -DVMAX=3 -DDEATHS=0'
holds 1000000 rcu-loads '-DREADERS=1 -DVMAX=3 -DDEATHS=1 -DWINDOW=2'
holds 1000000 wlock '-DWRITERS=2'
holds 1000000 wlock '-DWRITERS=3 -DDEATHS=3 -DNO_WAITERS'
holds 1000000 sync '-DREADERS=2 -DVMAX=2'
holds 1000000 sync '-DREADERS=1 -DVMAX=3'
holds 10000000 fork '-DREADERS=2 -DSLOTS=3 -DPER_FILE=2'
holds 10000000 fork '-DREADERS=2 -DSLOTS=3 -DPER_FILE=1'
holds 10000000 fork '-DREADERS=3 -DSLOTS=3 -DPER_FILE=2 -DNOTHING_NEW'
holds 20000000 fork '-DREADERS=2 -DSLOTS=4 -DPER_FILE=2 -DNOTHING_NEW'
holds 10000000 fork '-DREADERS=2 -DSLOTS=3 -DPER_FILE=2 -DFORGETFUL'
holds 10000000 fork '-DREADERS=2 -DSLOTS=3 -DPER_FILE=2 -DSYNCHRONIZE'

echo
echo '# What does not'
one='-DREADERS=1 -DDEATHS=0'
death='-DREADERS=1 -DDEATHS=1'
breaks 'no heavy fence' rcu "$one -DNO_HEAVY_FENCE"
breaks 'no compiler barrier' rcu "$one -DNO_COMPILER_BARRIER"
breaks 'candidates fixed after the fence' rcu "$one -DLATE_CANDIDATES"
breaks 'no validation' rcu "$one -DNO_VALIDATION"
breaks 'one root word' rcu "$one -DONE_ROOT"
breaks 'version before root' rcu "$one -DVERSION_FIRST"
breaks 'birth raised' rcu "$one -DBIRTH_RAISED"
breaks 'retirement one too small' rcu "$one -DRETIRE_SMALL"
breaks 'slot of the dead cleared by its finder' rcu "$one -DFINDER_CLEARS"
breaks 'slot not cleared by its new owner' rcu "$one -DNO_CLEAR"
breaks 'asked for life before there were candidates' rcu \
	"$one -DOLD_LIVENESS"
breaks 'recovery that frees' rcu "$death -DRECOVERY_FREES"
breaks 'retired before the version' rcu "$death -DRETIRE_EARLY"
breaks 'retired before its stamp' rcu "$death -DSTAMP_LATE"
breaks 'clean before recovery is done' rcu \
	'-DREADERS=1 -DDEATHS=2 -DCLEAN_EARLY'
breaks 'a horizon: a stopped reader holds back what was born later' rcu \
	"$one -DHORIZON"
breaks 'no heavy fence' rcu-loads "$one -DNO_HEAVY_FENCE"
breaks 'no compiler barrier' rcu-loads "$one -DNO_COMPILER_BARRIER"
breaks 'version loaded without acquire' rcu-loads "$one -DVERSION_RELAXED"
breaks 'root loaded without acquire, no fence' rcu-loads "$one -DROOT_RELAXED"
breaks 'unlock without release' rcu-loads "$one -DUNLOCK_RELAXED"
breaks 'take-over without the incarnation' wlock \
	'-DWRITERS=3 -DDEATHS=2 -DNO_INCARNATION'
breaks 'take-over from another word than was judged' wlock \
	'-DWRITERS=3 -DDEATHS=2 -DPLAIN_TAKE_OVER'
breaks 'an incarnation that comes again' wlock \
	'-DWRITERS=3 -DDEATHS=2 -DINCARNATION_REPEATS'
breaks 'synchronize that looks only at older pins' sync \
	'-DREADERS=1 -DOLDER_ONLY'
breaks 'synchronize without a heavy fence' sync '-DREADERS=1 -DNO_HEAVY_FENCE'
handover='-DREADERS=2 -DSLOTS=2 -DPER_FILE=1'
breaks 'no counter' fork "$handover -DNO_COUNTER"
breaks 'counter raised when the child runs already' fork \
	"$handover -DCOUNTER_LATE"
breaks 'counter raised before the pin of the heir' fork \
	"$handover -DCOUNTER_FIRST"
breaks 'no fence between them' fork "$handover -DNO_HEIR_FENCE"
breaks 'counter raised in the file of the heir' fork \
	"$handover -DCOUNTER_OF_HEIR"
breaks 'pin set by the child' fork "$handover -DCHILD_PINS"
breaks 'lock that the child does not inherit' fork \
	"$handover -DLOCK_NOT_INHERITED"
breaks 'lock that the parent keeps' fork "$handover -DHEIR_NOT_DROPPED"
breaks 'counters noted behind the pins' fork "$handover -DNOTES_LATE"
breaks 'no list behind the notes' fork "$handover -DONE_LISTING"
breaks 'no notes behind a list that has found a file' fork \
	"$handover -DNOTED_ONCE"
breaks 'folder that changed just now believed to be at rest' fork \
	"$handover -DALWAYS_SETTLED"
breaks "folder's time asked behind the list" fork "$handover -DTIME_LATE"
breaks 'one pass, whatever was handed over' fork "$handover -DONE_PASS"
breaks 'dead, whatever was handed over' fork "$handover -DDEAD_AT_ONCE"
breaks 'synchronize over, whatever was handed over' fork \
	"$handover -DSYNCHRONIZE -DNO_LAST_LOOK"
