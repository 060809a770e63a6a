# Runs the agent of a runner on a machine that is not ours to power off: a container, or a folder on a host. Its keeper ends it.
set -eu

say() { echo "mlops-nb: $1"; }

if [ -e "$etc/startup" ]; then
  say "Run the start-up script of this runner"
  code=0
  "$etc/startup" </dev/null || code=$?
  if [ "$code" != 0 ]; then
    say "FAILED: the start-up script ended with exit status $code"
    exit "$code"
  fi
fi

if [ -z "$program" ] && { [ -n "$package" ] || ! command -v mlops-nb >/dev/null; }; then
  say "Install mlops-nb"
  if command -v uv >/dev/null; then
    uv venv -q --python '>=3.11' "$home/venv"
    uv pip install -q --python "$home/venv/bin/python" ${index:+--index-url "$index"} "$package"
  else
    if ! command -v python3 >/dev/null; then
      say "FAILED: this host has no python3 and no uv, of which mlops-nb needs one"
      exit 1
    fi
    python3 -m venv "$home/venv"
    "$home/venv/bin/python" -m pip install -q --disable-pip-version-check ${index:+--index-url "$index"} "$package"
  fi
  program=$home/venv/bin/mlops-nb
fi
[ -n "$program" ] || program=mlops-nb

# shellcheck disable=SC2086 # words
exec $program runner agent --settings "$etc/agent.json"
