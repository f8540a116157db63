-- The user's own triggers and rules that are switched on; and tables from which nobody may delete, since a publication
-- tells of it, and they have nothing that it could tell a row by, or choose rows by.
SELECT t.tgrelid::int8, t.tgrelid::regclass::text, 'TRIGGER', quote_ident(t.tgname), t.tgenabled::text
  FROM pg_trigger t
  JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_proc p ON p.oid = t.tgfoid
  JOIN pg_namespace f ON f.oid = p.pronamespace
 WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_'
   AND n.nspname NOT IN ('information_schema', 'protean_testing') AND f.nspname <> 'protean_testing'
UNION ALL
SELECT r.ev_class::int8, r.ev_class::regclass::text, 'RULE', quote_ident(r.rulename), r.ev_enabled::text
  FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE r.ev_enabled <> 'D' AND r.ev_type <> '1' AND c.relkind IN ('r', 'p')
   AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'protean_testing')
UNION ALL
SELECT c.oid::int8, c.oid::regclass::text, 'IDENTITY',
       CASE c.relreplident WHEN 'n' THEN 'NOTHING' WHEN 'd' THEN 'DEFAULT' ELSE 'USING INDEX ' || (
            SELECT quote_ident(i.relname) FROM pg_index x JOIN pg_class i ON i.oid = indexrelid
             WHERE indrelid = c.oid AND indisreplident) END, 'A'
  FROM pg_class c JOIN (
           SELECT t.relid, bool_or(t.qual IS NOT NULL) AS chosen FROM pg_publication p, pg_get_publication_tables(p.pubname) t
            WHERE pubupdate OR pubdelete GROUP BY 1) t ON t.relid = c.oid
 WHERE c.relkind = 'r' AND c.relreplident <> 'f' AND c.relnamespace IS DISTINCT FROM to_regnamespace('protean_testing')
   AND (t.chosen OR c.relreplident = 'n' OR c.relreplident = 'd' AND NOT EXISTS (
           SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary AND indimmediate AND indisvalid))
