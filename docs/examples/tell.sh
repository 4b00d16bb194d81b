#!/bin/sh
# A hook that keeps a log: one line an event, its kind and then all of it as JSON.
#
#   EventHook = moved, peer moved: /usr/local/bin/tell.sh /var/log/%i-moves.log
{
    printf '%s: ' "$SACIP_EVENT"
    cat
} >> "$1"
