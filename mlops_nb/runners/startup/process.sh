# Runs the agent of a runner on a machine that is not ours to power off: a container, or a folder on another host.
set -eu
umask 077

say() { echo "mlops-nb: $1"; }

if [ -e "$etc/startup" ]; then
  say "Run the start-up script of this runner"
  (cd / && exec "$etc/startup") </dev/null
fi

if [ -z "$program" ] && { [ -n "$package" ] || ! command -v mlops-nb >/dev/null; }; then
  say "Install mlops-nb"
  if command -v uv >/dev/null; then
    uv venv -q --python '>=3.11' "$home/venv"
    uv pip install -q --python "$home/venv/bin/python" ${index:+--index-url "$index"} "$package"
  else
    python3 -m venv "$home/venv"
    "$home/venv/bin/python" -m pip install -q --disable-pip-version-check ${index:+--index-url "$index"} "$package"
  fi
  program=$home/venv/bin/mlops-nb
fi
[ -n "$program" ] || program=mlops-nb

if [ -n "${MLOPS_NB_LEASE:-}" ]; then
  # shellcheck disable=SC2086 # words
  exec $program runner agent --settings "$etc/agent.json"
fi
export MLOPS_NB_LEASE="$run/lease" MLOPS_NB_HARD_STOP="$run/hard_stop"
MLOPS_NB_ETC=$etc MLOPS_NB_RUN=$run sh "$home/switch" watch-pid "$$" &
# shellcheck disable=SC2086
exec $program runner agent --settings "$etc/agent.json"
