# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of pcstat(1): names of tenants and sessions are asked from the daemon.

_pcstat_names() {
	local key

	case $1 in
	tenant) key=name ;;
	session) key=id ;;
	*) return ;;
	esac
	"${COMP_WORDS[0]}" -j "${@:2}" "$1" 2>/dev/null |
		grep -o "{\"$key\":\"[A-Za-z0-9._@-]*\"" | cut -d'"' -f4
}

_pcstat() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local object='' word socket=() i

	case $prev in
	-s | --socket)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames 2>/dev/null
		return
		;;
	--bpffs | --state-dir)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		compopt -o filenames 2>/dev/null
		return
		;;
	-i | --interval)
		return
		;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		-s | --socket)
			socket=(-s "${COMP_WORDS[++i]}")
			;;
		--bpffs | --state-dir | -i | --interval) ((i++)) ;;
		-*) ;;
		*) object=${object:-$word} ;;
		esac
	done
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W \
			"-j --json -s --socket -i --interval --plot --bpffs --state-dir -V --version -h --help" \
			-- "$cur")
	elif [[ -z $object ]]; then
		mapfile -t COMPREPLY < <(compgen -W "tenant session tiers drops health watch help" -- "$cur")
	elif [[ $prev == "$object" ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_pcstat_names "$object" "${socket[@]}")" -- "$cur")
	fi
}
complete -F _pcstat pcstat
