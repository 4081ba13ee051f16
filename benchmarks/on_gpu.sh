#!/usr/bin/env bash
# Everything for a GPU that is lent for half an hour, in one command.
#
#   benchmarks/on_gpu.sh pack DATA [FEATURES]      here, once: fills .gpu/, which travels
#   benchmarks/on_gpu.sh RECIPE MINUTES [BATCH...] there: installs, tests, measures, trains
#
# Without BATCH it only trains. The recipes are below. Every two minutes and at the end, the files of
# the run go to $OUT, at most 8 of at most 16 MiB. To continue the run on another machine, put
# them into .gpu/run/. TOTAL is the length of the whole run in minutes if it takes several calls:
#
#   TOTAL=24 benchmarks/on_gpu.sh srresnet 8 16 64 256     # then twice: TOTAL=24 ... srresnet 8
#
# To rehearse it on a CPU: DATA=photos/ OUT=/tmp/out benchmarks/on_gpu.sh rehearsal 1 2
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
KIT=$PWD/.gpu
MISSING=(attrs cyclopts docstring-parser rich rich-rst docutils platformdirs pyvips-binary cffi
    pycparser tomli-w) # of our dependencies, on that machine; and pyvips, which has no wheel

pack() { # DATA [FEATURES]
    grep -qx /.gpu/ .git/info/exclude || echo /.gpu/ >>.git/info/exclude
    rm -rf "$KIT"
    mkdir -p "$KIT/whl"
    platforms=()
    for platform in manylinux_2_28 manylinux_2_27 manylinux_2_26 manylinux_2_17 manylinux2014; do
        platforms+=(--platform "${platform}_x86_64")
    done
    pins=requirements/constraints.txt
    "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
        --implementation cp "${platforms[@]}" -c $pins -d "$KIT/whl" "${MISSING[@]}"
    "$PYTHON" -m pip wheel --quiet --no-deps -c $pins -w "$KIT/whl" pyvips
    cp -rL "$1" "$KIT/train"
    [ -z "${2:-}" ] || cp "$2" "$KIT/features.safetensors"
    du -sh "$KIT"
    [ "$(du -sm "$KIT" | cut -f1)" -le 44 ] || # the repository has 17 MB
        { echo "on_gpu: over 44 MB: 64 MB travel, with the repository; take fewer pictures" >&2; exit 1; }
}

install() {
    export PYTHONPATH="$PWD/src:$PWD:${PYTHONPATH:-}" PYTHONUNBUFFERED=1
    [ -d "$KIT/whl" ] || return 0
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade \
        --target /tmp/site "$KIT"/whl/*.whl
    export PYTHONPATH="$PYTHONPATH:/tmp/site"
}

# The options of `srgan train` for a name. Weights trained before: low rates, BN as it is.
recipe() {
    case $1 in
        srresnet) # the noise of small batches limits srresnet-x4
            echo srresnet --init srresnet-x4 --freeze-bn --batch-size 256 --pixel-loss rmse \
                --muon-rate 0.003 --rate 1.5e-4 --warmup 100 --schedule wsd ;;
        srresnet-new)
            echo srresnet --batch-size 64 --pixel-loss rmse --muon-rate 0.015 ;;
        srresnet-blurry)
            echo srresnet --preset blurry --batch-size 128 --crop 128 ;;
        srgan)
            echo srgan --srresnet srresnet-x4 --features "$features" --batch-size 32 --crop 128 ;;
        rehearsal)
            echo srresnet --blocks 1 --channels 8 --batch-size 2 --validation-pictures 1 \
                --log-every 5 --precision fp32 ;;
        *)
            echo "on_gpu: no recipe $1" >&2
            return 1 ;;
    esac
}

newest() { # FOLDER PATTERN: the file whose name is the last; none if there is none
    find "$1" -name "$2" 2>/dev/null | sort | tail -1 || true
}

save() { # the newest files of the run to $OUT
    local state sample stage
    state=$(newest "$run" 'state-*.pt')
    [ -n "$state" ] || return 0
    sample=$(newest "$run/samples" '*.png')
    stage=$(mktemp -d)
    # Another file may be renamed into its place meanwhile: each is whole.
    cp "$run/config.toml" "$run/metrics.jsonl" "$stage"
    [ ! -f "$run/best.safetensors" ] || cp "$run/best.safetensors" "$stage"
    [ -z "$sample" ] || cp "$sample" "$stage/sample.png"
    split --bytes=16000000 --numeric-suffixes --suffix-length=1 "$state" "$stage/$(basename "$state")."
    rm -f "$OUT"/state-*
    cp "$stage"/* "$OUT"
    rm -r "$stage"
}

continued() { # a run whose files an earlier machine left
    [ -f "$KIT/run/config.toml" ] && [ ! -d "$run" ] || return 0
    mkdir -p "$run"
    cp "$KIT"/run/{config.toml,metrics.jsonl} "$run"
    [ ! -f "$KIT/run/best.safetensors" ] || cp "$KIT/run/best.safetensors" "$run"
    local name
    name=$(basename "$(newest "$KIT/run" 'state-*.pt.0')" .0)
    cat "$KIT/run/$name".? >"$run/$name"
}

train() { # RECIPE MINUTES
    run=${RUN:-/tmp/srgan-on-gpu/$1}
    local arguments code=0 limit=$2 total=${TOTAL:-$2}
    read -ra arguments <<<"$(recipe "$1")"
    continued
    if [ -f "$run/config.toml" ]; then arguments=("${arguments[0]}" --resume); fi
    while sleep 120 >/dev/null 2>&1; do save; done & # when it ends, its sleep holds no pipe open
    saver=$!
    # timeout ends its own child, which saves. The last call may take a minute more to end by itself.
    [ "$total" -gt "$2" ] || limit=$(($2 + 1))
    timeout --foreground --signal=INT "${limit}m" "$PYTHON" -m srgan.cli train "${arguments[@]}" \
        --data-folder "$data" --run-folder "$run" --minutes "$total" --save-minutes 1.5 \
        --workers "${WORKERS:-12}" || code=$?
    kill "$saver"
    save
    case $code in 0 | 124 | 130) ;; *) exit "$code" ;; esac
}

if [ "${1:-}" = pack ]; then
    pack "${@:2}"
    exit
fi
[ $# -ge 2 ] || { sed -n '2,14s/^# \?//p' "$0" >&2; exit 2; }
OUT=${OUT:?the folder for results}
mkdir -p "$OUT"
exec > >(tee "$OUT/log.txt") 2>&1
data=${DATA:-$KIT/train}
features=${FEATURES:-$KIT/features.safetensors}
name=$1 minutes=$2
shift 2
install
recipe "$name" >/dev/null
if [ $# -gt 0 ]; then
    "$PYTHON" -m pytest -q -p no:cacheprovider -n 0 tests/training/test_on_gpu.py tests/degradation ||
        echo "on_gpu: the GPU tests have failed; measuring and training all the same"
    "$PYTHON" benchmarks/on_gpu.py "$data" --batch "$@" --output "$OUT/steps.json" \
        ${SECONDS_EACH:+--seconds "$SECONDS_EACH"} \
        $([ ! -f "$features" ] || echo --features "$features")
fi
train "$name" "$minutes"
ls -l "$OUT"
