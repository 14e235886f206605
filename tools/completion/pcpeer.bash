# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Completion of pcpeer(1): peers are those that are trusted.

_pcpeer_peers() {
	"${COMP_WORDS[0]}" trust list 2>/dev/null
}

_pcpeer_options() {
	local global="-j --json -s --socket -V --version -h --help"

	case $1 in
	up*) echo "--config --key-file --relay --grant --psk-file $global" ;;
	connect*) echo "--listen --grant --off $global" ;;
	expose*) echo "--to --allow --off $global" ;;
	'identity import') echo "--config --key-file --replace $global" ;;
	'identity show') echo "--config --key-file $global" ;;
	trust*) echo "--config $global" ;;
	*) echo "$global" ;;
	esac
}

# What may follow the words so far, of which there are $1.
_pcpeer_words() {
	case $1 in
	0) echo "identity up connect expose trust status help" ;;
	1)
		case $2 in
		identity) echo "show import help" ;;
		trust) echo "add remove list help" ;;
		connect) _pcpeer_peers ;;
		esac
		;;
	2) [ "$2 $3" = "trust remove" ] && _pcpeer_peers ;;
	esac
}

_pcpeer() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
	local words=() i

	case $prev in
	-s | --socket | --config | --key-file | --grant)
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames 2>/dev/null
		return
		;;
	--allow)
		mapfile -t COMPREPLY < <(compgen -W "$(_pcpeer_peers)" -- "$cur")
		return
		;;
	--relay | --psk-file | --listen | --to) return ;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket | --config | --key-file | --grant | --allow | --relay | --psk-file | --listen | --to) ((i++)) ;;
		-*) ;;
		*) words+=("${COMP_WORDS[i]}") ;;
		esac
	done
	if [[ $cur == -* ]]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_pcpeer_options "${words[*]:0:2}")" -- "$cur")
	elif [[ ${words[*]} == 'identity import' ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		compopt -o filenames 2>/dev/null
	else
		mapfile -t COMPREPLY < <(compgen -W "$(_pcpeer_words "${#words[@]}" "${words[0]-}" \
			"${words[1]-}")" -- "$cur")
	fi
}
complete -F _pcpeer pcpeer
