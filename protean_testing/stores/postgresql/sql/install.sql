-- What the fast reset installs beside the user's schemas. Tables have numbers of ours, from 1.

-- One line for every statement that writes, in the transaction of the code under test: kept by its commit, gone
-- with its rollback. No key and no index, so that no two transactions meet here. Lost in a crash, which 0 tells.
-- -1 stands for a change of the schema, -2 for a refreshed materialized view.
CREATE UNLOGGED TABLE protean_testing.change_log (
    number int NOT NULL, late bool NOT NULL DEFAULT false  -- late: no run was alive
) WITH (autovacuum_enabled = false);
INSERT INTO protean_testing.change_log VALUES (0);

-- The snapshot of the moment, which triggers read outside of any snapshot.
CREATE SEQUENCE protean_testing.snapshot MINVALUE 0;

-- Keys of rows that were written, in tables that hold many rows; NULL stands for all of them (TRUNCATE).
CREATE TABLE protean_testing.changed_key (snapshot bigint NOT NULL, number int NOT NULL, key text COLLATE "C");
CREATE INDEX ON protean_testing.changed_key (number, snapshot);
ALTER TABLE protean_testing.changed_key REPLICA IDENTITY FULL;

-- What tables hold at the innermost snapshot, where that is not nothing: their copies, the latest last, and whether
-- every key that was written since stands in protean_testing.changed_key.
CREATE TABLE protean_testing.target (number int PRIMARY KEY, copies int[] NOT NULL, by_key bool NOT NULL);

-- Where sequences stand at the innermost snapshot: a line for every table that takes values from one (0 where none
-- does), and one with NULL. Sessions keep values of cached ones, which only a new file makes them forget.
CREATE TABLE protean_testing.position (
    number int, sequence oid NOT NULL, last_value bigint NOT NULL, is_called bool NOT NULL, cached bool NOT NULL
);
CREATE INDEX ON protean_testing.position (number);
CREATE INDEX ON protean_testing.position (sequence);
ALTER TABLE protean_testing.position REPLICA IDENTITY FULL;

-- What sequences look like, apart from where they stand.
CREATE TABLE protean_testing.sequence (oid oid PRIMARY KEY, looks text NOT NULL);
CREATE FUNCTION protean_testing.looks(sequence oid) RETURNS text LANGUAGE sql SET search_path = pg_catalog AS $looks$
    SELECT concat_ws(' ', s, c.relname, c.relnamespace, c.relowner, c.relpersistence, c.relacl,
                     ARRAY(SELECT (deptype, refobjid, refobjsubid)::text FROM pg_depend
                            WHERE classid = 'pg_class'::regclass AND objid = c.oid ORDER BY 1))
      FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid WHERE c.oid = sequence
$looks$;

-- Partitions and other inheritance children, direct or not, of the tables that have any.
CREATE TABLE protean_testing.inheritance_child (number int NOT NULL, child int NOT NULL);
CREATE INDEX ON protean_testing.inheritance_child (number);
ALTER TABLE protean_testing.inheritance_child REPLICA IDENTITY FULL;

-- For a plain owner: the parts of a statement that empty a table, and that restore the rows of some keys, or
-- all of them (whole); the other tables that it refers to, or that refer to it.
CREATE TABLE protean_testing.part (
    number int PRIMARY KEY, clear text NOT NULL, put text NOT NULL, whole bool NOT NULL, neighbours int[] NOT NULL
);

-- Tables that the reset function leaves to the slower way.
CREATE TABLE protean_testing.slow (number int PRIMARY KEY);

CREATE FUNCTION protean_testing.log_schema() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $log$
BEGIN
    IF pg_catalog.current_setting('protean_testing.backend', true) OPERATOR(pg_catalog.=) 'on' THEN
        RETURN;
    END IF;
    IF tg_tag OPERATOR(pg_catalog.=) 'ALTER SEQUENCE' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_event_trigger_ddl_commands() c
          LEFT JOIN protean_testing.sequence s ON s.oid OPERATOR(pg_catalog.=) c.objid
         WHERE (s.looks OPERATOR(pg_catalog.=) protean_testing.looks(c.objid)) IS NOT TRUE)
    THEN  -- it stands elsewhere, and that is all: as if its tables were written to
        INSERT INTO protean_testing.change_log
        SELECT p.number FROM pg_catalog.pg_event_trigger_ddl_commands() c
          JOIN protean_testing.position p ON p.sequence OPERATOR(pg_catalog.=) c.objid
         WHERE p.number OPERATOR(pg_catalog.<>) 0;  -- those of no table are put back in any case
        RETURN;
    END IF;
    IF tg_event OPERATOR(pg_catalog.=) 'sql_drop' THEN
        PERFORM FROM pg_catalog.pg_event_trigger_dropped_objects() WHERE NOT is_temporary;
    ELSE
        PERFORM FROM pg_catalog.pg_event_trigger_ddl_commands()
          WHERE schema_name IS NULL OR schema_name OPERATOR(pg_catalog.<>) 'pg_temp';
    END IF;
    IF FOUND THEN
        INSERT INTO protean_testing.change_log
        VALUES (CASE WHEN tg_tag OPERATOR(pg_catalog.=) 'REFRESH MATERIALIZED VIEW' THEN -2 ELSE -1 END);
    END IF;
END $log$;
