#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The protocol of native peers as another implementation sees it: native_wire.py, written from
# docs/protocol/native.md, against the machines in tests/helpers/native_machine and native_end.
set -u
cd "$(dirname "$0")/../.." || exit 1
helpers=${PC_BUILD:-build}/tests/helpers

[ -x "$helpers/native_machine" ] && [ -x "$helpers/native_end" ] || {
	echo "tests/helpers/native_machine or native_end is not built"
	exit 77
}
python3 -c 'import cryptography' 2>/dev/null || {
	echo "python3-cryptography is not installed"
	exit 77
}
exec python3 -B tests/check/native_wire.py "$helpers/native_machine" "$helpers/native_end"
