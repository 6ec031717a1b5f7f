#!/usr/bin/env bash
# Trains a model on a rented machine, and leaves weights and logs in one folder:
#   bash examples/train_on_a_gpu.sh DATA OUT MINUTES [RECIPE] [OPTION of `neuvid train`]...
# MINUTES count from now to the end of saving. OUT/result is what to take home; the same command
# with the same OUT goes on where it ended. Wheels of missing packages may lie in ./wheels.
set -euo pipefail

if [ $# -lt 3 ]; then
    sed -n '2,5s/^# //p' "$0" >&2
    exit 2
fi
data=$(realpath "$1") out=$(realpath -m "$2") minutes=$3
shift 3
recipe=rt-small-image
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
    recipe=$1
    shift
fi
options=()
for option in "$@"; do  # files are named from where the command is given
    if [ -e "$option" ]; then option=$(realpath "$option"); fi
    options+=("$option")
done
python=${PYTHON:-python3}
cd "$(dirname "$0")/.."
mkdir -p "$out/result"
exec > >(tee -a "$out/result/terminal.log") 2>&1

minutes_left() { awk -v all="$minutes" -v used="$SECONDS" 'BEGIN { print all - used / 60 }'; }

if compgen -G "wheels/*.whl" > /dev/null; then
    "$python" -m pip install --quiet --no-index --no-deps wheels/*.whl
fi

echo "== machine"
"$python" - << 'EOF'
import importlib.util
import sys

needed = {
    "cv2": "opencv-python-headless",
    "nanobind": "nanobind",
    "numpy": "numpy",
    "PIL": "pillow",
    "rich": "rich",
    "safetensors": "safetensors",
    "scikit_build_core": "scikit-build-core",
    "torch": "torch",
    "typer": "typer",
}
missing = [package for name, package in needed.items() if not importlib.util.find_spec(name)]
if sys.version_info < (3, 11):
    sys.exit("Python 3.11 or newer is needed")
if missing:
    sys.exit(f"missing: {' '.join(missing)}; install them, or put their wheels in ./wheels")
import torch

print(f"Python {sys.version.split()[0]}, PyTorch {torch.__version__}")
for number in range(torch.cuda.device_count()):
    print(f"GPU {number}: {torch.cuda.get_device_name(number)}")
if not torch.cuda.is_available():
    print("no GPU: the processor trains, which takes many times as long")
EOF
command -v c++ > /dev/null || { echo "missing: a C++ compiler"; exit 1; }

echo "== neuvid"
"$python" -m pip install --quiet --no-build-isolation --no-deps .

if "$python" -c "import pytest" 2> /dev/null; then
    echo "== tests on the GPU"
    # Without the fixtures of the other tests, which need more packages.
    "$python" -m pytest --noconftest -W default -rs tests/cuda || echo "SOME TESTS FAILED"
fi

train() { "$python" -m neuvid.cli.train "$recipe" --data "$data" "${options[@]}" "$@"; }

echo "== speed"
trial=$(mktemp -d)
train --out "$trial" --minutes "$(awk -v all="$minutes" 'BEGIN { print all < 4 ? all / 4 : 1 }')"
rm -r "$trial"

echo "== training"
train --out "$out/run" --minutes "$(minutes_left)"
cp "$out"/run/{best.safetensors,last.safetensors,log.jsonl} "$out/result"
echo "== done: $out/result"
