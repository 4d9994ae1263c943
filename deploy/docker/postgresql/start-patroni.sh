#!/bin/sh
# Starts Patroni with its passwords, which are variables in a file that only this user reads:
#
#   PATRONI_SUPERUSER_PASSWORD=...
#   PATRONI_REPLICATION_PASSWORD=...
set -eu
set -a
. /run/secrets/patroni
set +a
exec patroni /etc/patroni.yml
