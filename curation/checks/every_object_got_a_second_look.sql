-- title: Every object and report of the delivery was looked at a second time, by other code.
-- severity: error
-- scope: delivery
WITH released AS (
    SELECT delivery, count(*) AS n FROM (SELECT delivery FROM instances UNION ALL SELECT delivery FROM reports) GROUP BY delivery
), looked AS (
    SELECT delivery, max(n_looked_at) AS n FROM verifications WHERE rule = 'identity' GROUP BY delivery
)
SELECT released.delivery, released.n AS n_released, coalesce(looked.n, 0) AS n_looked_at
FROM released LEFT JOIN looked USING (delivery)
WHERE released.n <> coalesce(looked.n, 0)
