#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Installs the Debian packages that are missing: tools/build/setup.sh build|test|clients|kernels...
# Silent when nothing is missing. A package of the groups "clients" and "kernels" that cannot be
# installed is reported and left out: the tests that need it then skip themselves.
set -u
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

packages_build=(
	gcc make git clang llvm bpftool pkg-config libc6-dev linux-libc-dev libbpf-dev libxdp-dev
	libelf-dev zlib1g-dev libnl-3-dev libnl-route-3-dev libsodium-dev libssl-dev libev-dev
	libjemalloc-dev libsqlite3-dev libinih-dev libjansson-dev libcap-ng-dev
)
packages_test=(
	bash-completion clang-format conntrack coturn ethtool gnuplot-nox iperf3 iproute2
	iputils-arping iputils-ping jq libclang-rt-14-dev libcmocka-dev mandoc nftables openssl
	procps python3 python3-cryptography shellcheck socat sqlite3 tcpdump wireguard-go
	wireguard-tools
)
packages_clients=(
	chromium firefox-esr libglib2.0-dev libnice-dev python3-aioice python3-aiortc
)
packages_kernels=(busybox-static cpio kmod qemu-system-x86 xdp-tools)

policy=${PC_SETUP_POLICY:-/usr/sbin/policy-rc.d}
policy_made=0
log=$(mktemp) || exit 1

clean_up() {
	[ "$policy_made" = 1 ] && rm -f "$policy"
	rm -f "$log"
}
trap clean_up EXIT
trap 'exit 130' INT TERM HUP

die() {
	echo "setup: $*" >&2
	exit 1
}

# What apt said last, for one line.
apt_reason() {
	local line
	line=$(grep -E '^(E|dpkg): ' "$log" | head -n 1)
	echo "${line:-$(tail -n 1 "$log")}"
}

# Prints those of its arguments that are not installed.
missing_of() {
	local p have
	have=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null)
	for p in "$@"; do
		[[ $'\n'$have$'\n' == *$'\n'"$p installed"$'\n'* ]] || echo "$p"
	done
}

# Debian's npm does not go beside a Node.js from elsewhere.
node_packages() {
	command -v node >/dev/null || echo nodejs
	command -v npm >/dev/null || echo npm
}

# Packages are only ever added: nothing of the host's is removed for them.
apt_install() {
	apt-get install -y -q --no-install-recommends --no-remove \
		-o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1 </dev/null
}

# Installing must not start services: coturn would take the relay's port.
forbid_services() {
	[ -e "$policy" ] && return
	printf '#!/bin/sh\nexit 101\n' >"$policy" || die "cannot write $policy"
	policy_made=1
	chmod 755 "$policy"
}

# Where a policy of the host's own let it start, and for the next boot.
disable_coturn() {
	if [ -d /run/systemd/system ]; then
		systemctl disable --now --quiet coturn.service >/dev/null 2>&1
	else
		[ -x /etc/init.d/coturn ] && /etc/init.d/coturn stop >/dev/null 2>&1
		systemctl disable --quiet coturn.service >/dev/null 2>&1 ||
			update-rc.d coturn disable >/dev/null 2>&1
	fi
	pgrep -x turnserver >/dev/null && echo "setup: a turnserver is running on this host" >&2
	return 0
}

updated=0
update_lists() {
	[ "$updated" = 1 ] && return 0
	updated=1
	echo "setup: reading package lists"
	apt-get update -q -o DPkg::Lock::Timeout=300 >"$log" 2>&1 </dev/null
}

install_required() {
	update_lists || die "apt-get update failed: $(apt_reason)"
	echo "setup: installing $*"
	apt_install "$@" || die "cannot install $*: $(apt_reason)"
}

install_optional() {
	local p
	update_lists || echo "setup: apt-get update failed: $(apt_reason)" >&2
	echo "setup: installing $*"
	apt_install "$@" && return
	# One that is not to be had must not take the others along.
	for p in "$@"; do
		apt_install "$p" || echo "setup: left out $p: $(apt_reason)" >&2
	done
}

[ $# -gt 0 ] || die "usage: setup.sh build|test|clients|kernels..."
required=()
optional=()
node=0
for group in "$@"; do
	case $group in
	build) required+=("${packages_build[@]}") ;;
	test) required+=("${packages_test[@]}") ;;
	kernels) optional+=("${packages_kernels[@]}") ;;
	clients)
		optional+=("${packages_clients[@]}")
		node=1
		;;
	*) die "unknown group \"$group\" (build, test, clients, kernels)" ;;
	esac
done

command -v dpkg-query >/dev/null || die "needs a Debian system (no dpkg-query)"
mapfile -t required < <(missing_of "${required[@]}")
if [ ${#optional[@]} -gt 0 ]; then
	mapfile -t optional < <(
		missing_of "${optional[@]}"
		[ $node = 0 ] || node_packages
	)
fi
[ ${#required[@]} -gt 0 ] || [ ${#optional[@]} -gt 0 ] || exit 0
if [ "$(id -u)" != 0 ]; then
	[ ${#required[@]} -eq 0 ] || die "must be root to install: ${required[*]}"
	echo "setup: not root, left out: ${optional[*]}" >&2
	exit 0
fi

forbid_services
had_coturn=$(missing_of coturn)
[ ${#required[@]} -eq 0 ] || install_required "${required[@]}"
[ ${#optional[@]} -eq 0 ] || install_optional "${optional[@]}"
if [ "$had_coturn" = coturn ] && [ -z "$(missing_of coturn)" ]; then
	disable_coturn
fi
exit 0
