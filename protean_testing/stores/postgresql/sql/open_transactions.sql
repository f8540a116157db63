-- Transactions of other sessions that hold one of :modes on something of :kinds in this database, and prepared
-- ones.
WITH holding AS (
    SELECT l.pid, string_agg(DISTINCT quote_ident(c.relname), ', ') FILTER (
               WHERE n.nspname <> 'protean_testing' AND c.relkind <> 'S'
           ) AS tables
      FROM pg_locks l
      JOIN pg_class c ON c.oid = l.relation
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE l.locktype = 'relation' AND l.granted AND l.mode IN (:modes)
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND l.pid IS DISTINCT FROM pg_backend_pid()
       AND c.relkind IN (:kinds) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     GROUP BY l.pid
)
SELECT a.pid, NULL, a.usename::text, a.application_name, a.state,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8, a.query,
       concat(a.xact_start, ' ', a.state_change), holding.tables
  FROM holding JOIN pg_stat_activity a USING (pid)
 WHERE a.backend_type IS DISTINCT FROM 'autovacuum worker'
UNION ALL
SELECT NULL, p.gid, p.owner::text, NULL, 'prepared',
       extract(epoch FROM clock_timestamp() - p.prepared)::float8, '', '', (SELECT tables FROM holding WHERE pid IS NULL)
  FROM pg_prepared_xacts p
 WHERE p.database = current_database() AND EXISTS (SELECT FROM holding WHERE pid IS NULL)
