# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of pcctl(1): names of tenants and peers are asked from the daemon.

_pcctl_tenants() {
	"${COMP_WORDS[0]}" -j "$@" tenant list 2>/dev/null |
		grep -o '{"name":"[A-Za-z0-9._@-]*"' | cut -d'"' -f4
}

_pcctl_peers() {
	"${COMP_WORDS[0]}" -j "$@" peer list 2>/dev/null |
		grep -o '"name":"[A-Za-z0-9._@-]*"' | cut -d'"' -f4
}

_pcctl_options() {
	local global="-j --json -s --socket -V --version -h --help"

	case $1 in
	'tenant add' | 'tenant set')
		echo "--password-file --tier --max-allocations --max-permissions --max-channels" \
			"--max-new-peers --rate --up --down --guarantee --packets --weight" \
			"--quota-day --quota $global"
		;;
	'identity init' | 'identity import')
		echo "--replace --state-dir --passphrase-file --succession $global"
		;;
	'peer add') echo "--tenant --may-call --psk-file $global" ;;
	'identity show') echo "--state-dir $global" ;;
	credential*) echo "--lifetime $global" ;;
	drain*) echo "--off $global" ;;
	shutdown*) echo "--state-dir --bpffs $global" ;;
	datapath*) echo "--bpffs $global" ;;
	*) echo "$global" ;;
	esac
}

# What may follow the words so far, of which there are $1.
_pcctl_words() {
	case $1 in
	0) echo "identity tenant peer credential reload drain shutdown datapath help" ;;
	1)
		case $2 in
		identity) echo "show init import verify help" ;;
		tenant) echo "add set del list help" ;;
		peer) echo "add remove list help" ;;
		datapath) echo "off help" ;;
		credential) _pcctl_tenants "${@:4}" ;;
		esac
		;;
	2)
		case "$2 $3" in
		'tenant set' | 'tenant del' | 'tenant list') _pcctl_tenants "${@:4}" ;;
		'peer remove' | 'peer list') _pcctl_peers "${@:4}" ;;
		esac
		;;
	esac
}

_pcctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local words=() socket=() i

	case $prev in
	-s | --socket | --password-file | --passphrase-file | --succession)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames 2>/dev/null
		return
		;;
	--bpffs | --state-dir)
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		compopt -o filenames 2>/dev/null
		return
		;;
	--tenant)
		mapfile -t COMPREPLY < <(compgen -W "$(_pcctl_tenants)" -- "$cur")
		return
		;;
	--tier | --max-* | --lifetime | --may-call)
		return
		;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket)
			socket=(-s "${COMP_WORDS[++i]}")
			;;
		--password-file | --psk-file | --passphrase-file | --succession | --bpffs | --state-dir | --tier | --max-* | --lifetime | --tenant | --may-call) ((i++)) ;;
		-*) ;;
		*) words+=("${COMP_WORDS[i]}") ;;
		esac
	done
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_pcctl_options "${words[*]:0:2}")" -- "$cur")
	elif [[ ${words[*]} == 'identity import' || ${words[*]} == 'identity verify' ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames 2>/dev/null
	else
		mapfile -t COMPREPLY < <(compgen -W "$(_pcctl_words "${#words[@]}" "${words[0]-}" \
			"${words[1]-}" "${socket[@]}")" -- "$cur")
	fi
}
complete -F _pcctl pcctl
