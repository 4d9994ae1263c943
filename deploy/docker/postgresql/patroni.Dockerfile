# PostgreSQL with Patroni, which chooses another primary when the one that there is dies.
FROM postgres:18

# The versions are those of the source of packages that the image has, which is PostgreSQL's.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends patroni python3-etcd \
    && rm -rf /var/lib/apt/lists/* \
    && install --directory --owner postgres --group postgres --mode 0700 /var/lib/postgresql/18

COPY patroni.yml /etc/patroni.yml
COPY start-patroni.sh /usr/local/bin/start-patroni.sh

# The number that postgres has there.
USER 999:999
EXPOSE 5432 8008

ENTRYPOINT ["sh", "/usr/local/bin/start-patroni.sh"]
