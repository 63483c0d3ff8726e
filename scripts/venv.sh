# Sourced by the other scripts: makes .venv with what the given requirements files name; quick when nothing changed.
# After it, $python is the interpreter to use.

make_venv() {
  local venv=$1 stamp base candidate
  shift
  python="$venv/bin/python"
  stamp=$venv/.installed-$(cat "$@" | cksum | cut -d' ' -f1)
  [ -e "$stamp" ] && "$python" -c '' 2>/dev/null && return 0
  base=
  for candidate in python3 python3.11 python3.12 python3.13 python3.14; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      base=$candidate
      break
    fi
  done
  if [ -z "$base" ]; then
    echo "Python 3.11 or newer is needed and was not found." >&2
    return 1
  fi
  echo "Setting up $venv …" >&2
  if ! "$base" -m venv "$venv"; then
    echo "$base cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2
    return 1
  fi
  local file arguments=()
  for file in "$@"; do arguments+=(-r "$file"); done
  "$python" -m pip install --quiet --disable-pip-version-check "${arguments[@]}" || return 1
  touch "$stamp"
}
