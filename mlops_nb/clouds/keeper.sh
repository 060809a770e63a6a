#!/bin/sh
# Keeps machines on a host that is not ours alone: each is a folder, a start-up script that runs in the background, and two
# processes that end all of it in time, whatever becomes of who started it. POSIX shell, since a host may have nothing more.
#
#   keeper.sh run DIR      run DIR/start once; come back when nothing of it is left
#   keeper.sh stop DIR     end it now, and remove DIR
#
# DIR's name is the machine's token. DIR/limits holds: seconds to live, seconds until a first lease, seconds between TERM and KILL, seconds of a turn.
# DIR/lease and DIR/hard_stop hold seconds of the host's uptime; the machine writes them. DIR/ended says why it ended.
#
# Processes are known by a variable in their environment, as GitHub's agent knows its own, and by descent from those.
set -u
umask 077

uptime_s() {
  if [ -r /proc/uptime ]; then
    read -r up _ </proc/uptime
    echo "${up%%.*}"
  else
    boot=$(sysctl -n kern.boottime | sed 's/.*{ *sec = \([0-9]*\).*/\1/')
    echo $(($(date +%s) - boot))
  fi
}

# The whole number in a file, 0 if it holds none.
number() {
  value=
  if [ -r "$1" ]; then read -r value _ <"$1" || :; fi
  value=${value%%.*}
  case $value in
    '' | *[!0-9]* | ????????????*) echo 0 ;;
    *) echo "$value" ;;
  esac
}

load() {
  dir=$1
  token=${dir##*/}
  case $token in
    '' | *[!0-9a-f]*) return 64 ;;
  esac
  max=0 first=0 grace=5 turn=2
  if [ -r "$dir/limits" ]; then read -r max first grace turn <"$dir/limits" || :; fi
}

# Processes whose environment holds $1.
carriers() {
  if [ -r /proc/self/environ ]; then
    grep -lsF "$1" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3
  fi
}

parents() {
  if [ -r /proc/self/status ]; then
    grep -Hs '^PPid:' /proc/[0-9]*/status 2>/dev/null | sed 's|^/proc/\([0-9]*\)/status:PPid:[^0-9]*|\1 |'
  else
    ps -A -o pid= -o ppid=
  fi
}

# All processes of the machine, its keepers not among them, one a line.
members() {
  seeds=$(carriers "MLOPS_NB_MACHINE=$token")
  if [ ! -r /proc/self/environ ]; then
    child=$(number "$dir/child")
    case $(ps -p "$child" -o args= 2>/dev/null) in *"$dir"*) seeds=$child ;; esac
  fi
  [ -n "$seeds" ] || return 0
  # shellcheck disable=SC2086 # numbers, a word each
  parents | awk -v self="$$" -v seeds="$(printf '%s ' $seeds)" '
    { parent[$1] = $2 }
    END {
      count = split(seeds, list, " ")
      for (i = 1; i <= count; i++) ours[list[i]] = 1
      do {
        grown = 0
        for (pid in parent) if (!(pid in ours) && (parent[pid] in ours)) { ours[pid] = 1; grown = 1 }
      } while (grown)
      for (pid in ours) if (pid in parent && pid != self) print pid
    }'
}

# Processes that keep this machine, this one left out.
keepers() {
  if [ -r /proc/self/environ ]; then
    carriers "MLOPS_NB_KEEPER=$token" | grep -vx "$$"
  else
    for pid in $(number "$dir/keeper") $(number "$dir/watcher"); do
      case $(ps -p "$pid" -o args= 2>/dev/null) in *"$dir/keeper.sh"*) [ "$pid" = "$$" ] || echo "$pid" ;; esac
    done
  fi
}

is_alive() {
  [ "$1" -gt 1 ] && kill -0 "$1" 2>/dev/null
}

# Not every `sleep` knows parts of a second.
nap() {
  sleep "$1" 2>/dev/null || sleep 1
}

# End every process of the machine, gently first; fail if some would not end.
sweep() {
  patient=$(($(uptime_s) + grace))
  pids=$(members)
  [ -n "$pids" ] || return 0
  # shellcheck disable=SC2086
  kill -TERM $pids 2>/dev/null
  while [ "$(uptime_s)" -lt "$patient" ] && [ -n "$(members)" ]; do nap 0.2; done
  for _ in 1 2 3 4 5; do
    pids=$(members)
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null
    nap 0.2
  done
  [ -z "$(members)" ]
}

# What it was started with, and what it has unpacked, may hold a ticket.
forget() {
  if [ -r "$dir/tmp" ]; then
    read -r temporary <"$dir/tmp" || :
    case $temporary in */mlops-nb-*) rm -rf "$temporary" ;; esac
  fi
  rm -rf "$dir/start" "$dir/secret" "$dir/lease" "$dir/hard_stop" "$dir/tmp"
}

# End the machine for the reason $1, with the exit status $2; the first reason stays.
finish() {
  trap '' TERM INT
  if [ -d "$dir" ] && [ ! -e "$dir/ended" ]; then
    printf '%s\n' "$1" >"$dir/ended.$$" && mv "$dir/ended.$$" "$dir/ended"
    # A pod shows this as the reason of its end.
    if [ -w "${MLOPS_NB_LAST_WORDS:-}" ]; then printf '%s\n' "$1" >"$MLOPS_NB_LAST_WORDS"; fi
  fi
  until sweep; do nap "$turn"; done
  forget
  exit "${2:-0}"
}

# Say why the machine has to end now; nothing while it may live.
verdict() {
  now=$(uptime_s)
  stop=$(number "$dir/hard_stop")
  lease=$(number "$dir/lease")
  [ "$stop" -gt 0 ] || stop=$((begun + max))
  # The agent is there: what brought it, perhaps with a ticket, has done its work.
  [ "$lease" -eq 0 ] || rm -f "$dir/start"
  if [ "$now" -ge "$stop" ]; then
    echo "it reached its hard stop, after $((now - begun)) s"
  elif [ -e "$dir/ended" ]; then
    echo "it was ended"
  elif [ "$lease" -gt 0 ] && [ "$now" -ge "$lease" ]; then
    echo "its lease ran out: the agent gave no sign of life"
  elif [ "$lease" -eq 0 ] && [ "$now" -ge $((begun + first)) ]; then
    echo "its agent was not there after $first s"
  fi
}

# What it prints must not fill the disk of the host.
trim() {
  if [ -f "$dir/console" ] && [ "$(wc -c <"$dir/console")" -gt 16777216 ]; then
    tail -c 1048576 "$dir/console" >"$dir/console.new" && cat "$dir/console.new" >"$dir/console"
    rm -f "$dir/console.new"
  fi
}

run() {
  mkdir "$dir/started" 2>/dev/null || exit 0
  begun=$(uptime_s)
  echo "$begun" >"$dir/begun"
  echo $$ >"$dir/keeper"
  # Where there is no file to print to, as in a pod, it goes where ours goes.
  if [ -e "$dir/console" ]; then exec >>"$dir/console" 2>&1; fi
  trap '' HUP
  trap 'finish "it was stopped by a signal to its keeper"' TERM INT
  sh "$dir/keeper.sh" watch "$dir" $$ </dev/null >/dev/null 2>&1 &
  echo $! >"$dir/watcher"
  # Short, since sockets are made in it; and gone when the machine is.
  temporary=${TMPDIR:-/tmp}/mlops-nb-$(printf '%.12s' "$token")
  if mkdir "$temporary" 2>/dev/null; then echo "$temporary" >"$dir/tmp"; else temporary=${TMPDIR:-/tmp}; fi
  (
    unset MLOPS_NB_KEEPER MLOPS_NB_ORDER MLOPS_NB_POD MLOPS_NB_LAST_WORDS
    export TMPDIR="$temporary"
    if [ -d "$dir/secret" ]; then export MLOPS_NB_AGENT_SECRETS="$dir/secret"; fi
    export MLOPS_NB_MACHINE="$token" MLOPS_NB_MACHINE_DIR="$dir"
    export MLOPS_NB_LEASE="$dir/lease" MLOPS_NB_HARD_STOP="$dir/hard_stop"
    cd "$dir/work" && exec sh "$dir/start"
  ) </dev/null &
  child=$!
  echo "$child" >"$dir/child"
  while is_alive "$child"; do
    why=$(verdict)
    [ -z "$why" ] || finish "$why"
    trim
    nap "$turn"
  done
  wait "$child"
  code=$?
  finish "it ended by itself, with exit status $code" "$code"
}

# The keeper's own keeper: it takes over when that was killed.
watch() {
  keeper=$1
  begun=$(number "$dir/begun")
  trap '' HUP TERM INT
  while [ -d "$dir" ]; do
    nap "$turn"
    is_alive "$keeper" && continue
    why=$(verdict)
    [ -n "$(members)" ] || why="it ended, and so did its keeper"
    [ -z "$why" ] || finish "$why"
  done
}

stop() {
  mkdir "$dir/started" 2>/dev/null
  sweep
  pids=$(keepers)
  # shellcheck disable=SC2086
  [ -z "$pids" ] || kill -KILL $pids 2>/dev/null
  sweep && forget && rm -rf "$dir"
}

# One word: starting, running or ended; what keeps it may have died with the host.
state() {
  if [ -e "$dir/ended" ] && [ -z "$(members)" ]; then
    echo ended
  elif [ -n "$(keepers)$(members)" ]; then
    if [ -e "$dir/started" ]; then echo running; else echo starting; fi
  elif [ -e "$dir/started" ]; then
    echo ended
  else
    echo starting
  fi
}

# Print a machine in three lines: token and state, its record, and why it ended.
show() {
  echo "$token $(state)"
  printf '%s\n' "$(head -n 1 "$dir/record.json" 2>/dev/null)"
  printf '%s\n' "$(head -n 1 "$dir/ended" 2>/dev/null)"
}

# Start what is in DIR, away from this shell and its terminal, as a unit of systemd where $1 is `unit` and there is one.
launch() {
  if [ ! -e "$dir/started" ]; then
    manager=
    if [ "$1" = unit ] && [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
      if [ "$(id -u)" = 0 ]; then
        manager=--system
      elif [ "$(loginctl show-user "$(id -un)" -p Linger --value 2>/dev/null)" = yes ]; then
        manager=--user
      fi
    fi
    if [ -z "$manager" ] || ! systemd-run "$manager" --quiet --collect --unit="mlops-nb-$token" -p KillMode=control-group \
      --setenv=MLOPS_NB_KEEPER="$token" --setenv=HOME="$HOME" --setenv=PATH="$PATH" \
      --setenv=LANG="${LANG:-C.UTF-8}" sh "$dir/keeper.sh" run "$dir" </dev/null >/dev/null 2>&1; then
      away='nohup'
      if command -v setsid >/dev/null; then away='setsid'; fi
      MLOPS_NB_KEEPER=$token $away sh "$dir/keeper.sh" run "$dir" </dev/null >/dev/null 2>&1 &
    fi
  fi
  tries=0
  until [ -e "$dir/begun" ] || [ "$tries" -ge 100 ]; do
    nap 0.1
    tries=$((tries + 1))
  done
}

case ${1:-} in
  run) load "$2" && run ;;
  watch) load "$2" && watch "$3" ;;
  stop) load "$2" && stop ;;
esac
