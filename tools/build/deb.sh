#!/bin/bash
# SPDX-License-Identifier: MIT
#
# deb.sh VERSION: what `make install` installs, as a Debian package under build/. It depends on the
# packages whose libraries the programs are linked with.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ $# = 1 ] || { echo "usage: deb.sh VERSION" >&2; exit 2; }
command -v dpkg-deb >/dev/null || { echo "deb.sh: dpkg-deb is not installed" >&2; exit 1; }

# A package's version begins with a digit; a bare commit does not always.
version=${1#v}
case $version in
*.*) ;;
*) version=0.1+$version ;;
esac
version=${version//-/+}
arch=$(dpkg --print-architecture)
root=build/deb/root
rm -rf build/deb
mkdir -p "$root/DEBIAN"
tools/build/install.sh "$PWD/$root" /usr >/dev/null

depends=$(ldd build/bin/pcd build/bin/pcstat build/bin/pcctl build/bin/pcpeer | awk '$3 ~ /^\// { print $3 }' | sort -u |
	while read -r library; do
		dpkg -S "$(readlink -f "$library")" 2>/dev/null || dpkg -S "${library#/usr}" 2>/dev/null ||
			true
	done | cut -d: -f1 | sort -u | paste -sd, | sed 's/,/, /g')

cat >"$root/DEBIAN/control" <<C
Package: people-cloud-dataplane
Version: $version
Architecture: $arch
Maintainer: The people-cloud authors <maintainers@localhost>
Section: net
Priority: optional
Depends: $depends
Description: TURN relay in XDP with an exact bandwidth meter
 Relays packets for peers behind NAT in the network driver, counts them to the
 byte for each tenant, and goes on while its daemon is restarted. Its peers
 reach each other's UDP services through it, encrypted from end to end.
C
find "$root/etc" -type f 2>/dev/null | sed "s|^$root||" >"$root/DEBIAN/conffiles"
[ -s "$root/DEBIAN/conffiles" ] || rm "$root/DEBIAN/conffiles"
dpkg-deb --root-owner-group --build "$root" "build/people-cloud-dataplane_${version}_$arch.deb"
