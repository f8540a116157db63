-- Gives back what was written since a mark, by what was noted, in one call. What it cannot do exactly it leaves
-- as it is, and says 'look': then everything in question is looked at.
CREATE OR REPLACE FUNCTION protean_testing.reset(
    since bigint,          -- the era of the mark
    seen bigint,           -- as for protean_testing.look
    own bigint,
    pending bool,
    newest oid,            -- the newest relation that is known; NULL where the schema is known to be as it was
    dirty int[],           -- tables written at inner levels, which end now
    OUT outcome text,      -- 'nothing', 'reset', 'look' or 'schema': look whether that was changed
    OUT written int[],     -- what was noted
    OUT now_seen bigint,
    OUT now_own bigint,
    OUT now_pending bool,
    OUT removed bigint     -- rows
) LANGUAGE plpgsql AS $reset$
DECLARE
    look record;
    entry record;
    kept int[] := '{}';
    moved bigint := 0;
    one int;
BEGIN
    SELECT * INTO look FROM protean_testing.look(seen, own, pending);
    now_seen := look.now_seen;
    now_pending := look.now_pending;
    written := look.written;
    removed := 0;
    IF look.quiet AND dirty = '{}' THEN
        outcome := 'nothing';
        RETURN;
    END IF;
    IF written IS NULL OR 0 <> ALL (written)  -- the server crashed
       OR -1 = ANY (written) OR -2 = ANY (written) OR :watched
    THEN
        outcome := 'look';
        RETURN;
    END IF;
    IF newest IS NOT NULL AND (look.unexplained OR newest <> (SELECT max(oid) FROM pg_class)) THEN
        outcome := 'schema';
        RETURN;
    END IF;
    written := written || dirty;
    IF :heirs THEN
        written := ARRAY(SELECT unnest(written) UNION
                         SELECT child FROM protean_testing.heir WHERE number = ANY (written));
    END IF;
    IF :slow AND EXISTS (SELECT FROM protean_testing.slow WHERE number = ANY (written)) THEN
        outcome := 'look';
        RETURN;
    END IF;
    FOR entry IN SELECT * FROM protean_testing.target WHERE number = ANY (written) LOOP
        kept := kept || entry.number;
        EXECUTE 'SELECT protean_testing.put_' || entry.number || '($1, $2)'
          USING CASE WHEN entry.by_key THEN since END, entry.copies;
    END LOOP;
    FOREACH one IN ARRAY written LOOP
        IF one <> ALL (kept) THEN
            removed := removed + protean_testing.clear(one);
        END IF;
    END LOOP;
    IF look.unexplained OR :few THEN
        SELECT count(setval(sequence, last_value, is_called)) INTO moved
          FROM protean_testing.position
         WHERE number IS NULL
           AND pg_sequence_last_value(sequence) IS DISTINCT FROM CASE WHEN is_called THEN last_value END;
    END IF;
    PERFORM setval(sequence, last_value, is_called)
       FROM protean_testing.position WHERE number = ANY (written);
    DELETE FROM protean_testing.note WHERE number <> 0;
    DELETE FROM protean_testing.touched WHERE number = ANY (written) AND era >= since;
    now_own := pg_current_xact_id_if_assigned()::text::bigint;
    written := array_remove(written, 0);
    outcome := CASE WHEN written = '{}' AND moved = 0 THEN 'nothing' ELSE 'reset' END;
END $reset$
