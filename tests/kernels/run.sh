#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The data path's tests under other kernels: tests/kernels/run.sh [FILTER...]
#   FILTER   in place of the list in guest.sh: only tests whose KIND/NAME contains one of these
# For each kernel Debian's package is fetched and unpacked below build/kernels (never installed), and
# booted in QEMU, emulated, with this machine's /usr and the repository shared read-only over 9p;
# guest.sh runs there, and what it prints appears here behind the kernel's version.
#   PC_KERNELS           meta packages of the kernels, by default linux-image-amd64
#   PC_KERNELS_SECONDS   how long one guest may take, by default 3600
#   PC_KERNELS_CLOCK     what the guest's time follows. real: this machine's, on two processors.
#                        counted: instructions, on one processor of exactly 1000 million a second,
#                        whose idle moments take no time: all that a slow or busy machine changes is
#                        how long it takes. By default real, and what measures (kernels/test_netem)
#                        in a second, counted guest; with FILTER one guest, real
#   PC_NETEM_FLOWS       for kernels/test_netem, see there
# What cannot be had here is a skip, counted like the skips in the guest.
set -u
export LC_ALL=C
cd "$(dirname "$0")/../.." || exit 1

build=build${SAN:+/san}${COV:+/cov}
store=$PWD/build/kernels
limit=${PC_KERNELS_SECONDS:-3600}
passed=0 failed=0 skipped=0
failures=()
vm=

end_vm() {
	[ -z "$vm" ] || kill "$vm" 2>/dev/null
}
trap end_vm EXIT
trap 'exit 130' INT TERM HUP

skip() {
	echo "$1  skipped: $2"
	skipped=$((skipped + 1))
}

fail() {
	echo "$1  failed: $2"
	failed=$((failed + 1))
	failures+=("$1: $2")
}

# The package with the kernel that META depends on now; without package lists, the one unpacked last.
package_of() {
	local found
	found=$(apt-cache depends "$1" 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
	[ -n "$found" ] || found=$(cat "$store/$1.last" 2>/dev/null)
	echo "$found"
}

# fetch META: sets $package to the name, $tree to the unpacked package. 1, with $why, without one.
fetch() {
	package=$(package_of "$1")
	if [ -z "$package" ] && [ "$(id -u)" = 0 ]; then
		apt-get update -q >/dev/null 2>&1 </dev/null
		package=$(package_of "$1")
	fi
	why="no package lists name $1"
	[ -n "$package" ] || return 1
	tree=$store/$package
	if [ ! -e "$tree/unpacked" ]; then
		why="cannot fetch $package"
		rm -rf "$tree" "$tree.part"
		mkdir -p "$tree.part" || return 1
		(cd "$tree.part" && apt-get download -q "$package") >"$store/apt.log" 2>&1 </dev/null || {
			why+=": $(grep '^E: ' "$store/apt.log" | head -n 1)"
			rm -rf "$tree.part"
			return 1
		}
		why="cannot unpack $package"
		dpkg -x "$tree.part/$package"_*.deb "$tree.part" || return 1
		rm -f "$tree.part"/*.deb
		touch "$tree.part/unpacked"
		mv "$tree.part" "$tree" || return 1
	fi
	echo "$package" >"$store/$1.last"
}

# Files of the modules that lead to 9p over virtio, in the order to load them.
first_modules() {
	local m
	for m in virtio_pci 9pnet_virtio 9p; do
		modprobe -d "$tree" -S "$release" --show-depends "$m"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }'
}

# What programs of the host's /usr look for outside it.
etc_files=(
	alternatives ethertypes group hosts iproute2 ld.so.cache ld.so.conf ld.so.conf.d login.defs
	nsswitch.conf passwd protocols services
)

# The root of the guest, packed into $tree/initramfs.
make_root() {
	local root=$tree/root f tool
	rm -rf "$root"
	mkdir -p "$root"/{bb,modules,guest,dev,proc,sys,run,tmp,mnt,usr,src,root,etc,var/{run,tmp,lib}} \
		"$root/package/lib/modules" || return 1
	cp "$(command -v busybox)" "$root/bb/busybox" || return 1
	for tool in cat insmod ip ln mkdir mount poweroff sh sync; do
		ln -s busybox "$root/bb/$tool"
	done
	for f in bin sbin lib lib32 lib64 libx32; do ln -s "usr/$f" "$root/$f"; done
	for f in "${etc_files[@]}"; do
		[ ! -e "/etc/$f" ] || cp -a "/etc/$f" "$root/etc/"
	done
	depmod -b "$tree" "$release" || return 1
	first_modules | while read -r f; do
		cp "$f" "$root/modules/"
		echo "${f##*/}"
	done >"$root/modules/order"
	[ -s "$root/modules/order" ] || return 1
	cp tests/kernels/init "$root/init"
	printf '#!/bb/sh\nexec /usr/sbin/modprobe -d /package "$@"\n' >"$root/guest/modprobe"
	chmod 755 "$root/init" "$root/guest/modprobe"
	(cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$tree/initramfs"
}

share() {
	printf 'local,path=%s,mount_tag=%s,security_model=none,multidevs=remap%s' "$2" "$1" "${3:-}"
}

# start_vm LOGS CLOCK FILTERS: sets $vm
start_vm() {
	local environment processor=(-accel "tcg,thread=multi,tb-size=512" -smp 2)
	[ "$2" = real ] || processor=(-accel "tcg,thread=single,tb-size=512" -smp 1
		-icount "shift=0,sleep=off" -rtc "clock=vm")
	environment="SAN=${SAN:-} COV=${COV:-} PC_TEST_LOGS=$1 PC_GUEST_FILTERS=$3"
	environment+=" PC_GUEST_CLOCK=$2 PC_NETEM_FLOWS=${PC_NETEM_FLOWS:-}"
	timeout -k 5 "$limit" qemu-system-x86_64 -nodefaults -no-user-config -machine q35,usb=off \
		"${processor[@]}" -cpu max,la57=off -m 4096 \
		-display none -no-reboot -serial stdio \
		-kernel "$tree/boot/vmlinuz-$release" -initrd "$tree/initramfs" \
		-virtfs "$(share usr /usr ,readonly=on)" -virtfs "$(share src "$PWD" ,readonly=on)" \
		-virtfs "$(share modules "$tree/lib/modules" ,readonly=on)" -virtfs "$(share logs "$PWD/$1")" \
		-append "console=ttyS0,115200 quiet loglevel=3 panic=-1 tsc=reliable mitigations=off \
random.trust_cpu=on watchdog_thresh=60 no_timer_check net.ifnames=0 $environment" \
		</dev/null >"$1/console" 2>&1 &
	vm=$!
}

# count LOGS SECONDS: adds the guest's summary.
count() {
	local line
	line=$(cat "$1/summary" 2>/dev/null)
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed,\ ([0-9]+)\ skipped$ ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		skipped=$((skipped + BASH_REMATCH[3]))
		[ "${BASH_REMATCH[2]}" = 0 ] || failures+=("$release: logs in $1")
	elif [ "$2" -ge "$limit" ]; then
		fail "$release" "the guest did not end within $limit s, see $1"
	else
		fail "$release" "the guest ended without a summary, see $1/console"
	fi
}

# The guest's lines as they come, without what is for terminals and the kernel's last words.
show() {
	tail -n +1 -f --pid="$vm" "$1" | sed -u -e 's/\r//g' -e 's/\x1b\[[0-9;?=]*[a-zA-Z]//g' \
		-e '/reboot: Power down$/d' -e '/^$/d' -e "s/^/$release  /"
}

# run_guest CLOCK FILTERS
run_guest() {
	local logs=$build/test-logs/kernel-$release start
	[ "$1" = real ] || logs+=-$1
	rm -rf "$logs"
	mkdir -p "$logs" || exit 1
	: >"$logs/console"
	start=$SECONDS
	start_vm "$logs" "$1" "$2"
	show "$logs/console"
	wait "$vm" 2>/dev/null
	vm=
	count "$logs" $((SECONDS - start))
}

# run_kernel META
run_kernel() {
	fetch "$1" || {
		skip "$1" "$why"
		return
	}
	release=$(ls "$tree/lib/modules")
	make_root || {
		fail "$release" "cannot make the guest's root"
		return
	}
	if [ -n "$clock$filters" ]; then
		run_guest "${clock:-real}" "$filters"
	else
		run_guest real ""
		run_guest counted kernels/test_netem
	fi
}

cannot=
[ "$(dpkg --print-architecture 2>/dev/null)" = amd64 ] || cannot="needs a Debian system on x86-64"
for tool in qemu-system-x86_64 busybox cpio modprobe depmod; do
	[ -n "$cannot" ] || PATH=$PATH:/usr/sbin:/sbin command -v $tool >/dev/null ||
		cannot="$tool is not installed"
done
PATH=$PATH:/usr/sbin:/sbin
filters=$(IFS=, && echo "$*")
clock=${PC_KERNELS_CLOCK:-}
[[ $clock =~ ^(real|counted|)$ ]] || {
	echo "PC_KERNELS_CLOCK: real or counted, not '$clock'" >&2
	exit 2
}
mkdir -p "$store" || exit 1
for meta in ${PC_KERNELS:-linux-image-amd64}; do
	if [ -n "$cannot" ]; then skip "$meta" "$cannot"; else run_kernel "$meta"; fi
done

if [ ${#failures[@]} -gt 0 ]; then
	echo
	echo "Failed:"
	printf '  %s\n' "${failures[@]}"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
