-- BEFORE every statement that writes, so that one that fails has taken a transaction number all the same.
-- Names are written in full: the search_path is that of the code under test.
BEGIN
    IF pg_catalog.current_setting('protean_testing.backend', true) OPERATOR(pg_catalog.=) 'on' THEN
        RETURN NULL;
    END IF;
    INSERT INTO protean_testing.note VALUES (:number);
    RETURN NULL;
END
