#!/bin/sh
# Run a scale one seed more at a time until the hours are over; keep the results of the seeds that are complete.
#
#     tools/seed_by_seed.sh paper 24 [IMAGES]
#
# Runs on this machine's GPUs if there are any. Call it again to go on where it was stopped.
set -eu
cd "$(dirname "$0")/.."
scale=${1:?"expected a scale of config.yaml, such as paper"}
hours=${2:?"expected the hours there are, such as 24"}
images=${3:+images=$3}

end=$(($(date +%s) + hours * 3600))
seeds=""
for seed in 0 1 2 3 4 5 6 7; do
    seeds=${seeds:+$seeds,}$seed
    left=$((end - $(date +%s)))
    [ "$left" -gt 0 ] || break
    # Interrupted as by Ctrl-C: jobs keep what they have done.
    timeout --signal=INT "$left" \
        snakemake --cores all --keep-going --config "scale=$scale" "seeds=[$seeds]" $images || break
    python tools/keep.py "$scale"
done
