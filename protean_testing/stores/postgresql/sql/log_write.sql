-- BEFORE every statement that writes, so that one that fails has taken a transaction number all the same.
-- Names are written in full: the search_path is that of the code under test.
BEGIN
    IF pg_catalog.current_setting('protean_testing.backend', true) OPERATOR(pg_catalog.=) 'on' THEN
        RETURN NULL;
    END IF;
    -- If nobody holds the lock of a live run, somebody else writes: the next run must not undo that silently.
    INSERT INTO protean_testing.change_log VALUES (:number, CASE WHEN pg_catalog.pg_try_advisory_lock_shared(:lock)
        THEN pg_catalog.pg_advisory_unlock_shared(:lock) ELSE false END);
    RETURN NULL;
END
