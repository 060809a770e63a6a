#!/bin/sh
# The dead-man's switch: ends this machine when its lease or its time has passed, whatever became of the agent.
#
#   switch watch          look every few seconds; the service mlops-nb-switch runs this from the machine's first second on
#   switch off [REASON]   end the machine now
#   switch watch-pid PID  the same for a container: end that process, and all of its group
#
# /run/mlops-nb/lease and hard_stop hold whole seconds of the machine's uptime, and the agent writes them. Needs no network and
# no credentials of a cloud: the machine was created so that it is removed when it powers off. POSIX shell, nothing else.
set -u

etc=${MLOPS_NB_ETC:-/etc/mlops-nb}
run=${MLOPS_NB_RUN:-/run/mlops-nb}
state=${MLOPS_NB_STATE:-/var/lib/mlops-nb}
max=14400 first=600 turn=10 patience=60
# shellcheck source=/dev/null
[ ! -r "$etc/machine.env" ] || . "$etc/machine.env"

# A limit that is no number must not keep the switch from going off.
whole() {
  case ${1%%.*} in
    '' | *[!0-9]* | 0* | ????????????*) echo "$2" ;;
    *) echo "${1%%.*}" ;;
  esac
}
max=$(whole "$max" 14400) first=$(whole "$first" 600)

say() {
  echo "mlops-nb: $1"
  if [ -w /dev/console ]; then echo "mlops-nb: $1" >/dev/console 2>/dev/null; fi
}

uptime_s() {
  read -r up _ </proc/uptime
  echo "${up%%.*}"
}

# The whole number in a file, 0 if it holds none.
number() {
  value=
  if [ -r "$1" ]; then read -r value _ <"$1" || :; fi
  value=${value%%.*}
  case $value in
    '' | *[!0-9]* | ????????????*) echo 0 ;;
    0*) echo 0 ;;
    *) echo "$value" ;;
  esac
}

# How long the machine had lived before this start of it: a restart gives it no new time.
lived_before() {
  if [ ! -e "$run/before" ]; then
    number "$state/lived" >"$run/before.new" && mv "$run/before.new" "$run/before"
  fi
  number "$run/before"
}

# Say why the machine has to end now; nothing while it may live.
verdict() {
  now=$(uptime_s)
  lease=$(number "$run/lease")
  hard=$(number "$run/hard_stop")
  [ "$hard" -gt 0 ] || hard=$((begun + max - before))
  if [ "$now" -ge "$hard" ]; then
    echo "its time limit is reached"
  elif [ "$lease" -gt 0 ] && [ "$now" -ge "$lease" ]; then
    echo "its lease ran out: the agent gave no sign of life"
  elif [ "$lease" -eq 0 ] && [ "$now" -ge $((begun + first)) ]; then
    echo "its agent did not report within $first s"
  fi
}

# Let the system itself know the time limit, too, should this script be killed for good.
schedule() {
  minutes=$(((hard - now + 59) / 60 + 1))
  if [ "$hard" != "$scheduled" ] && shutdown -P "+$minutes" >/dev/null 2>&1; then
    scheduled=$hard
  fi
}

power_off() {
  say "this machine ends: ${1:-it was told to}"
  trap '' TERM HUP INT
  sync
  systemctl --no-block poweroff || shutdown -P now || poweroff
  sleep "$patience"
  say "it did not end in order; ending it the hard way"
  sync
  while :; do
    systemctl poweroff --force --force || poweroff -f
    sleep 5
  done
}

watch() {
  umask 077
  mkdir -p "$run" "$state"
  before=$(lived_before)
  begun=0 # the uptime of a machine begins with it
  scheduled=
  while :; do
    why=$(verdict)
    [ -z "$why" ] || power_off "$why"
    now=$(uptime_s)
    hard=$(number "$run/hard_stop")
    [ "$hard" -gt 0 ] || hard=$((max - before))
    schedule
    echo "$((before + now))" >"$state/lived.new" && mv "$state/lived.new" "$state/lived"
    sleep "$turn"
  done
}

watch_pid() {
  umask 077
  mkdir -p "$run"
  before=0
  begun=$(uptime_s) # of the node, which was there before
  while kill -0 "$1" 2>/dev/null; do
    why=$(verdict)
    if [ -n "$why" ]; then
      say "this machine ends: $why"
      kill -TERM "$1"
      sleep "$patience"
      kill -KILL -- "-$1" 2>/dev/null || kill -KILL "$1"
      return
    fi
    sleep "$turn"
  done
}

case ${1:-} in
  watch) watch ;;
  watch-pid) watch_pid "$2" ;;
  off) power_off "${2:-}" ;;
  *)
    echo "usage: switch watch | watch-pid PID | off [REASON]" >&2
    exit 2
    ;;
esac
