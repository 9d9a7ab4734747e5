#!/usr/bin/env bash
# Runs a program of deploy-kit whose SHA-256 stands beside this file, in the same commit.
#   launch.sh <program> [<command> [<allowed command>...]]  becomes the program, so that signals reach it
#   launch.sh --release <folder> "<program>..."             puts programs into a folder that is on PATH
#   launch.sh --source <folder> "<program>..."               the same, built from the source of this release
# DEPLOY_KIT_OFFLINE_DIR or DEPLOY_KIT_MIRROR (https) replace the release; the SHA-256 is checked all the same.
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
cache=${RUNNER_TOOL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}}/deploy-kit
machine=$(uname -sm)
case $machine in
  'Linux x86_64') platform=linux-x86_64 ;;
  'Linux aarch64' | 'Linux arm64') platform=linux-aarch64 ;;
  'Darwin x86_64') platform=macos-x86_64 ;;
  'Darwin arm64') platform=macos-aarch64 ;;
  *) platform=unknown ;;
esac
say() { # <level> <text>: an annotation; whatever stands in the text, the runner takes it as data
  local text=${2//%/%25}
  text=${text//$'\r'/%0D} && printf '::%s title=deploy-kit::%s\n' "$1" "${text//$'\n'/%0A}" >&2
}
fail() { say error "$2"; exit "$1"; } # <exit code> <text>
is_pinned() { # <file>; openssl first, because it uses the instructions that processors have for it
  local sum
  sum=$({ openssl dgst -sha256 -r || sha256sum || shasum -a 256; } <"$1" 2>/dev/null)
  [[ ${sum%% *} == "$pinned" ]]
}
obtain() { # <program>: sets file to a program that is the pinned one
  local asset=$1-$platform pinned='' known='' folder sum name url
  while read -r sum name; do
    if [[ $name == "$asset" ]]; then pinned=$sum; fi
    if [[ ${name%-*-*} == "$1" ]]; then known+=" ${name#"$1"-}"; fi
  done <"$here/SHA256SUMS"
  [[ $pinned =~ ^[0-9a-f]{64}$ ]] || fail 2 "there is no program \"$1\" for $machine; there is one for:${known:- nothing}"
  folder=$cache/sha256-$pinned file=$cache/sha256-$pinned/$1
  if [[ -f $file ]]; then
    if is_pinned "$file"; then return; fi
    say warning "$file is not the program that was put there: it is thrown away and fetched anew"
  fi
  mkdir -p "$folder" && part=$(mktemp "$folder/.part.XXXXXX")
  trap 'rm -f "$part"' EXIT
  if [[ -n ${DEPLOY_KIT_OFFLINE_DIR:-} ]]; then
    cp -- "$DEPLOY_KIT_OFFLINE_DIR/$asset" "$part" || fail 20 "there is no $asset in $DEPLOY_KIT_OFFLINE_DIR"
  else
    url=${GITHUB_SERVER_URL:-}/${DEPLOY_KIT_ACTION_REPOSITORY:-}/releases/download/v$(<"$here/VERSION")
    url=${DEPLOY_KIT_MIRROR:-$url}/$asset
    [[ $url == https://* ]] || fail 2 "$url is not an https address, and nothing else is fetched from"
    curl --proto '=https' --proto-redir '=https' --tlsv1.2 --fail --silent --show-error --location --retry 5 \
      --retry-connrefused --connect-timeout 20 --max-time 600 --output "$part" -- "$url" ||
      fail 20 "$url cannot be fetched; where the network is closed, set DEPLOY_KIT_MIRROR or DEPLOY_KIT_OFFLINE_DIR"
  fi
  is_pinned "$part" || fail 3 "$asset is not the one that was released: its SHA-256 is not $pinned"
  chmod 755 "$part" && mv -f "$part" "$file"
}

command=${2:-}
if [[ $1 == --release || $1 == --source ]]; then
  read -r -d '' -a names <<<"$3" || true
  mkdir -p "$2"
  for name in "${names[@]}"; do
    [[ $name =~ ^[a-z-]+$ ]] || fail 2 "\"$name\" is no name of a program"
    if [[ $1 == --source ]]; then
      cargo install --locked --git "$GITHUB_SERVER_URL/$DEPLOY_KIT_ACTION_REPOSITORY" --rev "$(<"$here/SOURCE")" --root "${2%/bin}" "$name"
    else
      obtain "$name"
      cp -- "$file" "$2/$name"
    fi
  done
  printf '%s\n' "$2" >>"$GITHUB_PATH"
elif [[ $1 == --* ]]; then
  fail 2 "programs are taken from a release or built from source, and not from \"${1#--}\""
elif [[ -n $command ]] && [[ $command == *' '* || " ${*:3} " != *" $command "* ]]; then
  fail 2 "$1 has no command \"$command\": leave it empty, or use one of: ${*:3}"
else
  # What a gate runs beside itself is a pinned program, too.
  if [[ -n ${DEPLOY_KIT_HOLD_WITH:-} ]]; then obtain "$DEPLOY_KIT_HOLD_WITH"; export DEPLOY_KIT_HOLD_WITH=$file; fi
  obtain "$1"
  exec "$file" ${command:+"$command"}
fi
