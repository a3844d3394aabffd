#!/bin/sh
# The check on a GPU with the Python that is there: the project's own environment, else a machine's, which has
# JAX for CUDA and gets what it lacks from the carried wheels. With "1" the calls go to the tests' stand-in.
set -e
stand_in=$1
while [ "$#" -gt 0 ] && [ "$1" != -- ]; do shift; done
[ "$#" -gt 0 ] && shift
here=$(dirname "$0")
root=$here/../..
python=$root/.venv/bin/python
[ -x "$python" ] || python=${PYTHON:-python3}
if [ "$stand_in" = 1 ]; then
  mkdir -p "$here/found"
  ${CC:-cc} -O1 -shared -fPIC "$root/tests/cuda/stand_in.c" -o "$here/found/libcuda.so" -ldl
  set -- --stand-in "$(cd "$here/found" && pwd)/libcuda.so" "$@"
else
  site=${TMPDIR:-/tmp}/dysonjax-site
  if ls "$here"/carry/wheels/*.whl >/dev/null 2>&1; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" \
      "$here"/carry/wheels/*.whl
  fi
  PYTHONPATH=$root:$PYTHONPATH:$site
  export PYTHONPATH
fi
exec "$python" "$here/check.py" "$@"
