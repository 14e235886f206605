# SPDX-License-Identifier: MIT
#
# What the guest measured, as text: jq -r -f rates_guest.jq rates-guest.json

def fixed($d): . * pow(10; $d) | round / pow(10; $d);

"TCP through one tenant of \(.[0].rate) Mbit/s over netem, in QEMU, time counted by instructions",
"  share: of the highest possible payload rate, over 100 with what was saved up during the warm-up",
(sort_by(.rtt, .cc, .streams)[] | "  \(.streams) \(.cc), \(.rtt) ms: \(.mbit | fixed(2)) Mbit/s,"
	+ " \(.share * 100 | fixed(1)) %, \(.retransmits) retransmissions in \(.seconds) s, highest 100 ms"
	+ " \(.peak | fixed(2)) times the rate; the guest was idle \(.idle * 100 | round) % of the time"
	+ if .clean then "" else "  the test bed lost packets" end),
(map(select(.rtt == 40)) | "  goal at 40 ms: share >= 98 %, <= 10 retransmissions of one flow in 25 s, peak <= 1.9: "
	+ if length > 0 and all(.share >= 0.98 and .peak <= 1.9
		and (.streams > 1 or .retransmits * 25 / .seconds <= 10))
	then "met" else "NOT MET" end)
