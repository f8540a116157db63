-- Gives back what was written since a mark, by what was noted, in one call. What it cannot do exactly it leaves
-- as it is, and says so. clear and put are written for the tables there are.
CREATE OR REPLACE FUNCTION protean_testing.reset(
    since bigint,          -- the era of the mark; NULL: only look
    seen xid8,             -- the transactions before this one are accounted for,
    pending bool,          --   though some of them were not over then
    newest oid,            -- the newest relation that is known; NULL where the schema is known to be as it was
    dirty int[],           -- tables written at inner levels, which end now
    held bool,             -- protean_testing.target has lines, or protean_testing.touched may have some
    OUT outcome text,      -- 'nothing', 'reset', 'look', or 'schema': look whether that was changed
    OUT written int[],     -- what was noted
    OUT now_seen xid8,
    OUT now_pending bool,
    OUT removed bigint     -- rows
) LANGUAGE plpgsql AS $reset$
DECLARE
    snapshot pg_snapshot;
    transactions bigint;   -- of other sessions, since the last call
    unexplained bool;      -- some were rolled back, or wrote no table of ours: where do the sequences stand?
    kept int[] := '{}';
    copies int[];
    by_key bool;
    restarted bigint := 0;
    one int;
BEGIN
    LOCK TABLE protean_testing.note IN SHARE MODE NOWAIT;  -- every open transaction that has written holds it
    written := ARRAY(SELECT number FROM protean_testing.note);
    snapshot := pg_current_snapshot();
    now_seen := pg_snapshot_xmax(snapshot);
    now_pending := pg_snapshot_xmin(snapshot) <> now_seen;
    removed := 0;
    IF written = '{0}' AND now_seen = seen AND NOT pending AND dirty = '{}' AND NOT :unlogged THEN
        outcome := 'nothing';
        RETURN;
    END IF;
    outcome := 'look';
    IF since IS NULL OR 0 <> ALL (written)  -- the server crashed
       OR -1 = ANY (written) OR -2 = ANY (written) OR :watched
    THEN
        RETURN;
    END IF;

    transactions := now_seen::text::bigint - seen::text::bigint;
    unexplained := pending OR :unlogged OR (transactions <> 1 OR written = '{0}') AND transactions <>
                   (SELECT count(DISTINCT xmin::text) FROM protean_testing.note WHERE number <> 0);
    IF newest IS NOT NULL AND (unexplained OR newest <> (SELECT max(oid) FROM pg_class)) THEN
        outcome := 'schema';
        RETURN;
    END IF;
    IF cardinality(written) > 8 OR dirty <> '{}' THEN
        written := ARRAY(SELECT unnest(written) UNION SELECT unnest(dirty));
    END IF;
    IF :heirs THEN
        written := ARRAY(SELECT unnest(written) UNION
                         SELECT child FROM protean_testing.heir WHERE number = ANY (written));
    END IF;
    IF :slow AND EXISTS (SELECT FROM protean_testing.slow WHERE number = ANY (written)) THEN
        RETURN;
    END IF;

    IF held THEN
        FOR one, copies, by_key IN SELECT * FROM protean_testing.target WHERE number = ANY (written) LOOP
            kept := kept || one;
            removed := removed + protean_testing.put(one, CASE WHEN by_key THEN since END, copies);
        END LOOP;
    END IF;
    IF held THEN
        DELETE FROM protean_testing.touched WHERE number = ANY (written) AND era >= since;
    END IF;
    FOREACH one IN ARRAY written LOOP
        IF one <> ALL (kept) THEN
            removed := removed + protean_testing.clear(one);
        END IF;
    END LOOP;

    IF :cached THEN
        FOR one, copies IN
            SELECT sequence, ARRAY[last_value] FROM protean_testing.position
             WHERE number IS NULL AND cached
               AND pg_sequence_last_value(sequence) IS DISTINCT FROM CASE WHEN is_called THEN last_value END
        LOOP
            EXECUTE format('ALTER SEQUENCE %s RESTART WITH %s', one::regclass, copies[1]);
            restarted := restarted + 1;
        END LOOP;
    END IF;
    IF unexplained OR :few THEN
        restarted := restarted + (
            SELECT count(setval(sequence, last_value, is_called)) FROM protean_testing.position
             WHERE number IS NULL
               AND pg_sequence_last_value(sequence) IS DISTINCT FROM CASE WHEN is_called THEN last_value END);
    END IF;
    IF unexplained THEN  -- one that was not called since looks the same wherever it stands
        PERFORM setval(sequence, last_value, is_called)
           FROM protean_testing.position WHERE number IS NULL AND NOT is_called;
    ELSIF NOT :few THEN
        PERFORM setval(sequence, last_value, is_called)
           FROM protean_testing.position WHERE number = ANY (written);
    END IF;
    DELETE FROM protean_testing.note WHERE number <> 0;
    IF now_seen = pg_current_xact_id_if_assigned() THEN  -- this transaction is no other one's, next time
        now_seen := (now_seen::text::bigint + 1)::text::xid8;
    END IF;
    written := array_remove(written, 0);
    outcome := CASE WHEN written = '{}' AND restarted = 0 THEN 'nothing' ELSE 'reset' END;
END $reset$
