#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Who may use whom, read from #include lines and from the symbols of the static libraries, as TAP.
# PC_LAYER_ROOT: another tree; PC_BUILD: its build directory.
set -u
export LC_ALL=C
cd "${PC_LAYER_ROOT:-$(dirname "$0")/../..}" || exit 1
build=${PC_BUILD:-build}
number=0
failed=0

# pcpeer is a program of its own, not a face of pcd: it has the protocol machines of relay/ and a
# loop, and nothing of the data plane or the daemon.
#
# FOLDER may include the parts (folders by short name, "skel": skeletons, "gen": generated headers)
# and the headers of these outside libraries.
includes='
bpf/abi             abi                                                   :
bpf/lib             abi,lib                                               : bpf
bpf                 abi,lib                                               : bpf
userspace/base      base,lib/siphash.h                                    : socket
relay               base,relay,lib/replay.h                               : sodium,openssl
qos                 base,qos,abi,dp/dp.h,lib/rate.h                       :
userspace/account   base,account,store/store.h                            : sodium
userspace/store     base,store                                            : sqlite
userspace/ctl       base,ctl                                              : jansson,socket
userspace/dp        base,dp,abi,lib,skel,gen                              : bpf,socket
userspace/daemon    base,relay,qos,account,store,ctl,dp,daemon,abi,gen,lib/rate.h : sodium,openssl,ev,netlink,jansson,ini,capng,seccomp,microhttpd,curl,pq,socket
tools               base,ctl,dp,store,account,abi,gen,tools               : jansson,sodium,openssl,socket
tools/pcstat        base,ctl,dp,store,account,abi,gen,tools,pcstat        : jansson,socket
tools/pcctl         base,ctl,dp,store,account,abi,gen,tools,pcctl         : jansson,sodium,openssl,socket
tools/pcpeer        base,ctl,account,relay,gen,pcpeer                     : jansson,sodium,ev,ini,socket
'

# LIBRARY (or program) may link to these libraries; of the symbols of the outside world it must
# not touch these families.
links='
base          -                                             ev,bpf,netlink,sqlite,jansson,ini,capng,sodium,openssl,socket,clock,print
relay         base                                          ev,bpf,netlink,sqlite,jansson,ini,capng,socket,clock,file,print,log
qos           base                                          ev,bpf,netlink,sqlite,jansson,ini,capng,sodium,openssl,socket,clock,file,print,log
account       base,store                                    ev,bpf,netlink,sqlite,jansson,ini,capng,openssl,socket,clock,print,log
store         base                                          ev,bpf,netlink,jansson,ini,capng,sodium,openssl,socket,clock,print,log
ctl           base                                          ev,bpf,netlink,sqlite,ini,capng,sodium,openssl,print,log
dp            base                                          ev,netlink,sqlite,jansson,ini,capng,sodium,openssl,print,log
dp_fake       base                                          ev,bpf,netlink,sqlite,jansson,ini,capng,sodium,openssl,socket,print,log
daemon        base,relay,qos,account,store,ctl,dp           bpf,sqlite
tools/pcstat  base,ctl,dp,store,account                     ev,bpf,netlink,sqlite,ini,capng
tools/pcctl   base,ctl,dp,store,account                     ev,bpf,netlink,sqlite,ini,capng
tools/pcpeer  base,ctl,account,relay                        bpf,netlink,sqlite,capng,openssl
'

# The log prints the time of day; the tools share the way they answer on the command line; not all
# that begins with nl_ is netlink.
exceptions='
base log.o time
base log.o localtime_r
ctl cli.o stdout
ctl cli.o stderr
tools/pcstat show_rates.o nl_langinfo
'

headers_awk='
function family(header) {
	if (header ~ /^sodium/) return "sodium"
	if (header ~ /^openssl\//) return "openssl"
	if (header ~ /^ev(\+\+)?\.h$/) return "ev"
	if (header ~ /^(bpf|xdp)\//) return "bpf"
	if (header ~ /^netlink\//) return "netlink"
	if (header ~ /^sqlite3/) return "sqlite"
	if (header ~ /^jansson/) return "jansson"
	if (header == "ini.h") return "ini"
	if (header == "cap-ng.h") return "capng"
	if (header == "seccomp.h") return "seccomp"
	if (header == "microhttpd.h") return "microhttpd"
	if (header ~ /^curl\//) return "curl"
	if (header ~ /^libpq/) return "pq"
	if (header ~ /^(sys\/(socket|un|epoll|select|poll)|netdb|poll|net\/if)\.h$/) return "socket"
	return ""
}
# The part a quoted header belongs to, by its first folder.
function part(header) {
	if (header ~ /\.skel\.h$/) return "skel"
	if (header == "version.h") return "gen"
	if (header ~ /\.\./) return "outside"
	if (header !~ /\//) return own
	sub(/^(userspace|bpf)\//, "", header)
	sub(/^tools\/(pcstat|pcctl)\//, "&", header) && sub(/^tools\//, "", header)
	sub(/\/.*/, "", header)
	return header
}
BEGIN {
	n = split(parts, list, ",")
	for (i = 1; i <= n; i++) may[list[i]] = 1
	n = split(outside, list, ",")
	for (i = 1; i <= n; i++) may_outside[list[i]] = 1
}
/^[ \t]*#[ \t]*include/ {
	if (match($0, /<[^>]*>/)) {
		header = substr($0, RSTART + 1, RLENGTH - 2)
		f = family(header)
		if (f != "" && !(f in may_outside))
			print FILENAME ": <" header ">"
		if (own == "abi" && header != "linux/types.h")
			print FILENAME ": <" header ">"
	} else if (match($0, /"[^"]*"/)) {
		header = substr($0, RSTART + 1, RLENGTH - 2)
		if (!(part(header) in may) && !(header in may))
			print FILENAME ": \"" header "\""
	}
}'

symbols_awk='
function family(s) {
	if (s ~ /^ev_/) return "ev"
	if (s ~ /^(bpf_|libbpf_|btf_|xdp_|xsk_|ring_buffer_|perf_buffer_)/) return "bpf"
	if (s ~ /^(nl_|nla_|nlmsg_|rtnl_|genl_)/) return "netlink"
	if (s ~ /^sqlite3_/) return "sqlite"
	if (s ~ /^json_/) return "jansson"
	if (s ~ /^ini_/) return "ini"
	if (s ~ /^capng_/) return "capng"
	if (s ~ /^(crypto_|sodium_|randombytes)/) return "sodium"
	if (s ~ /^(EVP_|HMAC|MD5|SHA[0-9]|OSSL_|OPENSSL_|CRYPTO_|RAND_|SSL_|BIO_|ERR_)/) return "openssl"
	if (s ~ /^(socket|socketpair|bind|connect|listen|accept4?|shutdown|p?poll|p?select)$/) return "socket"
	if (s ~ /^(send(to|msg|mmsg)?|recv(from|msg|mmsg)?|[gs]etsockopt|getaddrinfo)$/) return "socket"
	if (s ~ /^(epoll_.*|if_nametoindex|if_indextoname|getifaddrs)$/) return "socket"
	if (s ~ /^(clock_gettime|gettimeofday|time|clock|localtime(_r)?|gmtime(_r)?)$/) return "clock"
	if (s ~ /^(timerfd_.*|nanosleep|clock_nanosleep|usleep|sleep|alarm|setitimer)$/) return "clock"
	if (s ~ /^(open|openat|creat|fopen|read|write|readv|writev|unlink|rename|mmap|ioctl)$/) return "file"
	if (s ~ /^(v?printf|puts|putchar|perror|stdout|stderr|exit|_exit|quick_exit)$/) return "print"
	if (s ~ /^(errx?|warnx?|v?syslog)$/) return "print"
	if (s ~ /^pc_log/) return "log"
	return ""
}
BEGIN {
	n = split(deps, list, ",")
	for (i = 1; i <= n; i++) may[list[i]] = 1
	n = split(forbidden, list, ",")
	for (i = 1; i <= n; i++) no[list[i]] = 1
	n = split(exceptions, list, "\n")
	for (i = 1; i <= n; i++) except[list[i]] = 1
}
# Symbols the libraries define: LIBRARY SYMBOL.
NR == FNR { owner[$2] = $1; next }
# Symbols that are used: OBJECT SYMBOL. Checked variants are named __X_chk.
{
	s = $2
	if (s ~ /^__.*_chk$/) s = substr(s, 3, length(s) - 6)
	f = family(s)
	if (f in no && !((self " " $1 " " s) in except))
		print $1 ": " s " (" f ")"
	else if (s in owner && owner[s] != self && !(owner[s] in may))
		print $1 ": " s " of " owner[s]
}'

report() {
	number=$((number + 1))
	if [ -n "$2" ]; then
		echo "not ok $number - $1"
		sed 's/^/# /' <<<"$2"
		failed=1
	else
		echo "ok $number - $1"
	fi
}

# Objects and their undefined symbols, from archives or object files.
used_symbols() {
	nm -A -u "$@" 2>/dev/null | sed -E 's/^([^:]*\/)?([^:\/]+:)?([^:\/]+): +[UwvVW] /\3 /'
}

check_includes() {
	local folder parts outside files
	while read -r folder parts _ outside; do
		[ -n "$folder" ] || continue
		mapfile -t files < <(find "$folder" -maxdepth 1 -name '*.[ch]' 2>/dev/null | sort)
		[ ${#files[@]} -gt 0 ] || continue
		report "headers used by $folder" "$(awk -v own="${folder##*/}" -v parts="$parts" \
			-v outside="${outside:-}" "$headers_awk" "${files[@]}")"
	done <<<"$includes"
}

check_symbols() {
	local name deps forbidden files defined lib
	defined=$(for lib in "$build"/lib/libpc_*.a; do
		name=${lib##*/libpc_}
		name=${name%.a}
		# The fake defines what the real one does.
		[ "$name" = dp_fake ] ||
			nm -g --defined-only "$lib" 2>/dev/null | awk -v lib="$name" 'NF == 3 { print lib, $3 }'
	done)
	while read -r name deps forbidden; do
		[ -n "$name" ] || continue
		case $name in
		tools/*) mapfile -t files < <(find "$build/obj/$name" -name '*.o' 2>/dev/null) ;;
		*) mapfile -t files < <(find "$build/lib" -name "libpc_$name.a") ;;
		esac
		[ ${#files[@]} -gt 0 ] || continue
		report "symbols used by $name" "$(awk -v self="${name%_fake}" -v deps="$deps" \
			-v forbidden="$forbidden" -v exceptions="${exceptions//$'\n'/\\n}" \
			"$symbols_awk" <(printf '%s\n' "$defined") <(used_symbols "${files[@]}") | sort -u)"
	done <<<"$links"
}

check_includes
loose=$(find userspace -maxdepth 1 -name '*.c' 2>/dev/null)
report "no source directly in userspace" "$loose"
if ! command -v nm >/dev/null; then
	number=$((number + 1))
	echo "ok $number - symbols # SKIP nm is not installed"
elif ! ls "$build"/lib/libpc_*.a >/dev/null 2>&1; then
	number=$((number + 1))
	echo "ok $number - symbols # SKIP no library is built"
else
	check_symbols
fi
echo "1..$number"
exit $failed
