#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only
# Copyright (C) 2026 The Strata authors
#
# bash, zsh and fish complete commands, options, stores and dimensions: the same
# questions to each shell that is there. Of zsh the functions that show what was
# found are stood in for, since they only work in a line editor.
set -eu
# shellcheck source=tests/support/tool.sh
. "${top_srcdir:=$(cd "$(dirname "$0")/.." && pwd)}/tests/support/tool.sh"

completion=$top_srcdir/tools/completion
store=completion-$$
mkdir "$work/path"
cat >"$work/path/strata" <<END
#!/bin/sh
exec "$STRATA" "\$@"
END
chmod +x "$work/path/strata"
PATH=$work/path:$PATH
export PATH

good create "$store" --limit=16M
for dimension in 7 42; do
	echo x | "$STRATA" put "$store" "$dimension/0" --quiet
done

# ask WORD...: what the shell offers for the last word, one a line.
cat >"$work/ask.bash" <<END
. "$completion/strata.bash"
COMP_WORDS=("\$@")
COMP_CWORD=\$((\$# - 1))
_strata
printf '%s\n' "\${COMPREPLY[@]}"
END
cat >"$work/ask.zsh" <<'END'
completion=$1
shift
words=("$@")
CURRENT=$#
compadd() {
	while [[ $1 != -- ]]; do shift; done
	shift
	print -l -- ${(M)@:#${words[CURRENT]}*}
}
_describe() { compadd -- ${${(P)2}%%:*} }
_files() { print -l -- ${words[CURRENT]}*(N) }
source $completion/_strata
END
cat >"$work/ask.fish" <<'END'
source $argv[1]/strata.fish
complete -C "$argv[2..-1]" | string replace -r '\t.*' ''
END

ask() {
	case $shell in
	bash) bash --norc "$work/ask.bash" "$@" ;;
	zsh) zsh -f "$work/ask.zsh" "$completion" "$@" ;;
	fish) HOME=$work XDG_CONFIG_HOME=$work XDG_DATA_HOME=$work fish \
		--no-config "$work/ask.fish" "$completion" "$@" ;;
	esac
}

# offers 'WORD...' WORD...: exactly these are offered for the last word.
offers() {
	wanted=$1
	shift
	tried="$shell: $*"
	nr_checks=$((nr_checks + 1))
	ask "$@" >"$out" 2>"$err" || :
	test ! -s "$err" || fail "$tried: something on stderr"
	got=$(sed '/^$/d' "$out" | LC_ALL=C sort -u | tr '\n' ' ')
	test "$got" = "$wanted${wanted:+ }" || fail "$tried: '$got', not '$wanted'"
}

shells=
for shell in bash zsh fish; do
	command -v "$shell" >/dev/null || continue
	shells="$shells $shell"
	offers 'create crystallize' strata cr
	offers 'limit list load ls' strata help l
	offers '--name=' strata put "$store" --na
	offers '--explain' strata stat "$store" --ex
	offers '' strata stat "$store" --force
	offers "$store" strata unload comple
	offers "$store" strata cat --meta comple
	offers "$store" strata metrics "$store" comple
	offers "$store" strata verify "$store" comple
	offers '42 7' strata ls "$store" ''
	offers '42' strata rm "$store" 7/0 4
	offers '7' strata cat --meta "$store" 7
	offers '' strata ls "not-$store" 7
	offers "$store" strata dump -o f comple
	offers "$store" strata dump -q comple
	offers "$store" strata top --interval 2 comple
	offers '' strata dump -o comple
	offers '' strata top --interval comple
	# For bash = and : are words.
	case $shell in
	bash)
		offers "$store" strata top --interval = 2 comple
		offers "$store" strata metrics --listen = 127.0.0.1 : 0 comple
		offers '' strata dump --output = comple
		;;
	*)
		offers "$store" strata top --interval=2 comple
		offers "$store" strata metrics --listen=127.0.0.1:0 comple
		;;
	esac
	offers '' strata list comple
	offers '' strata ls "$store" 7 comple
	offers '' strata dance comple
done
echo "$nr_checks questions to${shells:- no shell}"
for shell in bash zsh fish; do
	case "$shells " in
	*" $shell "*) ;;
	*)
		echo "there is no $shell here"
		exit 77
		;;
	esac
done
