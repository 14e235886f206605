# SPDX-License-Identifier: MIT
#
# The report as text: jq -r -f rates_text.jq rates.json

def pad($n): tostring | if length < $n then " " * ($n - length) + . else . end;
def padr($n): tostring | if length < $n then . + " " * ($n - length) else . end;
def fixed($d): if . == null then "-" else
	(. * pow(10; $d) | round | tostring) as $t
	| if $d == 0 then $t else
		($t | ltrimstr("-")) as $u | (("0" * ([$d + 1 - ($u | length), 0] | max)) + $u) as $v
		| (if $t[:1] == "-" then "-" else "" end) + $v[:-$d] + "." + $v[-$d:] end end;
def verdict($good): if $good then "met" else "NOT MET" end;
def disturbed: if .clean then "" else "  the test bed lost packets or stood still" end;
def title: {pcd: "pcd", clock: "dual clock in the line", bdp: "bucket of one BDP",
	second: "bucket of 1 s", none: "none"}[.];

.conditions as $c
| "people-cloud data plane, rates of \($c.date)",
"kernel \($c.kernel), \($c.cpus) x \($c.cpu), \($c.pcd), xdp = \($c.xdp)",
(if $c.quick then "quick: whether it works, not how well" else empty end),
(if .flows then
	"",
	"TCP through one tenant of 100 Mbit/s (IP packets as sent on)",
	"  share: of the highest possible payload rate, over 100 with what was saved up during the warm-up",
	"  of 10 s; peak: highest 100 ms over the rate, slow start included",
	"  limiter                  flows     RTT    Mbit/s   share %   retransmissions    peak",
	(.flows | sort_by(.rtt, .cc, .streams)[]
		| "  \(.limit | title | padr(22)) \("\(.streams) \(.cc)" | pad(8)) \("\(.rtt) ms" | pad(7))"
		+ " \(.mbit | fixed(2) | pad(9)) \(.share * 100 | fixed(1) | pad(9))"
		+ " \("\(.retransmits) in \(.seconds) s" | pad(17)) \(.peak | fixed(2) | pad(7))\(disturbed)"),
	(.flows | map(select(.limit == "pcd" or .limit == "clock")) | map(select(.rtt == 40))
		| "  goal at 40 ms: share >= 98 %, <= 10 retransmissions of one flow, peak <= 1.9: "
		+ verdict(length > 0 and all(.share >= 0.98 and .peak <= 1.9
			and (.streams > 1 or .retransmits <= 10))))
	else empty end),
(.pool[]? | "",
	"Four tenants of weights 1, 1, 2, 4 (8 CUBIC, 1 CUBIC, 2 BBR, 4 CUBIC) in \(.pool) Mbit/s, 40 ms",
	"  \(.rates | map(fixed(2)) | join(", ")) Mbit/s, \(.sum | fixed(1)) together; weighted Jain"
	+ " \(.jain | fixed(4)), goal 0.98: \(verdict(.jain >= 0.98))\(disturbed)",
	"  one alone: \(.alone | fixed(1)) Mbit/s, and \(.back | fixed(1)) of acknowledgements:"
	+ " \(.alone_share * 100 | fixed(1)) % of the pool, goal 98: "
	+ verdict(.alone_share >= 0.98)),
(.join[]? | "",
	"A tenant of weight 4 comes and goes: settled after \(.worst_ms) ms at worst"
	+ " (\(.joined_ms | join(", ")); \(.left_ms | join(", "))), goal 200: "
	+ verdict(.worst_ms <= 200) + disturbed
	+ "; median of \(.all_ms | join(", ")) ms"),
(.tiers[]? | "",
	"Paid beside ten free tenants: \(.alone | fixed(2)) Mbit/s alone, \(.beside | fixed(2)) beside them"
	+ " (\(.kept * 100 | fixed(1)) %), goal 98: \(verdict(.kept >= 0.98));"
	+ " free got \(.free | fixed(1)) of \(.pool - .beside | fixed(1)) left\(disturbed)"),
(.udp // [] | if . != [] then "" else empty end),
(.udp[]? | "UDP at ten times \(.limit) Mbit/s from CPU \(.cpus): \(.mbit | fixed(3)) Mbit/s,"
	+ " off by \(.error * 100 | fixed(2)) %, goal 0.5: \(verdict(.error | fabs <= 0.005))\(disturbed)"),
(.many[]? | "",
	"\(.tenants) tenants: rates of all changed in \(.seconds | fixed(2)) s, goal 1: "
	+ "\(verdict(.seconds < 1)); \(.sent - .passed) of \(.sent) packets of one of them lost;"
	+ " then pcd used \(.loop_cpu * 100 | fixed(1)) % of a CPU, goal 2: \(verdict(.loop_cpu < 0.02))")
