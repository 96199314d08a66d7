#!/usr/bin/env bash
# Trains on Cloud TPU VMs, on all hosts of one or several slices, started from your own machine.
#
#   launch/tpu_vm.sh start NAME --zone ZONE --type v5litepod-16 CONFIG --run gs://BUCKET/RUN ...
#   launch/tpu_vm.sh logs NAME --zone ZONE      # follows the first host's log until Ctrl-C
#   launch/tpu_vm.sh stop NAME --zone ZONE      # saves and stops; start continues
#   launch/tpu_vm.sh delete NAME --zone ZONE    # releases the TPU
#
# CONFIG and all arguments after it are passed to `jaxmusic train`; the run folder and the dataset
# must be in a bucket, because all hosts read and write them. `start` requests a queued resource,
# waits for it, installs this checkout with its changes on every host, and starts training as a
# systemd service, which needs no connection and restarts after a crash or a reboot. Then it watches:
# it requests a preempted spot TPU again, and training continues from its last checkpoint. Ctrl-C ends
# the watching and not the training; the same command watches again, and starts training if it is not
# running.
#
# Options, before CONFIG:
#   --type TYPE         gcloud's accelerator type, such as v5litepod-16, v5p-128 or v6e-64
#   --slices N          slices that train together (default 1); repeat it for logs and stop
#   --spot              cheaper, but can be preempted at any time
#   --runtime VERSION   software of the VM (default: by type)
#   --project PROJECT   default: gcloud's own
#   --detach            start exits instead of watching
#   --dry-run           prints the commands without running them
# POLL_SECONDS=60 (environment): seconds between two checks of the TPU.
set -euo pipefail

fail() {
  echo "launch/tpu_vm.sh: $1" >&2
  exit 2
}

# say COMMAND...: prints a command, quoted for pasting.
say() { printf '+' && printf ' %q' "$@" && echo; }

run() {
  if [ "$dry" = yes ]; then say "$@"; else "$@"; fi
}

queued() { # VERB [FLAG...]
  local verb=$1
  shift
  run gcloud compute tpus queued-resources "$verb" "$name" "${place[@]}" "$@"
}

# Nodes of the queued resource: one for each slice.
nodes() {
  if [ "$slices" -eq 1 ]; then echo "$name"; else seq -f "$name-%g" 0 $((slices - 1)); fi
}

# on_all COMMAND: runs it on every host of every slice.
on_all() {
  local node
  for node in $(nodes); do
    run gcloud compute tpus tpu-vm ssh "$node" "${place[@]}" --worker=all --command="$1"
  done
}

# state: state of the queued resource; ABSENT if there is none, UNKNOWN if gcloud failed.
state() {
  if gcloud compute tpus queued-resources describe "$name" "${place[@]}" \
    --format='value(state.state)' 2>"$work/error"; then
    return
  elif grep -q NOT_FOUND "$work/error"; then
    echo ABSENT
  else
    grep -m1 ERROR "$work/error" >&2 || true
    echo UNKNOWN
  fi
}

runtime_of() {
  case $1 in
    v4-*) echo tpu-ubuntu2204-base ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    *) fail "no runtime is known for --type $1; name one with --runtime." ;;
  esac
}

create() {
  local shape=(--node-id="$name")
  [ "$slices" -eq 1 ] || shape=(--node-count="$slices" --node-prefix="$name")
  [ "$spot" = no ] || shape+=(--spot)
  # Without this scope the hosts cannot write to a bucket.
  queued create --accelerator-type="$type" --runtime-version="$runtime" "${shape[@]}" \
    --scopes=https://www.googleapis.com/auth/cloud-platform
}

# unit CONFIG...: prints the systemd service. jaxmusic train exits with 75 when it has saved and
# should be restarted, and with 0, 2 or 130 when it should not; any other code is a crash.
unit() {
  local words='' word
  for word in "$@" --restarts 10; do
    # systemd expands percent and dollar signs, and its quoting differs from bash's.
    word=${word//\\/\\\\} word=${word//\"/\\\"} word=${word//%/%%} word=${word//\$/\$\$}
    words+=" \"$word\""
  done
  cat <<UNIT
[Unit]
Description=jaxmusic train
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=86400
StartLimitBurst=20

[Service]
User=@USER@
WorkingDirectory=@HOME@
Environment=PYTHONUNBUFFERED=1
ExecStart=@HOME@/jaxmusic-env/bin/jaxmusic train$words
Restart=on-failure
RestartForceExitStatus=75
RestartPreventExitStatus=2 130
RestartSec=10
KillMode=mixed
TimeoutStopSec=300

[Install]
WantedBy=multi-user.target
UNIT
}

# set_up CONFIG...: installs this checkout on all hosts, and starts the service.
set_up() {
  local node
  # Tracked files and untracked files that git does not ignore, with your changes.
  git -C "$root" ls-files -z --cached --others --exclude-standard |
    tar -C "$root" --null --files-from=- --ignore-failed-read -czf "$work/jaxmusic.tar.gz"
  for node in $(nodes); do
    run gcloud compute tpus tpu-vm scp "$work/jaxmusic.tar.gz" "$node:" "${place[@]}" --worker=all
  done
  # The VMs' own Python is too old for jaxmusic, so uv installs one.
  on_all "set -e
rm -rf jaxmusic && mkdir jaxmusic && tar -C jaxmusic -xzf jaxmusic.tar.gz
python3 -m pip install --user --quiet uv
python3 -m uv venv --quiet --python 3.12 --clear jaxmusic-env
python3 -m uv pip install --quiet --python jaxmusic-env/bin/python './jaxmusic[tpu,gcs]'"
  on_all "set -e
sed \"s|@USER@|\$(id -un)|; s|@HOME@|\$HOME|\" <<'END' | sudo tee /etc/systemd/system/jaxmusic.service >/dev/null
$(unit "$@")
END
sudo systemctl daemon-reload
sudo systemctl enable --quiet jaxmusic
sudo systemctl restart jaxmusic"
}

# wait_active: waits for the TPU, and repeats a request that ended without one.
wait_active() {
  local now before=
  while now=$(state) && [ "$now" != ACTIVE ]; do
    [ "$now" = "$before" ] || echo "$(date +%T) $name is $now."
    before=$now
    case $now in
      ABSENT) create ;;
      FAILED | SUSPENDED) queued delete --quiet --force ;;
    esac
    sleep "$pause"
  done
}

# service: state of the first host's systemd service; empty while the host does not answer.
service() {
  gcloud compute tpus tpu-vm ssh "$(nodes | head -1)" "${place[@]}" --worker=0 --command="
systemctl show jaxmusic --property=LoadState,ActiveState,ExecMainStatus | sort | paste -sd' '" \
    2>/dev/null || true
}

watch_run() { # CONFIG...
  local now
  echo "Training runs on $name. Its log: launch/tpu_vm.sh logs $name ${place[*]} --slices $slices"
  while true; do
    sleep "$pause"
    case $(state) in
      ACTIVE) ;;
      UNKNOWN) continue ;;
      *)
        echo "$(date +%T) $name was taken away; asking for it again."
        wait_active
        set_up "$@"
        continue ;;
    esac
    now=$(service)
    if [[ $now =~ ^ActiveState=(inactive|failed)\ ExecMainStatus=([0-9]+)\ LoadState=loaded ]]; then
      echo "Training ended with exit code ${BASH_REMATCH[2]}; launch/tpu_vm.sh delete gives $name back."
      exit "${BASH_REMATCH[2]}"
    fi
  done
}

case "${1:-}" in
  -h | --help | '') sed -n '2,/^set /s/^# \{0,1\}//p' "$0" && exit 0 ;;
  start | logs | stop | delete) verb=$1 ;;
  *) fail "the first word is start, logs, stop or delete, not $1." ;;
esac
[[ -n "${2:-}" && $2 != -* ]] || fail "name the TPU: launch/tpu_vm.sh $verb NAME --zone ZONE ..."
name=$2
shift 2
zone='' type='' runtime='' slices=1 spot=no dry=no detach=no pause=${POLL_SECONDS:-60} project=()
while [ $# -gt 0 ]; do
  case $1 in
    --zone | --type | --runtime | --slices | --project)
      [ $# -ge 2 ] || fail "$1 needs a value."
      case $1 in
        --project) project=(--project="$2") ;;
        *) printf -v "${1#--}" %s "$2" ;;
      esac
      shift 2 ;;
    --spot) spot=yes && shift ;;
    --dry-run) dry=yes && shift ;;
    --detach) detach=yes && shift ;;
    -*) fail "$1 is not an option of this script; options of jaxmusic train come after CONFIG." ;;
    *) break ;;
  esac
done
[ -n "$zone" ] || fail "say where: --zone ZONE."
[[ $slices =~ ^[1-9][0-9]*$ ]] || fail "--slices must be a number of slices, not $slices."
command -v gcloud >/dev/null || [ "$dry" = yes ] ||
  fail "there is no gcloud on the PATH; install the Google Cloud CLI and log in."
place=(--zone="$zone" "${project[@]}")
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $verb in
  logs)
    run gcloud compute tpus tpu-vm ssh "$(nodes | head -1)" "${place[@]}" --worker=0 \
      --command='sudo journalctl --unit=jaxmusic --lines=200 --follow --output=cat' ;;
  stop) on_all 'sudo systemctl disable --now jaxmusic' ;;
  delete) queued delete --force --quiet ;;
  start)
    [ -n "$type" ] || fail "say which TPU: --type v5litepod-16."
    [ $# -gt 0 ] || fail "name a config after the options: launch/tpu_vm.sh start $name ... CONFIG."
    [ -n "$runtime" ] || runtime=$(runtime_of "$type")
    git -C "$root" rev-parse 2>/dev/null || fail "$root is not a git checkout of jaxmusic."
    if [ "$dry" = yes ]; then
      create
      set_up "$@"
      exit 0
    fi
    [ "$(state)" != UNKNOWN ] || fail "gcloud cannot say how $name stands; see its message above."
    wait_active
    # If training is running already, only watch it.
    [[ "$(service)" =~ ^ActiveState=(active|activating) ]] || set_up "$@"
    [ "$detach" = yes ] || watch_run "$@" ;;
esac
