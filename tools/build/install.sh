#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Installs what is built: tools/build/install.sh DESTDIR PREFIX
# Programs, manual pages, completion, systemd unit; a configuration file only where there is none.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/../.."

if [ $# != 2 ] || [ -z "$2" ]; then
	echo "usage: tools/build/install.sh DESTDIR PREFIX" >&2
	exit 2
fi
destdir=$1 prefix=$2
case $prefix in
/*) ;;
*)
	echo "install: prefix $prefix is not absolute" >&2
	exit 2
	;;
esac

# put MODE FILE DIRECTORY [NAME]
put() {
	install -D -m "$1" "$2" "$destdir$3/${4:-$(basename "$2")}"
}

for program in pcd pcstat pcctl pcpeer; do
	if [ ! -x "build/bin/$program" ]; then
		echo "install: build/bin/$program is missing: run make first" >&2
		exit 1
	fi
done

put 755 build/bin/pcd "$prefix/sbin"
put 755 build/bin/pcstat "$prefix/bin"
put 755 build/bin/pcctl "$prefix/bin"
put 755 build/bin/pcpeer "$prefix/bin"
for page in docs/man/*.[1-8]; do
	put 644 "$page" "$prefix/share/man/man${page##*.}"
done
for file in tools/completion/*.bash; do
	put 644 "$file" "$prefix/share/bash-completion/completions" "$(basename "$file" .bash)"
done

# systemd looks below /usr/local only for what an administrator wrote.
unit=$prefix/lib/systemd/system
[ "$prefix" = /usr ] && unit=/lib/systemd/system
[ "$prefix" = /usr/local ] && unit=/etc/systemd/system
work=$(mktemp)
trap 'rm -f "$work"' EXIT
sed "s|@PREFIX@|$prefix|" tools/build/pcd.service >"$work"
put 644 "$work" "$unit" pcd.service
# For each user's own manager.
sed "s|@PREFIX@|$prefix|" tools/build/pcpeer.service >"$work"
put 644 "$work" "${unit%/system}/user" pcpeer.service

if [ ! -e "$destdir/etc/pcd/pcd.conf" ]; then
	put 600 tools/build/pcd.conf /etc/pcd
fi
