-- title: Everything released has its row in the de-identification log, and nothing withheld was released.
-- severity: error
-- scope: delivery
WITH released AS (
    SELECT 'instance' AS kind, instance_id AS id, source_digest FROM instances
    UNION ALL
    SELECT 'report', report_id, source_digest FROM reports
)
SELECT kind, id
FROM released AS r
WHERE NOT EXISTS (FROM deid_log AS l WHERE l.source_digest = r.source_digest AND l.withheld IS NULL)
   OR EXISTS (FROM deid_log AS l WHERE l.source_digest = r.source_digest AND l.withheld IS NOT NULL)
