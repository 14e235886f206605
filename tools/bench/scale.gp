# SPDX-License-Identifier: MIT
#
# gnuplot -e "data='FILE'; out='FILE.svg'" scale.gp
# data: sessions, ns of a packet of a random session, ns of a packet of always the same one.
set terminal svg size 720,400 font "sans,13" background "white"
set output out
set title "XDP relay, ns per packet of 160 bytes, by number of sessions"
set logscale x
set logscale y
set xrange [0.8:2000000]
set yrange [20:*]
set xtics ("1" 1, "16" 16, "256" 256, "4096" 4096, "65 536" 65536, "1 048 576" 1048576)
set ytics add (20, 50, 100, 200, 500, 1000, 2000)
set xlabel "sessions, each with a channel"
set ylabel "ns (log)"
set grid
set key left top
plot data using 1:2 with linespoints pointtype 7 linecolor rgb "#4477aa" linewidth 2 \
	title "every packet of another session, at random", \
     data using 1:3 with linespoints pointtype 6 linecolor rgb "#ee6677" linewidth 2 \
	title "one session sends, the others are there"
