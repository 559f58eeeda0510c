#!/usr/bin/env bash
# The main job on the built-in model and data: installs what is missing, builds, and simulates 20 homes that teach one
# adapter what their people say, with three seeds. Prints the rounds of the first and the medians of all three;
# demo/seed-1.html has the curves.
set -eu
cd "$(dirname "$0")/.."
bash deploy/packages.sh
bash deploy/build.sh build
mkdir -p demo
for seed in 1 2 3; do
    echo "seed $seed of 3: 20 homes, 24 rounds, then each home alone and all data in one place"
    build/client/sterna simulate --compare --seed $seed --json --report demo/seed-$seed.html >demo/seed-$seed.json
done
python3 deploy/demo_table.py demo/seed-1.json demo/seed-2.json demo/seed-3.json
