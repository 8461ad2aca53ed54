# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
# The plots of docs/performance.md; gnuplot -e "data='FOLDER'; out='FOLDER'".

set terminal svg size 720,420 background rgb 'white'
set datafile separator "\t"
set style fill solid 0.6
set boxwidth 0.7
set grid y
set logscale y

set title 'Latency of a lookup, 280 layers of 1 MiB'
set ylabel 'ns'
set xtics rotate by -25
set output out.'/performance-latency.svg'
plot data.'/latency.tsv' using ($0):2:xtic(1) with boxes notitle

set title 'Commit of 16 KiB, continuous, one reader'
set output out.'/performance-commit.svg'
set boxwidth 0.35
plot data.'/commit.tsv' using ($0-0.18):2:xtic(1) with boxes title 'p50', \
	data.'/commit.tsv' using ($0+0.18):3 with boxes title 'p99'

set xtics norotate
set title 'Lookups of all reader processes together'
set ylabel 'lookups/us'
set xlabel 'reader processes'
set logscale x
set key outside
set output out.'/performance-readers.svg'
files = system("ls ".data."/readers-*.tsv")
plot for [f in files] f using 1:2 with linespoints \
	title system("basename ".f." .tsv | sed 's/^readers-//; s/-/ /g'") noenhanced
