# Sourced by examples/run and tests/run: a virtual environment with the project in it, and htmx.
# Expects `root`, the checkout's top directory, and `me`, the script's name for its messages.

htmx_version=2.0.11
htmx_sse_version=2.2.4

say() { printf '%s: %s\n' "$me" "$*" >&2; }

die() {
  say "$@"
  exit 1
}

# apt_install PACKAGE...: fails, and changes nothing, where there is no apt or we are not root.
apt_install() {
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 1
  say "installing with apt: $*"
  local apt=(apt-get -qq -o DPkg::Lock::Timeout=300) log
  log=$({ "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive \
    "${apt[@]}" install --yes --no-install-recommends "$@"; } 2>&1) || {
    printf '%s\n' "$log" >&2
    return 1
  }
}

# make_venv NAME EXTRA: makes $root/NAME with `.[EXTRA]` installed, and sets `venv` to its path.
#
# The install is editable: an environment stays right while the code changes, and is made anew only
# when pyproject.toml, the interpreter or the checkout's place did.
make_venv() {
  local python=${PYTHON:-python3} stamp
  venv=$root/$1
  # Debian ships Python without ensurepip, which `venv` needs.
  "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv ||
    die "'$python -m venv' does not work here; on Debian: apt install python3-venv"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$("$python" -V) is too old: Python 3.11 or newer is needed (PYTHON=... names another)"

  stamp="$root $("$python" -V) $2 $(sha256sum <"$root/pyproject.toml")"
  [[ -f $venv/stamp && $(<"$venv/stamp") == "$stamp" ]] && return
  say "making $1 with .[$2]"
  "$python" -m venv --clear "$venv" || die "could not make $venv"
  # -qq: what pip warns about is the machine's set-up; errors still show.
  "$venv/bin/python" -m pip install -qq --disable-pip-version-check --editable "$root[$2]" ||
    die "could not install .[$2]"
  printf '%s\n' "$stamp" >"$venv/stamp"
}

# get_htmx: sets and exports HTMX_DIR, which holds htmx.min.js and sse.js; fails without npm.
get_htmx() {
  local dir=$root/.cache/htmx-$htmx_version-sse-$htmx_sse_version
  [[ -d $dir ]] || download_htmx "$dir" || return 1
  export HTMX_DIR=$dir
}

download_htmx() (
  command -v npm >/dev/null || exit 1
  mkdir -p "$root/.cache" && work=$(mktemp -d "$root/.cache/download.XXXXXX") || exit 1
  trap 'rm -rf "$work"' EXIT
  cd "$work" && mkdir htmx || exit 1
  say "getting htmx $htmx_version and htmx-ext-sse $htmx_sse_version from the npm registry"
  npm pack --silent --ignore-scripts \
    "htmx.org@$htmx_version" "htmx-ext-sse@$htmx_sse_version" >/dev/null &&
    tar -xzOf "htmx.org-$htmx_version.tgz" package/dist/htmx.min.js >htmx/htmx.min.js &&
    tar -xzOf "htmx-ext-sse-$htmx_sse_version.tgz" package/sse.js >htmx/sse.js || exit 1
  # Moved only when whole. Another run may have been faster, which is as good.
  mv -T htmx "$1" 2>/dev/null || [[ -d $1 ]]
)
