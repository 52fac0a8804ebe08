#!/bin/bash
# Builds nbgate with its data path compiled, and runs the data path's tests on that. The build is kept
# outside the tree, by the content of the sources. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
python=.venv/bin/python
key=$({ "$python" -VV; find gateway routes pyproject.toml -type f -name '*.p*y*' ! -path '*/__pycache__/*' -print0 \
    | sort -z | xargs -0 sha256sum; } | sha256sum | cut -c1-12)
home=${XDG_CACHE_HOME:-$HOME/.cache}/nbgate/compiled/$key
if [ ! -e "$home/ready" ]; then
    rm -rf "$home"
    # From a source distribution, so that nothing compiled comes to lie in the tree.
    HATCH_BUILD_HOOK_ENABLE_MYPYC=true \
        .venv/bin/uv build --quiet --python "$python" --out-dir "$home/wheels"
    .venv/bin/uv pip install --quiet --python "$python" --no-deps --target "$home/packages" "$home"/wheels/*.whl
    touch "$home/ready"
fi
export PYTHONSAFEPATH=1
PYTHONPATH=$home/packages "$python" -c '
import gateway.access, gateway.proxy.downstream as data_path
assert data_path.__file__.endswith(".so"), data_path.__file__'
if [ $# -eq 0 ]; then
    set -- tests/proxy tests/chp/test_{activity,counts,errors,headers,repeated_headers,routing}.py \
        tests/workers/test_{hub,replica}.py
fi
exec "$python" -m pytest --import-mode=append -o pythonpath="$home/packages ." "$@"
