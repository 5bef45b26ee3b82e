# use.sh BIN DATA SOCKETS stop|kill
#
# Starts a server, works with it, and stops it as one does, or kills it while it computes.
set -eu
bin=$1 data=$2 sockets=$3
"$bin/pg_ctl" -s -w -D "$data" -l "$data/log" \
    -o "-c listen_addresses= -c unix_socket_directories=$sockets" start
sql() { "$bin/psql" -h "$sockets" -d postgres -v ON_ERROR_STOP=1 -Atqc "$1"; }
sql 'create table t as select g from generate_series(1, 200000) g'
# By parallel workers, which share memory.
test "$(sql 'set max_parallel_workers_per_gather = 2; set parallel_setup_cost = 0;
    set parallel_tuple_cost = 0; set min_parallel_table_scan_size = 0;
    select count(*) from t')" = 200000
case $4 in
stop) "$bin/pg_ctl" -s -w -m fast -D "$data" stop ;;
kill)
    # A backend that computes does not look whether its server is there.
    "$bin/psql" -h "$sockets" -d postgres -Atqc \
        'select count(*) from generate_series(1, 20000000000) g' >/dev/null 2>&1 &
    computing="select count(*) from pg_stat_activity
        where query like '%20000000000%' and state = 'active' and pid <> pg_backend_pid()"
    until [ "$(sql "$computing")" = 1 ]; do sleep 0.05; done
    kill -9 "$(head -1 "$data/postmaster.pid")"
    ;;
esac
