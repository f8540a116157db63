-- The version of every object of objects.sql, with all that belongs to it: which lines of the catalogs there are for it,
-- and which transactions wrote them. Where neither has changed, the object has not. What VACUUM and ANALYZE write is
-- written in place, and does not count; what a TRUNCATE writes does.
WITH part (classid, objid, oid, version) AS (
    :parts
), object (classid, objid) AS MATERIALIZED (
    :objects
)
SELECT o.classid, o.objid, COALESCE(sum(hashint8extended(p.oid::int8, p.version::text::int8)), 0)::text
  FROM object o LEFT JOIN part p ON p.classid = o.classid AND p.objid::int8 = o.objid
 GROUP BY 1, 2
