#!/bin/sh
# Makes speech.opus, 7 s of the Harvard sentences (IEEE, 1969), as it was made: flite 2.2 (its voice slt) and opus-tools 0.2 of Debian 12.
set -eu
cd "$(dirname "$0")"
wav=$(mktemp)
trap 'rm -f "$wav"' EXIT
flite -voice slt -o "$wav" -t "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. \
It is easy to tell the depth of a well."
opusenc --quiet --speech --bitrate 16 --serial 1 "$wav" speech.opus
