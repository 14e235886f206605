# SPDX-License-Identifier: MIT
#
# gnuplot -e "out='FILE.svg'; heading='TEXT'; plots='WHAT TO PLOT'" rates.gp
# data: seconds, Mbit/s of 100 ms.
set terminal svg size 720,360 font "sans,13" background "white"
set output out
set title heading
set xlabel "seconds"
set ylabel "Mbit/s (100 ms)"
set yrange [0:*]
set grid y
set key outside bottom center horizontal
eval "plot ".plots
