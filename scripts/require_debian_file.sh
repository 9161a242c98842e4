#!/bin/sh
# Makes sure that FILE exists, which the Debian package PACKAGE brings.
# Usage: require_debian_file.sh FILE PACKAGE
set -eu
file=$1
package=$2

[ -e "$file" ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "torch_npu_sim: expected $file of the Debian package $package, got none;" \
    "run \`apt-get install $package\` as root" >&2
  exit 1
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$package"
