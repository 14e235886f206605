# SPDX-License-Identifier: MIT
#
# gnuplot -e "data='FILE'; out='FILE.svg'" relay.gp
# data: number, name, packets per CPU-second (median, least, most), payload 160 bytes.
set terminal svg size 720,400 font "sans,13" background "white"
set output out
set title "Relayed packets per CPU-second, 160 bytes, ChannelData to UDP over veth"
set logscale y
set yrange [10000:*]
set format y "%.0s %c"
set ylabel "packets per CPU-second (log)"
set xrange [-0.6:*]
set offsets 0, 0.1, 0, 0
set style fill solid 0.8 border -1
set grid y
unset key
plot data using 1:3:4:5:(0.6):xtic(2) with boxerrorbars linecolor rgb "#4477aa", \
     data using 1:($5 * 1.3):(sprintf("%.2f M", $3 / 1e6)) with labels
