-- title: Every de-identified row says by which policy and under which key.
-- severity: error
-- scope: delivery
SELECT 'instances' AS "table", instance_id AS id FROM instances WHERE policy_version = '' OR key_id = ''
UNION ALL
SELECT 'reports', report_id FROM reports WHERE policy_version = '' OR key_id = ''
UNION ALL
SELECT 'deid_log', coalesce(instance_id, report_id) FROM deid_log WHERE policy_version = '' OR key_id = ''
