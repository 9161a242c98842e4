#!/bin/sh
# Makes sure that PYTHON is 3.11 or later, can make virtual environments and has its headers.
# Usage: require_python.sh PYTHON
set -eu
python=$1
folder=$(dirname "$0")

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "torch_npu_sim: expected Python 3.11 or later as $python, got none that runs;" \
    "name one with \`make PYTHON=/path/to/python3\`" >&2
  exit 1
fi
# Debian packs these two apart from its Python; other Pythons have them.
name=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
ensurepip=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')/ensurepip
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h
sh "$folder/require_debian_file.sh" "$ensurepip" "$name-venv"
sh "$folder/require_debian_file.sh" "$header" "$name-dev"
