-- Restore what was written since a snapshot, by the change log, in one call. What it cannot do exactly it leaves as
-- it is, and says so. clear and put are written for the tables there are.
--
-- Returns one of these words: nothing, reset, look, or schema (look whether that was changed); then the
-- transactions that are accounted for now, whether some of them were not over, the number of rows that were
-- removed, what was logged, and whether anything happened that the log does not explain. Every expression costs a
-- microsecond or two, so there are few.
CREATE OR REPLACE FUNCTION protean_testing.reset(
    since bigint,   -- the number of the snapshot; 0: only look
    seen bigint,    -- the transactions before this one are accounted for,
    pending bool,   --   though some of them were not over then
    newest oid,     -- the newest relation that is known; 0 where the schema is known to be as it was
    dirty int[],    -- tables written in inner scopes, which end now
    held bool,      -- protean_testing.target has lines, or protean_testing.changed_key may have some
    moved bool,     -- sequences do not stand where they stood when the schema was made
    others oid[],   -- sequences to look at though nobody wrote to their tables; empty: all; NULL: none
    watch text,     -- a statement that gives something else than what is known,
    known text      --   if the schema may have been altered; both empty where it is known to be as it was
) RETURNS text LANGUAGE plpgsql AS $reset$
DECLARE
    written int[];
    transactions pg_snapshot;
    head bigint;           -- the first transaction that is not accounted for now
    waiting bool;          -- some are not over
    unexplained bool;      -- some were rolled back, or wrote no table of ours: where do the sequences stand?
    kept int[] := '{}';
    copies int[];
    by_key bool;
    entry record;
    one int;
    moment text;
    removed bigint := 0;
    restarted bigint := 0;
BEGIN
    LOCK TABLE protean_testing.change_log IN SHARE MODE NOWAIT;  -- every open transaction that has written holds it
    written := ARRAY(SELECT number FROM protean_testing.change_log);
    IF written = '{0}' AND age(seen::text::xid8::xid) = 0 AND NOT (pending OR :unlogged)  -- none has begun
       AND dirty = '{}' AND others IS NULL
    THEN
        RETURN 'nothing';
    END IF;
    IF EXISTS (SELECT FROM pg_largeobject_metadata WHERE :mine) THEN  -- nothing logs them
        written := written || :large;
    END IF;
    transactions := pg_current_snapshot();
    head := pg_snapshot_xmax(transactions)::text;
    waiting := pg_snapshot_xmin(transactions) <> pg_snapshot_xmax(transactions)
               OR age(pg_snapshot_xmax(transactions)::xid) > 0;
    IF head = seen + 1 AND written <> '{0}' THEN  -- the one that has logged something
        unexplained := pending OR waiting OR :unlogged;
    ELSE
        unexplained := pending OR waiting OR :unlogged OR head - seen <>
                       (SELECT count(DISTINCT xmin::text) FROM protean_testing.change_log WHERE number <> 0);
    END IF;
    IF since = 0 OR 0 <> ALL (written)  -- the server crashed
       OR -1 = ANY (written) OR -2 = ANY (written) OR :watched
    THEN
        RETURN concat_ws(' ', 'look', head, waiting, 0, written, unexplained);
    END IF;
    IF newest <> 0 AND newest <> (SELECT max(oid) FROM pg_class) THEN
        RETURN 'schema';
    END IF;
    IF unexplained AND watch <> '' THEN  -- by what no event trigger tells, or as somebody who has none
        EXECUTE 'EXECUTE ' || watch INTO moment;
        IF moment <> known THEN
            RETURN 'schema';
        END IF;
    END IF;
    IF dirty <> '{}' OR :children THEN
        written := ARRAY(
            SELECT number FROM unnest(written || dirty) number
            UNION SELECT child FROM protean_testing.inheritance_child WHERE number = ANY (written || dirty)
            ORDER BY number);
    ELSIF cardinality(written) > 8 OR :owner AND cardinality(written) > 2 THEN
        written := ARRAY(SELECT DISTINCT number FROM unnest(written) number ORDER BY number);
    END IF;
    IF :large = ANY (written) OR :slow AND EXISTS (SELECT FROM protean_testing.slow WHERE number = ANY (written)) THEN
        RETURN concat_ws(' ', 'look', head, waiting, 0, written, unexplained);
    END IF;

    :evaluating  -- a reference that is set to NULL is an UPDATE
    IF :owner THEN  -- one by one, those that refer to others first, where that will do
        IF held THEN
            kept := ARRAY(SELECT number FROM protean_testing.target WHERE number = ANY (written));
        END IF;
        IF written && ':cycles' OR kept <> '{}' AND (
            EXISTS (SELECT FROM protean_testing.target t JOIN protean_testing.part p USING (number)
                     WHERE number = ANY (kept) AND (NOT t.by_key OR p.neighbours && kept))
            OR EXISTS (SELECT FROM protean_testing.changed_key
                        WHERE number = ANY (kept) AND snapshot >= since AND key IS NULL))
        THEN
            IF NOT protean_testing.put_all(written, since, held) THEN
                RETURN concat_ws(' ', 'look', head, waiting, 0, written, unexplained);
            END IF;
            kept := written;
        ELSIF kept <> '{}' THEN
            FOREACH one IN ARRAY written LOOP
                IF one = ANY (kept) THEN
                    copies := (SELECT t.copies FROM protean_testing.target t WHERE number = one);
                    removed := removed + protean_testing.put(one, since, copies);
                ELSE
                    removed := removed + protean_testing.clear(one);
                END IF;
            END LOOP;
            kept := written;
        END IF;
    ELSIF held THEN
        FOR one, copies, by_key IN SELECT * FROM protean_testing.target WHERE number = ANY (written) LOOP
            kept := kept || one;
            removed := removed + protean_testing.put(one, CASE WHEN by_key THEN since END, copies);
        END LOOP;
    END IF;
    IF held THEN
        DELETE FROM protean_testing.changed_key WHERE number = ANY (written) AND snapshot >= since;
    END IF;
    FOREACH one IN ARRAY written LOOP
        IF one <> ALL (kept) THEN
            removed := removed + protean_testing.clear(one);
        END IF;
    END LOOP;
    :reading
    IF :cached THEN  -- nothing but a new file makes sessions forget the values that they keep
        FOR entry IN
            SELECT sequence::regclass AS name, last_value FROM protean_testing.position
             WHERE number IS NULL AND cached
               AND pg_sequence_last_value(sequence) IS DISTINCT FROM CASE WHEN is_called THEN last_value END
        LOOP
            EXECUTE format('ALTER SEQUENCE %s RESTART WITH %s', entry.name, entry.last_value);
            restarted := restarted + 1;
        END LOOP;
    END IF;
    IF moved OR :cached OR kept <> '{}' THEN  -- clear has put the others where they stood at first
        PERFORM setval(sequence, last_value, is_called)
           FROM protean_testing.position WHERE number = ANY (written);
    END IF;
    IF unexplained OR :few OR others = '{}' THEN
        restarted := restarted + (
            SELECT count(setval(sequence, last_value, is_called)) FROM protean_testing.position
             WHERE number IS NULL
               AND pg_sequence_last_value(sequence) IS DISTINCT FROM CASE WHEN is_called THEN last_value END);
    ELSIF others IS NOT NULL THEN  -- number IS NULL would be an index's condition, and found for each there is
        restarted := restarted + (
            WITH found AS MATERIALIZED (  -- else the planner reads all sequences first
                SELECT * FROM protean_testing.position WHERE sequence = ANY (others) AND coalesce(number, -1) = -1)
            SELECT count(setval(sequence, last_value, is_called)) FROM found
             WHERE pg_sequence_last_value(sequence) IS DISTINCT FROM CASE WHEN is_called THEN last_value END);
    END IF;
    IF unexplained AND :some OR others = '{}' THEN  -- one that gave no value looks the same wherever it stands
        PERFORM setval(sequence, last_value, is_called)
           FROM protean_testing.position WHERE number IS NULL AND NOT is_called;
    ELSIF others IS NOT NULL THEN
        PERFORM setval(sequence, last_value, is_called)
           FROM protean_testing.position WHERE sequence = ANY (others) AND coalesce(number, -1) = -1 AND NOT is_called;
    END IF;
    DELETE FROM protean_testing.change_log WHERE number <> 0;
    RETURN concat_ws(' ', CASE WHEN written = '{0}' AND restarted = 0 THEN 'nothing' ELSE 'reset' END,
                     head + (pg_current_xact_id_if_assigned()::text IS NOT DISTINCT FROM head::text)::int,
                     waiting, removed, written, unexplained);
END $reset$
