-- For a plain owner, whose foreign keys and triggers cannot be kept still: all tables in one statement, at whose
-- end every reference is right. False where it cannot do it.
CREATE OR REPLACE FUNCTION protean_testing.put_all(written int[], since bigint, held bool)
RETURNS bool LANGUAGE plpgsql AS $put$
DECLARE
    parts text;
BEGIN
    IF held AND (
        EXISTS (SELECT FROM protean_testing.target JOIN protean_testing.part USING (number)
                 WHERE number = ANY (written) AND NOT by_key AND NOT whole)
        OR EXISTS (SELECT FROM protean_testing.changed_key
                    WHERE number = ANY (written) AND snapshot >= since AND key IS NULL))
    THEN
        RETURN false;
    END IF;
    SELECT string_agg(CASE WHEN t.number IS NULL THEN p.clear ELSE format(p.put, t.copies, since) END, ', ')
      INTO parts
      FROM protean_testing.part p LEFT JOIN protean_testing.target t USING (number)
     WHERE p.number = ANY (written);
    IF parts IS NOT NULL THEN
        EXECUTE 'WITH ' || parts || ' SELECT';
    END IF;
    RETURN true;
END $put$;
