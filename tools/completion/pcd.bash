# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of pcd(8).

_pcd() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}

	case $prev in
	-c | --config)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames 2>/dev/null
		return
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W \
		"-c --config -n --check -q --quickstart -V --version -h --help" -- "$cur")
}
complete -F _pcd pcd
