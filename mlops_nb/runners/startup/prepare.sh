#!/bin/sh
# Prepares a new machine for its agent: the user's script, the driver of the GPU, docker, and mlops-nb itself in an environment of
# its own. The service mlops-nb-agent runs it before the agent; if it fails, the machine ends, and the console says at which step.
set -u

etc=${MLOPS_NB_ETC:-/etc/mlops-nb}
state=${MLOPS_NB_STATE:-/var/lib/mlops-nb}
opt=${MLOPS_NB_OPT:-/opt/mlops-nb}
package='' index='' gpu='' docker='' user='' close_metadata='' uv_x64='' uv_arm64='' tries=5 pause=5
# shellcheck source=/dev/null
. "$etc/machine.env"
step=
export DEBIAN_FRONTEND=noninteractive UV_PYTHON_INSTALL_DIR="$opt/python" # where every user can read it

say() { echo "mlops-nb: $1"; }

fail() {
  say "FAILED at this step: $step${1:+: $1}"
  exit 1
}

begin() {
  step=$1
  say "$step"
}

# Run a command until it succeeds: networks and package mirrors of new machines need their time.
again() {
  tried=0
  until "$@"; do
    tried=$((tried + 1))
    [ "$tried" -lt "$tries" ] || return 1
    sleep "$((pause * tried))"
  done
}

has() { command -v "$1" >/dev/null 2>&1; }

install_packages() {
  has apt-get || fail "this image has no apt-get, so it has to bring $*"
  [ -e "$state/updated" ] || again apt-get -qq -o DPkg::Lock::Timeout=120 update || fail "apt-get update"
  : >"$state/updated"
  again apt-get -qq -y -o DPkg::Lock::Timeout=120 install --no-install-recommends "$@" >/dev/null || fail "apt-get install $*"
}

fetch() { # URL FILE
  if has curl; then
    again curl -fsSL --proto '=https' --connect-timeout 20 --max-time 300 -o "$2" "$1"
  else
    again python3 -c 'import sys, urllib.request as u
with u.urlopen(sys.argv[1], timeout=60) as a, open(sys.argv[2], "wb") as f:
    while piece := a.read(1 << 20): f.write(piece)' "$1" "$2"
  fi
}

# Only root may ask the machine's metadata: it gives credentials of the cloud, and what this machine was started with.
close_metadata() {
  user_only="! --uid-owner 0"
  for tables in iptables ip6tables; do
    has "$tables" || continue
    address=169.254.169.254
    [ "$tables" = iptables ] || address=fd00:ec2::254
    # shellcheck disable=SC2086 # words
    "$tables" -w 10 -I OUTPUT -d "$address" -p tcp -m multiport --dports 80,443 -m owner $user_only -j REJECT || return 1
    "$tables" -w 10 -I FORWARD -d "$address" -p tcp -m multiport --dports 80,443 -j REJECT || return 1
  done
  has iptables
}

install_gpu_driver() {
  has ubuntu-drivers || install_packages ubuntu-drivers-common
  version=$(ubuntu-drivers list --gpgpu 2>/dev/null | sed -n 's/.*nvidia-driver-\([0-9]*\)-server.*/\1/p' | sort -n | tail -n 1)
  [ -n "$version" ] || fail "no NVIDIA driver is known for this machine; use an image that has one: --cloud-image"
  install_packages "linux-modules-nvidia-$version-server-$(uname -r)" "nvidia-headless-no-dkms-$version-server" "nvidia-utils-$version-server"
  modprobe nvidia
}

install_uv() {
  case $(uname -m) in
    aarch64 | arm64) pin=$uv_arm64 ;;
    *) pin=$uv_x64 ;;
  esac
  url=${pin%#*} sum=${pin##*#}
  has python3 || install_packages python3
  fetch "$url" "$opt/uv.whl" || fail "$url cannot be fetched"
  echo "$sum  $opt/uv.whl" | sha256sum -c --status - || fail "uv has another checksum than it should have"
  python3 -m zipfile -e "$opt/uv.whl" "$opt/uv" || fail "uv cannot be unpacked"
  rm -f "$opt/uv.whl"
  uv=$(echo "$opt"/uv/*.data/scripts/uv)
  chmod 755 "$uv"
}

install_agent() {
  if [ -z "$package" ] && has mlops-nb; then
    ln -sf "$(command -v mlops-nb)" "$opt/mlops-nb"
    return
  fi
  uv=$(command -v uv) || install_uv
  "$uv" venv -q --python '>=3.11' "$opt/venv" || fail "no Python 3.11 or newer can be had"
  set -- "$package"
  [ -z "$index" ] || set -- --index-url "$index" "$@"
  again "$uv" pip install -q --python "$opt/venv/bin/python" "$@" || fail "$package cannot be installed"
  ln -sf "$opt/venv/bin/mlops-nb" "$opt/mlops-nb"
}

mkdir -p "$opt" "$state"
if [ -e "$state/begun" ]; then
  begin "Look whether this machine was started anew"
  fail "it was, and what it worked on is lost"
fi

if [ -n "$close_metadata" ]; then
  begin "Close the machine's metadata to all but root"
  close_metadata || { install_packages iptables && close_metadata; } || fail
fi
if [ -n "$user" ] && ! id "$user" >/dev/null 2>&1; then
  begin "Make the user $user for jobs"
  useradd --create-home --shell /bin/bash "$user" || fail
fi
if [ -n "$gpu" ] && ! nvidia-smi >/dev/null 2>&1; then
  begin "Install the driver of the GPU"
  install_gpu_driver || fail
  nvidia-smi >/dev/null 2>&1 || fail "nvidia-smi sees no GPU after its driver was installed"
fi
if [ -n "$docker" ] && ! has docker; then
  begin "Install docker"
  install_packages docker.io
fi
if [ -n "$docker" ] && [ -n "$user" ]; then
  usermod -aG docker "$user" || fail
fi
if [ -e "$etc/startup" ]; then
  begin "Run the start-up script of this runner"
  (cd / && exec "$etc/startup") </dev/null || fail "it ended with exit status $?"
fi
begin "Install mlops-nb"
install_agent
: >"$state/begun"
say "This machine is prepared."
