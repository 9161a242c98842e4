#!/bin/sh
# Runs Python on the extension that was built with sanitizers, in a package of its own.
# Usage: run_sanitized.sh BUILD_FOLDER PYTHON ARGUMENT...
set -eu
folder=$(realpath "$1")
python=$2
shift 2

rm -rf "$folder/package"
mkdir -p "$folder/package"
cp -r torch_npu_sim "$folder/package/"
rm -f "$folder"/package/torch_npu_sim/_C*.so
ln -s "$folder"/torch_npu_sim/_C*.so "$folder/package/torch_npu_sim/"

# Python itself is not linked to the sanitizers. They must see libstdc++ at their own start, or they
# do not find the __cxa_throw that they stand in for.
compiler=$(sed -n 's/^CMAKE_CXX_COMPILER:[A-Z]*=//p' "$folder/CMakeCache.txt")
preload=
for library in libasan.so libubsan.so libstdc++.so; do
  preload="$preload $("$compiler" -print-file-name=$library)"
done

# detect_leaks: what Python and torch keep until the process ends would drown ours, which the counts
# of the allocator show. allocator_may_return_null: huge requests must fail as malloc's do.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:abort_on_error=1
export UBSAN_OPTIONS=print_stacktrace=1
export PYTHONMALLOC=malloc  # Python's own pools would hide its objects from the sanitizer
export PYTHONPATH="$folder/package"
export LD_PRELOAD="$preload"
# -P: else the package in this folder would come first.
exec "$python" -P "$@"
