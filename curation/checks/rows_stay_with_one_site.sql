-- title: All rows of a delivery name the same site.
-- severity: error
-- scope: delivery
WITH named AS (
    SELECT delivery, site FROM instances
    UNION SELECT delivery, site FROM frames
    UNION SELECT delivery, site FROM reports
    UNION SELECT delivery, site FROM findings
    UNION SELECT delivery, site FROM outcomes
    UNION SELECT delivery, site FROM person_tokens
    UNION SELECT delivery, site FROM deid_log
    UNION SELECT delivery, site FROM refusals
)
SELECT delivery, list_sort(list(site)) AS sites
FROM named
GROUP BY delivery
HAVING count(*) > 1
