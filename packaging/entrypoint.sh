#!/bin/sh
# The service refuses an address that others can reach while nobody has a key. A new data folder gets its first one here; it is
# shown once, in the container's log: note it, make others with it, and revoke it.
set -eu
if [ -n "${VULTUS_GALLERY_KEY_FILE:-}" ]; then
    VULTUS_GALLERY_KEY=$(cat "$VULTUS_GALLERY_KEY_FILE")
    export VULTUS_GALLERY_KEY
    unset VULTUS_GALLERY_KEY_FILE
fi
data=${VULTUS_SERVICE_DATA:-/data}
if [ "$*" = "vultus serve" ] && [ ! -e "$data/service.db" ]; then
    key=$(vultus keys create "$data" --name "first key" --scope read --scope enrol --scope identify --scope score \
        --scope embed --scope admin)
    echo "first key, with all scopes, shown this once: $key" >&2
fi
exec "$@"
