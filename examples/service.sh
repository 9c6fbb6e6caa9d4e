#!/bin/sh
# Enrol, identify and delete with curl: examples/service.sh URL KEY PHOTO OTHER_PHOTO_OF_THE_SAME
# Start a service first: vultus serve --data demo-data. It shows URL and first key.
set -eu
url=$1 key=$2 photo=$3 other=$4

# The key goes through a file that only its owner can read: what is on a command line, every user of the machine can see.
config=$(mktemp)
trap 'rm -f "$config"' EXIT
printf 'header = "Authorization: Bearer %s"\n' "$key" >"$config"
ask() { curl --silent --show-error --fail-with-body --config "$config" "$@"; echo; }

ask "$url/v1/galleries" -H 'Content-Type: application/json' -d '{"name": "example-curl"}'

ask "$url/v1/galleries/example-curl/subjects" -H 'Idempotency-Key: example-1' \
    -F subject_id=ada -F name='Ada L.' -F consent='form 12' -F image=@"$photo"

ask "$url/v1/galleries/example-curl/identify" -F image=@"$other" -F fpir=0.01

ask "$url/v1/verify" -F image=@"$photo" -F other=@"$other" -F fmr=0.001

ask -X DELETE "$url/v1/galleries/example-curl/subjects/ada"
ask -X DELETE "$url/v1/galleries/example-curl"
